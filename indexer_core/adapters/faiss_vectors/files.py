"""Building, opening and joining vector files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors import layout, version1
from indexer_core.adapters.faiss_vectors.distinct import digests_of, numbered
from indexer_core.adapters.faiss_vectors.joined import joined
from indexer_core.adapters.faiss_vectors.layout import Draft, Shape
from indexer_core.adapters.faiss_vectors.lists import (
    FEWEST,
    MOST_DIMENSIONS,
    Rows,
    arrange,
    measured,
)
from indexer_core.adapters.faiss_vectors.reader import FlatFp16Reader, Reader
from indexer_core.adapters.faiss_vectors.scan import usable_cores
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import Buffer, VectorFileReader

# An exact search of so many vectors of 512 dimensions reads 256 MB: about 20 ms with two cores.
LISTS_FROM = 250_000

_FP16_MAX = float(np.finfo(np.float16).max)
_CHUNK_BYTES = 8 << 20


class FlatFp16Vectors:
    """Implements `indexer_core.ports.VectorFiles`: half precision, each distinct vector once.

    Parameters
    ----------
    threads
        Cores that one search may use; None: those that the process may use.
    lists_from
        Distinct vectors from which on a file is also given lists for approximate search.
    """

    kind = "flat-fp16"

    def __init__(self, *, threads: int | None = None, lists_from: int = LISTS_FROM) -> None:
        self._threads = usable_cores() if threads is None else threads
        self._lists_from = max(lists_from, FEWEST)

    def build(self, vectors: NDArray[np.float32]) -> bytes:
        """Serialise float32 (n, dimension) rows, n >= 0, in the given order.

        Values are rounded to fp16. The same rows give the same bytes. Takes the memory of the
        vectors in fp16 and of the file.

        Raises
        ------
        InvalidInputError
            Not a matrix, no columns, or values that fp16 cannot hold (NaN, infinite, > 65504).
        """
        if vectors.ndim != 2 or not 1 <= vectors.shape[1] <= layout.MAX_DIMENSION:
            raise InvalidInputError("vectors must be a matrix with 1 to 65536 columns")
        # Written so that NaN fails as well.
        if not np.all(np.abs(vectors) <= _FP16_MAX):
            raise InvalidInputError("vectors must be finite and within the range of fp16")
        codes = np.ascontiguousarray(vectors, dtype="<f2").view(np.uint8)
        first, places = numbered(digests_of(codes))
        return self._written(vectors.shape[1], _Taken(codes, first), places)

    def concatenate(
        self,
        parts: Sequence[tuple[VectorFileReader, NDArray[np.int64]]],
        order: NDArray[np.int64] | None = None,
    ) -> bytes:
        """One file of the given vectors of each reader, in that order; values bit by bit.

        Takes the memory of the file and about 100 bytes per vector, and with lists 250 MB more;
        what is read of the inputs stays where it lies. Lists are made anew, so that they fit what
        is there now.

        Raises
        ------
        InvalidInputError
            No part, a reader of another adapter, dimensions that differ, or an `order` that is
            none.
        """
        sources = [_Source.of(reader, numbers) for reader, numbers in parts]
        if not sources:
            raise InvalidInputError("there are no vector files to join")
        if len({source.reader.dimension for source in sources}) != 1:
            raise InvalidInputError("vector files to be joined must have one dimension")
        digests = np.concatenate([source.digests() for source in sources])
        if order is None:
            order = np.arange(len(digests))
        elif not np.array_equal(np.sort(order), np.arange(len(digests))):
            raise InvalidInputError("the order of joined vectors names each of them once")
        first, places = numbered(digests[order])
        rows = _Joined(tuple(sources), order[first])
        return self._written(sources[0].reader.dimension, rows, places)

    def open(self, data: Buffer, *, verified: bool = False) -> FlatFp16Reader:
        """Open a file made by `build` or `concatenate`, without copying it.

        Parameters
        ----------
        verified
            The caller has checked a digest of the whole: only the header is checked again.

        Raises
        ------
        CorruptIndexError
            The bytes are not such a file, are damaged, or are of a newer format version.
        """
        version = layout.version_of(data)
        if version == version1.FORMAT_VERSION:
            return FlatFp16Reader(version1.parse(data), self._threads)
        if version != layout.FORMAT_VERSION:
            raise CorruptIndexError(
                "a vector file has a format version that this program cannot read"
            )
        return FlatFp16Reader(layout.parse(data, verified=verified), self._threads)

    def join(self, readers: Sequence[VectorFileReader]) -> Reader:
        """Several files to be searched as one: the vectors of each in turn.

        Raises
        ------
        InvalidInputError
            No file, a reader of another adapter, or dimensions that differ.
        """
        return joined([_own(reader) for reader in readers], self._threads)

    def _written(self, dimension: int, rows: Rows, places: NDArray[np.int32]) -> bytes:
        n_stored = len(rows)
        has_lists = n_stored >= self._lists_from and dimension <= MOST_DIMENSIONS
        arrangement = arrange(rows) if has_lists else None
        draft = Draft(
            Shape(
                dimension=dimension,
                n_vectors=len(places),
                n_stored=n_stored,
                has_places=n_stored != len(places) or arrangement is not None,
                n_lists=len(arrangement.lists) if arrangement else 0,
                n_axes=arrangement.lists.n_axes if arrangement else 0,
            )
        )
        order = np.arange(n_stored) if arrangement is None else arrangement.order
        for start, chunk in _chunks(order, dimension):
            draft.codes[start : start + len(chunk)] = rows.codes(chunk)
        if arrangement is None:
            draft.places[:] = places[: len(draft.places)]
            return draft.sealed()
        place_of = np.empty(n_stored, np.int32)
        place_of[order] = np.arange(n_stored, dtype=np.int32)
        draft.places[:] = place_of[places]
        lists = arrangement.lists
        draft.starts[:], draft.axes[:] = lists.starts, lists.axes
        draft.centroids[:] = lists.centroids
        return draft.sealed(measured(arrangement, draft.codes, self._threads))


@dataclass(frozen=True, slots=True)
class _Taken:
    """Some rows of an array."""

    array: NDArray[np.uint8]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def codes(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        taken: NDArray[np.uint8] = self.array[self.first[positions]]
        return taken


@dataclass(frozen=True, slots=True)
class _Source:
    """A part of a concatenation: places of one reader, in the order of the vectors wanted."""

    reader: FlatFp16Reader
    places: NDArray[np.integer]

    @classmethod
    def of(cls, reader: VectorFileReader, numbers: NDArray[np.int64]) -> "_Source":
        own = _own(reader)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < own.n_vectors:
            raise InvalidInputError("a vector to be joined is not in its file")
        return cls(own, own.places(numbers))

    def digests(self) -> NDArray[np.uint64]:
        """Digests of the wanted vectors, each place read once."""
        distinct, places = np.unique(self.places, return_inverse=True)
        of_distinct = np.empty((len(distinct), 2), np.uint64)
        for start, chunk in _chunks(distinct, self.reader.dimension):
            of_distinct[start : start + len(chunk)] = digests_of(self.reader.codes_at(chunk))
        return of_distinct[places]


@dataclass(frozen=True, slots=True)
class _Joined:
    """Some rows of several sources, by their position among all that the sources want."""

    sources: tuple[_Source, ...]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.first)

    def codes(self, positions: NDArray[np.int64]) -> NDArray[np.uint8]:
        wanted = self.first[positions]
        codes = np.empty(
            (len(wanted), self.sources[0].reader.dimension * layout.FP16_BYTES), np.uint8
        )
        offset = 0
        for source in self.sources:
            ours = (wanted >= offset) & (wanted < offset + len(source.places))
            if ours.any():
                codes[ours] = source.reader.codes_at(source.places[wanted[ours] - offset])
            offset += len(source.places)
        return codes


def _own(reader: VectorFileReader) -> FlatFp16Reader:
    if not isinstance(reader, FlatFp16Reader):
        raise InvalidInputError("only vector files of this kind can be joined")
    return reader


def _chunks(
    positions: NDArray[np.int64], dimension: int
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Parts that take a bounded memory, each with its start."""
    length = max(1, _CHUNK_BYTES // (dimension * layout.FP16_BYTES))
    for start in range(0, len(positions), length):
        yield start, positions[start : start + length]
