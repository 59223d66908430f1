"""Image encoder that runs an exported tower with onnxruntime, without torch.

Reads the folder that `gpu_worker.encoders.export_image` writes, from disk or from a blob store. The
model takes slices as the pixel recipe prepares them: resizing, colours and normalising are part of
it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.onnx_text import default_threads, open_session
from indexer_core.encoders import EXPORT_MANIFEST, ReadFile
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.exports import checked_file, files_of, parse_manifest
from indexer_core.pixels.recipe import PixelRecipe

EXPORT_FORMAT = 1
KIND = "image"
MODEL_NAME = "model.onnx"
INPUT, OUTPUT = "slices", "embeddings"
MAX_SLICES_PER_BATCH = 16

_WHAT = "image encoder"
_KINDS = {
    "kind": str,
    "encoder_id": str,
    "dimension": int,
    "rows": int,
    "columns": int,
    "sha256": dict,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageExport:
    """The verified files of an exported image encoder."""

    manifest: dict[str, Any]
    model: bytes


def read_image_export(source: Path | ReadFile) -> ImageExport:
    """Read an exported encoder and check its digest.

    Parameters
    ----------
    source
        The folder, or a function from a file name to that file's bytes.

    Raises
    ------
    InvalidInputError
        A file is missing, or the format is newer than this program.
    CorruptIndexError
        A file is not what the manifest says.
    """
    read = files_of(source, _WHAT)
    misfit = f"{EXPORT_MANIFEST} is not that of an image encoder"
    manifest = parse_manifest(
        read(EXPORT_MANIFEST), _WHAT, _KINDS, newest=EXPORT_FORMAT, misfit=misfit
    )
    if manifest["kind"] != KIND:
        raise CorruptIndexError(misfit)
    model = checked_file(read, MODEL_NAME, manifest, _WHAT)
    return ImageExport(manifest=manifest, model=model)


class OnnxImageEncoder:
    """`indexer_core.ports.ImageEncoder` over an exported tower; safe for several threads.

    The vector of a series is the mean over its slices, normalised again, as `TorchImageEncoder`
    makes it.
    """

    def __init__(self, *, export: ImageExport, threads: int | None = None) -> None:
        """Build the session; `threads` defaults to the cores of the machine, at most four."""
        self.encoder_id: str = export.manifest["encoder_id"]
        self.dimension: int = export.manifest["dimension"]
        self._shape = (export.manifest["rows"], export.manifest["columns"])
        self.recipe = PixelRecipe(rows=self._shape[0], columns=self._shape[1])
        if not self.encoder_id.endswith(self.recipe.recipe_id):
            raise InvalidInputError(
                f"{self.encoder_id} takes slices as another version of this program prepares them"
            )
        self._session = open_session(export.model, threads or default_threads())

    @classmethod
    def load(cls, source: Path | ReadFile, *, threads: int | None = None) -> Self:
        """Read, verify and open an export; see `read_image_export` for `source` and errors.

        Raises
        ------
        InvalidInputError
            This program prepares slices otherwise.
        """
        return cls(export=read_image_export(source), threads=threads)

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Stacks of shape (n_slices, rows, columns) as the recipe prepares them.

        Returns
        -------
        ndarray of float32, shape (len(stacks), dimension), rows L2-normalised

        Raises
        ------
        InvalidInputError
            The slices were prepared by another recipe.
        """
        if not stacks:
            return np.empty((0, self.dimension), dtype=np.float32)
        slices = np.ascontiguousarray(np.concatenate(stacks), dtype=np.float32)
        if slices.shape[1:] != self._shape:
            raise InvalidInputError(f"{self.encoder_id} takes slices of {self._shape}")
        parts = [
            self._session.run([OUTPUT], {INPUT: slices[start : start + MAX_SLICES_PER_BATCH]})[0]
            for start in range(0, len(slices), MAX_SLICES_PER_BATCH)
        ]
        ends = np.cumsum([len(stack) for stack in stacks])[:-1]
        means = np.stack([part.mean(axis=0) for part in np.split(np.concatenate(parts), ends)])
        vectors: NDArray[np.float32] = means / np.linalg.norm(means, axis=1, keepdims=True)
        return vectors
