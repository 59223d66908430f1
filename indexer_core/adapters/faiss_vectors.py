"""Flat fp16 vector files, scored by FAISS.

A file is a header of our own (magic, format version, dimension, number of vectors, size and
CRC-32 of the rest) followed by a serialised ``IndexScalarQuantizer`` (fp16, inner product). The
header is verified before FAISS sees a byte: FAISS trusts the sizes that it reads.

FAISS is imported when the first file is built or opened: it takes 0.3 s and 66 MB.
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import Buffer, VectorFileReader, VectorSelection

FORMAT_VERSION = 1
MAX_DIMENSION = 65_536

_MAGIC = b"\x89DXVEC\r\n"
_HEADER = struct.Struct("<8sIIQQI")
_HEADER_CRC = struct.Struct("<I")
_FP16_BYTES = 2
_FP16_MAX = float(np.finfo(np.float16).max)
# FAISS's own header of such an index is 81 bytes (1.15.1); the rest is the vectors.
_MAX_ENVELOPE_BYTES = 4096
# Below this share of allowed rows copying them together beats a scan that skips the others
# (measured at 300k x 512: 0.5 %: 0.6 against 1.4 ms; 1 %: 6.8 against 2.0 ms).
_GATHER_SHARE = 0.005
_TIE_GROWTH = 4

_Found = tuple[NDArray[np.float32], NDArray[np.int64]]


def _faiss() -> Any:
    import faiss

    return faiss


def _new_index(dimension: int) -> Any:
    faiss = _faiss()
    return faiss.IndexScalarQuantizer(
        dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )


class FlatFp16Vectors:
    """Implements `indexer_core.ports.VectorFiles`: exact search over half-precision rows."""

    kind = "flat-fp16"

    def build(self, vectors: NDArray[np.float32]) -> bytes:
        """Serialise float32 (n, dimension) rows, n >= 0, in the given order.

        Values are rounded to fp16. The same rows give the same bytes.

        Raises
        ------
        InvalidInputError
            Not a matrix, no columns, or values that fp16 cannot hold (NaN, infinite, > 65504).
        """
        if vectors.ndim != 2 or not 1 <= vectors.shape[1] <= MAX_DIMENSION:
            raise InvalidInputError("vectors must be a matrix with 1 to 65536 columns")
        # Written so that NaN fails as well.
        if not np.all(np.abs(vectors) <= _FP16_MAX):
            raise InvalidInputError("vectors must be finite and within the range of fp16")
        index = _new_index(vectors.shape[1])
        if len(vectors):
            index.add(np.ascontiguousarray(vectors, dtype=np.float32))
        return _serialised(index)

    def concatenate(self, parts: Sequence[tuple[VectorFileReader, NDArray[np.int64]]]) -> bytes:
        """One file of the given vectors of each reader, in that order; values bit by bit.

        Raises
        ------
        InvalidInputError
            No part, a reader of another adapter, or dimensions that differ.
        """
        readers = [reader for reader, _ in parts if isinstance(reader, FlatFp16Reader)]
        if not parts or len(readers) != len(parts):
            raise InvalidInputError("vector files of this kind are wanted, at least one")
        if len({reader.dimension for reader in readers}) != 1:
            raise InvalidInputError("vector files to be joined must have one dimension")
        index = _new_index(readers[0].dimension)
        for reader, (_, numbers) in zip(readers, parts, strict=True):
            if len(numbers):
                index.add_sa_codes(reader.codes(numbers))
        return _serialised(index)

    def open(self, data: Buffer) -> "FlatFp16Reader":
        """Open a file made by `build` or `concatenate`.

        Raises
        ------
        CorruptIndexError
            The bytes are not such a file, are damaged, or are of a newer format version.
        """
        dimension, n_vectors, payload = _verified(data)
        index = _deserialised(payload)
        if not _is_expected(index, dimension, n_vectors):
            raise CorruptIndexError("a vector file contradicts its header")
        return FlatFp16Reader(index)


def _serialised(index: Any) -> bytes:
    payload: bytes = _faiss().serialize_index(index).tobytes()
    header = _HEADER.pack(
        _MAGIC, FORMAT_VERSION, index.d, index.ntotal, len(payload), zlib.crc32(payload)
    )
    return header + _HEADER_CRC.pack(zlib.crc32(header)) + payload


def _verified(data: Buffer) -> tuple[int, int, memoryview]:
    """Dimension, number of vectors and payload of a file whose header and checksums hold."""
    start = _HEADER.size + _HEADER_CRC.size
    data = memoryview(data)
    if len(data) < start or data[: len(_MAGIC)] != _MAGIC:
        raise CorruptIndexError("not a vector file")
    (header_crc,) = _HEADER_CRC.unpack_from(data, _HEADER.size)
    if zlib.crc32(data[: _HEADER.size]) != header_crc:
        raise CorruptIndexError("the header of a vector file is damaged")
    _, version, dimension, n_vectors, size_bytes, crc = _HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise CorruptIndexError("a vector file has a format version that this program cannot read")
    payload = data[start:]
    envelope_bytes = size_bytes - n_vectors * dimension * _FP16_BYTES
    if (
        len(payload) != size_bytes
        or not 1 <= dimension <= MAX_DIMENSION
        or not 0 < envelope_bytes <= _MAX_ENVELOPE_BYTES
    ):
        raise CorruptIndexError("the sizes of a vector file contradict each other")
    if zlib.crc32(payload) != crc:
        raise CorruptIndexError("a vector file is damaged")
    return dimension, n_vectors, payload


def _deserialised(payload: memoryview) -> Any:
    faiss = _faiss()
    try:
        return faiss.deserialize_index(np.frombuffer(payload, np.uint8))
    except (RuntimeError, MemoryError) as exc:  # what FAISS's C++ exceptions arrive as
        raise CorruptIndexError("FAISS cannot read a vector file") from exc


def _is_expected(index: Any, dimension: int, n_vectors: int) -> bool:
    faiss = _faiss()
    return bool(
        isinstance(index, faiss.IndexScalarQuantizer)
        and index.is_trained
        and index.d == dimension
        and index.ntotal == n_vectors
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
        and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
        and index.sq.d == dimension
        and index.code_size == dimension * _FP16_BYTES
        and index.sq.code_size == dimension * _FP16_BYTES
        # A scan reads this many bytes whatever the vector holds.
        and index.codes.size() == n_vectors * dimension * _FP16_BYTES
    )


class FlatFp16Reader:
    """Implements `indexer_core.ports.VectorFileReader`; safe for concurrent searches."""

    def __init__(self, index: Any) -> None:
        self._index = index
        self.n_vectors = int(index.ntotal)
        self.dimension = int(index.d)
        self.recall: float | None = None

    def select(self, rows: NDArray[np.bool_]) -> "Selection":
        """Prepare a selection, rows : ndarray of bool, shape (n_vectors,).

        Raises
        ------
        InvalidInputError
            Not one bool per vector.
        """
        if rows.shape != (self.n_vectors,) or rows.dtype != np.bool_:
            raise InvalidInputError("rows must be one bool per vector")
        return Selection(rows)

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
        if not isinstance(selection, Selection) or len(selection.rows) != self.n_vectors:
            raise InvalidInputError("the selection was not made for this vector file")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise InvalidInputError("queries must have the dimension of the vector file")
        if not np.isfinite(queries).all():
            raise InvalidInputError("queries must be finite")
        k = min(k, selection.n_selected)
        if k <= 0 or not len(queries):
            shape = (len(queries), max(k, 0))
            return np.empty(shape, np.float32), np.empty(shape, np.int64)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        if selection.n_selected < _GATHER_SHARE * self.n_vectors:
            return self._search_gathered(queries, k, np.flatnonzero(selection.rows))
        return _search_deterministic(self._index, queries, k, selection)

    def reconstruct(self, start: int = 0, count: int | None = None) -> NDArray[np.float32]:
        """Stored vectors from `start` on (None: all), float32 (count, dimension)."""
        stop = self.n_vectors if count is None else start + count
        return self._codes()[start:stop].view(np.float16).astype(np.float32)

    def codes(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The stored bytes of these vectors, uint8 (len(numbers), 2 * dimension), a copy."""
        return self._codes()[numbers]

    def _codes(self) -> NDArray[np.uint8]:
        """The stored bytes, uint8 (n_vectors, 2 * dimension), a view into FAISS's memory."""
        faiss = _faiss()
        width = self.dimension * _FP16_BYTES
        if not self.n_vectors:
            return np.empty((0, width), np.uint8)
        flat: NDArray[np.uint8] = faiss.rev_swig_ptr(
            self._index.codes.data(), self.n_vectors * width
        )
        return flat.reshape(self.n_vectors, width)

    def _search_gathered(
        self, queries: NDArray[np.float32], k: int, allowed: NDArray[np.intp]
    ) -> _Found:
        # Scored by FAISS again, not by numpy, so that scores are the same to the last bit
        # whatever else the filter lets through.
        gathered = _new_index(self.dimension)
        gathered.add_sa_codes(self._codes()[allowed])
        everything = Selection(np.ones(len(allowed), np.bool_))
        scores, places = _search_deterministic(gathered, queries, k, everything)
        return scores, allowed[places]


class Selection:
    """Implements `indexer_core.ports.VectorSelection`, with the memory that FAISS points into.

    There is always a selector: an unfiltered search takes a path in FAISS 1.15.1 that is up to
    three times slower.
    """

    def __init__(self, rows: NDArray[np.bool_]) -> None:
        faiss = _faiss()
        self.rows = rows
        self.n_selected = int(np.count_nonzero(rows))
        if self.n_selected == len(rows):
            self._selector: Any = faiss.IDSelectorAll()
        else:
            self._bits = np.packbits(rows, bitorder="little")
            self._selector = faiss.IDSelectorBitmap(self._bits)
        self.parameters = faiss.SearchParameters(sel=self._selector)


def _search_deterministic(
    index: Any, queries: NDArray[np.float32], k: int, selection: Selection
) -> _Found:
    """Best k selected rows, 1 <= k <= n_selected, ties by row number.

    Which of several rows with the k-th best score FAISS keeps depends on its heap, and equal
    vectors are common (equal texts). So fetch until the last score fetched is below the k-th.
    """
    n_fetched = min(k + 1, selection.n_selected)
    scores, rows = index.search(queries, n_fetched, params=selection.parameters)
    best_scores, best_rows = _sorted(scores, rows, k)
    open_queries = np.flatnonzero(scores[:, -1] == scores[:, k - 1])
    while n_fetched < selection.n_selected and len(open_queries):
        n_fetched = min(n_fetched * _TIE_GROWTH, selection.n_selected)
        scores, rows = index.search(queries[open_queries], n_fetched, params=selection.parameters)
        best_scores[open_queries], best_rows[open_queries] = _sorted(scores, rows, k)
        open_queries = open_queries[scores[:, -1] == scores[:, k - 1]]
    return best_scores, best_rows


def _sorted(scores: NDArray[np.float32], rows: NDArray[np.int64], k: int) -> _Found:
    order = np.lexsort((rows, -scores), axis=-1)[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)
