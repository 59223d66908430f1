"""Lists of vectors that lie near each other, so that a search may read a few of them only.

Stored vectors are ordered by list: one file serves the exact scan (all of it), the gathering of a
few vectors, and the approximate search (the lists whose centroids are nearest to the query).
How many lists a search reads is decided when the file is written, by measuring what it finds.

Lists are short. Questions are not like texts of the index (they are shorter, they negate), and
what is nearest to them is spread over many lists; many short lists waste less than few long ones.
They are made by dividing again what was divided before, which is cheap, and puts lists that lie
near each other side by side in the file.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors import bulk
from indexer_core.adapters.faiss_vectors.layout import Lists, ListSearch
from indexer_core.adapters.faiss_vectors.scan import Scan

FEWEST = 8
_PER_LIST = 24
# So many vectors are divided into lists at one go, more into groups first. A group is decoded to
# float32 (16 MB at 512 dimensions).
_GROUP = 8_192
_SAMPLE_PER_GROUP = 256
_SEED = 20_261_123
# Centroids are compared along the axes that hold this share of what they are, in steps.
_ENERGY = 0.993
_AXES_STEP = 32
# The axes of so many dimensions take a minute to find.
MOST_DIMENSIONS = 4_096

_QUERIES = 200
NEIGHBOURS = (10, 100)
_WANTED_RECALL = (0.993, 0.98)
# To read less saves little time beside the comparison with all centroids; to read more than the
# other share is not worth what is missed.
_SHARE = 1 / 40
_MOST_SHARE = 1 / 5


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


def arrange(rows: Rows) -> Arrangement:
    """Sort `FEWEST` vectors or more into lists, the same for the same vectors."""
    random = np.random.default_rng(_SEED)
    n_held_out = max(1, min(_QUERIES, len(rows) // 16))
    held_out = random.choice(len(rows), n_held_out, replace=False)
    divider = _Divider(rows, held_out)
    divider.divide(np.arange(len(rows)))
    order = np.concatenate(divider.members)
    starts = np.zeros(len(divider.members) + 1, np.int64)
    np.cumsum([len(members) for members in divider.members], out=starts[1:])
    axes, centroids = _along_axes(np.concatenate(divider.centroids))
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(len(order))
    return Arrangement(
        lists=Lists(starts=starts, axes=axes, centroids=centroids),
        order=order,
        held_out=places[held_out],
    )


def _along_axes(
    centroids: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The axes that matter to centroids, and what the centroids are along them, as fp16."""
    energies, axes = np.linalg.eigh((centroids.T @ centroids).astype(np.float64))
    shares = np.cumsum(energies[::-1]) / max(float(energies.sum()), 1e-12)
    n_axes = -(-(1 + int(np.searchsorted(shares, _ENERGY))) // _AXES_STEP) * _AXES_STEP
    kept = np.ascontiguousarray(axes[:, ::-1][:, :n_axes], dtype=np.float32)
    return kept, np.ascontiguousarray(centroids @ kept, dtype="<f2").view(np.uint8)


class _Divider:
    """Divides vectors into groups, and these into lists: `members` with their `centroids`."""

    def __init__(self, rows: Rows, held_out: NDArray[np.int64]) -> None:
        self.members: list[NDArray[np.int64]] = []
        self.centroids: list[NDArray[np.float32]] = []
        self._rows = rows
        self._gpu = bulk.n_gpus() > 0
        self._may_train = np.ones(len(rows), np.bool_)
        self._may_train[held_out] = False

    def divide(self, positions: NDArray[np.int64]) -> None:
        """Add the lists of some vectors, ascending positions."""
        if len(positions) <= _GROUP:
            self._add_lists(positions)
            return
        n_groups = -(-2 * len(positions) // _GROUP)
        random = np.random.default_rng((_SEED, len(positions)))
        trainable = positions[self._may_train[positions]]
        wanted = min(len(trainable), n_groups * _SAMPLE_PER_GROUP)
        sample = np.sort(random.choice(trainable, wanted, replace=False))
        centroids = bulk.centroids_of(self._decoded(sample), n_groups, _SEED, gpu=self._gpu)
        groups = np.concatenate(
            [
                self._nearest(self._decoded(positions[start : start + _GROUP]), centroids)
                for start in range(0, len(positions), _GROUP)
            ]
        )
        for group in range(n_groups):
            members = positions[groups == group]
            if len(members) == len(positions):  # all alike: no centroid tells them apart
                members, rest = np.array_split(members, 2)
                self.divide(rest)
            self.divide(members)

    def _add_lists(self, positions: NDArray[np.int64]) -> None:
        if not len(positions):
            return
        vectors = self._decoded(positions)
        training = vectors[self._may_train[positions]]
        n_lists = min(max(1, len(positions) // _PER_LIST), max(1, len(training)))
        sample = training if len(training) else vectors
        centroids = bulk.centroids_of(sample, n_lists, _SEED, gpu=self._gpu)
        numbers = self._nearest(vectors, centroids)
        for number in np.unique(numbers):
            self.members.append(positions[numbers == number])
            self.centroids.append(centroids[number : number + 1])

    def _nearest(
        self, vectors: NDArray[np.float32], centroids: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        return bulk.nearest(vectors, centroids, 1, gpu=self._gpu)[1][:, 0]

    def _decoded(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._rows.codes(positions).view(np.float16).astype(np.float32)


def measured(arrangement: Arrangement, codes: NDArray[np.uint8], threads: int) -> ListSearch:
    """How many lists a search should read, and what share of the true neighbours it then finds.

    Asked are vectors that no centroid was made from (they themselves do not count), and random
    directions, which are as hard as questions of people or harder. The worse of both counts.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n_stored, 2 * dimension), in list order
    """
    lists, held_out = arrangement.lists, arrangement.held_out
    stored = codes[held_out].view(np.float16).astype(np.float32)
    random = np.random.default_rng(_SEED).standard_normal(stored.shape).astype(np.float32)
    scan = Scan([codes], threads)
    read_a, ranks_a = _ranks(scan, lists, stored, held_out)
    read_b, ranks_b = _ranks(scan, lists, random, None)
    read = np.maximum(read_a, read_b) / len(codes)
    n_probes = 1 + int(np.searchsorted(read, _SHARE))
    for k, wanted in zip(NEIGHBOURS, _WANTED_RECALL, strict=True):
        for ranks in (ranks_a, ranks_b):
            needed = np.quantile(ranks[:, :k], wanted, method="higher")
            n_probes = max(n_probes, 1 + int(needed))
    n_probes = min(n_probes, len(lists))
    if read[n_probes - 1] > _MOST_SHARE:
        return ListSearch()
    recall_10, recall_100 = (
        min(float(np.mean(ranks[:, :k] < n_probes)) for ranks in (ranks_a, ranks_b))
        for k in NEIGHBOURS
    )
    return ListSearch(n_probes=n_probes, recalls=(recall_10, recall_100))


def _ranks(
    scan: Scan, lists: Lists, queries: NDArray[np.float32], own: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """How much queries read with each further list, and how early their neighbours come.

    Returns
    -------
    read : ndarray of float64, shape (n_lists,)
        Vectors in the first 1, 2, ... lists, mean over the queries.
    ranks : ndarray of int64, shape (n, 100)
        When the lists of the nearest vectors are read, nearest first, from 0.
    """
    means = lists.centroids.view(np.float16).astype(np.float32)
    order = np.argsort(-(queries @ lists.axes @ means.T), axis=1)
    rank_of = np.empty_like(order)
    np.put_along_axis(rank_of, order, np.arange(len(means))[None, :], axis=1)
    _, places = scan.best(queries, min(NEIGHBOURS[-1] + 1, int(lists.starts[-1])))
    if own is None:
        places = places[:, :-1]
    else:
        others = places != own[:, None]
        others[others.all(axis=1), -1] = False  # crowded out by vectors longer than itself
        places = places[others].reshape(len(queries), -1)
    found_in = np.searchsorted(lists.starts, places, side="right") - 1
    read = np.cumsum(np.diff(lists.starts)[order], axis=1).mean(axis=0)
    return read, np.take_along_axis(rank_of, found_in, axis=1)
