"""How good a map is, and how far it moved: exact measures, computed in chunks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_CHUNK_ROWS = 256

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How well neighbourhoods survive on the map.

    Parameters
    ----------
    trust
        Trustworthiness (Venna and Kaski 2001): 1 when every neighbour on the map is a neighbour of
        the vector, 0 when they could not be further.
    recall
        Share of the vectors' neighbours that are neighbours on the map.
    """

    trust: float
    recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """How far points moved, as shares of the map's diagonal."""

    median: float
    p95: float


def fidelity(vectors: Floats, points: Floats, k: int = 15, rows: Rows | None = None) -> Fidelity:
    """Trustworthiness and recall, among all points.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension)
    points : ndarray of float32, shape (n, 2)
    rows
        Measured on these points only; None: all.

    Returns
    -------
    Fidelity
        Of 1 and 1 where there are too few points for a neighbour to be wrong.
    """
    n = len(vectors)
    chosen = np.arange(n) if rows is None else np.asarray(rows)
    k = min(k, (n - 1) // 2)
    if k < 1 or not len(chosen):
        return Fidelity(trust=1.0, recall=1.0)
    excess, kept = 0, 0
    for start in range(0, len(chosen), _CHUNK_ROWS):
        part = chosen[start : start + _CHUNK_ROWS]
        near = np.argpartition(_order_within(points, part), k - 1, axis=1)[:, :k]
        ranks = _ranks(_order_within(vectors, part), near)
        excess += int(np.maximum(ranks - k, 0).sum())
        kept += int((ranks <= k).sum())
    worst = len(chosen) * k * (2 * n - 3 * k - 1) / 2
    return Fidelity(trust=1.0 - excess / worst, recall=kept / (len(chosen) * k))


def _order_within(table: Floats, rows: Rows) -> Floats:
    """Squared distances from `rows` to all, less what is the same for a row; itself last."""
    centred = table - table[rows].mean(axis=0)  # smaller numbers, smaller rounding
    order = (centred * centred).sum(axis=1) - 2 * (centred[rows] @ centred.T)
    order[np.arange(len(rows)), rows] = np.inf
    return np.asarray(order, dtype=np.float32)


def _ranks(order: Floats, near: Rows) -> Rows:
    """Rank among all, from 1, of each point in `near`."""
    values = np.take_along_axis(order, near, axis=1)
    sorted_rows = np.sort(order, axis=1)
    found = [
        np.searchsorted(row, value) + 1 for row, value in zip(sorted_rows, values, strict=True)
    ]
    return np.asarray(found, dtype=np.int64)


def diagonal(points: Floats) -> float:
    """Length of the diagonal of the box that holds all but the outermost points.

    From the 1st to the 99th percentile of each axis: one stray point must not make every movement
    look small. Not less than a tiny positive number.
    """
    if not len(points):
        return float(np.finfo(np.float32).tiny)
    low, high = np.percentile(points.astype(np.float64), [1, 99], axis=0)
    return max(float(np.linalg.norm(high - low)), float(np.finfo(np.float32).tiny))


def rms_radius(points: Floats) -> float:
    """Root mean square distance from the centre of a layout."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    return float(np.sqrt((centred**2).sum(axis=1).mean()))


def drift(before: Floats, after: Floats, span: float | None = None) -> Drift:
    """How far points moved.

    Parameters
    ----------
    before, after : ndarray of float32, shape (n, 2)
    span
        The map's diagonal; None: that of `before`.
    """
    if not len(before):
        return Drift(median=0.0, p95=0.0)
    moved = np.linalg.norm(after.astype(np.float64) - before, axis=1)
    moved /= diagonal(before) if span is None else span
    return Drift(median=float(np.median(moved)), p95=float(np.percentile(moved, 95)))
