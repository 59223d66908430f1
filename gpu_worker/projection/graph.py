"""The fuzzy graph of UMAP, in numpy, equal to umap-learn's (McInnes et al. 2018, section 3.1).

umap-learn compiles the same with numba, which takes a minute before the first small map.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.neighbours import Neighbours

_N_HALVINGS = 64
_TOLERANCE = 1e-5
_MIN_SHARE = 1e-3
"""A bandwidth is at least this share of the mean distance."""

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FuzzyGraph:
    """Weighted edges, each in both directions.

    Parameters
    ----------
    heads, tails : ndarray of int64, shape (n_edges,)
    weights : ndarray of float32, shape (n_edges,)
        In (0, 1].
    """

    n_points: int
    heads: NDArray[np.int64]
    tails: NDArray[np.int64]
    weights: NDArray[np.float32]


def fuzzy_graph(neighbours: Neighbours) -> FuzzyGraph:
    """The union of the fuzzy neighbourhoods of all points.

    Parameters
    ----------
    neighbours
        Of each point among the others, itself not counted.
    """
    n, k = neighbours.indices.shape
    weights = memberships(neighbours.distances).ravel()
    heads = np.repeat(np.arange(n, dtype=np.int64), k)
    tails = neighbours.indices.ravel()
    return _union(n, heads, tails, weights)


def memberships(distances: NDArray[np.float32]) -> NDArray[np.float64]:
    """How much each neighbour belongs to a point's surroundings.

    Parameters
    ----------
    distances : ndarray of float32, shape (n, k)
        Ascending, the point itself not counted.

    Returns
    -------
    ndarray of float64, shape (n, k)
        In [0, 1]; a row adds up to about log2(k + 1), however dense its surroundings are.
    """
    sigmas, rhos = bandwidths(distances)
    beyond = np.maximum(distances - rhos[:, None], 0.0)
    return np.asarray(np.exp(-beyond / np.where(sigmas > 0, sigmas, 1.0)[:, None]))


def bandwidths(distances: NDArray[np.float32]) -> tuple[Doubles, Doubles]:
    """Bandwidth of each point, and the distance of its nearest neighbour that is not its equal."""
    exact = distances.astype(np.float64)
    n, k = exact.shape
    positive = np.where(exact > 0, exact, np.inf)
    nearest = positive.min(axis=1, initial=np.inf)
    rhos = np.where(np.isfinite(nearest), nearest, 0.0)
    sigmas = _solved(np.maximum(exact - rhos[:, None], 0.0), np.log2(k + 1))
    # umap-learn's means count the point itself, at distance 0.
    own_means = exact.sum(axis=1) / (k + 1)
    means = np.where(rhos > 0, own_means, own_means.mean() if n else 0.0)
    return np.maximum(sigmas, _MIN_SHARE * means), rhos


def _solved(beyond: Doubles, target: float) -> Doubles:
    """The sigma of each row with ``sum(exp(-beyond / sigma)) == target``, by bisection."""
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    middle = np.ones(len(beyond))
    found = np.zeros(len(beyond), dtype=bool)
    for _ in range(_N_HALVINGS):
        total = np.exp(-beyond / middle[:, None]).sum(axis=1)
        found |= np.abs(total - target) < _TOLERANCE
        if found.all():
            break
        too_wide = total > target
        high = np.where(too_wide & ~found, middle, high)
        low = np.where(~too_wide & ~found, middle, low)
        # Doubled until something is too wide; the sum of an infinity is never used.
        between = np.where(np.isinf(high), middle * 2, (low + np.minimum(high, 1e300)) / 2)
        middle = np.where(found, middle, between)
    return middle


def _union(
    n: int, heads: NDArray[np.int64], tails: NDArray[np.int64], weights: Doubles
) -> FuzzyGraph:
    """``a + b - a * b`` of an edge's weights in its two directions."""
    # n * n fits in 64 bits for any number of points that fits in memory.
    keys = np.concatenate([heads * n + tails, tails * n + heads])
    order = np.argsort(keys, kind="stable")
    keys, both = keys[order], np.tile(weights, 2)[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sums, products = np.add.reduceat(both, starts), np.multiply.reduceat(both, starts)
    is_pair = np.diff(np.append(starts, len(keys))) == 2
    joined = np.where(is_pair, sums - products, sums)
    edges, kept = keys[starts], joined > 0
    return FuzzyGraph(
        n_points=n,
        heads=edges[kept] // n,
        tails=edges[kept] % n,
        weights=joined[kept].astype(np.float32),
    )
