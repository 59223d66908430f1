"""Where a new point goes before the map has learnt its kind."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.inputs import require_finite
from gpu_worker.projection.neighbours import Neighbours
from indexer_core.projector import Projector

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """Places of new points.

    Parameters
    ----------
    points : ndarray of float32, shape (n, 2)
    is_provisional : ndarray of bool, shape (n,)
        Placed by its neighbours, because the encoder does not know its kind.
    """

    points: Floats
    is_provisional: NDArray[np.bool_]


def place(
    vectors: Floats, projector: Projector, neighbours: Neighbours, old_points: Floats, tau: float
) -> Placed:
    """Place points by the frozen encoder, and strangers among their neighbours.

    Parameters
    ----------
    neighbours
        Of each vector among the old points; the last is compared with `tau`.
    old_points : ndarray of float32, shape (n_old, 2)
    tau
        `DriftReference.tau`.

    Raises
    ------
    InvalidInputError
        When a vector is not finite: it would have no place, and its row would say so by NaN.

    Notes
    -----
    The median, not the mean: between two neighbourhoods it chooses one instead of the void.
    """
    require_finite(vectors)
    points = projector.project(vectors)
    strange = neighbours.distances[:, -1] > tau
    points[strange] = np.median(old_points[neighbours.indices[strange]], axis=1)
    return Placed(points=points, is_provisional=strange)
