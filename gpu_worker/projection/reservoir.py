"""Points picked out of many: landmarks that hold a map in place, and a sample to train on."""

import numpy as np
from numpy.typing import NDArray

N_LANDMARKS = 2000
_GRID = 32
_N_PIVOTS, _N_CANDIDATES = 256, 4096
_CHUNK_ROWS = 4096

Rows = NDArray[np.int64]


def pick_landmarks(points: NDArray[np.float32], n: int = N_LANDMARKS, *, seed: int) -> Rows:
    """Rows of at most `n` points, taken in turn from the cells of a 32 x 32 grid over the map.

    A plain sample would leave the sparse parts of a map free to move.
    """
    return spread_over(_cells(points), n, seed=seed)


def _cells(points: NDArray[np.float32]) -> Rows:
    low, high = points.min(axis=0), points.max(axis=0)
    extent = np.maximum((high - low).astype(np.float64), 1e-12)
    at = ((points - low) / extent * _GRID).astype(np.int64).clip(0, _GRID - 1)
    return np.asarray(at[:, 0] * _GRID + at[:, 1])


def sample_to_train(vectors: NDArray[np.float32], n: int, *, seed: int) -> Rows:
    """Rows of at most `n` vectors, ascending; rare kinds are drawn more often than their share.

    Strata are the surroundings of 256 vectors that lie far from each other.
    """
    if len(vectors) <= n:
        return np.arange(len(vectors))
    random = np.random.default_rng(seed)
    pivots = _far_apart(vectors[random.permutation(len(vectors))[:_N_CANDIDATES]], _N_PIVOTS)
    half_squares = (pivots * pivots).sum(axis=1) / 2
    strata = np.concatenate(
        [
            (vectors[start : start + _CHUNK_ROWS] @ pivots.T - half_squares).argmax(axis=1)
            for start in range(0, len(vectors), _CHUNK_ROWS)
        ]
    )
    counts = np.bincount(strata, minlength=len(pivots))
    return np.sort(_drawn(strata, _quotas(counts, n), random))


def _far_apart(candidates: NDArray[np.float32], n: int) -> NDArray[np.float32]:
    """Vectors each of which was the furthest from those before it (Gonzalez 1985)."""
    chosen = [0]
    norms = np.square(candidates).sum(axis=1)
    distances = np.full(len(candidates), np.inf)
    for _ in range(min(n, len(candidates)) - 1):
        last = chosen[-1]
        squares = norms + norms[last] - 2 * (candidates @ candidates[last])
        distances = np.minimum(distances, squares)
        chosen.append(int(distances.argmax()))
    return candidates[chosen]


def _quotas(counts: Rows, n: int) -> Rows:
    """Shares of `n` by the square root of each count, none above its count."""
    wanted = np.sqrt(counts.astype(np.float64))
    low, high = 0.0, float(counts.max())
    for _ in range(60):
        middle = (low + high) / 2
        too_many = np.minimum(wanted * middle, counts).sum() > n
        low, high = (low, middle) if too_many else (middle, high)
    exact = np.minimum(wanted * low, counts)
    quotas = np.floor(exact).astype(np.int64)
    # What rounding down left over goes to those that lost most by it.
    losers = np.argsort(quotas - exact, kind="stable")[: n - int(quotas.sum())]
    quotas[losers] += 1
    return np.minimum(quotas, counts)


def _drawn(strata: Rows, quotas: Rows, random: np.random.Generator) -> Rows:
    order = random.permutation(len(strata))
    return order[_turns(strata[order]) < quotas[strata[order]]]


def spread_over(cells: Rows, n: int, *, seed: int) -> Rows:
    """Rows of at most `n` points, ascending: the first of every cell, the second, and so on."""
    order = np.random.default_rng(seed).permutation(len(cells))
    turns = _turns(cells[order])
    return np.sort(order[np.argsort(turns, kind="stable")[:n]])


def _turns(cells: Rows) -> Rows:
    """How many of the same cell come before each."""
    order = np.argsort(cells, kind="stable")
    sorted_cells = cells[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_cells[1:] != sorted_cells[:-1]]))
    lengths = np.diff(np.append(starts, len(cells)))
    turns = np.empty(len(cells), dtype=np.int64)
    turns[order] = np.arange(len(cells)) - np.repeat(starts, lengths)
    return turns
