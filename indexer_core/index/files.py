"""Immutable files, opened for reading: in memory here; mapped from a disk in adapters."""

import hashlib
from collections.abc import Collection, Sequence
from typing import Protocol

from indexer_core.errors import CorruptIndexError
from indexer_core.index.manifest import FileRef
from indexer_core.ports import BlobReader, Buffer


class ImmutableFiles(Protocol):
    """Opens files that a manifest names. Safe for several threads.

    What is opened stays readable until its last user lets go of it, also when the file is deleted
    meanwhile.
    """

    in_memory: bool
    """Whether an open file takes its whole size of memory. A mapped one takes what is used."""

    def prefetch(self, refs: Sequence[FileRef]) -> None:
        """Get ready what will be opened next, several at once where that is faster."""

    def open(self, ref: FileRef) -> Buffer:
        """The content, checked against its sha256, read-only.

        Raises
        ------
        CorruptIndexError
            The file is missing or damaged; the message names it.
        UnavailableError
            It cannot be read now.
        """

    def retain(self, refs: Collection[FileRef]) -> None:
        """These are the files of the index now: copies of others may go."""


class StoredFiles:
    """Files of a blob store, held in memory. Implements `ImmutableFiles`."""

    in_memory = True

    def __init__(self, blobs: BlobReader) -> None:
        self._blobs = blobs

    def prefetch(self, refs: Sequence[FileRef]) -> None:
        """Nothing: what is read is kept by whoever opens it."""

    def open(self, ref: FileRef) -> Buffer:
        """The content, checked against its sha256."""
        return read_file(self._blobs, ref)

    def retain(self, refs: Collection[FileRef]) -> None:
        """Nothing: no copy is kept."""


def read_file(blobs: BlobReader, ref: FileRef) -> bytes:
    """The bytes of an immutable file, checked.

    Raises
    ------
    CorruptIndexError
        It is missing, or its checksum does not fit.
    """
    found = blobs.get(ref.name)
    if found is None:
        raise missing(ref)
    check(ref, found.data)
    return found.data


def check(ref: FileRef, data: Buffer) -> None:
    """Make sure that `data` is what the manifest names.

    Raises
    ------
    CorruptIndexError
        It is not.
    """
    if hashlib.sha256(data).hexdigest() != ref.sha256:
        raise damaged(ref)


def missing(ref: FileRef) -> CorruptIndexError:
    """What to raise where a file is not there."""
    return CorruptIndexError(f"{ref.name}: missing although a manifest names it")


def damaged(ref: FileRef) -> CorruptIndexError:
    """What to raise where a file is not what was written."""
    return CorruptIndexError(f"{ref.name}: checksum does not fit its content")
