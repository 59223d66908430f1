"""The bytes of a vector file, format version 2.

A header of 128 bytes, then the sections that it counts, each starting at a multiple of 64 bytes,
so that a mapped file is searched where it lies:

========== ======= ======================= ===============================================
section    type    shape                   there
========== ======= ======================= ===============================================
places     int32   (n_vectors,)            if vectors repeat or lie in another order
starts     int64   (n_lists + 1,)          if there are lists
axes       float32 (dimension, n_axes)     if there are lists
centroids  fp16    (n_lists, n_axes)       if there are lists
codes      fp16    (n_stored, dimension)   always
========== ======= ======================= ===============================================

``places[i]`` is the stored vector that vector i equals. List j is the stored vectors
``starts[j]:starts[j + 1]``, about those that are nearest to its centroid; of centroids only the
components along the axes are kept that tell them apart. Numbers are little-endian. The header has
a CRC-32 of itself and one of all that follows.
"""

import io
import itertools
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
_HEADER = struct.Struct("<8sIIQQIQIIIIff")
_CRC = struct.Struct("<I")
_HAS_PLACES = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ListSearch:
    """How lists are searched: how many of them, and the recall measured among 10 and among 100.

    With no probes the lists do not pay: such a file is searched exactly.
    """

    n_probes: int = 0
    recalls: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lists:
    """Stored vectors by nearest centroid.

    starts : ndarray of int64, shape (n_lists + 1,)
    axes : ndarray of float32, shape (dimension, n_axes), orthonormal columns
    centroids : ndarray of uint8, shape (n_lists, 2 * n_axes), the bytes of fp16 values
    """

    starts: NDArray[np.int64]
    axes: NDArray[np.float32]
    centroids: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.centroids)

    @property
    def n_axes(self) -> int:
        """Number of axes."""
        return int(self.axes.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """A vector file as arrays.

    codes : ndarray of uint8, shape (n_stored, 2 * dimension), the bytes of fp16 values
    places : ndarray of int32, shape (n_vectors,), or None where vector i is stored at place i
    """

    dimension: int
    codes: NDArray[np.uint8]
    places: NDArray[np.int32] | None = None
    lists: Lists | None = None
    search: ListSearch = ListSearch()

    @property
    def n_vectors(self) -> int:
        """Number of vectors."""
        return len(self.codes if self.places is None else self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a header says of the sections."""

    dimension: int
    n_vectors: int
    n_stored: int
    has_places: bool
    n_lists: int = 0
    n_axes: int = 0

    def is_possible(self) -> bool:
        """Whether the numbers can be those of one file."""
        return (
            1 <= self.dimension <= MAX_DIMENSION
            and self.n_stored <= self.n_vectors <= MAX_VECTORS
            and self.n_lists <= self.n_stored
            and bool(self.n_lists) == bool(self.n_axes)
            and self.n_axes <= self.dimension
            and (self.has_places or (self.n_stored == self.n_vectors and not self.n_lists))
        )

    def sections(self) -> list[slice]:
        """Where the bytes of places, starts, axes, centroids and codes lie in the file."""
        sizes = (
            4 * self.n_vectors if self.has_places else 0,
            8 * (self.n_lists + 1) if self.n_lists else 0,
            4 * self.dimension * self.n_axes,
            self.n_lists * self.n_axes * FP16_BYTES,
            self.n_stored * self.dimension * FP16_BYTES,
        )
        found: list[slice] = []
        start = HEADER_BYTES
        for size in sizes:
            found.append(slice(start, start + size))
            start = -(-(start + size) // _ALIGNMENT) * _ALIGNMENT
        return found

    @property
    def size_bytes(self) -> int:
        """Size of the file."""
        return int(self.sections()[-1].stop)


class Draft:
    """A file being written: its sections are filled in place, in memory, then sealed.

    The memory is that of the finished file; `sealed` hands it over without a copy.
    """

    def __init__(self, shape: Shape) -> None:
        if not shape.is_possible():
            raise InvalidInputError(
                f"a vector file holds 1 to {MAX_DIMENSION} columns and at most {MAX_VECTORS} rows"
            )
        self._shape = shape
        self._file = io.BytesIO()
        self._file.seek(shape.size_bytes - 1)
        self._file.write(b"\0")
        self._whole = np.frombuffer(self._file.getbuffer(), np.uint8)
        self.places, self.starts, self.axes, self.centroids, self.codes = _views(self._whole, shape)

    def sealed(self, search: ListSearch = ListSearch()) -> bytes:
        """The file; the draft cannot be used after this."""
        shape, whole = self._shape, self._whole
        header = _HEADER.pack(
            *(MAGIC, FORMAT_VERSION, shape.dimension, shape.n_vectors, shape.n_stored),
            *(_HAS_PLACES if shape.has_places else 0, shape.size_bytes),
            *(zlib.crc32(whole[HEADER_BYTES:].data), shape.n_lists, shape.n_axes),
            *(search.n_probes, *search.recalls),
        ).ljust(HEADER_BYTES - _CRC.size, b"\0")
        header += _CRC.pack(zlib.crc32(header))
        whole[:HEADER_BYTES] = np.frombuffer(header, np.uint8)
        # The buffer must be let go before its bytes are handed over.
        del self._whole, self.places, self.starts, self.axes, self.centroids, self.codes, whole
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
    _, _, dimension, n_vectors, n_stored, flags, size_bytes, crc, *rest = _HEADER.unpack_from(data)
    n_lists, n_axes, n_probes, *recalls = rest
    shape = Shape(
        dimension=dimension,
        n_vectors=n_vectors,
        n_stored=n_stored,
        has_places=bool(flags & _HAS_PLACES),
        n_lists=n_lists,
        n_axes=n_axes,
    )
    if (
        flags & ~_HAS_PLACES
        or not shape.is_possible()
        or not len(whole) == size_bytes == shape.size_bytes
        or n_probes > n_lists
    ):
        raise CorruptIndexError("the sizes of a vector file contradict each other")
    if not verified and zlib.crc32(whole[HEADER_BYTES:].data) != crc:
        raise CorruptIndexError("a vector file is damaged")
    places, starts, axes, centroids, codes = _checked(whole, shape)
    return Contents(
        dimension=dimension,
        codes=codes,
        places=places if shape.has_places else None,
        lists=Lists(starts=starts, axes=axes, centroids=centroids) if n_lists else None,
        search=ListSearch(n_probes=n_probes, recalls=(recalls[0], recalls[1])),
    )


_Views = tuple[
    NDArray[np.int32], NDArray[np.int64], NDArray[np.float32], NDArray[np.uint8], NDArray[np.uint8]
]


def _views(whole: NDArray[np.uint8], shape: Shape) -> _Views:
    places, starts, axes, centroids, codes = shape.sections()
    return (
        whole[places].view("<i4"),
        whole[starts].view("<i8"),
        whole[axes].view("<f4").reshape(shape.dimension, shape.n_axes),
        whole[centroids].reshape(shape.n_lists, shape.n_axes * FP16_BYTES),
        whole[codes].reshape(shape.n_stored, shape.dimension * FP16_BYTES),
    )


def _checked(whole: NDArray[np.uint8], shape: Shape) -> _Views:
    whole.setflags(write=False)
    views = places, starts, axes, *_ = _views(whole, shape)
    sections = shape.sections()
    if any(whole[one.stop : next_.start].any() for one, next_ in itertools.pairwise(sections)):
        raise CorruptIndexError("the sizes of a vector file contradict each other")
    if shape.has_places and not _is_onto(places, shape.n_stored):
        raise CorruptIndexError("the places of a vector file are not those of its vectors")
    if shape.n_lists and not (
        starts[0] == 0
        and starts[-1] == shape.n_stored
        and np.all(np.diff(starts) >= 0)
        and np.isfinite(axes).all()
    ):
        raise CorruptIndexError("the lists of a vector file do not hold its vectors")
    return views


def _is_onto(places: NDArray[np.int32], n_stored: int) -> bool:
    """Whether every place is one of `n_stored` and every one of them is named."""
    if not len(places):
        return n_stored == 0
    if int(places.min()) < 0 or int(places.max()) >= n_stored:
        return False
    named = np.zeros(n_stored, np.bool_)
    named[places] = True
    return bool(named.all())
