"""A blob store in which everything can be tried: what is written stays in memory, apart.

The store below is read and never changed. Whoever rehearses sees one store: the one below with
what it has written and deleted since. The memory that this takes is that of what is written.
"""

import heapq
import time
from collections.abc import Collection, Iterator, Sequence
from threading import RLock
from uuid import uuid4

from indexer_core.index.files import ImmutableFiles, StoredFiles
from indexer_core.index.manifest import FileRef
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    BlobStore,
    Buffer,
    PreconditionFailed,
    WriteResult,
    Written,
)


class Rehearsal:
    """Implements `indexer_core.ports.BlobStore` over another one."""

    def __init__(self, below: BlobStore) -> None:
        self._below = below
        self._written: dict[str, tuple[bytes, BlobProperties]] = {}
        self._gone: set[str] = set()
        self._lock = RLock()

    def holds(self, name: str) -> bool:
        """Whether this blob was written here."""
        return name in self._written

    def properties(self, name: str) -> BlobProperties | None:
        """Properties, or None when there is no such blob."""
        with self._lock:
            below = self._below.properties(name)  # which also refuses names that are none
            if name in self._written:
                return self._written[name][1]
            return None if name in self._gone else below

    def get(self, name: str) -> BlobRange | None:
        """The whole blob, or None when there is no such blob."""
        with self._lock:
            if name in self._written:
                return self._range(name, 0, None)
            return None if name in self._gone else self._below.get(name)

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), shorter at the end of the blob, empty past it."""
        with self._lock:
            if name not in self._written:
                below = self._below.get_range(name, offset, length, if_match=if_match)
                return None if name in self._gone else below
            if if_match not in (None, self._written[name][1].etag):
                return PreconditionFailed()
            return self._range(name, offset, length)

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        """Create the blob; PreconditionFailed when one exists."""
        with self._lock:
            return self._put(name, data) if self.properties(name) is None else PreconditionFailed()

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        """Replace the blob when its etag is still `etag`; PreconditionFailed otherwise."""
        with self._lock:
            found = self.properties(name)
            if found is None or found.etag != etag:
                return PreconditionFailed()
            return self._put(name, data)

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Entries whose name starts with `prefix`, in name order."""
        with self._lock:
            written, gone = dict(self._written), frozenset(self._gone)
        own = (
            BlobEntry(name=name, properties=properties)
            for name, (_, properties) in sorted(written.items())
            if name.startswith(prefix)
        )
        below = (
            entry
            for entry in self._below.list(prefix)
            if entry.name not in written and entry.name not in gone
        )
        yield from heapq.merge(own, below, key=lambda entry: entry.name)

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        """Delete; False when it was absent or its etag differs."""
        with self._lock:
            found = self.properties(name)
            if found is None or if_match not in (None, found.etag):
                return False
            self._written.pop(name, None)
            self._gone.add(name)
            return True

    def _put(self, name: str, data: bytes) -> Written:
        properties = BlobProperties(
            etag=f"rehearsed-{uuid4().hex}", size_bytes=len(data), modified_s=time.time()
        )
        self._written[name] = (bytes(data), properties)
        self._gone.discard(name)
        return Written(etag=properties.etag)

    def _range(self, name: str, offset: int, length: int | None) -> BlobRange:
        data, properties = self._written[name]
        part = data[offset:] if length is None else data[offset : offset + length]
        return BlobRange(data=part, etag=properties.etag, size_bytes=properties.size_bytes)


class RehearsedFiles:
    """Opens what a rehearsal wrote from memory, and all else as the store below is opened.

    Implements `indexer_core.index.files.ImmutableFiles`.
    """

    in_memory = False

    def __init__(self, rehearsal: Rehearsal, below: ImmutableFiles) -> None:
        self._rehearsal = rehearsal
        self._own = StoredFiles(rehearsal)
        self._below = below

    def prefetch(self, refs: Sequence[FileRef]) -> None:
        """Get ready what lies below."""
        self._below.prefetch([ref for ref in refs if not self._rehearsal.holds(ref.name)])

    def open(self, ref: FileRef) -> Buffer:
        """The content, checked against its sha256."""
        files = self._own if self._rehearsal.holds(ref.name) else self._below
        return files.open(ref)

    def retain(self, refs: Collection[FileRef]) -> None:
        """Nothing: what lies below is others', and still needed."""
