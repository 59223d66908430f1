"""The ports in memory: what tests of the core run on, held to the same contracts."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import md5
from threading import RLock
from typing import Any

from indexer_core.errors import InvalidInputError
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    Clock,
    Ids,
    PreconditionFailed,
    QueueMessage,
    Row,
    WriteResult,
    Written,
)


class ManualClock:
    """A clock that moves only when told. Implements `indexer_core.ports.Clock`."""

    def __init__(self, start_s: float = 1_700_000_000.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return self._now_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass (negative: a clock that is set back)."""
        self._now_s += seconds


class SequentialIds:
    """Predictable ids of the production format. Implements `indexer_core.ports.Ids`.

    Parameters
    ----------
    clock
        Gives the 12 leading hex digits (milliseconds); without it they are zero.
    series
        Keeps the ids of several sources in one test apart.
    """

    def __init__(self, clock: Clock | None = None, series: int = 0) -> None:
        self._clock = clock
        self._series = series
        self._given = 0
        self._lock = RLock()

    def new_id(self) -> str:
        """A name never given before by this source."""
        with self._lock:
            self._given += 1
            elapsed_ms = 0 if self._clock is None else int(self._clock.now_s() * 1000)
            return f"{elapsed_ms:012x}{self._series:08x}{self._given:012x}"


@dataclass(frozen=True, slots=True)
class _Blob:
    data: bytes
    properties: BlobProperties


def _check_name(name: str) -> None:
    if not name or "\\" in name or any(part in {"", ".", ".."} for part in name.split("/")):
        raise InvalidInputError("a blob name must be a relative path of plain components")
    if any(ord(c) < 32 or 0xD800 <= ord(c) <= 0xDFFF for c in name):
        raise InvalidInputError("a blob name must be a relative path of plain components")


class MemoryBlobs:
    """Implements `indexer_core.ports.BlobStore`; keeps content digests as Azure does.

    Parameters
    ----------
    clock
        Gives the modification times.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._blobs: dict[str, _Blob] = {}
        self._written = 0
        self._lock = RLock()

    def properties(self, name: str) -> BlobProperties | None:
        """Properties, or None when there is no such blob."""
        _check_name(name)
        blob = self._blobs.get(name)
        return None if blob is None else blob.properties

    def get(self, name: str) -> BlobRange | None:
        """The whole blob, or None when there is no such blob."""
        _check_name(name)
        blob = self._blobs.get(name)
        return None if blob is None else _range(blob, blob.data)

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), shorter at the end of the blob, empty past it."""
        _check_name(name)
        blob = self._blobs.get(name)
        if blob is None:
            return None
        if if_match is not None and if_match != blob.properties.etag:
            return PreconditionFailed()
        return _range(blob, blob.data[offset : offset + length])

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        """Create the blob; PreconditionFailed when one exists."""
        _check_name(name)
        with self._lock:
            return PreconditionFailed() if name in self._blobs else self.overwrite(name, data)

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        """Replace the blob when its etag is still `etag`; PreconditionFailed otherwise."""
        _check_name(name)
        with self._lock:
            blob = self._blobs.get(name)
            if blob is None or blob.properties.etag != etag:
                return PreconditionFailed()
            return self.overwrite(name, data)

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Entries whose name starts with `prefix`, in name order."""
        with self._lock:
            found = sorted((n, b) for n, b in self._blobs.items() if n.startswith(prefix))
        for name, blob in found:
            yield BlobEntry(name=name, properties=blob.properties)

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        """Delete; False when it was absent or its etag differs."""
        _check_name(name)
        with self._lock:
            blob = self._blobs.get(name)
            if blob is None or if_match not in (None, blob.properties.etag):
                return False
            del self._blobs[name]
            return True

    def overwrite(self, name: str, data: bytes, *, archived: bool = False) -> Written:
        """Put without a condition, as a user's upload does (not part of the port)."""
        with self._lock:
            self._written += 1
            properties = BlobProperties(
                etag=f"0x{self._written:015X}",
                size_bytes=len(data),
                modified_s=self._clock.now_s(),
                content_digest=md5(data, usedforsecurity=False).hexdigest(),
                archived=archived,
            )
            self._blobs[name] = _Blob(bytes(data), properties)
        return Written(etag=properties.etag)


def _range(blob: _Blob, data: bytes) -> BlobRange:
    return BlobRange(data=data, etag=blob.properties.etag, size_bytes=len(blob.data))


@dataclass(frozen=True, slots=True)
class _Queued:
    message: QueueMessage
    visible_at_s: float


class MemoryQueue:
    """Implements `indexer_core.ports.WorkQueue`.

    Parameters
    ----------
    clock, ids
        Where visibility times, message ids and receipts come from.
    """

    def __init__(self, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self._clock = clock or ManualClock()
        self._ids = ids or SequentialIds()
        self._queued: dict[str, _Queued] = {}
        self._lock = RLock()

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        """Enqueue; the message becomes visible after `delay_s`."""
        message = QueueMessage(id=self._ids.new_id(), receipt="", body=body, dequeue_count=0)
        with self._lock:
            self._queued[message.id] = _Queued(message, self._clock.now_s() + delay_s)

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Up to `max_messages` visible messages, hidden from others for `visibility_s`."""
        now_s = self._clock.now_s()
        with self._lock:
            visible = [q.message for q in self._queued.values() if q.visible_at_s <= now_s]
            return tuple(
                self._hide(replace(message, dequeue_count=message.dequeue_count + 1), visibility_s)
                for message in visible[:max_messages]
            )

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        """Hide for `visibility_s` from now, with a new receipt; None when it is no longer ours."""
        with self._lock:
            return self._hide(message, visibility_s) if self._is_ours(message) else None

    def delete(self, message: QueueMessage) -> bool:
        """Acknowledge; False when the message is no longer ours."""
        with self._lock:
            if not self._is_ours(message):
                return False
            del self._queued[message.id]
            return True

    def length(self) -> int:
        """Number of messages, invisible ones included."""
        return len(self._queued)

    def _hide(self, message: QueueMessage, visibility_s: float) -> QueueMessage:
        hidden = replace(message, receipt=self._ids.new_id())
        self._queued[message.id] = _Queued(hidden, self._clock.now_s() + visibility_s)
        return hidden

    def _is_ours(self, message: QueueMessage) -> bool:
        queued = self._queued.get(message.id)
        return queued is not None and queued.message.receipt == message.receipt


class MemoryRows:
    """Implements `indexer_core.ports.RowStore`."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str], Row] = {}
        self._written = 0
        self._lock = RLock()

    def get(self, partition: str, key: str) -> Row | None:
        """The row, or None."""
        return self._rows.get((partition, key))

    def insert(self, partition: str, key: str, values: Mapping[str, Any]) -> WriteResult:
        """Create the row; PreconditionFailed when it exists."""
        with self._lock:
            if (partition, key) in self._rows:
                return PreconditionFailed()
            return self._store(partition, key, values)

    def merge(self, row: Row, values: Mapping[str, Any]) -> WriteResult:
        """Set these values, keep the others, if the stored etag is still `row.etag`."""
        with self._lock:
            stored = self._current(row)
            if stored is None:
                return PreconditionFailed()
            return self._store(row.partition, row.key, {**stored.values, **values})

    def delete(self, row: Row) -> bool:
        """Delete if the stored etag is still `row.etag`; False otherwise."""
        with self._lock:
            if self._current(row) is None:
                return False
            del self._rows[row.partition, row.key]
            return True

    def query(self, partition: str) -> Iterator[Row]:
        """Rows of a partition in key order."""
        return (row for row in self.scan() if row.partition == partition)

    def scan(self) -> Iterator[Row]:
        """Every row of the table, by partition then key."""
        with self._lock:
            return iter([self._rows[place] for place in sorted(self._rows)])

    def _current(self, row: Row) -> Row | None:
        stored = self._rows.get((row.partition, row.key))
        return stored if stored is not None and stored.etag == row.etag else None

    def _store(self, partition: str, key: str, values: Mapping[str, Any]) -> Written:
        if not all(isinstance(value, str | int | float | None) for value in values.values()):
            raise TypeError("a row holds JSON scalars only")
        self._written += 1
        # Through JSON, so that a test sees what any other store would give back.
        kept = json.loads(json.dumps(dict(values), allow_nan=False))
        row = Row(partition=partition, key=key, values=kept, etag=f"{self._written:016x}")
        self._rows[partition, key] = row
        return Written(etag=row.etag)
