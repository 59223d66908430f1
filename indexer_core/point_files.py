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
from indexer_core.index.keys import SHORT_DIGITS, Hashes, short_numbers

POINTS = "application/vnd.dicom-indexer.points"
"""Media type of these files."""

MAGIC = b"DXP1"
_ALIGNMENT = 8
_BEGINS = f"^[0-9a-f]{{{SHORT_DIGITS}}}"
_TYPES = frozenset({"uint8", "uint16", "float32"})

Ids = Hashes
"""Short keys as numbers, whose order is that of the keys."""


def ids_of(keys: pa.Array) -> Ids:
    """The short keys of series keys (strings), uint64 (n,).

    Raises
    ------
    CorruptIndexError
        One is no series key.
    """
    keys = keys.cast(pa.string())
    if not pc.all(pc.match_substring_regex(keys, _BEGINS), min_count=0).as_py():
        raise CorruptIndexError("a series key is not a sha256 in hexadecimal digits")
    return short_numbers(keys)


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
