"""Searching an opened vector file."""

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.layout import Contents
from indexer_core.adapters.faiss_vectors.scan import Found, Scan
from indexer_core.errors import InvalidInputError
from indexer_core.ports import VectorSelection

# Below this share of selected vectors copying them together beats a scan that skips the others.
_GATHER_SHARE = 0.005
_TIE_GROWTH = 4


class FlatFp16Reader:
    """Implements `indexer_core.ports.VectorFileReader`; safe for concurrent searches.

    Vectors have numbers, what is stored has places: equal vectors share one.
    """

    def __init__(self, contents: Contents, threads: int) -> None:
        self.dimension = contents.dimension
        self.n_vectors = contents.n_vectors
        self.n_stored = len(contents.codes)
        self.recall: float | None = None
        self._codes = contents.codes
        self._places = contents.places
        self._threads = threads
        self._scan = Scan(contents.codes, threads)

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
        exact: bool = True,  # noqa: ARG002 - no other search here
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Best k selected vectors by inner product.

        Parameters
        ----------
        queries : ndarray of float32, shape (n, dimension)
        k
            Wanted vectors per query, >= 0.
        selection
            From `select` of this reader.

        Returns
        -------
        scores : ndarray of float32, shape (n, k')
        numbers : ndarray of int64, shape (n, k')
            k' = min(k, number of selected vectors), so no place is missing. Best first, equal
            scores by number. A vector's score does not depend on `k`, the selection or the other
            queries.

        Raises
        ------
        InvalidInputError
            A selection of another reader, shapes that do not fit, or queries that are not finite.
        """
        if not isinstance(selection, Selection) or selection.reader is not self:
            raise InvalidInputError("the selection was not made for this vector file")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidInputError("queries must have the dimension of the vector file")
        if not np.isfinite(queries).all():
            raise InvalidInputError("queries must be finite")
        k = min(k, selection.n_selected)
        if k <= 0 or not len(queries):
            shape = (len(queries), max(k, 0))
            return np.empty(shape, np.float32), np.empty(shape, np.int64)
        return self._search(np.ascontiguousarray(queries, dtype=np.float32), k, selection)

    def reconstruct(self, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Stored vectors from `start` on (None: all), float32 (count, dimension)."""
        stop = self.n_vectors if count is None else start + count
        return self.codes_at(self.places(slice(start, stop))).view(np.float16).astype(np.float32)

    def places(self, numbers: slice | NDArray[np.int64]) -> NDArray[np.integer[Any]]:
        """Where these vectors are stored."""
        if self._places is not None:
            return self._places[numbers]
        return np.arange(self.n_vectors)[numbers] if isinstance(numbers, slice) else numbers

    def codes_at(self, places: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The bytes stored there, uint8 (len(places), 2 * dimension), a copy."""
        codes: NDArray[np.uint8] = self._codes[places]
        return codes

    @cached_property
    def members(self) -> "Members | None":
        """The vectors at each place; None where vector i is stored at place i."""
        return None if self._places is None else Members(self._places, self.n_stored)

    def _search(self, queries: NDArray[np.float32], k: int, selection: "Selection") -> Found:
        """Fetch more until nothing that scores as the k-th best can have been left out.

        Which of several with the lowest score a scan returns is left to chance.
        """
        scores = np.empty((len(queries), k), np.float32)
        numbers = np.empty((len(queries), k), np.int64)
        n_fetched = k
        open_ = np.arange(len(queries))
        while len(open_):
            n_fetched = min(n_fetched + 1, selection.n_stored)
            found_scores, places = self._best(queries[open_], n_fetched, selection)
            complete = n_fetched == selection.n_stored
            done = [
                selection.take(
                    k, found_scores[j], places[j], scores[i], numbers[i], complete=complete
                )
                for j, i in enumerate(open_)
            ]
            open_ = open_[~np.array(done)]
            n_fetched *= _TIE_GROWTH
        return scores, numbers

    def _best(self, queries: NDArray[np.float32], k: int, selection: "Selection") -> Found:
        if selection.n_stored >= _GATHER_SHARE * self.n_stored:
            return self._scan.best(queries, k, selection.selector)
        # Scored by FAISS again, not by numpy, so that scores are the same to the last bit.
        places = selection.places
        scores, found = Scan(self._codes[places], self._threads).best(queries, k)
        return scores, places[found]


class Members:
    """Which vectors are stored at a place: CSR arrays.

    starts : ndarray of int64, shape (n_stored + 1,)
    numbers : ndarray of int64, shape (n_vectors,), those of place p at starts[p]:starts[p + 1]
    """

    def __init__(self, places: NDArray[np.int32], n_stored: int) -> None:
        # One sort of numbers that hold both is many times faster than a stable argsort.
        keys = (places.astype(np.int64) << 32) | np.arange(len(places), dtype=np.int64)
        keys.sort()
        self.numbers = keys & 0xFFFFFFFF
        self.starts = np.zeros(n_stored + 1, np.int64)
        np.cumsum(np.bincount(places, minlength=n_stored), out=self.starts[1:])
        self.counts = np.diff(self.starts)


class Selection:
    """Implements `indexer_core.ports.VectorSelection`, with the memory that FAISS points into."""

    def __init__(self, reader: FlatFp16Reader, rows: NDArray[np.bool_]) -> None:
        self.reader = reader
        self.n_selected = int(np.count_nonzero(rows))
        self._is_all = self.n_selected == len(rows)
        self._rows = rows if self._is_all or not rows.flags.writeable else rows.copy()
        self.n_stored = reader.n_stored
        self._counts: NDArray[np.int64] | None = None
        self.selector: Any = None
        if reader.members is not None:
            self._counts = reader.members.counts
        if not self._is_all:
            self._restrict()

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """The selected places."""
        return np.flatnonzero(self._rows if self._counts is None else self._counts)

    def take(
        self,
        k: int,
        scores: NDArray[np.float32],
        places: NDArray[np.int64],
        best_scores: NDArray[np.float32],
        best_numbers: NDArray[np.int64],
        *,
        complete: bool,
    ) -> bool:
        """Write the k best vectors stored at these places, scores descending, into the two arrays.

        False where they may not be: unless `complete`, an absent place may have the lowest score.
        """
        last = k - 1
        if self._counts is not None:
            last = int(np.searchsorted(np.cumsum(self._counts[places]), k))
        kth = scores[last]
        if not complete and scores[-1] == kth:
            return False
        if self._counts is None:
            best_scores[:], best_numbers[:] = scores[:k], places[:k]
            return True
        last = int(np.searchsorted(-scores, -kth, side="right"))
        scores, numbers = self._expanded(scores[:last], places[:last])
        order = np.lexsort((numbers, -scores))[:k]
        best_scores[:], best_numbers[:] = scores[order], numbers[order]
        return True

    def _restrict(self) -> None:
        faiss = _faiss()
        reader, rows = self.reader, self._rows
        stored = rows
        if self._counts is not None:
            selected = reader.places(np.flatnonzero(rows))
            self._counts = np.bincount(selected, minlength=reader.n_stored)
            stored = self._counts > 0
        self.n_stored = int(np.count_nonzero(stored))
        if self.n_stored < reader.n_stored:
            self._bits = np.packbits(stored, bitorder="little")
            self.selector = faiss.IDSelectorBitmap(self._bits)

    def _expanded(self, scores: NDArray[np.float32], places: NDArray[np.int64]) -> Found:
        """Selected vectors stored at places, with their scores."""
        members = self.reader.members
        assert members is not None
        counts = members.counts[places]
        shifts = members.starts[places] - (np.cumsum(counts) - counts)
        numbers = members.numbers[np.repeat(shifts, counts) + np.arange(int(counts.sum()))]
        scores = np.repeat(scores, counts)
        if self._is_all:
            return scores, numbers
        selected = self._rows[numbers]
        return scores[selected], numbers[selected]


def _faiss() -> Any:
    import faiss

    return faiss
