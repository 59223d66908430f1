"""Building, opening and joining vector files."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors import layout, version1
from indexer_core.adapters.faiss_vectors.distinct import digests_of, numbered
from indexer_core.adapters.faiss_vectors.layout import Draft, Shape
from indexer_core.adapters.faiss_vectors.reader import FlatFp16Reader
from indexer_core.adapters.faiss_vectors.scan import usable_cores
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import Buffer, VectorFileReader

_FP16_MAX = float(np.finfo(np.float16).max)
_CHUNK_BYTES = 8 << 20


class FlatFp16Vectors:
    """Implements `indexer_core.ports.VectorFiles`: half precision, each distinct vector once.

    Parameters
    ----------
    threads
        Cores that one search may use; None: those that the process may use.
    """

    kind = "flat-fp16"

    def __init__(self, *, threads: int | None = None) -> None:
        self._threads = usable_cores() if threads is None else threads

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
        draft = _draft(vectors.shape[1], first, places)
        np.take(codes, first, axis=0, out=draft.codes)
        return draft.sealed()

    def concatenate(self, parts: Sequence[tuple[VectorFileReader, NDArray[np.int64]]]) -> bytes:
        """One file of the given vectors of each reader, in that order; values bit by bit.

        Takes the memory of the file and about 100 bytes per vector; what is read of the inputs
        stays where it lies.

        Raises
        ------
        InvalidInputError
            No part, a reader of another adapter, or dimensions that differ.
        """
        sources = [_Source(reader, numbers) for reader, numbers in parts]
        if not sources:
            raise InvalidInputError("there are no vector files to join")
        if len({source.reader.dimension for source in sources}) != 1:
            raise InvalidInputError("vector files to be joined must have one dimension")
        first, places = numbered(np.concatenate([source.digests() for source in sources]))
        draft = _draft(sources[0].reader.dimension, first, places)
        offset = done = 0
        for source in sources:
            n_new = int(np.searchsorted(first, offset + len(source.places))) - done
            source.copy(first[done : done + n_new] - offset, draft.codes[done : done + n_new])
            offset, done = offset + len(source.places), done + n_new
        return draft.sealed()

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


class _Source:
    """A part of a concatenation: places of one reader, in the order of the vectors wanted."""

    def __init__(self, reader: VectorFileReader, numbers: NDArray[np.int64]) -> None:
        if not isinstance(reader, FlatFp16Reader):
            raise InvalidInputError("only vector files of this kind can be joined")
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < reader.n_vectors:
            raise InvalidInputError("a vector to be joined is not in its file")
        self.reader = reader
        self.places = reader.places(numbers)

    def digests(self) -> NDArray[np.uint64]:
        """Digests of the wanted vectors, each place read once."""
        distinct, places = np.unique(self.places, return_inverse=True)
        chunks = [digests_of(self.reader.codes_at(chunk)) for chunk in self._chunks(distinct)]
        return np.concatenate(chunks)[places] if chunks else digests_of(np.empty((0, 1), np.uint8))

    def copy(self, wanted: NDArray[np.int64], into: NDArray[np.uint8]) -> None:
        """Copy the bytes of these of the wanted vectors."""
        done = 0
        for chunk in self._chunks(self.places[wanted]):
            into[done : done + len(chunk)] = self.reader.codes_at(chunk)
            done += len(chunk)

    def _chunks(self, places: NDArray[np.integer]) -> list[NDArray[np.integer]]:
        length = max(1, _CHUNK_BYTES // (self.reader.dimension * layout.FP16_BYTES))
        return [places[start : start + length] for start in range(0, len(places), length)]


def _draft(dimension: int, first: NDArray[np.int64], places: NDArray[np.int32]) -> Draft:
    """A file whose places are written and whose codes are wanted."""
    has_places = len(first) != len(places)
    shape = Shape(
        dimension=dimension, n_vectors=len(places), n_stored=len(first), has_places=has_places
    )
    draft = Draft(shape)
    if has_places:
        draft.places[:] = places
    return draft
