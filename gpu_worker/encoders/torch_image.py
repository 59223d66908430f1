"""Image encoder that runs a tower with torch: each slice is a picture, a series is their mean."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.encoders.biomedclip import ImageTower
from gpu_worker.halving import Halving
from indexer_core.pixels.recipe import PixelRecipe

MAX_IMAGES_PER_BATCH = 256


class TorchImageEncoder:
    """`indexer_core.ports.ImageEncoder` over a tower.

    A prepared slice is grey, square and in [0, 1]: it is resized to the tower's input (bicubic with
    antialiasing, as the model was trained), repeated for three channels and normalised. The vector
    of a series is the mean over its slices, normalised again.
    """

    def __init__(
        self,
        tower: ImageTower,
        *,
        recipe: PixelRecipe,
        device: str = "cpu",
        max_images_per_batch: int = MAX_IMAGES_PER_BATCH,
    ) -> None:
        """`recipe`: how the slices are prepared."""
        self.encoder_id = f"{tower.encoder_id}/{recipe.recipe_id}"
        self.recipe = recipe
        self.dimension = tower.dimension
        self._device = torch.device(device)
        self.on_gpu = self._device.type == "cuda"
        self._dtype = torch.bfloat16 if self.on_gpu else torch.float32
        self._module = tower.module.to(device=self._device, dtype=self._dtype)
        self._size = (tower.rows, tower.columns)
        shape = (1, 3, 1, 1)
        self._mean = torch.tensor(tower.mean, device=self._device).reshape(shape)
        self._std = torch.tensor(tower.std, device=self._device).reshape(shape)
        self._images = Halving(max_images_per_batch)

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Stacks of shape (n_slices, rows, columns), values in [0, 1], sizes may differ.

        Returns
        -------
        ndarray of float32, shape (len(stacks), dimension), rows L2-normalised
        """
        vectors = np.empty((len(stacks), self.dimension), dtype=np.float32)
        if not stacks:
            return vectors
        with torch.inference_mode():
            inputs = torch.cat([self._prepared(stack) for stack in stacks])
            found = torch.stack(self._images.over(inputs, self._run))
            slices = found.split([len(stack) for stack in stacks])
            means = torch.stack([own.mean(dim=0) for own in slices])
            vectors[:] = torch.nn.functional.normalize(means, dim=1).cpu().numpy()
        return vectors

    def _prepared(self, stack: NDArray[np.float32]) -> torch.Tensor:
        grey = torch.from_numpy(np.array(stack, dtype=np.float32)).to(self._device)
        sized = torch.nn.functional.interpolate(
            grey[:, None], size=self._size, mode="bicubic", antialias=True, align_corners=False
        )
        # Bicubic overshoots at edges; a picture read from a file cannot.
        coloured = sized.clamp(0, 1).expand(-1, 3, -1, -1)
        return ((coloured - self._mean) / self._std).to(self._dtype)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(self._module(images).float(), dim=1)
