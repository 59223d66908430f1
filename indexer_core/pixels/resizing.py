"""Resizing with numpy alone: area averages when shrinking, bilinear when enlarging."""

import numpy as np
from numpy.typing import NDArray


def resize(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize a grey image.

    Parameters
    ----------
    image : ndarray of float32, shape (rows, columns), at least 1 x 1
    shape
        Wanted (rows, columns).

    Returns
    -------
    ndarray of float32, of that shape, C-contiguous
        Every value is an average of input values, so the range is kept.
    """
    tall = _resize_rows(np.ascontiguousarray(image, dtype=np.float32), shape[0])
    wide = _resize_rows(np.ascontiguousarray(tall.T), shape[1])
    low, high = np.float32(image.min()), np.float32(image.max())
    # Rounding may leave the range by one unit in the last place.
    return np.ascontiguousarray(np.clip(wide.T, low, high))


def _resize_rows(image: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    if image.shape[0] == n_rows:
        return image
    if image.shape[0] > n_rows:
        return _average_rows(image, n_rows)
    return _interpolate_rows(image, n_rows)


def _average_rows(image: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    """Mean over the interval of input rows that each output row covers, parts of rows included."""
    edges = np.arange(n_rows + 1) * (image.shape[0] / n_rows)
    whole = np.minimum(edges.astype(np.intp), image.shape[0] - 1)
    part = (edges - whole).astype(np.float32)[:, np.newaxis] * image[whole]
    # The last edge lies at the end of the last row, which reduceat has counted already.
    part[-1] = 0.0
    sums = np.add.reduceat(image, whole[:-1], axis=0) - part[:-1] + part[1:]
    return np.asarray(sums / np.float32(image.shape[0] / n_rows), dtype=np.float32)


def _interpolate_rows(image: NDArray[np.float32], n_rows: int) -> NDArray[np.float32]:
    """Linear between the centres of input rows, constant beyond the outermost centres."""
    centres = (np.arange(n_rows) + 0.5) * (image.shape[0] / n_rows) - 0.5
    centres = np.clip(centres, 0.0, image.shape[0] - 1.0)
    below = centres.astype(np.intp)
    above = np.minimum(below + 1, image.shape[0] - 1)
    weight = (centres - below).astype(np.float32)[:, np.newaxis]
    return np.asarray(image[below] * (1 - weight) + image[above] * weight, dtype=np.float32)
