"""A small deterministic container of arrays: a JSON header, then raw little-endian values.

Layout: magic (8 bytes), length of the header (8 bytes, little-endian), header, arrays in the
header's order, sha256 of everything before it (32 bytes). The same content gives the same bytes.
The header holds ``kind``, ``format_version``, ``fields`` (the caller's own JSON values) and
``arrays`` (name, dtype, shape).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError, InvalidInputError

_MAGIC = b"DIARRAY1"
_DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}
_START = len(_MAGIC) + 8
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayFile:
    """The content of a container; arrays are read-only when they come from `parse_arrays`."""

    fields: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]


def arrays_to_bytes(kind: str, format_version: int, content: ArrayFile) -> bytes:
    """Serialise arrays of float32 or uint8."""
    header = {
        "kind": kind,
        "format_version": format_version,
        "fields": dict(content.fields),
        "arrays": [
            {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}
            for name, array in content.arrays.items()
        ],
    }
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    parts = [_MAGIC, len(text).to_bytes(8, "little"), text]
    parts += [
        np.ascontiguousarray(array, dtype=_DTYPES[array.dtype.name]).tobytes()
        for array in content.arrays.values()
    ]
    body = b"".join(parts)
    return body + sha256(body).digest()


def parse_arrays(data: bytes, kind: str, newest_version: int) -> ArrayFile:
    """Read a container and check its digest.

    Parameters
    ----------
    newest_version
        Newest format version the caller can read.

    Raises
    ------
    CorruptIndexError
        When the bytes are not an intact container of this kind.
    InvalidInputError
        When its format is newer than `newest_version`.
    """
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not data.startswith(_MAGIC) or sha256(body).digest() != digest:
        raise CorruptIndexError(f"not an intact {kind} file")
    start = _START + int.from_bytes(body[len(_MAGIC) : _START], "little")
    try:
        header = json.loads(body[_START:start])
        if header["kind"] != kind:
            raise CorruptIndexError(f"not a {kind} file")
        if header["format_version"] > newest_version:
            raise InvalidInputError(
                f"{kind} file of format {header['format_version']}; "
                f"this program reads up to {newest_version}"
            )
        return ArrayFile(fields=header["fields"], arrays=_arrays(body, start, header["arrays"]))
    except (KeyError, TypeError) as error:
        raise CorruptIndexError(f"{kind} file with an incomplete header") from error


def _arrays(body: bytes, start: int, specs: list[dict[str, Any]]) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    for spec in specs:
        shape = tuple(spec["shape"])
        array = np.frombuffer(body, _DTYPES[spec["dtype"]], count=prod(shape), offset=start)
        arrays[spec["name"]] = array.reshape(shape)
        start += array.nbytes
    return arrays
