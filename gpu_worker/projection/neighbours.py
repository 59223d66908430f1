"""Nearest neighbours by Euclidean distance: exact in chunks, on whatever device the vectors are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from indexer_core.errors import UnavailableError

_CHUNK_VALUES = 2**24
"""Distances held at once: 64 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Neighbours:
    """Neighbours of some points, nearest first.

    Parameters
    ----------
    indices : ndarray of int64, shape (n, k)
        Rows of what was searched.
    distances : ndarray of float32, shape (n, k)
    """

    indices: NDArray[np.int64]
    distances: NDArray[np.float32]


def nearest(
    queries: NDArray[np.float32] | Any,
    searched: NDArray[np.float32] | Any,
    k: int,
    *,
    own_rows: NDArray[np.int64] | None = None,
    device: str = "cpu",
) -> Neighbours:
    """The exact nearest neighbours.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, dimension)
    searched : ndarray of float32, shape (n_searched, dimension)
        At least ``k`` of them, and one more with `own_rows`.
    own_rows : ndarray of int64, shape (n,), optional
        The row of each query among those searched: it is not its own neighbour. Its equals are.
    """
    with torch.inference_mode():
        x = torch.as_tensor(queries, device=device)
        y = torch.as_tensor(searched, device=device)
        own = None if own_rows is None else torch.as_tensor(own_rows, device=device)
        squares = (y * y).sum(dim=1)
        step = max(1, min(1024, _CHUNK_VALUES // max(len(y), 15 * y.shape[1])))
        found = [
            _chunk(x[start : start + step], y, squares, k, None if own is None else own[start:])
            for start in range(0, len(x), step)
        ]
    if not found:
        return Neighbours(
            indices=np.empty((0, k), dtype=np.int64), distances=np.empty((0, k), dtype=np.float32)
        )
    return Neighbours(
        indices=torch.cat([indices for indices, _ in found]).cpu().numpy(),
        distances=torch.cat([distances for _, distances in found]).cpu().numpy(),
    )


def _chunk(x: Any, y: Any, squares: Any, k: int, own: Any) -> tuple[Any, Any]:
    # |x|**2 is the same for a whole row, so the order of a row does not need it.
    order = torch.addmm(squares, x, y.T, alpha=-2.0)
    if own is not None:
        order[torch.arange(len(x), device=x.device), own[: len(x)]] = torch.inf
    indices = order.topk(k, dim=1, largest=False).indices
    # Taken anew from the differences: the sum above leaves equal vectors 0.0003 apart.
    distances = (x[:, None] - y[indices]).square().sum(dim=2).sqrt()
    distances, ranks = distances.sort(dim=1, stable=True)
    return indices.gather(1, ranks), distances


def neighbours_within(
    vectors: NDArray[np.float32], k: int, *, n_exact: int, seed: int, device: str = "cpu"
) -> Neighbours:
    """The `k` neighbours of each point among the others, itself not counted."""
    if len(vectors) <= n_exact:
        return nearest(vectors, vectors, k, own_rows=np.arange(len(vectors)), device=device)
    return _by_descent(vectors, k, seed)


def _by_descent(vectors: NDArray[np.float32], k: int, seed: int) -> Neighbours:
    """Approximate, in less than quadratic time. The first call compiles for a minute."""
    try:
        from pynndescent import NNDescent
    except ImportError as error:
        raise UnavailableError(
            "neighbours of so many points are searched by pynndescent: install dicom-indexer[map], "
            "or train on fewer points"
        ) from error
    search = NNDescent(
        vectors, metric="euclidean", n_neighbors=k + 1, random_state=seed, low_memory=True
    )
    indices, distances = search.neighbor_graph
    return _without_self(indices.astype(np.int64), distances.astype(np.float32))


def _without_self(indices: NDArray[np.int64], distances: NDArray[np.float32]) -> Neighbours:
    """Each row less itself, or less its last where equal vectors have crowded it out."""
    own = indices == np.arange(len(indices))[:, None]
    own[~own.any(axis=1), -1] = True
    shape = (len(indices), indices.shape[1] - 1)
    return Neighbours(
        indices=indices[~own].reshape(shape), distances=distances[~own].reshape(shape)
    )
