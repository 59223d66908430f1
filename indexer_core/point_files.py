"""Points as a file for programs that draw them: a head in JSON and arrays, no object per point.

Little-endian: four bytes ``DXP1``; uint32, the length of the head; the head, padded with spaces so
that it ends at a multiple of 8 bytes; the sections one after the other, each padded with zeros to
a multiple of 8 bytes. The head says which they are: ``sections`` is a list of ``name``, ``type``
(``uint8``, ``uint16`` or ``float32``) and ``length``, in elements.

A point is named by its short key: the first 8 bytes of the series key, which is a sha256. Among ten
million series two have the same with a probability of 1 in 370,000.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError

POINTS = "application/vnd.dicom-indexer.points"
"""Media type of these files."""

MAGIC = b"DXP1"
_ALIGNMENT = 8
_DIGITS = 16  # of a short key
_NO_DIGIT = 255
_TYPES = frozenset({"uint8", "uint16", "float32"})

Ids = NDArray[np.uint64]
"""Short keys as numbers, whose order is that of the keys."""


def _digit_values() -> NDArray[np.uint8]:
    values = np.full(256, _NO_DIGIT, dtype=np.uint8)
    values[np.frombuffer(b"0123456789abcdef", dtype=np.uint8)] = np.arange(16, dtype=np.uint8)
    return values


_DIGIT_VALUES = _digit_values()


def ids_of(keys: pa.Array) -> Ids:
    """The short keys of series keys (strings), uint64 (n,).

    Raises
    ------
    CorruptIndexError
        One is no series key.
    """
    short = pc.utf8_slice_codeunits(keys, 0, _DIGITS)
    if pc.any(pc.not_equal(pc.binary_length(short), _DIGITS)).as_py():
        raise CorruptIndexError("a series key is not a sha256 in hexadecimal digits")
    data = short.buffers()[2]
    digits = np.frombuffer(b"" if data is None else data, dtype=np.uint8)
    first = short.offset * _DIGITS
    values = _DIGIT_VALUES[digits[first : first + len(short) * _DIGITS]]
    if (values == _NO_DIGIT).any():
        raise CorruptIndexError("a series key is not a sha256 in hexadecimal digits")
    pairs = values.reshape(-1, 2)
    packed = np.ascontiguousarray(pairs[:, 0] << 4 | pairs[:, 1])
    return packed.view(">u8").astype(np.uint64)


def id_bytes(ids: Ids) -> NDArray[np.uint8]:
    """Short keys as a section has them: their bytes, 8 for each, uint8 (8 n,)."""
    return ids.astype(">u8").view(np.uint8)


def point_file(head: Mapping[str, Any], sections: Mapping[str, NDArray[Any]]) -> bytes:
    """A file of these arrays, each of one dimension; ``sections`` of the head is added here."""
    listed = [
        {"name": name, "type": _type_of(array), "length": len(array)}
        for name, array in sections.items()
    ]
    told = json.dumps(
        {**head, "sections": listed}, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()
    told += b" " * _padding(len(MAGIC) + 4 + len(told))
    parts = [MAGIC, len(told).to_bytes(4, "little"), told]
    for array in sections.values():
        parts.extend(_padded(array))
    return b"".join(parts)


def _type_of(array: NDArray[Any]) -> str:
    name: str = array.dtype.name
    assert name in _TYPES, name
    assert array.ndim == 1
    return name


def _padded(array: NDArray[Any]) -> Iterator[bytes]:
    data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    yield data
    yield bytes(_padding(len(data)))


def _padding(n_bytes: int) -> int:
    return -n_bytes % _ALIGNMENT
