"""When the world has changed: new points far from all known ones, or torn from their neighbours.

Two statistics, each blind where the other sees. Points of an unseen kind lie further from their
k-th neighbour than nearly all known points do; where an unseen kind lies between known ones, it is
the map that fails to keep its neighbourhoods. Both are compared with what points showed that the
map was not trained on: trained points are flattered.
"""

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.neighbours import nearest
from indexer_core.map_state import DriftReference
from indexer_core.placing import preserved
from indexer_core.projector import Projector

TAU_QUANTILE = 0.99
Floats = NDArray[np.float32]


def calibrate(k: int, distances: Floats, kept: NDArray[np.float64]) -> DriftReference:
    """The usual.

    Parameters
    ----------
    distances : ndarray of float32, shape (n,)
        To the k-th neighbour among the trained points.
    kept : ndarray of float64, shape (n,)
        Share of the k neighbours that are also the nearest on the map, of points that it was not
        trained on. There may be fewer of these.
    """
    return DriftReference(
        k=k, tau=float(np.quantile(distances, TAU_QUANTILE)), preservation=float(kept.mean())
    )


def look_at(
    vectors: Floats,
    projector: Projector,
    searched: Floats,
    places: Floats,
    k: int,
    *,
    device: str = "cpu",
) -> tuple[Floats, NDArray[np.float64]]:
    """Distance of each vector to its k-th neighbour, and the share of neighbours that are kept.

    Parameters
    ----------
    searched : ndarray of float32, shape (n, dimension)
        The points that the map was trained on, at least `k` of them.
    places : ndarray of float32, shape (n, 2)
        Theirs.
    """
    near = nearest(vectors, searched, k, device=device)
    on_map = nearest(projector.project(vectors), places, k, device=device)
    return near.distances[:, -1], preserved(near.indices, on_map.indices)
