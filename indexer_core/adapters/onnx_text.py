"""Text encoder that runs an exported model with onnxruntime and tokenizers, without torch.

Reads the folder that `gpu_worker.encoders.export` writes, from disk or from a blob store.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer_core.encoders import EXPORT_MANIFEST, ReadFile
from indexer_core.errors import InvalidInputError
from indexer_core.exports import checked_file, files_of, parse_manifest

EXPORT_FORMAT = 1
MODEL_NAME = "model.onnx"
TOKENIZER_NAME = "tokenizer.json"
MANIFEST_NAME = EXPORT_MANIFEST
BATCH_SIZE = 32
FULL_TOKENS = 256
"""A batch of so many tokens is about as fast as a larger one; a smaller one is not."""

MOST_PADDING = 0.04
"""Of a batch that is not full; what it costs is less than what the larger batch gains."""

MAX_DEFAULT_THREADS = 4

_WHAT = "text encoder"
_KINDS = {"encoder_id": str, "dimension": int, "max_tokens": int, "sha256": dict}


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """The verified files of an exported text encoder."""

    manifest: dict[str, Any]
    model: bytes
    tokenizer_json: str


def read_export(source: Path | ReadFile) -> Export:
    """Read an exported encoder and check every digest.

    Parameters
    ----------
    source
        The folder, or a function from a file name to that file's bytes.

    Raises
    ------
    InvalidInputError
        When a file is missing or the format is newer than this program.
    CorruptIndexError
        When a file is not what the manifest says.
    """
    read = files_of(source, _WHAT, advice=": export it first")
    misfit = f"{MANIFEST_NAME} of the {_WHAT} has a value of a wrong type"
    manifest = parse_manifest(
        read(MANIFEST_NAME), _WHAT, _KINDS, newest=EXPORT_FORMAT, misfit=misfit
    )
    model, tokenizer = (
        checked_file(read, name, manifest, _WHAT, advice=": export again")
        for name in (MODEL_NAME, TOKENIZER_NAME)
    )
    return Export(manifest=manifest, model=model, tokenizer_json=tokenizer.decode())


class OnnxTextEncoder:
    """`indexer_core.ports.TextEncoder` over an exported model.

    Texts are batched with others of the same number of tokens, or, where these are few, of nearly
    so many: next to nothing is padded, and the vector of a text depends on what else is in the call
    by no more than rounding.
    """

    def __init__(self, *, export: Export, threads: int | None = None) -> None:
        """Build the session; `threads` defaults to the cores of the machine, at most four.

        Raises
        ------
        InvalidInputError
            When onnxruntime or tokenizers is not installed.
        """
        self.encoder_id: str = export.manifest["encoder_id"]
        self.dimension: int = export.manifest["dimension"]
        self._tokenizer = _open_tokenizer(export)
        self._session = open_session(export.model, threads or default_threads())

    @classmethod
    def load(cls, source: Path | ReadFile, *, threads: int | None = None) -> Self:
        """Read, verify and open an exported encoder; see `read_export` for `source` and errors."""
        return cls(export=read_export(source), threads=threads)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts.

        Returns
        -------
        ndarray of float32, shape (len(texts), dimension), rows L2-normalised, in input order
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        if not texts:
            return vectors
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        for rows in _batches([len(ids) for ids in tokens]):
            (vectors[rows],) = self._session.run(None, _inputs([tokens[row] for row in rows]))
        return vectors


def default_threads() -> int:
    """Threads of one session: the cores of the machine, at most four."""
    return min(os.cpu_count() or 1, MAX_DEFAULT_THREADS)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Row numbers in groups of about one length and at most `BATCH_SIZE` rows, longest first.

    The longest go first so that memory peaks at once instead of at the end.
    """
    batch: list[int] = []
    n_tokens = 0
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and _is_complete(len(batch), n_tokens, lengths[batch[0]], lengths[row]):
            yield batch
            batch, n_tokens = [], 0
        batch.append(row)
        n_tokens += lengths[row]
    if batch:
        yield batch


def _is_complete(n_rows: int, n_tokens: int, longest: int, following: int) -> bool:
    """Whether a batch is better run than given one more row, of `following` tokens."""
    if n_rows == BATCH_SIZE or following == longest:
        return n_rows == BATCH_SIZE
    padded = (n_rows + 1) * longest
    return n_tokens >= FULL_TOKENS or padded > (1 + MOST_PADDING) * (n_tokens + following)


def _inputs(tokens: Sequence[Sequence[int]]) -> dict[str, NDArray[np.int64]]:
    """Token ids as the model takes them, the first row being the longest."""
    ids = np.zeros((len(tokens), len(tokens[0])), dtype=np.int64)
    mask = np.zeros_like(ids)
    for row, own in enumerate(tokens):
        ids[row, : len(own)] = own
        mask[row, : len(own)] = 1
    return {"input_ids": ids, "attention_mask": mask}


def _open_tokenizer(export: Export) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise InvalidInputError("text search needs tokenizers: pip install tokenizers") from error
    tokenizer = Tokenizer.from_str(export.tokenizer_json)
    # The file may carry the padding and length its author trained with.
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_length=export.manifest["max_tokens"])
    return tokenizer


def open_session(model: bytes, threads: int = 0) -> Any:
    """An onnxruntime session on the CPU, which reports to nobody.

    Parameters
    ----------
    model
        The exported model.
    threads
        Threads of one operator; 0 for as many as there are cores.

    Raises
    ------
    InvalidInputError
        When onnxruntime is not installed.
    """
    # Official builds since 1.32 keep a device id and send usage data to Microsoft. The variable
    # alone prevents both, and only before the library starts (its Privacy.md).
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        from onnxruntime import InferenceSession, SessionOptions, disable_telemetry_events
    except ImportError as error:
        raise InvalidInputError("text search needs onnxruntime: pip install onnxruntime") from error
    disable_telemetry_events()
    options = SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return InferenceSession(model, sess_options=options, providers=["CPUExecutionProvider"])
