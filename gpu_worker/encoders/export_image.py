"""Export of an image tower to ONNX, so that indexing needs neither torch nor the weights.

An export is a folder of two files: ``model.onnx`` and ``encoder.json``. The model takes slices as
the pixel recipe prepares them, so that whoever runs it cannot prepare them otherwise. It is written
aside, compared with torch, and only then given its name.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gpu_worker.encoders.biomedclip import ImageTower
from gpu_worker.encoders.export import OPSET, flush_to_disk, quiet_exporter, written_aside
from gpu_worker.encoders.onnx_image import (
    EXPORT_FORMAT,
    INPUT,
    KIND,
    MODEL_NAME,
    OUTPUT,
    ImageExport,
    OnnxImageEncoder,
)
from gpu_worker.encoders.torch_image import TorchImageEncoder
from indexer_core.encoders import EXPORT_MANIFEST
from indexer_core.errors import InvalidInputError
from indexer_core.pixels.recipe import PixelRecipe

LEAST_COSINE = 0.99999
_CHECKED = (1, 3, 2)


class FromSlices(nn.Module):  # type: ignore[misc] # torch is not followed
    """A tower that takes slices of one size, grey in [0, 1].

    Resizing is linear in rows and in columns, so it is two matrices: those of the very function
    that `TorchImageEncoder` calls, which itself does not export.
    """

    def __init__(self, tower: ImageTower, rows: int, columns: int) -> None:
        super().__init__()
        self.tower = tower.module
        self.register_buffer("tall", _resizing(rows, tower.rows))
        self.register_buffer("wide", _resizing(columns, tower.columns).T)
        self.register_buffer("mean", torch.tensor(tower.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(tower.std).reshape(1, 3, 1, 1))

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Slices float32 (n, rows, columns) to float32 (n, dimension)."""
        sized = (self.tall @ slices @ self.wide).clamp(0, 1)
        return self.tower((sized[:, None] - self.mean) / self.std)


def _resizing(size: int, wanted: int) -> torch.Tensor:
    """The matrix (wanted, size) by which a column of pixels is resized."""
    unit = torch.eye(size)[None, None]
    shape = (wanted, size)
    resized = nn.functional.interpolate(
        unit, size=shape, mode="bicubic", antialias=True, align_corners=False
    )
    return resized[0, 0]


def export_image_tower(
    tower: ImageTower, dest_dir: Path, recipe: PixelRecipe | None = None
) -> dict[str, Any]:
    """Write the ONNX form of an image tower for slices by a recipe, checked against torch.

    Returns
    -------
    dict
        The content of ``encoder.json``.

    Raises
    ------
    InvalidInputError
        A vector of the exported model is not that of torch.
    """
    recipe = PixelRecipe() if recipe is None else recipe
    with written_aside(dest_dir) as folder:
        model_path = folder / MODEL_NAME
        _export_module(FromSlices(tower, recipe.rows, recipe.columns).eval(), model_path, recipe)
        model = model_path.read_bytes()
        manifest = {
            "format_version": EXPORT_FORMAT,
            "kind": KIND,
            "encoder_id": f"{tower.encoder_id}/{recipe.recipe_id}",
            "dimension": tower.dimension,
            "rows": recipe.rows,
            "columns": recipe.columns,
            "sha256": {MODEL_NAME: sha256(model).hexdigest()},
        }
        cosine = _least_cosine(tower, ImageExport(manifest=manifest, model=model), recipe)
        # Written so that a NaN fails too.
        if not cosine >= LEAST_COSINE:
            raise InvalidInputError(
                f"the exported image encoder differs from torch (cosine {cosine:.6f}, at least "
                f"{LEAST_COSINE} is wanted); try another torch version"
            )
        manifest_path = folder / EXPORT_MANIFEST
        manifest_path.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        for path in (model_path, manifest_path):
            flush_to_disk(path)
    return manifest


def _least_cosine(tower: ImageTower, export: ImageExport, recipe: PixelRecipe) -> float:
    random = np.random.default_rng(0)
    shape = (recipe.rows, recipe.columns)
    stacks = [random.random((n, *shape), dtype=np.float32) for n in _CHECKED]
    # One that is not noise: edges are where resizing differs.
    stacks.append(np.zeros((1, *shape), dtype=np.float32))
    stacks[-1][0, shape[0] // 3 : shape[0] // 2, shape[1] // 4 :] = 1.0
    expected = TorchImageEncoder(tower, recipe=recipe).encode(stacks)
    found = OnnxImageEncoder(export=export).encode(stacks)
    return float((expected * found).sum(axis=1).min())


def _export_module(module: nn.Module, path: Path, recipe: PixelRecipe) -> None:
    slices = torch.rand(2, recipe.rows, recipe.columns)
    with quiet_exporter(), _plain_attention(), torch.inference_mode():
        torch.onnx.export(
            module,
            (slices,),
            str(path),
            dynamo=False,  # the other exporter needs onnxscript
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "n"}, OUTPUT: {0: "n"}},
        )


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Without torch's fused attention of whole layers, which has no form in ONNX."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
