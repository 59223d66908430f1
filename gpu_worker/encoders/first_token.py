"""A BERT of which only the first token is wanted, computed with fewer operations.

BiomedCLIP reads the meaning of a text off its first token. The vectors are those of the model as
transformers runs it, to within rounding; what is left out or joined changes none of them:

- In the last layer only the first token asks, so queries, their attention and both feed-forward
  products are computed for it alone: 7 % less of a model of twelve layers.
- Queries, keys and values are one product, with the scale of attention folded into the queries.
- All products are over a plain matrix of tokens, which exports to one operator with its bias.
"""

from typing import Any

import torch
from torch import nn


class FirstTokenBert(nn.Module):  # type: ignore[misc] # torch is not followed
    """`transformers.BertModel` up to the first token of its last hidden state."""

    def __init__(self, bert: Any) -> None:
        """`bert`: a BertModel for which `is_plain_bert` holds."""
        super().__init__()
        self.words = bert.embeddings.word_embeddings
        # All texts are of one kind: the vector of that kind belongs to every position.
        places = bert.embeddings.position_embeddings.weight.detach()
        kind = bert.embeddings.token_type_embeddings.weight.detach()[0]
        self.register_buffer("places", places + kind, persistent=False)
        self.norm = bert.embeddings.LayerNorm
        *inner, last = bert.encoder.layer
        self.inner = nn.ModuleList(_Inner(layer) for layer in inner)
        self.last = _Last(last)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, int64 (n, length), to float32 (n, width)."""
        n, length = input_ids.shape
        tokens = self.norm(self.words(input_ids) + self.places[:length])
        tokens = tokens.reshape(n * length, -1)
        unseen = (1.0 - attention_mask.to(tokens.dtype))[:, None, None, :] * _UNSEEN
        for layer in self.inner:
            tokens = layer(tokens, unseen, n, length)
        return self.last(tokens, unseen, n, length)


_UNSEEN = -1e4
"""Added to the attention that goes to padding: nothing is left of it after the softmax."""


class _Layer(nn.Module):  # type: ignore[misc] # torch is not followed
    """What comes after the attention; the same for all layers."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.heads: int = layer.attention.self.num_attention_heads
        self.mixed = layer.attention.output.dense
        self.mixed_norm = layer.attention.output.LayerNorm
        self.wide = layer.intermediate.dense
        self.narrow = layer.output.dense
        self.norm = layer.output.LayerNorm

    def rest(self, tokens: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """Tokens (n, width) and what they attended to, to the tokens that the layer gives."""
        mixed = self.mixed_norm(self.mixed(attended) + tokens)
        return self.norm(self.narrow(nn.functional.gelu(self.wide(mixed))) + mixed)


class _Inner(_Layer):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        own = layer.attention.self
        self.asked_and_told = _joined(_queries(own), own.key, own.value)

    def forward(
        self, tokens: torch.Tensor, unseen: torch.Tensor, n: int, length: int
    ) -> torch.Tensor:
        """Tokens (n * length, width), to the same shape."""
        parts = self.asked_and_told(tokens).reshape(n, length, 3, self.heads, -1)
        asked, keys, values = parts.permute(2, 0, 3, 1, 4)
        return self.rest(tokens, _attended(asked, keys, values, unseen))


class _Last(_Layer):
    def __init__(self, layer: Any) -> None:
        super().__init__(layer)
        own = layer.attention.self
        self.asked, self.told = _queries(own), _joined(own.key, own.value)

    def forward(
        self, tokens: torch.Tensor, unseen: torch.Tensor, n: int, length: int
    ) -> torch.Tensor:
        """Tokens (n * length, width), to those of the first: (n, width)."""
        first = tokens.reshape(n, length, -1)[:, 0]
        asked = self.asked(first).reshape(n, 1, self.heads, -1).transpose(1, 2)
        parts = self.told(tokens).reshape(n, length, 2, self.heads, -1)
        keys, values = parts.permute(2, 0, 3, 1, 4)
        return self.rest(first, _attended(asked, keys, values, unseen))


def _attended(
    asked: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, unseen: torch.Tensor
) -> torch.Tensor:
    """Attention, all (n, heads, tokens, width of a head), to (n * tokens asking, width)."""
    shares = torch.softmax(asked @ keys.transpose(-1, -2) + unseen, dim=-1)
    return (shares @ values).transpose(1, 2).flatten(2).flatten(0, 1)


def _queries(attention: Any) -> nn.Linear:
    """The product for queries, with the scale of attention in it."""
    scale = attention.attention_head_size**-0.5
    return _linear(attention.query.weight * scale, attention.query.bias * scale)


def _joined(*parts: nn.Linear) -> nn.Linear:
    """One product for several of the same input."""
    return _linear(
        torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts])
    )


def _linear(weight: torch.Tensor, bias: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        made.weight.copy_(weight)
        made.bias.copy_(bias)
    return made


def is_plain_bert(model: Any) -> bool:
    """Whether a model is an encoder as `FirstTokenBert` computes it."""
    config: Any = getattr(model, "config", None)
    return (
        getattr(config, "model_type", None) == "bert"
        and config.hidden_act == "gelu"
        and getattr(config, "position_embedding_type", None) in (None, "absolute")
        and not config.is_decoder
        and not config.add_cross_attention
    )
