"""Wrappers around ports that fail, count, cut and serve stale answers.

`WrappedBlobs`, `WrappedQueue` and `WrappedRows` pass every call to an `Around`. `FaultPlan` is one
that fails at the k-th write of all the ports that share it, so that a test walks through every
write of an operation::

    plan = FaultPlan()                      # first run: counts
    run(WrappedBlobs(blobs, plan), WrappedRows(rows, plan))
    for k in range(1, plan.n_writes + 1):   # then fail at each
        run(... FaultPlan(at=k, fault=WriteFault.CRASH_AFTER) ...)

`RequestCounts` is another that counts requests and bytes. Wrappers may be stacked.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum, auto
from typing import Any, Protocol, TypeVar

from indexer_core.errors import UnavailableError, UnknownOutcomeError
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    BlobStore,
    PreconditionFailed,
    QueueMessage,
    Row,
    RowStore,
    WorkQueue,
    WriteResult,
)

T = TypeVar("T")


class SimulatedCrash(BaseException):
    """The process was killed here. No Exception, so that nothing under test catches it."""


class WriteFault(Enum):
    """What goes wrong at a write."""

    UNAVAILABLE = auto()
    """It does not take place and says so."""
    LOST_RESPONSE = auto()
    """It takes place, and `UnknownOutcomeError` is all that the caller learns."""
    LOST_REQUEST = auto()
    """It does not take place, and `UnknownOutcomeError` is all that the caller learns."""
    CRASH_BEFORE = auto()
    """The process is killed before it."""
    CRASH_AFTER = auto()
    """The process is killed after it."""
    DISK_FULL = auto()
    """It and every later write that needs space fail; deletes go on."""


class Around(Protocol):
    """What happens around a call of a wrapped port."""

    def read(self, operation: str, call: Callable[[], T]) -> T:
        """Answer a read named like ``blobs.get``."""

    def write(self, operation: str, call: Callable[[], T]) -> T:
        """Answer a write named like ``rows.merge``."""


class FaultPlan:
    """An `Around` that lets one write go wrong.

    Parameters
    ----------
    at
        Which write, counted from 1 over all ports that share the plan; None: none.
    fault
        What happens to it.

    Attributes
    ----------
    operations
        The writes so far, by name, the failed ones included.
    """

    def __init__(self, at: int | None = None, fault: WriteFault = WriteFault.UNAVAILABLE) -> None:
        self.operations: list[str] = []
        self._at = at
        self._fault = fault
        self._crashed = False

    @property
    def n_writes(self) -> int:
        """Number of writes so far, the failed ones included."""
        return len(self.operations)

    @property
    def has_struck(self) -> bool:
        """Whether the planned write was reached."""
        return self._at is not None and self.n_writes >= self._at

    def read(self, operation: str, call: Callable[[], T]) -> T:
        """Answer, unless the process is dead."""
        self._check_alive()
        return call()

    def write(self, operation: str, call: Callable[[], T]) -> T:
        """Write, unless it is this write's turn to go wrong."""
        self._check_alive()
        self.operations.append(operation)
        if self._fault is WriteFault.DISK_FULL:
            return self._write_on_full_disk(operation, call)
        return self._go_wrong(call) if self.n_writes == self._at else call()

    def _go_wrong(self, call: Callable[[], T]) -> T:
        match self._fault:
            case WriteFault.LOST_RESPONSE:
                call()
                raise UnknownOutcomeError("simulated: the answer was lost")
            case WriteFault.LOST_REQUEST:
                raise UnknownOutcomeError("simulated: the request was lost")
            case WriteFault.CRASH_BEFORE:
                self._crash()
            case WriteFault.CRASH_AFTER:
                call()
                self._crash()
        raise UnavailableError("simulated: unavailable")

    def _write_on_full_disk(self, operation: str, call: Callable[[], T]) -> T:
        if self.has_struck and not operation.endswith(".delete"):
            raise UnavailableError("simulated: no space left in the data directory")
        return call()

    def _crash(self) -> None:
        self._crashed = True
        raise SimulatedCrash

    def _check_alive(self) -> None:
        # A killed process runs no clean-up code either: its `finally` clauses reach nothing.
        if self._crashed:
            raise SimulatedCrash


class RequestCounts:
    """An `Around` that counts.

    Attributes
    ----------
    requests
        Number of calls by operation, e.g. ``requests["blobs.get_range"]``.
    read_bytes
        Bytes of blob content received.
    """

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.read_bytes = 0

    def read(self, operation: str, call: Callable[[], T]) -> T:
        """Count and answer."""
        self.requests[operation] += 1
        answer = call()
        if isinstance(answer, BlobRange):
            self.read_bytes += len(answer.data)
        return answer

    def write(self, operation: str, call: Callable[[], T]) -> T:
        """Count and write."""
        self.requests[operation] += 1
        return call()

    @property
    def n_requests(self) -> int:
        """All calls."""
        return self.requests.total()


class WrappedBlobs:
    """A `BlobStore` with something around its calls.

    Attributes
    ----------
    written_bytes
        Content handed to writes, whatever became of them.
    """

    def __init__(self, inner: BlobStore, around: Around) -> None:
        self._inner = inner
        self._around = around
        self.written_bytes = 0

    def properties(self, name: str) -> BlobProperties | None:
        return self._around.read("blobs.properties", lambda: self._inner.properties(name))

    def get(self, name: str) -> BlobRange | None:
        return self._around.read("blobs.get", lambda: self._inner.get(name))

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        return self._around.read(
            "blobs.get_range",
            lambda: self._inner.get_range(name, offset, length, if_match=if_match),
        )

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        self.written_bytes += len(data)
        return self._around.write(
            "blobs.put_if_absent", lambda: self._inner.put_if_absent(name, data)
        )

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        self.written_bytes += len(data)
        return self._around.write(
            "blobs.put_if_match", lambda: self._inner.put_if_match(name, data, etag)
        )

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        return self._around.read("blobs.list", lambda: self._inner.list(prefix))

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        return self._around.write(
            "blobs.delete", lambda: self._inner.delete(name, if_match=if_match)
        )


class WrappedQueue:
    """A `WorkQueue` with something around its calls; receiving and extending are writes."""

    def __init__(self, inner: WorkQueue, around: Around) -> None:
        self._inner = inner
        self._around = around

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        self._around.write("queue.send", lambda: self._inner.send(body, delay_s=delay_s))

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        return self._around.write(
            "queue.receive", lambda: self._inner.receive(max_messages, visibility_s)
        )

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        return self._around.write("queue.extend", lambda: self._inner.extend(message, visibility_s))

    def delete(self, message: QueueMessage) -> bool:
        return self._around.write("queue.delete", lambda: self._inner.delete(message))

    def length(self) -> int:
        return self._around.read("queue.length", self._inner.length)


class WrappedRows:
    """A `RowStore` with something around its calls."""

    def __init__(self, inner: RowStore, around: Around) -> None:
        self._inner = inner
        self._around = around

    def get(self, partition: str, key: str) -> Row | None:
        return self._around.read("rows.get", lambda: self._inner.get(partition, key))

    def insert(self, partition: str, key: str, values: Mapping[str, Any]) -> WriteResult:
        return self._around.write("rows.insert", lambda: self._inner.insert(partition, key, values))

    def merge(self, row: Row, values: Mapping[str, Any]) -> WriteResult:
        return self._around.write("rows.merge", lambda: self._inner.merge(row, values))

    def delete(self, row: Row) -> bool:
        return self._around.write("rows.delete", lambda: self._inner.delete(row))

    def query(self, partition: str) -> Iterator[Row]:
        return self._around.read("rows.query", lambda: self._inner.query(partition))

    def scan(self) -> Iterator[Row]:
        return self._around.read("rows.scan", self._inner.scan)


class PassThrough:
    """An `Around` that does nothing, for wrappers that change answers."""

    def read(self, operation: str, call: Callable[[], T]) -> T:
        return call()

    def write(self, operation: str, call: Callable[[], T]) -> T:
        return call()


class TruncatingBlobs(WrappedBlobs):
    """Range reads that end after `keep_bytes`, as a broken connection that goes unnoticed."""

    def __init__(self, inner: BlobStore, keep_bytes: int) -> None:
        super().__init__(inner, PassThrough())
        self._keep_bytes = keep_bytes

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        found = super().get_range(name, offset, length, if_match=if_match)
        if isinstance(found, BlobRange):
            return replace(found, data=found.data[: self._keep_bytes])
        return found


class StaleBlobs(WrappedBlobs):
    """Serves what the store held at `freeze` until `thaw`; writes go through."""

    def __init__(self, inner: BlobStore) -> None:
        super().__init__(inner, PassThrough())
        self._frozen: dict[str, tuple[BlobEntry, bytes]] | None = None

    def freeze(self) -> None:
        """From now on, read what is there now."""
        contents = ((entry, self._inner.get(entry.name)) for entry in self._inner.list())
        self._frozen = {e.name: (e, found.data) for e, found in contents if found is not None}

    def thaw(self) -> None:
        """Read the truth again."""
        self._frozen = None

    def properties(self, name: str) -> BlobProperties | None:
        if self._frozen is None:
            return super().properties(name)
        return self._frozen[name][0].properties if name in self._frozen else None

    def get(self, name: str) -> BlobRange | None:
        if self._frozen is None:
            return super().get(name)
        return self._stale(name) if name in self._frozen else None

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        if self._frozen is None:
            return super().get_range(name, offset, length, if_match=if_match)
        if name not in self._frozen:
            return None
        found = self._stale(name)
        if if_match not in (None, found.etag):
            return PreconditionFailed()
        return replace(found, data=found.data[offset : offset + length])

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        if self._frozen is None:
            return super().list(prefix)
        return iter([e for name, (e, _) in self._frozen.items() if name.startswith(prefix)])

    def _stale(self, name: str) -> BlobRange:
        assert self._frozen is not None
        entry, data = self._frozen[name]
        return BlobRange(data=data, etag=entry.properties.etag, size_bytes=len(data))


class StaleRows(WrappedRows):
    """Serves what the table held at `freeze` until `thaw`; writes go through."""

    def __init__(self, inner: RowStore) -> None:
        super().__init__(inner, PassThrough())
        self._frozen: dict[tuple[str, str], Row] | None = None

    def freeze(self) -> None:
        """From now on, read what is there now."""
        self._frozen = {(row.partition, row.key): row for row in self._inner.scan()}

    def thaw(self) -> None:
        """Read the truth again."""
        self._frozen = None

    def get(self, partition: str, key: str) -> Row | None:
        if self._frozen is None:
            return super().get(partition, key)
        return self._frozen.get((partition, key))

    def query(self, partition: str) -> Iterator[Row]:
        if self._frozen is None:
            return super().query(partition)
        return iter([row for row in self._frozen.values() if row.partition == partition])

    def scan(self) -> Iterator[Row]:
        return super().scan() if self._frozen is None else iter(self._frozen.values())
