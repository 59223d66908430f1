"""New series on a map that stays as it is: a place for each, and whether it is like the others.

The frozen encoder places what is like what it was fitted to. A stranger, which lies further from
its nearest landmarks than nearly all known series do, would be put anywhere: it goes where they are
until the map has learnt its kind, and is told as provisional. What this costs follows the new
series only: there are at most two thousand landmarks.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.map_state import MapState
from indexer_core.projector import Projector

FAR_RANK = 3
"""A point is a stranger if its third landmark is far.

A kind that was learnt has a handful of landmarks, not as many as neighbours are counted.
"""
_CHUNK_ROWS = 512

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchDrift:
    """What a batch of new points showed; preserved_sum adds up one share per point."""

    n: int
    n_far: int
    preserved_sum: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Places of new points.

    Parameters
    ----------
    points : ndarray of float32, shape (n, 2)
    is_provisional : ndarray of bool, shape (n,)
        Placed by its neighbours, because the encoder does not know its kind.
    drift
        What they say of the map; None where it was never fitted.
    """

    points: Floats
    is_provisional: NDArray[np.bool_]
    drift: BatchDrift | None


def place(vectors: Floats, projector: Projector, state: MapState | None) -> Placed:
    """Places of new points on a map.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension)

    Raises
    ------
    InvalidInputError
        When a vector is not finite: it would have no place, and its row would say so by NaN.

    Notes
    -----
    A stranger goes to the median of its neighbours, not to their mean: between two neighbourhoods
    that chooses one instead of the void.
    """
    if not np.isfinite(vectors).all():
        raise InvalidInputError("a vector that is not finite has no place on the map")
    points = projector.project(vectors)
    if state is None or len(state.landmarks) < state.reference.k:
        nobody = np.zeros(len(vectors), dtype=np.bool_)
        return Placed(points=points, is_provisional=nobody, drift=None)
    strange = np.zeros(len(vectors), dtype=np.bool_)
    preserved_sum = 0.0
    for start in range(0, len(vectors), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        strange[rows], kept = _among_landmarks(vectors[rows], points[rows], state)
        preserved_sum += kept
    drift = BatchDrift(n=len(vectors), n_far=int(strange.sum()), preserved_sum=preserved_sum)
    return Placed(points=points, is_provisional=strange, drift=drift)


def _among_landmarks(
    vectors: Floats, points: Floats, state: MapState
) -> tuple[NDArray[np.bool_], float]:
    """Which points are strangers, and moves these; the sum of the shares of neighbours kept."""
    landmarks, k = state.landmarks, state.reference.k
    near, distances = nearest_landmarks(vectors, landmarks.vectors, k)
    on_map, _ = nearest_landmarks(points, landmarks.points, k)
    kept = float(preserved(near, on_map).sum())
    strange = distances > state.reference.tau
    points[strange] = np.median(landmarks.points[near[strange]], axis=1)
    return strange, kept


def nearest_landmarks(
    queries: Floats, searched: Floats, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The `k` nearest of `searched`, int64 (n, k), in no order; distance of the third, (n,)."""
    x, y = queries.astype(np.float64), searched.astype(np.float64)
    squares = (x * x).sum(axis=1)[:, None] + (y * y).sum(axis=1) - 2 * (x @ y.T)
    near = np.argpartition(squares, k - 1, axis=1)[:, :k]
    ranked = np.sort(np.take_along_axis(squares, near, axis=1), axis=1)
    third = ranked[:, min(FAR_RANK, k) - 1] if len(ranked) else np.empty(0)
    return near.astype(np.int64), np.sqrt(np.maximum(third, 0.0))


def preserved(high: NDArray[np.int64], low: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of each row's neighbours in `high` that are in the same row of `low`."""
    if not len(high):
        return np.empty(0)
    same = (high[:, :, None] == low[:, None, :]).any(axis=2)
    return np.asarray(same.mean(axis=1))
