"""Export of a text encoder to ONNX, so that the search program needs neither torch nor this.

An export is a folder of three files: ``model.onnx``, ``tokenizer.json`` and ``encoder.json``,
which names the encoder and holds the digests of the other two. It is written aside, compared with
torch, and only then given its name, so that a half-written one is never used.
"""

import json
import math
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.encoders.minilm import TextTower, load_minilm
from indexer_core.adapters.onnx_text import (
    EXPORT_FORMAT,
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    open_session,
    read_export,
)
from indexer_core.errors import CorruptIndexError, InvalidInputError

OPSET = 17
TOLERANCE = 1e-5
CHECKED_SHAPES = ((1, 3), (1, 26), (2, 7), (3, 18), (5, 62), (2, 256))


def export_text_encoder(dest_dir: Path) -> dict[str, Any]:
    """Export the default text encoder to `dest_dir`; see `export_tower`."""
    return export_tower(load_minilm(), dest_dir)


def export_tower(tower: TextTower, dest_dir: Path) -> dict[str, Any]:
    """Write the ONNX form of a text encoder, checked against torch.

    An intact export of the same encoder in `dest_dir` is kept as it is; anything else there is
    replaced.

    Returns
    -------
    dict
        The content of ``encoder.json``.

    Raises
    ------
    InvalidInputError
        When the exported model differs from torch by more than 1e-5 in any component.
    """
    existing = _intact_manifest(dest_dir)
    if existing is not None and existing["encoder_id"] == tower.encoder_id:
        return existing
    dest_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{dest_dir.name}.", dir=dest_dir.parent))
    try:
        manifest = _write_export(tower, partial)
        if dest_dir.exists():
            shutil.rmtree(dest_dir)
        partial.replace(dest_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _intact_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return read_export(folder).manifest
    except (CorruptIndexError, InvalidInputError):
        return None


def _write_export(tower: TextTower, folder: Path) -> dict[str, Any]:
    model_path = folder / MODEL_NAME
    _export_module(tower, model_path)
    model = model_path.read_bytes()
    difference = largest_difference(tower, model)
    # Written so that a NaN fails too.
    if not difference <= TOLERANCE:
        raise InvalidInputError(
            f"the exported text encoder differs from torch by {difference:.2e} "
            f"(allowed {TOLERANCE:.0e}); try another torch version"
        )
    manifest = {
        "format_version": EXPORT_FORMAT,
        "encoder_id": tower.encoder_id,
        "dimension": tower.dimension,
        "max_tokens": tower.max_tokens,
        "sha256": {
            MODEL_NAME: sha256(model).hexdigest(),
            TOKENIZER_NAME: sha256(tower.tokenizer_json).hexdigest(),
        },
        "source_sha256": tower.source_sha256,
    }
    (folder / TOKENIZER_NAME).write_bytes(tower.tokenizer_json)
    (folder / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    for path in (model_path, folder / TOKENIZER_NAME, folder / MANIFEST_NAME):
        _flush_to_disk(path)
    return manifest


def _flush_to_disk(path: Path) -> None:
    # The rename must not become durable before the bytes it publishes.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _export_module(tower: TextTower, path: Path) -> None:
    ids, mask = _sample_tokens(2, 8, seed=0)
    with _quiet_exporter(), torch.inference_mode():
        torch.onnx.export(
            tower.module,
            (torch.from_numpy(ids), torch.from_numpy(mask)),
            str(path),
            dynamo=False,  # the other exporter needs onnxscript
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask"],
            output_names=["embeddings"],
            dynamic_axes={
                "input_ids": {0: "n", 1: "length"},
                "attention_mask": {0: "n", 1: "length"},
                "embeddings": {0: "n"},
            },
        )


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without the warnings that the exporter gives for a sound export, which is checked anyway."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using the legacy TorchScript")
        warnings.filterwarnings("ignore", message="The feature will be removed")
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        warnings.filterwarnings("ignore", message="Exporting aten::index", category=UserWarning)
        yield


def largest_difference(tower: TextTower, model: bytes) -> float:
    """Largest absolute difference between torch and the exported model, padding included.

    Compared at several batch sizes and lengths, because an exporter that fixes one of them gives
    a model that is right at the exported shape only. Infinite when the model does not run at all.
    """
    try:
        session = open_session(model)
        return max(
            _difference(tower, session, *_sample_tokens(n, length, seed=length))
            for n, length in CHECKED_SHAPES
        )
    except Exception:  # noqa: BLE001 - onnxruntime's exceptions have no base class of their own
        return math.inf


def _difference(
    tower: TextTower, session: Any, ids: NDArray[np.int64], mask: NDArray[np.int64]
) -> float:
    with torch.inference_mode():
        expected = tower.module(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    if found.shape != expected.shape:
        return math.inf
    return float(np.max(np.abs(found - expected)))


def _sample_tokens(n: int, length: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Reproducible token ids; every row but the first ends in padding."""
    random = np.random.default_rng(seed)
    ids = random.integers(1000, 30000, size=(n, length), dtype=np.int64)
    mask = np.ones((n, length), dtype=np.int64)
    for row in range(1, n):
        mask[row, max(2, length - row) :] = 0
    return ids * mask, mask
