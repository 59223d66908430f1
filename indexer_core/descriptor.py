"""A documented 1024-d descriptor of how an image looks: no weights, no learning.

It finds near-duplicates and images of the same kind and plane, gives the map something to lay out,
and stands in where no image model is configured. It knows nothing of anatomy or disease, and must
never be called zero-shot classification.

Per slice, four blocks, each L2-normalised, weighted and joined:

========== ====== ================================================================================
block      length content
========== ====== ================================================================================
gradients  576    histograms of oriented gradients: 8 x 8 cells of a 128 x 128 image, 9 unsigned
                  orientations, each cell normalised by the energy of its 3 x 3 neighbourhood
                  (after Dalal and Triggs, CVPR 2005)
layout     361    the 19 x 19 lowest frequencies of the type II discrete cosine transform of a
                  64 x 64 image, the mean removed, magnitudes compressed by log(1 + |c|)
grey       64     square root of the histogram over [0, 1] (Hellinger kernel)
shape      23     moments, percentiles, centre, extent, symmetry, edge density (see `_shape`)
========== ====== ================================================================================

A series is the mean of its slices, normalised.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.pixels.resizing import resize

DIMENSION = 1024
VERSION = 1
_CELLS = 8
_ORIENTATIONS = 9
_GRADIENT_SIZE = 128
_LAYOUT_SIZE = 64
_FREQUENCIES = 19
_GREY_BINS = 64
_WEIGHTS = (1.0, 1.0, 0.6, 0.4)
_TINY = 1e-12

Floats = NDArray[np.float64]


class ImageDescriptor:
    """`indexer_core.ports.ImageEncoder` by the descriptor of this module."""

    dimension = DIMENSION

    def __init__(self, recipe: PixelRecipe | None = None) -> None:
        """`recipe` is the one that the stacks are prepared by; it is part of the encoder id."""
        self.recipe = PixelRecipe() if recipe is None else recipe
        self.encoder_id = f"image-descriptor/{VERSION}/{self.recipe.recipe_id}"

    def encode(self, stacks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Describe stacks of slices.

        Parameters
        ----------
        stacks
            Each float32 of shape (n_slices, rows, columns), n_slices >= 1, values in [0, 1].

        Returns
        -------
        ndarray of float32, shape (len(stacks), 1024), rows L2-normalised
            Each row depends on its own stack only, bit for bit.
        """
        vectors = np.empty((len(stacks), DIMENSION), dtype=np.float32)
        for row, stack in enumerate(stacks):
            mean = np.mean([describe(image) for image in stack], axis=0)
            vectors[row] = mean / np.linalg.norm(mean)
        return vectors


def describe(image: NDArray[np.float32]) -> Floats:
    """The descriptor of one slice.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns), values in [0, 1]

    Returns
    -------
    ndarray of float64, shape (1024,), L2-normalised
        Valid for constant images too: their grey block is never zero.
    """
    small = resize(image, (_GRADIENT_SIZE, _GRADIENT_SIZE)).astype(np.float64)
    magnitude, angle = _gradients(small)
    blocks = (
        _oriented_gradients(magnitude, angle),
        _layout(resize(image, (_LAYOUT_SIZE, _LAYOUT_SIZE)).astype(np.float64)),
        _grey(small),
        _shape(small, magnitude),
    )
    weighted = [weight * _unit(block) for weight, block in zip(_WEIGHTS, blocks, strict=True)]
    return _unit(np.concatenate(weighted))


def _unit(values: Floats) -> Floats:
    norm = float(np.sqrt(np.sum(values * values)))
    return values / norm if norm > _TINY else np.zeros_like(values)


def _gradients(image: Floats) -> tuple[Floats, Floats]:
    """Magnitude, and orientation in units of bins in [0, 9), of the central differences."""
    by_row, by_column = np.gradient(image)
    angle = np.arctan2(by_row, by_column) * (_ORIENTATIONS / np.pi)
    return np.hypot(by_row, by_column), np.mod(angle, _ORIENTATIONS)


def _oriented_gradients(magnitude: Floats, angle: Floats) -> Floats:
    """Soft-binned orientation histograms of the cells, locally normalised; 576 values."""
    lower = np.floor(angle)
    share = angle - lower
    bins = lower.astype(np.intp) % _ORIENTATIONS
    cell = np.arange(_GRADIENT_SIZE) * _CELLS // _GRADIENT_SIZE
    base = (cell[:, np.newaxis] * _CELLS + cell[np.newaxis, :]) * _ORIENTATIONS
    n_bins = _CELLS * _CELLS * _ORIENTATIONS
    histogram = np.bincount(
        (base + bins).ravel(), weights=(magnitude * (1 - share)).ravel(), minlength=n_bins
    ) + np.bincount(
        (base + (bins + 1) % _ORIENTATIONS).ravel(),
        weights=(magnitude * share).ravel(),
        minlength=n_bins,
    )
    cells: Floats = histogram.astype(np.float64).reshape(_CELLS, _CELLS, _ORIENTATIONS)
    return np.asarray(np.sqrt(cells / _neighbourhood_energy(cells))).ravel()


def _neighbourhood_energy(cells: Floats) -> Floats:
    """Sum over the 3 x 3 neighbouring cells, floored so that noise on nothing stays small."""
    energy = np.pad(cells.sum(axis=2), 1)
    summed = sum(energy[r : r + _CELLS, c : c + _CELLS] for r in range(3) for c in range(3))
    floor = 0.01 * (_GRADIENT_SIZE // _CELLS) ** 2
    return np.asarray(summed + floor)[:, :, np.newaxis]


def _layout(image: Floats) -> Floats:
    basis = _cosines()
    # einsum without optimisation sums in one fixed order; a matrix product depends on the library.
    half = np.einsum("fr,rc->fc", basis, image - image.mean())
    coefficients = np.einsum("fc,gc->fg", half, basis)
    coefficients[0, 0] = 0.0
    return np.asarray(np.sign(coefficients) * np.log1p(np.abs(coefficients))).ravel()


@cache
def _cosines() -> Floats:
    """Orthonormal type II basis, the lowest frequencies, shape (19, 64)."""
    frequency = np.arange(_FREQUENCIES)[:, np.newaxis]
    place = (np.arange(_LAYOUT_SIZE)[np.newaxis, :] + 0.5) / _LAYOUT_SIZE
    basis = np.cos(np.pi * frequency * place) * np.sqrt(2.0 / _LAYOUT_SIZE)
    basis[0] /= np.sqrt(2.0)
    basis.flags.writeable = False
    return np.asarray(basis)


def _grey(image: Floats) -> Floats:
    bins = np.minimum((image * _GREY_BINS).astype(np.intp), _GREY_BINS - 1)
    counts = np.bincount(bins.ravel(), minlength=_GREY_BINS)
    return np.sqrt(counts / image.size)


def _shape(image: Floats, magnitude: Floats) -> Floats:
    """23 values: grey moments (4), percentiles (7), mass (7), symmetry (2), texture (3)."""
    mean, deviation = float(image.mean()), float(image.std())
    centred = (image - mean) / deviation if deviation > _TINY else np.zeros_like(image)
    return np.concatenate(
        (
            (mean, deviation, np.tanh(np.mean(centred**3) / 4), np.tanh(np.mean(centred**4) / 16)),
            np.percentile(image, (5, 10, 25, 50, 75, 90, 95)),
            _mass(image),
            (_likeness(centred, centred[:, ::-1]), _likeness(centred, centred[::-1])),
            (float(np.mean(magnitude)), float(np.mean(magnitude > 0.05)), _entropy(image)),
        )
    )


def _mass(image: Floats) -> Floats:
    """Centre (2), spread (3), dark and bright share (2) of the image as a mass distribution."""
    total = float(image.sum())
    shares = (float(np.mean(image < 0.02)), float(np.mean(image > 0.98)))
    if total <= _TINY:
        return np.array((0.0, 0.0, 0.0, 0.0, 0.0, *shares))
    place = np.linspace(-1.0, 1.0, image.shape[0])
    by_row, by_column = image.sum(axis=1) / total, image.sum(axis=0) / total
    row, column = float(np.sum(by_row * place)), float(np.sum(by_column * place))
    spread = (
        float(np.sum(by_row * (place - row) ** 2)),
        float(np.sum(by_column * (place - column) ** 2)),
        float(np.sum(image * np.outer(place - row, place - column)) / total),
    )
    return np.array((row, column, *spread, *shares))


def _likeness(a: Floats, b: Floats) -> float:
    return float(np.mean(a * b))


def _entropy(image: Floats) -> float:
    """Entropy of the grey histogram as a share of the largest possible one."""
    share = _grey(image) ** 2
    present = share[share > 0]
    return float(-np.sum(present * np.log(present)) / np.log(_GREY_BINS))
