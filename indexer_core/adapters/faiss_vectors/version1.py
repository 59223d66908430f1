"""Reading vector files of format version 1.

A header (magic, format version, dimension, number of vectors, size and CRC-32 of the rest)
followed by a serialised ``IndexScalarQuantizer`` (fp16, inner product). The header is verified
before FAISS sees a byte: FAISS trusts the sizes that it reads. Files of this version are small;
their vectors are copied.
"""

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.layout import FP16_BYTES, MAX_DIMENSION, Contents
from indexer_core.adapters.faiss_vectors.library import load_faiss
from indexer_core.errors import CorruptIndexError
from indexer_core.ports import Buffer

FORMAT_VERSION = 1

_HEADER = struct.Struct("<8sIIQQI")
_HEADER_CRC = struct.Struct("<I")
# FAISS's own header of such an index is 81 bytes (1.15.1); the rest is the vectors.
_MAX_ENVELOPE_BYTES = 4096


def parse(data: Buffer) -> Contents:
    """The vectors of a file of version 1.

    Raises
    ------
    CorruptIndexError
        The file is damaged, or contradicts itself.
    """
    dimension, n_vectors, payload = _verified(data)
    index = _deserialised(payload)
    if not _is_expected(index, dimension, n_vectors):
        raise CorruptIndexError("a vector file contradicts its header")
    return Contents(dimension=dimension, codes=_codes(index))


def _codes(index: Any) -> NDArray[np.uint8]:
    width = index.d * FP16_BYTES
    if not index.ntotal:
        return np.empty((0, width), np.uint8)
    flat: NDArray[np.uint8] = load_faiss().rev_swig_ptr(index.codes.data(), index.ntotal * width)
    return flat.reshape(index.ntotal, width).copy()


def _verified(data: Buffer) -> tuple[int, int, memoryview]:
    """Dimension, number of vectors and payload of a file whose header and checksums hold."""
    start = _HEADER.size + _HEADER_CRC.size
    data = memoryview(data)
    if len(data) < start:
        raise CorruptIndexError("a vector file is cut short")
    (header_crc,) = _HEADER_CRC.unpack_from(data, _HEADER.size)
    if zlib.crc32(data[: _HEADER.size]) != header_crc:
        raise CorruptIndexError("the header of a vector file is damaged")
    _, _, dimension, n_vectors, size_bytes, crc = _HEADER.unpack_from(data)
    payload = data[start:]
    envelope_bytes = size_bytes - n_vectors * dimension * FP16_BYTES
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
    faiss = load_faiss()
    try:
        return faiss.deserialize_index(np.frombuffer(payload, np.uint8))
    except (RuntimeError, MemoryError) as exc:  # what FAISS's C++ exceptions arrive as
        raise CorruptIndexError("FAISS cannot read a vector file") from exc


def _is_expected(index: Any, dimension: int, n_vectors: int) -> bool:
    faiss = load_faiss()
    return bool(
        isinstance(index, faiss.IndexScalarQuantizer)
        and index.is_trained
        and index.d == dimension
        and index.ntotal == n_vectors
        and index.metric_type == faiss.METRIC_INNER_PRODUCT
        and index.sq.qtype == faiss.ScalarQuantizer.QT_fp16
        and index.sq.d == dimension
        and index.code_size == dimension * FP16_BYTES
        and index.sq.code_size == dimension * FP16_BYTES
        # A scan reads this many bytes whatever the vector holds.
        and index.codes.size() == n_vectors * dimension * FP16_BYTES
    )
