"""Lists of vectors that lie near each other, so that a search may read a few of them only.

Stored vectors are ordered by list: one file serves the exact scan (all of it), the gathering of a
few vectors, and the approximate search (the lists whose centroids are nearest to the query).
How many lists a search reads is decided when the file is written, by measuring what it finds.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors import bulk
from indexer_core.adapters.faiss_vectors.layout import Lists, ListSearch
from indexer_core.adapters.faiss_vectors.scan import Scan

# Measured on template texts: twice as many lists gain little and cost four times the training.
_LISTS_PER_ROOT = 3.0
_SAMPLE_PER_LIST = 40
_SEED = 20_261_123
_CHUNK = 8_192
# Lists that were made for other vectors grow uneven, and a search then reads more for the same.
_UNEVENNESS_GROWTH = 1.3

FEWEST = 8
_QUERIES = 200
NEIGHBOURS = (10, 100)
_WANTED_RECALL = (0.995, 0.99)
# A search that reads this share takes about a tenth of the time of an exact one, so there is no
# point in reading less; one that must read more than the other share is not worth its misses.
_SHARE = 1 / 20
_MOST_SHARE = 1 / 4


class Rows(Protocol):
    """Distinct vectors in the order in which they first occur."""

    def __len__(self) -> int: ...

    def codes(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Their bytes, uint8 (len(positions), 2 * dimension), a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """Vectors by list.

    order : ndarray of int64, shape (n_stored,), positions in the order in which they are stored
    held_out : ndarray of int64, places of vectors that no centroid was made from
    """

    lists: Lists
    order: NDArray[np.int64]
    held_out: NDArray[np.int64]


def n_lists_for(n_stored: int) -> int:
    """The power of two nearest to 3 sqrt(n), at most n/4."""
    wanted = round(math.log2(_LISTS_PER_ROOT * math.sqrt(n_stored)))
    return 1 << min(wanted, int(math.log2(n_stored)) - 2)


def arrange(rows: Rows, inherited: Lists | None) -> Arrangement:
    """Sort `FEWEST` vectors or more into lists: inherited ones if they still fit, else new ones."""
    n_lists = n_lists_for(len(rows))
    random = np.random.default_rng(_SEED)
    shuffled = random.permutation(len(rows))
    n_held_out = 2 * max(1, min(_QUERIES, len(rows) // 16))
    held_out, others = shuffled[:n_held_out], shuffled[n_held_out:]
    if inherited is not None and len(inherited.centroids) == n_lists:
        numbers = _assigned(rows, inherited.centroids)
        unevenness = _unevenness(numbers, n_lists)
        if unevenness <= _UNEVENNESS_GROWTH * inherited.unevenness_trained:
            return _arranged(numbers, inherited.centroids, inherited.unevenness_trained, held_out)
    sample = np.sort(others[: n_lists * _SAMPLE_PER_LIST])
    centroids = bulk.centroids_of(_decoded(rows, sample), n_lists, _SEED, gpu=bulk.n_gpus() > 0)
    stored = centroids.astype("<f2").view(np.uint8)
    numbers = _assigned(rows, stored)
    return _arranged(numbers, stored, _unevenness(numbers, n_lists), held_out)


def measured(arrangement: Arrangement, codes: NDArray[np.uint8], threads: int) -> ListSearch:
    """How many lists a search should read, and what share of the true neighbours it then finds.

    Asked are vectors that the centroids were not made from (their own place does not count), and
    means of two of them: questions that are like nothing stored. The worse of both counts.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n_stored, 2 * dimension), in list order
    """
    lists = arrangement.lists
    first, second = np.array_split(arrangement.held_out, 2)
    asked = codes[first].view(np.float16).astype(np.float32)
    mixed = asked + codes[second].view(np.float16).astype(np.float32)
    mixed /= np.maximum(np.linalg.norm(mixed, axis=1, keepdims=True), 1e-6)
    scan = Scan(codes, threads)
    ranks = [_ranks(scan, lists, asked, first), _ranks(scan, lists, mixed, None)]
    sizes = np.diff(lists.starts)
    read = np.cumsum(np.concatenate([sizes[order] for order, _ in ranks]), axis=1).mean(axis=0)
    n_probes = int(np.searchsorted(read, _SHARE * len(codes))) + 1
    for k, wanted in zip(NEIGHBOURS, _WANTED_RECALL, strict=True):
        for _, rank in ranks:
            n_probes = max(n_probes, 1 + int(np.quantile(rank[:, :k], wanted)))
    n_probes = min(n_probes, len(sizes))
    if read[n_probes - 1] > _MOST_SHARE * len(codes):
        return ListSearch()
    return ListSearch(
        n_probes=n_probes,
        recalls=(_recall(ranks, NEIGHBOURS[0], n_probes), _recall(ranks, NEIGHBOURS[1], n_probes)),
    )


def _recall(
    ranks: list[tuple[NDArray[np.int64], NDArray[np.int64]]], k: int, n_probes: int
) -> float:
    return min(float(np.mean(rank[:, :k] < n_probes)) for _, rank in ranks)


def _ranks(
    scan: Scan,
    lists: Lists,
    queries: NDArray[np.float32],
    own: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The order in which each query would read the lists, and how early its neighbours come.

    Returns
    -------
    order : ndarray of int64, shape (n, n_lists)
    rank : ndarray of int64, shape (n, 100)
        Place in that order of the lists that the nearest vectors are in, nearest first.
    """
    n_lists = len(lists.centroids)
    _, order = Scan(lists.centroids, 1).best(queries, n_lists)
    rank_of = np.empty_like(order)
    np.put_along_axis(rank_of, order, np.arange(n_lists)[None, :], axis=1)
    _, places = scan.best(queries, min(NEIGHBOURS[-1] + 1, int(lists.starts[-1])))
    if own is None:
        places = places[:, :-1]
    else:
        others = places != own[:, None]
        others[others.all(axis=1), -1] = False  # crowded out by vectors longer than itself
        places = places[others].reshape(len(queries), -1)
    found_in = np.searchsorted(lists.starts, places, side="right") - 1
    return order, np.take_along_axis(rank_of, found_in, axis=1)


def _assigned(rows: Rows, centroids: NDArray[np.uint8]) -> NDArray[np.int32]:
    """The list of each vector, int32 (n_stored,)."""
    gpu = bulk.n_gpus() > 0
    means = centroids.view(np.float16).astype(np.float32)
    numbers = np.empty(len(rows), np.int32)
    for start in range(0, len(rows), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(rows)))
        _, found = bulk.nearest(_decoded(rows, chunk), means, 1, gpu=gpu)
        numbers[chunk] = found[:, 0]
    return numbers


def _decoded(rows: Rows, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    return rows.codes(positions).view(np.float16).astype(np.float32)


def _unevenness(numbers: NDArray[np.int32], n_lists: int) -> float:
    sizes = np.bincount(numbers, minlength=n_lists).astype(np.float64)
    return float(n_lists * np.sum(sizes**2) / len(numbers) ** 2)


def _arranged(
    numbers: NDArray[np.int32],
    centroids: NDArray[np.uint8],
    unevenness_trained: float,
    held_out: NDArray[np.int64],
) -> Arrangement:
    n_lists = len(centroids)
    order = np.argsort(numbers, kind="stable")
    starts = np.zeros(n_lists + 1, np.int64)
    np.cumsum(np.bincount(numbers, minlength=n_lists), out=starts[1:])
    lists = Lists(
        starts=starts,
        centroids=centroids,
        unevenness=_unevenness(numbers, n_lists),
        unevenness_trained=unevenness_trained,
    )
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return Arrangement(lists=lists, order=order, held_out=places[held_out])
