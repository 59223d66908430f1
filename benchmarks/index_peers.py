"""The same vectors in our files, LanceDB, hnswlib and usearch: add, search, filter, delete, bytes.

Each is used as its documentation shows, with the settings named here. Ours and LanceDB write to a
folder; hnswlib and usearch work in memory, and what they would save is counted. Graphs look further
until they find as much as ours: what is fast and finds less is no match.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_vectors import Between, real_vectors
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.ports import VectorFileReader, VectorSelection

_LINKS, _EF_BUILD, _EF_SEARCH = 16, 200, 200
WIDEST_EF = 6_400
_RECALL = 0.99
_FILTER = 100  # one in so many passes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Vectors, those added and deleted later, their dimension, series of real texts."""

    vectors: int = 100_000
    added: int = 5_000
    deleted: int = 1_000
    dimension: int = 512
    series: int = 6_000


class Peer(Protocol):
    """What every index can do; vectors are numbered in the order in which they come."""

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        """Add vectors under the numbers from `first` on."""

    def nearest(
        self, query: NDArray[np.float32], k: int, below: int | None = None
    ) -> list[int] | None:
        """Numbers of the best, below a number if one is given; None where that is not offered."""

    def delete_below(self, number: int) -> None:
        """Delete the vectors with a smaller number."""

    def size_bytes(self) -> int:
        """Bytes of what is stored."""

    def ef(self) -> int | None:
        """Candidates that a search of a graph looks at; None: this is no graph."""

    def widen(self) -> None:
        """Look at twice as many from now on."""


def measure(work: Path, sizes: Sizes | None = None) -> dict[str, Mapping[str, Any]]:
    """All figures of this part: by system."""
    sizes = sizes or Sizes()
    real = real_vectors(sizes.series)
    between = Between(real.texts, sizes.dimension, seed=3)
    vectors = between.made(sizes.vectors + sizes.added)
    vectors = vectors.astype(np.float16).astype(np.float32)
    queries = between.turned(real.questions)
    return {
        name: {"vectors": sizes.vectors, **_one(make, vectors, queries, sizes)}
        for name, make in _systems(work, sizes).items()
    }


def _systems(work: Path, sizes: Sizes) -> dict[str, Callable[[], Peer]]:
    return {
        "ours, exact": lambda: Ours(work / "exact", exact=True),
        "ours, approximate": lambda: Ours(work / "lists", exact=False),
        "LanceDB, flat": lambda: Lance(work / "lance"),
        f"hnswlib, M {_LINKS}": lambda: Hnswlib(work / "hnswlib", sizes),
        f"usearch f16, M {_LINKS}": lambda: Usearch(sizes),
    }


def _one(
    make: Callable[[], Peer],
    vectors: NDArray[np.float32],
    queries: NDArray[np.float32],
    sizes: Sizes,
) -> dict[str, Any]:
    peer = make()
    first, later = vectors[: sizes.vectors], vectors[sizes.vectors :]
    build_s = _timed(lambda: peer.add(0, first))
    size_bytes = peer.size_bytes()
    times, recall = _search(peer, first, queries, 0)
    narrow = None
    while recall < _RECALL and (ef := peer.ef()) is not None and ef < WIDEST_EF:
        narrow = narrow or {"ef": ef, "search_ms": times, "recall": recall}
        peer.widen()
        times, recall = _search(peer, first, queries, 0)
    below = sizes.vectors // _FILTER
    filtered: list[float] = []
    for query in queries[:, None, :]:
        start = time.perf_counter()
        found = peer.nearest(query, 10, below)
        filtered.append(1000 * (time.perf_counter() - start))
        if found is None:
            filtered = []
            break
        assert all(number < below for number in found)
    add_s = _timed(lambda: peer.add(sizes.vectors, later))
    delete_s = _timed(lambda: peer.delete_below(sizes.deleted))
    after, recall_after = _search(peer, vectors, queries, sizes.deleted)
    return {
        "ef": peer.ef(),
        "narrow": narrow,
        "build_s": build_s,
        "add_us": 1e6 * add_s / len(later),
        "search_ms": times,
        "recall": recall,
        "filter_ms": statistics.median(filtered) if filtered else None,
        "delete_ms": 1000 * delete_s,
        "search_after_ms": after,
        "recall_after": recall_after,
        "bytes": size_bytes,
    }


def _timed(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _search(
    peer: Peer, vectors: NDArray[np.float32], queries: NDArray[np.float32], first: int
) -> tuple[float, float]:
    """Median milliseconds of a search, and recall@10 among the vectors from `first` on."""
    products = queries @ vectors[first:].T
    best = first + np.argpartition(-products, 10, axis=1)[:, :10]
    times, found = [], []
    for query, wanted in zip(queries[:, None, :], best, strict=True):
        start = time.perf_counter()
        numbers = peer.nearest(query, 10)
        times.append(1000 * (time.perf_counter() - start))
        found.append(len(set(numbers or ()) & set(wanted.tolist())) / 10)
    return statistics.median(times), statistics.fmean(found)


@dataclass(slots=True)
class Ours:
    """Files in a folder, deleted vectors left out by selections, as a reader of the index does."""

    folder: Path
    exact: bool
    _files: FlatFp16Vectors = field(init=False)
    _readers: list[tuple[int, VectorFileReader]] = field(default_factory=list)
    _selections: list[VectorSelection] = field(default_factory=list)
    _deleted: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self._files = FlatFp16Vectors(lists_from=2**31 if self.exact else 50_000)

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        data = self._files.build(vectors)
        (self.folder / str(first)).write_bytes(data)
        self._readers.append((first, self._files.open(data, verified=True)))
        self._select()

    def nearest(
        self, query: NDArray[np.float32], k: int, below: int | None = None
    ) -> list[int] | None:
        selections = self._selections if below is None else self._selected(self._deleted, below)
        found = [
            reader.search(query, k, selection, exact=self.exact)
            for (_, reader), selection in zip(self._readers, selections, strict=True)
        ]
        scores = np.concatenate([each[0] for each, _ in found])
        firsts = [first for first, _ in self._readers]
        numbers = np.concatenate(
            [each[0] + first for (_, each), first in zip(found, firsts, strict=True)]
        )
        best: list[int] = numbers[np.argsort(-scores, kind="stable")[:k]].tolist()
        return best

    def delete_below(self, number: int) -> None:
        self._deleted = number
        self._select()

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.iterdir())

    def ef(self) -> None:
        return None

    def widen(self) -> None:
        raise AssertionError("there is no more to look at")

    def _select(self) -> None:
        self._selections = self._selected(self._deleted, 2**62)

    def _selected(self, start: int, stop: int) -> list[VectorSelection]:
        return [
            reader.select(
                np.logical_and(
                    np.arange(first, first + reader.n_vectors) >= start,
                    np.arange(first, first + reader.n_vectors) < stop,
                )
            )
            for first, reader in self._readers
        ]


class Lance:
    """A LanceDB table without a vector index."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._table: Any = None

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        from benchmarks.lance_vectors import flat_table

        codes = vectors.astype(np.float16).view(np.uint8)
        if self._table is None:
            self._table = flat_table(self._folder, codes)
        else:
            self._table.add(first, codes)

    def nearest(
        self, query: NDArray[np.float32], k: int, below: int | None = None
    ) -> list[int] | None:
        numbers: list[int] = self._table.nearest(query, k, below)
        return numbers

    def delete_below(self, number: int) -> None:
        self._table.delete_below(number)

    def size_bytes(self) -> int:
        return int(self._table.size_bytes())

    def ef(self) -> None:
        return None

    def widen(self) -> None:
        raise AssertionError("there is no more to look at")


class Hnswlib:
    """A graph of hnswlib: float32, deleted vectors marked."""

    def __init__(self, path: Path, sizes: Sizes) -> None:
        import hnswlib

        self._path = path
        self._index = hnswlib.Index(space="ip", dim=sizes.dimension)
        self._index.init_index(
            max_elements=sizes.vectors + sizes.added, M=_LINKS, ef_construction=_EF_BUILD
        )
        self._ef = _EF_SEARCH
        self._index.set_ef(self._ef)

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        self._index.add_items(vectors, np.arange(first, first + len(vectors)))

    def nearest(
        self, query: NDArray[np.float32], k: int, below: int | None = None
    ) -> list[int] | None:
        passes = None if below is None else lambda number: number < below
        # With several threads, a filter written in Python would wait for itself.
        threads = -1 if below is None else 1
        try:
            numbers, _ = self._index.knn_query(query, k, num_threads=threads, filter=passes)
        except RuntimeError:  # the graph led to fewer than k that pass
            return []
        return [int(number) for number in numbers[0]]

    def delete_below(self, number: int) -> None:
        for deleted in range(number):
            self._index.mark_deleted(deleted)

    def size_bytes(self) -> int:
        self._index.save_index(str(self._path))
        return self._path.stat().st_size

    def ef(self) -> int:
        return self._ef

    def widen(self) -> None:
        self._ef *= 2
        self._index.set_ef(self._ef)


class Usearch:
    """A graph of usearch in half precision; its Python package has no filter."""

    def __init__(self, sizes: Sizes) -> None:
        from usearch.index import Index

        self._index = Index(
            ndim=sizes.dimension,
            metric="ip",
            dtype="f16",
            connectivity=_LINKS,
            expansion_add=_EF_BUILD,
            expansion_search=_EF_SEARCH,
        )

    def add(self, first: int, vectors: NDArray[np.float32]) -> None:
        self._index.add(np.arange(first, first + len(vectors)), vectors)

    def nearest(
        self, query: NDArray[np.float32], k: int, below: int | None = None
    ) -> list[int] | None:
        if below is not None:
            return None
        return [int(number) for number in self._index.search(query[0], k).keys]

    def delete_below(self, number: int) -> None:
        self._index.remove(np.arange(number))

    def size_bytes(self) -> int:
        return int(self._index.serialized_length)

    def ef(self) -> int:
        return int(self._index.expansion_search)

    def widen(self) -> None:
        self._index.expansion_search *= 2


_COLUMNS: Mapping[str, tuple[str, Callable[[Any], str], Callable[[Any], Any]]] = {
    "build_s": ("build, s", lambda value: f"{value:.1f}", min),
    "add_us": ("add, us per vector", lambda value: f"{value:.0f}", min),
    "search_ms": ("search, ms", lambda value: f"{value:.2f}", min),
    "recall": ("recall@10", lambda value: f"{value:.4f}", max),
    "filter_ms": ("1 % filter, ms", lambda value: f"{value:.2f}", min),
    "delete_ms": ("delete 1,000, ms", lambda value: f"{value:.1f}", min),
    "search_after_ms": ("search then, ms", lambda value: f"{value:.2f}", min),
    "recall_after": ("recall@10 then", lambda value: f"{value:.4f}", max),
    "bytes": ("MB", lambda value: f"{value / 1e6:.0f}", min),
}


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Systems by what was measured, in Markdown; the best of each column is bold."""
    best = {
        name: choose(each[name] for each in found.values() if each[name] is not None)
        for name, (_, _, choose) in _COLUMNS.items()
    }
    heads = [head for head, _, _ in _COLUMNS.values()]
    rows = [f"| system | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for system, each in found.items():
        cells = []
        for name, (_, written, _) in _COLUMNS.items():
            value = each[name]
            cell = "not offered" if value is None else written(value)
            cells.append(f"**{cell}**" if value is not None and value == best[name] else cell)
        label = system if each["ef"] is None else f"{system}, ef {each['ef']}"
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(rows)


def narrow(found: Mapping[str, Mapping[str, Any]]) -> str:
    """A line of Markdown about each graph that had to look further: what it found at first."""
    return "".join(
        f"- {system} at ef {each['narrow']['ef']}: {each['narrow']['search_ms']:.2f} ms, "
        f"recall@10 {each['narrow']['recall']:.4f}.\n"
        for system, each in found.items()
        if each["narrow"] is not None
    )
