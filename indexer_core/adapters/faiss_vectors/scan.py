"""Scoring stored codes: FAISS's scanner over ranges of one array, by all cores.

FAISS's own `search` of such an index reads everything with one core per query. Its scanner is
what that search calls inside; here it is given a piece at a time, and several threads take pieces
from one list. A piece of a batch of queries stays in the cache for all of them.
"""

import functools
import os
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.library import load_faiss

Found = tuple[NDArray[np.float32], NDArray[np.int64]]
Range = tuple[int, int]

# Handing work to another thread costs about 50 us: the time to read 0.5 MB.
PARALLEL_BYTES = 2 << 20
_PIECE_BYTES = 4 << 20
# A share of a second-level cache: the next query finds the piece there.
_BATCH_PIECE_BYTES = 1 << 20
_QUERIES_AT_ONCE = 64


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Scan:
    """Finds the best of some stored vectors; safe for concurrent use.

    blocks : ndarrays of uint8, shape (n, 2 * dimension), C-contiguous
        The stored vectors, one block after the other; there is at least one.
    """

    def __init__(self, blocks: Sequence[NDArray[np.uint8]], threads: int) -> None:
        self._blocks = blocks
        self._firsts = np.cumsum([0, *map(len, blocks)]).tolist()
        self._width = blocks[0].shape[1]
        self._threads = threads

    def best(
        self,
        queries: NDArray[np.float32],
        k: int,
        selector: Any = None,
        ranges: Sequence[Range] | None = None,
    ) -> Found:
        """The k best of the stored vectors in `ranges` (None: all) that `selector` lets through.

        Parameters
        ----------
        queries : ndarray of float32, shape (n, dimension), C-contiguous
        k
            At least 1.
        selector
            A FAISS IDSelector over places, or None.

        Returns
        -------
        scores : ndarray of float32, shape (n, k), descending
        places : ndarray of int64, shape (n, k), equal scores by place
            Where there are fewer than k, the rest is -inf at place -1. Which of several with the
            lowest score returned are there is left to chance.
        """
        ranges = list(pairwise(self._firsts)) if ranges is None else ranges
        if len(queries) <= _QUERIES_AT_ONCE:
            return self._best(queries, k, selector, ranges)
        groups = range(0, len(queries), _QUERIES_AT_ONCE)
        found = [
            self._best(queries[start : start + _QUERIES_AT_ONCE], k, selector, ranges)
            for start in groups
        ]
        return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])

    def _best(
        self, queries: NDArray[np.float32], k: int, selector: Any, ranges: Sequence[Range]
    ) -> Found:
        piece_bytes = _PIECE_BYTES if len(queries) == 1 else _BATCH_PIECE_BYTES
        pieces = _pieces(ranges, max(1, piece_bytes // self._width))
        n_bytes = sum(stop - start for start, stop in ranges) * self._width * len(queries)
        n_threads = min(self._threads, 1 + n_bytes // PARALLEL_BYTES)
        if n_threads == 1:
            return _ordered(*self._scan(queries, k, selector, pieces))
        pool = helpers(self._threads)
        futures = [
            pool.submit(self._scan, queries, k, selector, pieces) for _ in range(n_threads - 1)
        ]
        parts = [self._scan(queries, k, selector, pieces)]
        # Helpers that were busy elsewhere all the while have nothing left to do.
        parts += [future.result() for future in futures if not future.cancel()]
        scores, places = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
        scores, places = _ordered(scores, places)
        return scores[:, :k], places[:, :k]

    def _scan(
        self, queries: NDArray[np.float32], k: int, selector: Any, pieces: Iterator[Range]
    ) -> Found:
        """Scan pieces until there are no more; heaps of the k best per query, unordered."""
        swig_ptr = load_faiss().swig_ptr
        numbers = _numbers(self._firsts[-1])
        scores = np.full((len(queries), k), -np.inf, np.float32)
        places = np.full((len(queries), k), -1, np.int64)
        heaps = [
            (_new_scanner(query, selector), swig_ptr(scores[i]), swig_ptr(places[i]))
            for i, query in enumerate(queries)
        ]
        try:
            for start, stop in pieces:
                at, ids = swig_ptr(self._codes(start, stop)), swig_ptr(numbers[start:stop])
                for scanner, best_scores, best_places in heaps:
                    scanner.scan_codes(stop - start, at, ids, best_scores, best_places, k)
        finally:
            for scanner, _, _ in heaps:
                # By hand: SWIG miscounts the references of what it is told to own later on.
                scanner.__swig_destroy__(scanner)
        return scores, places

    def _codes(self, start: int, stop: int) -> NDArray[np.uint8]:
        """The bytes of vectors of one block."""
        block = bisect_right(self._firsts, start) - 1
        first = self._firsts[block]
        return self._blocks[block][start - first : stop - first].reshape(-1)


def _ordered(scores: NDArray[np.float32], places: NDArray[np.int64]) -> Found:
    order = np.lexsort((places, -scores), axis=-1)
    rows = np.arange(len(order))[:, None]  # what take_along_axis does, without its checks
    return scores[rows, order], places[rows, order]


def _pieces(ranges: Iterable[Range], length: int) -> Iterator[Range]:
    """Pieces of at most `length`; the iterator may be shared by threads, as that of any list."""
    return iter(
        [
            (start, min(start + length, stop))
            for first, stop in ranges
            for start in range(first, stop, length)
        ]
    )


@functools.cache
def _quantizer(dimension: int) -> Any:
    faiss = load_faiss()
    return faiss.ScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16)


def _new_scanner(query: NDArray[np.float32], selector: Any) -> Any:
    faiss = load_faiss()
    scanner = _quantizer(len(query)).select_InvertedListScanner(
        faiss.METRIC_INNER_PRODUCT, None, False, selector
    )
    scanner.set_query(faiss.swig_ptr(query))
    return scanner


@functools.cache
def helpers(threads: int) -> ThreadPoolExecutor:
    """Threads of the process, made when they are first needed.

    Whoever gives them work does the same work itself meanwhile, and waits for none that has not
    begun; so they may give work to each other.
    """
    return ThreadPoolExecutor(threads, thread_name_prefix="vectors")


# A child process has none of its parent's threads.
os.register_at_fork(after_in_child=helpers.cache_clear)


def _numbers(count: int) -> NDArray[np.int64]:
    """0, 1, ... for all files together: FAISS wants the name of each vector that it scans."""
    power = 1 << max(count - 1, 1023).bit_length()
    return _first_numbers(power)[:count]


@functools.cache  # one array per power of two: together twice the longest
def _first_numbers(count: int) -> NDArray[np.int64]:
    numbers = np.arange(count, dtype=np.int64)
    numbers.setflags(write=False)
    return numbers
