"""JSON that proves itself: canonical form with ``format_version`` and a checksum over the rest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from indexer_core.errors import CorruptIndexError


def seal(body: Mapping[str, Any]) -> bytes:
    """Canonical JSON bytes of `body` with its checksum."""
    return canonical({**body, "checksum": _checksum(body)})


def unseal(data: bytes, name: str, newest_version: int) -> dict[str, Any]:
    """The body of sealed JSON, without checksum and version.

    Raises
    ------
    CorruptIndexError
        The checksum does not fit, or the format is newer than this software; names `name`.
    """
    try:
        body = json.loads(data)
        checksum = body.pop("checksum")
        fits = checksum == _checksum(body)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CorruptIndexError(f"{name}: unreadable") from error
    if not fits:
        raise CorruptIndexError(f"{name}: checksum does not fit its content")
    version = body.pop("format_version", None)
    if type(version) is not int or not 1 <= version <= newest_version:
        raise CorruptIndexError(
            f"{name}: format_version {version} is newer than this software reads "
            f"({newest_version}); upgrade dicom-indexer"
        )
    return dict(body)


def is_of_newer_format(data: bytes, newest_version: int) -> bool:
    """Whether bytes that `unseal` refuses are intact, but of a format that came later."""
    try:
        body = json.loads(data)
        checksum = body.pop("checksum")
        version = body["format_version"]
        return checksum == _checksum(body) and type(version) is int and version > newest_version
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return False


def check_row_version(values: Mapping[str, Any], newest_version: int, what: str) -> None:
    """Refuse a stored row of a newer format.

    Raises
    ------
    CorruptIndexError
        Its ``format_version`` is not one that this software reads.
    """
    version = values.get("format_version")
    if type(version) is not int or not 1 <= version <= newest_version:
        raise CorruptIndexError(
            f"{what}: format_version {version} is not readable by this software; "
            "upgrade dicom-indexer"
        )


def canonical(body: Mapping[str, Any]) -> bytes:
    """The one way in which a body is written, so that equal ones have equal hashes."""
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _checksum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(body)).hexdigest()
