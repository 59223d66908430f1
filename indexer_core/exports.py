"""Exports of encoders: a few files, and a manifest that names their digests and what they are.

What text and image encoders have in common; what is in the files is up to them.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from indexer_core.encoders import EXPORT_MANIFEST, ReadFile
from indexer_core.errors import CorruptIndexError, InvalidInputError


def files_of(source: Path | ReadFile, what: str, *, advice: str = "") -> ReadFile:
    """How to read the files of an export that lies in a folder, or wherever `source` reads from.

    Parameters
    ----------
    what
        The kind of encoder, for errors.
    advice
        What to do where a file of the folder cannot be read.
    """
    if not isinstance(source, Path):
        return source
    folder = source

    def read(name: str) -> bytes:
        try:
            return (folder / name).read_bytes()
        except OSError as error:
            raise InvalidInputError(f"{name} of the {what} cannot be read{advice}") from error

    return read


def parse_manifest(
    data: bytes, what: str, kinds: Mapping[str, type], *, newest: int, misfit: str
) -> dict[str, Any]:
    """The manifest of an export, every key of `kinds` of its type.

    Raises
    ------
    InvalidInputError
        Its format is newer than `newest`.
    CorruptIndexError
        It cannot be read; or, told as `misfit`, a value is of another type.
    """
    try:
        manifest = json.loads(data)
        version = int(manifest["format_version"])
        complete = all(isinstance(manifest[key], kind) for key, kind in kinds.items())
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptIndexError(f"{EXPORT_MANIFEST} of the {what} is unreadable") from error
    if version > newest:
        raise InvalidInputError(
            f"the {what} has format {version}; this program reads up to {newest}"
        )
    if not complete:
        raise CorruptIndexError(misfit)
    return dict(manifest)


def checked_file(
    read: ReadFile, name: str, manifest: Mapping[str, Any], what: str, *, advice: str = ""
) -> bytes:
    """A file of the export, which is what the manifest says.

    Raises
    ------
    CorruptIndexError
        It is not.
    """
    data = read(name)
    if sha256(data).hexdigest() != manifest["sha256"].get(name):
        raise CorruptIndexError(f"{name} of the {what} has a wrong sha256{advice}")
    return data
