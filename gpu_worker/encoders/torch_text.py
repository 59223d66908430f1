"""Text encoder that runs a tower with torch: on a GPU in bf16, on a CPU in fp32.

The vectors are those of the exported tower to within rounding (cosine >= 0.999 in bf16), so they
carry the same encoder id: searches encode their queries with the export.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gpu_worker.encoders.minilm import TextTower

MAX_TOKENS_PER_BATCH = 65_536
"""Padding included; what one batch may hold on a GPU. Out of memory, it is halved for good."""

MAX_ROWS_ON_CPU = 32
"""Larger batches are not faster on a CPU, and take its caches."""

# While one part is computed the next one is tokenised, which takes about as long on a GPU.
_PART = 4096


class TorchTextEncoder:
    """`indexer_core.ports.TextEncoder` over a tower.

    Texts are sorted by length and batched with others of about the same length, so that little is
    padded: a CLIP library that pads every text to 256 tokens computes ten times as much.
    """

    def __init__(
        self,
        tower: TextTower,
        *,
        device: str = "cpu",
        max_tokens_per_batch: int = MAX_TOKENS_PER_BATCH,
    ) -> None:
        """Move the tower to `device`; bf16 on CUDA (slow on most CPUs), fp32 elsewhere."""
        self.encoder_id = tower.encoder_id
        self.dimension = tower.dimension
        self._device = torch.device(device)
        self.on_gpu = self._device.type == "cuda"
        dtype = torch.bfloat16 if self.on_gpu else torch.float32
        self._module = tower.module.to(device=self._device, dtype=dtype)
        if self.on_gpu:
            _use_fused_attention(self._module)
        self._max_tokens = max_tokens_per_batch
        self._tokenizer = Tokenizer.from_str(tower.tokenizer_json.decode())
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=tower.max_tokens)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns
        -------
        ndarray of float32, shape (len(texts), dimension), rows L2-normalised, in input order
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        start = 0
        for tokens in self._tokenised(texts):
            self._encode_part(tokens, vectors[start : start + len(tokens)])
            start += len(tokens)
        return vectors

    def _tokenised(self, texts: Sequence[str]) -> Iterator[list[list[int]]]:
        """Token ids of the texts, part by part, always one part ahead."""

        def tokens_from(start: int) -> list[list[int]]:
            part = list(texts[start : start + _PART])
            return [encoding.ids for encoding in self._tokenizer.encode_batch(part)]

        with ThreadPoolExecutor(1) as ahead:
            following = ahead.submit(tokens_from, 0)
            for start in range(0, len(texts), _PART):
                tokens = following.result()
                following = ahead.submit(tokens_from, start + _PART)
                yield tokens

    def _encode_part(self, tokens: Sequence[list[int]], vectors: NDArray[np.float32]) -> None:
        waiting = list(self._batches([len(ids) for ids in tokens]))
        while waiting:
            rows = waiting.pop()
            if not self._fits(rows, tokens):
                middle = len(rows) // 2
                waiting += [rows[:middle], rows[middle:]]
                continue
            try:
                vectors[rows] = self._run([tokens[row] for row in rows])
            except torch.cuda.OutOfMemoryError:
                if len(rows) == 1:
                    raise
                # What else uses this GPU may have grown: smaller batches still fit.
                torch.cuda.empty_cache()
                self._max_tokens = (len(rows) + 1) // 2 * _longest(rows, tokens)
                waiting.append(rows)

    def _fits(self, rows: Sequence[int], tokens: Sequence[list[int]]) -> bool:
        return len(rows) == 1 or len(rows) * _longest(rows, tokens) <= self._max_tokens

    def _batches(self, lengths: Sequence[int]) -> Iterator[list[int]]:
        """Row numbers in batches, the longest texts last (batches are taken from the end)."""
        order = sorted(range(len(lengths)), key=lambda row: lengths[row])
        batch: list[int] = []
        for row in order:
            # Sorted: the newest row is the longest, and all others are padded to it.
            too_large = (len(batch) + 1) * lengths[row] > self._max_tokens
            too_many = not self.on_gpu and len(batch) == MAX_ROWS_ON_CPU
            padded = not self.on_gpu and bool(batch) and lengths[row] != lengths[batch[0]]
            if batch and (too_large or too_many or padded):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _run(self, tokens: Sequence[list[int]]) -> NDArray[np.float32]:
        longest = max(len(ids) for ids in tokens)
        ids = np.zeros((len(tokens), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, own in enumerate(tokens):
            ids[row, : len(own)] = own
            mask[row, : len(own)] = 1
        with torch.inference_mode():
            found = self._module(
                torch.from_numpy(ids).to(self._device), torch.from_numpy(mask).to(self._device)
            )
            # Normalised once more, since bf16 keeps three digits of the length, too.
            whole = torch.nn.functional.normalize(found.float(), dim=1)
            result: NDArray[np.float32] = whole.cpu().numpy()
        return result


def _use_fused_attention(module: torch.nn.Module) -> None:
    # The towers come with the plain kind, since the fused ones do not export to ONNX.
    for part in module.modules():
        choose = getattr(part, "set_attn_implementation", None)
        if choose is not None:
            choose("sdpa")


def _longest(rows: Sequence[int], tokens: Sequence[list[int]]) -> int:
    return max(len(tokens[row]) for row in rows)
