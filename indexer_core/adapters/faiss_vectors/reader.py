"""Searching an opened vector file."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.layout import FP16_BYTES, Contents, Lists
from indexer_core.adapters.faiss_vectors.library import load_faiss
from indexer_core.adapters.faiss_vectors.lists import NEIGHBOURS
from indexer_core.adapters.faiss_vectors.scan import Found, Scan
from indexer_core.errors import InvalidInputError
from indexer_core.ports import VectorSelection

# Below this share of selected vectors copying them together beats a scan that skips the others.
_GATHER_SHARE = 0.005
_TIE_GROWTH = 4
_GAP = 1_000
# A search of more than this share of the lists gains too little for what it misses.
_MOST_LISTS = 0.5


class Reader(ABC):
    """What searches stored vectors; implements `indexer_core.ports.VectorFileReader`.

    Vectors have numbers, what is stored has places: equal vectors share one. Safe for concurrent
    searches.

    Parameters
    ----------
    blocks : ndarrays of uint8, shape (n, 2 * dimension)
        What is stored, in the order of its places.
    """

    def __init__(
        self, *, n_vectors: int, blocks: Sequence[NDArray[np.uint8]], threads: int
    ) -> None:
        self.dimension = blocks[0].shape[1] // FP16_BYTES
        self.n_vectors = n_vectors
        self.n_stored = sum(len(block) for block in blocks)
        self.recall: float | None = None
        self.lists: Lists | None = None
        self._n_probes = 0
        self._threads = threads
        self._scan = Scan(blocks, threads)

    @abstractmethod
    def places(self, numbers: slice | NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Where these vectors are stored."""

    @abstractmethod
    def codes_at(self, places: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The bytes stored there, uint8 (len(places), 2 * dimension), a copy."""

    @property
    @abstractmethod
    def members(self) -> "Members | None":
        """The vectors at each place; None where vector i is stored at place i."""

    def select(self, rows: NDArray[np.bool_]) -> "Selection":
        """Prepare a selection, rows : ndarray of bool, shape (n_vectors,).

        Raises
        ------
        InvalidInputError
            Not one bool per vector.
        """
        if rows.shape != (self.n_vectors,) or rows.dtype != np.bool_:
            raise InvalidInputError("rows must be one bool per vector")
        return Selection(self, rows)

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        selection: VectorSelection,
        *,
        exact: bool = True,
        ties: bool = False,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Best k selected vectors by inner product.

        Parameters
        ----------
        queries : ndarray of float32, shape (n, dimension)
        k
            Wanted vectors per query, >= 0.
        selection
            From `select` of this reader.
        exact
            False permits to read the nearest lists only, where the file has lists. `recall` is
            what that was measured to find of the 10 nearest, every vector being selected.
        ties
            Whether all are wanted that score as the k-th does; for one query alone.

        Returns
        -------
        scores : ndarray of float32, shape (n, k')
        numbers : ndarray of int64, shape (n, k')
            k' = min(k, number of selected vectors), more with `ties`, so no place is missing. Best
            first, equal scores by number. A vector's score does not depend on `k`, the selection
            or the other queries.

        Raises
        ------
        InvalidInputError
            A selection of another reader, shapes that do not fit, or queries that are not finite.
        """
        if not isinstance(selection, Selection) or selection.reader is not self:
            raise InvalidInputError("the selection was not made for this vector file")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidInputError("queries must have the dimension of the vector file")
        if ties and len(queries) != 1:
            raise InvalidInputError("ties are told for one query alone")
        if not np.isfinite(queries).all():
            raise InvalidInputError("queries must be finite")
        k = min(k, selection.n_selected)
        if k <= 0 or not len(queries):
            shape = (len(queries), max(k, 0))
            return np.empty(shape, np.float32), np.empty(shape, np.int64)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        n_probes = 0 if exact else self._probes(k, selection)
        if n_probes:
            found = [self._approximate(query, k, selection, n_probes, ties) for query in queries]
        else:
            found = self._search(queries, k, selection, ties=ties)
        return np.array([scores for scores, _ in found]), np.array([rows for _, rows in found])

    def reconstruct(self, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Stored vectors from `start` on (None: all), float32 (count, dimension)."""
        stop = self.n_vectors if count is None else start + count
        return self.codes_at(self.places(slice(start, stop))).view(np.float16).astype(np.float32)

    def _search(
        self,
        queries: NDArray[np.float32],
        k: int,
        selection: "Selection",
        near: "Near | None" = None,
        *,
        ties: bool = False,
    ) -> list[Found]:
        """The k best per query, of the lists that are near or of all; or as many as they hold.

        Which of several with the lowest score a scan returns is left to chance. So more are
        fetched until nothing that scores as the k-th best can have been left out.
        """
        n_fetched = min(k + 1, selection.n_stored)
        scanned = self._scanned(queries, n_fetched, selection, near)
        found = [selection.ranked(k, *best, ties=ties) for best in zip(*scanned, strict=True)]
        while open_ := [i for i, ranked in enumerate(found) if ranked is None]:
            n_fetched = min(_TIE_GROWTH * n_fetched, selection.n_stored)
            scanned = self._scanned(queries[open_], n_fetched, selection, near)
            for i, *best in zip(open_, *scanned, strict=True):
                found[i] = selection.ranked(k, *best, ties=ties)
        return [ranked for ranked in found if ranked is not None]

    def _scanned(
        self, queries: NDArray[np.float32], k: int, selection: "Selection", near: "Near | None"
    ) -> Found:
        if near is not None:
            return self._scan.best(queries, k, near.selector, near.ranges)
        if selection.n_stored >= _GATHER_SHARE * self.n_stored:
            return self._scan.best(queries, k, selection.selector)
        # Scored by FAISS again, not by numpy, so that scores are the same to the last bit.
        gathered = Scan([self.codes_at(selection.places)], self._threads)
        scores, found = gathered.best(queries, k)
        return scores, selection.places[found]

    def _probes(self, k: int, selection: "Selection") -> int:
        """How many lists to read; 0: search exactly.

        The fewer vectors are selected and the more are wanted, the further away do they lie.
        """
        if self.lists is None or not self._n_probes:
            return 0
        growth = max(1.0, k / NEIGHBOURS[-1]) * self.n_stored / selection.n_stored
        n_probes = int(np.ceil(self._n_probes * growth))
        return n_probes if n_probes <= _MOST_LISTS * len(self.lists) else 0

    def _approximate(
        self,
        query: NDArray[np.float32],
        k: int,
        selection: "Selection",
        n_probes: int,
        ties: bool,
    ) -> Found:
        """The k best in the nearest lists; of all, where those hold fewer."""
        assert self.lists is not None
        along_axes = np.ascontiguousarray((query @ self.lists.axes)[None])
        _, nearest = Scan([self.lists.centroids], self._threads).best(along_axes, n_probes)
        near = Near(self.lists, np.sort(nearest[0]), selection)
        (found,) = self._search(query[None], k, selection, near, ties=ties)
        if len(found[0]) < k:
            (found,) = self._search(query[None], k, selection, ties=ties)
        return found


class FlatFp16Reader(Reader):
    """An opened vector file."""

    def __init__(self, contents: Contents, threads: int) -> None:
        super().__init__(n_vectors=contents.n_vectors, blocks=[contents.codes], threads=threads)
        self.codes = contents.codes
        self.lists = contents.lists
        self.recall = contents.search.recalls[0] if contents.search.n_probes else None
        self._n_probes = contents.search.n_probes
        self._places = contents.places

    def places(self, numbers: slice | NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Where these vectors are stored."""
        if self._places is not None:
            return self._places[numbers]
        return np.arange(self.n_vectors)[numbers] if isinstance(numbers, slice) else numbers

    def codes_at(self, places: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The bytes stored there, uint8 (len(places), 2 * dimension), a copy."""
        codes: NDArray[np.uint8] = self.codes[places]
        return codes

    @cached_property
    def members(self) -> "Members | None":
        """The vectors at each place; None where vector i is stored at place i."""
        return None if self._places is None else Members.of(self._places, self.n_stored)


def _n_through(scores: NDArray[np.float32], k: int) -> int:
    """How many of descending scores are no less than the k-th; all where there are fewer."""
    if len(scores) <= k:
        return len(scores)
    return int((-scores).searchsorted(-scores[k - 1], side="right"))


class Near:
    """Some lists, ascending, as what a scan is to read.

    Lists between which little else lies are read as one range, and a selector leaves out the
    rest: to test a bit takes a twentieth of the time of scoring a vector.
    """

    def __init__(self, lists: Lists, numbers: NDArray[np.int64], selection: "Selection") -> None:
        starts, stops = lists.starts[numbers], lists.starts[numbers + 1]
        is_cut = starts[1:] - stops[:-1] > _GAP
        first = starts[np.append(True, is_cut)].tolist()
        last = stops[np.append(is_cut, True)].tolist()
        self.ranges = list(zip(first, last, strict=True))
        chosen = np.zeros(len(lists), np.bool_)
        chosen[numbers] = True
        self._bits = np.packbits(np.repeat(chosen, np.diff(lists.starts)), bitorder="little")
        if selection.bits is not None:
            self._bits &= selection.bits
        self.selector = load_faiss().IDSelectorBitmap(self._bits)


@dataclass(frozen=True, slots=True)
class Members:
    """Which vectors are stored at a place: CSR arrays.

    numbers : ndarray of int64, shape (n_vectors,), those of place p at starts[p]:starts[p + 1]
    counts : ndarray of int64, shape (n_stored,)
    starts : ndarray of int64, shape (n_stored + 1,)
    """

    numbers: NDArray[np.int64]
    counts: NDArray[np.int64]
    starts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        starts = np.zeros(len(self.counts) + 1, np.int64)
        np.cumsum(self.counts, out=starts[1:])
        object.__setattr__(self, "starts", starts)

    @classmethod
    def of(cls, places: NDArray[np.int32], n_stored: int) -> "Members":
        """Those of vectors that are stored at these places."""
        # One sort of numbers that hold both is many times faster than a stable argsort.
        keys = (places.astype(np.int64) << 32) | np.arange(len(places), dtype=np.int64)
        keys.sort()
        return cls(keys & 0xFFFFFFFF, np.bincount(places, minlength=n_stored))


class Selection:
    """Implements `indexer_core.ports.VectorSelection`.

    n_stored
        Places at which a selected vector is stored.
    selector
        FAISS's, over places; None where all are let through.
    bits
        The memory that it points into, uint8 (n_stored / 8,).
    """

    def __init__(self, reader: Reader, rows: NDArray[np.bool_]) -> None:
        self.reader = reader
        self.n_selected = int(np.count_nonzero(rows))
        self.n_stored = reader.n_stored
        self.bits: NDArray[np.uint8] | None = None
        self.selector: Any = None
        self._rows: NDArray[np.bool_] | None = None
        self._counts = None if reader.members is None else reader.members.counts
        if self.n_selected < len(rows):
            self._restrict_to(rows.copy() if rows.flags.writeable else rows)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """The places, ascending."""
        if self._counts is not None:
            return np.flatnonzero(self._counts)
        return np.arange(self.n_stored) if self._rows is None else np.flatnonzero(self._rows)

    def ranked(
        self,
        k: int,
        scores: NDArray[np.float32],
        places: NDArray[np.int64],
        *,
        ties: bool = False,
    ) -> Found | None:
        """The k best vectors stored at these places, or all; None: more places must be fetched.

        With `ties`, also those that score as the k-th does.

        Parameters
        ----------
        scores : ndarray of float32, shape (n_fetched,), descending
        places : ndarray of int64, shape (n_fetched,)
            -1 at the end where there are no more places. Of those that have the lowest score some
            may be missing, unless that is so, or all places were fetched.
        """
        n_found = len(places) if places[-1] >= 0 else int(np.count_nonzero(places >= 0))
        is_complete = n_found < len(places) or n_found == self.n_stored
        scores, places = scores[:n_found], places[:n_found]
        if self._counts is None:
            if not is_complete and scores[k - 1] == scores[-1]:
                return None
            n_told = _n_through(scores, k) if ties else k
            return scores[:n_told], places[:n_told]
        n_needed = int(self._counts[places].cumsum().searchsorted(k)) + 1
        if n_needed < n_found:
            lowest = scores[n_needed - 1]
            if not is_complete and lowest == scores[-1]:
                return None
            n_needed = _n_through(scores, n_needed)
        elif not is_complete:
            return None
        scores, numbers = self._expanded(scores[:n_needed], places[:n_needed])
        n_told = _n_through(scores, k) if ties else k
        order = np.lexsort((numbers, -scores))[:n_told]
        return scores[order], numbers[order]

    def _restrict_to(self, rows: NDArray[np.bool_]) -> None:
        self._rows = stored = rows
        if self._counts is not None:
            places = self.reader.places(np.flatnonzero(rows))
            self._counts = np.bincount(places, minlength=self.reader.n_stored)
            stored = self._counts > 0
        self.n_stored = int(np.count_nonzero(stored))
        if self.n_stored < self.reader.n_stored:
            self.bits = np.packbits(stored, bitorder="little")
            self.selector = load_faiss().IDSelectorBitmap(self.bits)

    def _expanded(self, scores: NDArray[np.float32], places: NDArray[np.int64]) -> Found:
        """Selected vectors stored at places, with their scores."""
        members = self.reader.members
        assert members is not None
        counts = members.counts[places]
        ends = counts.cumsum()
        shifts = members.starts[places] + counts - ends
        numbers = members.numbers[shifts.repeat(counts) + np.arange(ends[-1])]
        scores = scores.repeat(counts)
        if self._rows is None:
            return scores, numbers
        selected = self._rows[numbers]
        return scores[selected], numbers[selected]
