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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.encoders.minilm import TextTower, load_minilm
from gpu_worker.encoders.quantising import ID_SUFFIX, compare, quantised
from indexer_core.adapters.onnx_text import (
    EXPORT_FORMAT,
    MANIFEST_NAME,
    MODEL_NAME,
    TOKENIZER_NAME,
    Export,
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


def export_tower(
    tower: TextTower, dest_dir: Path, *, int8_on: Sequence[str] | None = None
) -> dict[str, Any]:
    """Write the ONNX form of a text encoder, checked against torch.

    An intact export of the same encoder in `dest_dir` is kept as it is; anything else there is
    replaced.

    Parameters
    ----------
    int8_on
        Texts of the index: have the export in 8 bits, if it finds among them what single precision
        finds. It is an encoder of another id then. What was measured is in the manifest.

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
    if existing is not None and _is_wanted(existing, tower, int8=int8_on is not None):
        return existing
    with written_aside(dest_dir) as folder:
        return _write_export(tower, folder, int8_on)


@contextmanager
def written_aside(dest_dir: Path) -> Iterator[Path]:
    """A folder that takes the place of `dest_dir` when all went well, and is removed otherwise."""
    dest_dir.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{dest_dir.name}.", dir=dest_dir.parent))
    try:
        yield partial
        if dest_dir.exists():
            shutil.rmtree(dest_dir)
        partial.replace(dest_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _intact_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return read_export(folder).manifest
    except (CorruptIndexError, InvalidInputError):
        return None


def _is_wanted(manifest: dict[str, Any], tower: TextTower, *, int8: bool) -> bool:
    measured = "precision" in manifest
    ids = (tower.encoder_id, tower.encoder_id + ID_SUFFIX * measured)
    return manifest["encoder_id"] in ids and measured == int8


def _write_export(tower: TextTower, folder: Path, int8_on: Sequence[str] | None) -> dict[str, Any]:
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
    export = _export_of(tower, model)
    if int8_on is not None:
        export = _rounded_if_good(export, int8_on)
    model_path.write_bytes(export.model)
    (folder / TOKENIZER_NAME).write_bytes(tower.tokenizer_json)
    text = json.dumps(export.manifest, indent=2) + "\n"
    (folder / MANIFEST_NAME).write_text(text, encoding="utf-8")
    for path in (model_path, folder / TOKENIZER_NAME, folder / MANIFEST_NAME):
        flush_to_disk(path)
    return export.manifest


def _export_of(tower: TextTower, model: bytes) -> Export:
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
    return Export(manifest=manifest, model=model, tokenizer_json=tower.tokenizer_json.decode())


def _rounded_if_good(exact: Export, texts: Sequence[str]) -> Export:
    """The export in 8 bits, or as it is; with what was measured."""
    model = quantised(exact.model)
    digests = {**exact.manifest["sha256"], MODEL_NAME: sha256(model).hexdigest()}
    names = {"encoder_id": exact.manifest["encoder_id"] + ID_SUFFIX, "sha256": digests}
    rounded = replace(exact, model=model, manifest={**exact.manifest, **names})
    measured = compare(exact, rounded, texts)
    chosen = rounded if measured.is_good_enough else exact
    return replace(chosen, manifest={**chosen.manifest, "precision": measured.to_json()})


def flush_to_disk(path: Path) -> None:
    """Make the bytes of a file durable."""
    # The rename must not become durable before the bytes it publishes.
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _export_module(tower: TextTower, path: Path) -> None:
    ids, mask = _sample_tokens(2, 8, seed=0)
    with quiet_exporter(), torch.inference_mode():
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
def quiet_exporter() -> Iterator[None]:
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
