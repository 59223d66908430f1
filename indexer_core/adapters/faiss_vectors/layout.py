"""The bytes of a vector file, format version 2.

A header of 128 bytes, then the sections that it counts, each starting at a multiple of 64 bytes,
so that a mapped file is searched where it lies:

========== ======= ======================= ===============================================
section    type    shape                   there
========== ======= ======================= ===============================================
places     int32   (n_vectors,)            if vectors repeat or lie in another order
codes      fp16    (n_stored, dimension)   always
========== ======= ======================= ===============================================

``places[i]`` is the stored vector that vector i equals. Numbers are little-endian. The header has
a CRC-32 of itself and one of all that follows.
"""

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import Buffer

MAGIC = b"\x89DXVEC\r\n"
FORMAT_VERSION = 2
MAX_DIMENSION = 65_536
MAX_VECTORS = 2**31 - 1
FP16_BYTES = 2
HEADER_BYTES = 128

_ALIGNMENT = 64
_VERSION = struct.Struct("<8sI")
_HEADER = struct.Struct("<8sIIQQIQI")
_CRC = struct.Struct("<I")
_HAS_PLACES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A vector file as arrays.

    codes : ndarray of uint8, shape (n_stored, 2 * dimension), the bytes of fp16 values
    places : ndarray of int32, shape (n_vectors,), or None where vector i is stored at place i
    """

    dimension: int
    codes: NDArray[np.uint8]
    places: NDArray[np.int32] | None = None

    @property
    def n_vectors(self) -> int:
        """Number of vectors."""
        return len(self.codes if self.places is None else self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a header says; everything else follows from it."""

    dimension: int
    n_vectors: int
    n_stored: int
    has_places: bool

    def sections(self) -> tuple[slice, slice]:
        """Where the bytes of places and codes lie in the file."""
        places_bytes = 4 * self.n_vectors if self.has_places else 0
        places = slice(HEADER_BYTES, HEADER_BYTES + places_bytes)
        start = -(-places.stop // _ALIGNMENT) * _ALIGNMENT
        return places, slice(start, start + self.n_stored * self.dimension * FP16_BYTES)

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return int(self.sections()[1].stop)


class Draft:
    """A file being written: its sections are filled in place, in memory, then sealed.

    The memory is that of the finished file; `sealed` hands it over without a copy.
    """

    def __init__(self, shape: Shape) -> None:
        if not 1 <= shape.dimension <= MAX_DIMENSION or shape.n_vectors > MAX_VECTORS:
            raise InvalidInputError("a vector file holds 1 to 65536 columns and 2**31 - 1 vectors")
        self._shape = shape
        self._file = io.BytesIO()
        self._file.seek(shape.size_bytes - 1)
        self._file.write(b"\0")
        places, codes = shape.sections()
        whole = np.frombuffer(self._file.getbuffer(), np.uint8)
        self.places: NDArray[np.int32] = whole[places].view("<i4")
        self.codes = whole[codes].reshape(shape.n_stored, shape.dimension * FP16_BYTES)
        self._whole = whole

    def sealed(self) -> bytes:
        """The file; the draft cannot be used after this."""
        shape, whole = self._shape, self._whole
        flags = _HAS_PLACES if shape.has_places else 0
        header = _HEADER.pack(
            *(MAGIC, FORMAT_VERSION, shape.dimension, shape.n_vectors, shape.n_stored),
            *(flags, shape.size_bytes, zlib.crc32(whole[HEADER_BYTES:].data)),
        ).ljust(HEADER_BYTES - _CRC.size, b"\0")
        header += _CRC.pack(zlib.crc32(header))
        whole[:HEADER_BYTES] = np.frombuffer(header, np.uint8)
        # The buffer must be let go before its bytes are handed over.
        del self._whole, self.places, self.codes, whole
        return self._file.getvalue()


def version_of(data: Buffer) -> int:
    """The format version that a file claims.

    Raises
    ------
    CorruptIndexError
        Not a vector file.
    """
    if len(data) < _VERSION.size:
        raise CorruptIndexError("not a vector file")
    magic, version = _VERSION.unpack_from(data)
    if magic != MAGIC:
        raise CorruptIndexError("not a vector file")
    return int(version)


def parse(data: Buffer, *, verified: bool) -> Contents:
    """Views of the sections of a file of version 2; `verified`: leave out the CRC of the sections.

    Raises
    ------
    CorruptIndexError
        The header or a checksum does not hold, or they hold and contradict each other.
    """
    whole = np.frombuffer(data, np.uint8)
    if len(whole) < HEADER_BYTES:
        raise CorruptIndexError("a vector file is cut short")
    (header_crc,) = _CRC.unpack_from(data, HEADER_BYTES - _CRC.size)
    if zlib.crc32(whole[: HEADER_BYTES - _CRC.size].data) != header_crc:
        raise CorruptIndexError("the header of a vector file is damaged")
    _, _, dimension, n_vectors, n_stored, flags, size_bytes, crc = _HEADER.unpack_from(data)
    shape = Shape(
        dimension=dimension,
        n_vectors=n_vectors,
        n_stored=n_stored,
        has_places=bool(flags & _HAS_PLACES),
    )
    if (
        flags & ~_HAS_PLACES
        or not 1 <= dimension <= MAX_DIMENSION
        or n_stored > n_vectors
        or n_vectors > MAX_VECTORS
        or (n_stored != n_vectors and not shape.has_places)
        or not len(whole) == size_bytes == shape.size_bytes
    ):
        raise CorruptIndexError("the sizes of a vector file contradict each other")
    if not verified and zlib.crc32(whole[HEADER_BYTES:].data) != crc:
        raise CorruptIndexError("a vector file is damaged")
    return _contents(whole, shape)


def _contents(whole: NDArray[np.uint8], shape: Shape) -> Contents:
    whole.setflags(write=False)
    where, codes = shape.sections()
    if whole[where.stop : codes.start].any():
        raise CorruptIndexError("the sizes of a vector file contradict each other")
    places: NDArray[np.int32] | None = whole[where].view("<i4") if shape.has_places else None
    if places is not None and not _is_onto(places, shape.n_stored):
        raise CorruptIndexError("the places of a vector file are not those of its vectors")
    return Contents(
        dimension=shape.dimension,
        codes=whole[codes].reshape(shape.n_stored, shape.dimension * FP16_BYTES),
        places=places,
    )


def _is_onto(places: NDArray[np.int32], n_stored: int) -> bool:
    """Whether every place is one of `n_stored` and every one of them is named."""
    if not len(places):
        return n_stored == 0
    if int(places.min()) < 0 or int(places.max()) >= n_stored:
        return False
    named = np.zeros(n_stored, np.bool_)
    named[places] = True
    return bool(named.all())
