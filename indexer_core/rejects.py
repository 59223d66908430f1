"""What was set aside, with its reason, for people to read and for `replay` to try again.

Partitions: one per scope for blobs, one for messages, one for series. A row is replaced by a newer
reason and deleted when what it names is well again.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from indexer_core.errors import ConflictError
from indexer_core.messages import SeriesReady, dump_ready
from indexer_core.ports import Clock, Row, RowStore, Written

FORMAT_VERSION = 1
MESSAGES = "queue:messages"
SERIES = "queue:series"
_RACES = 16
# No queue holds a longer message; whatever sends one is not ours, and its end is not missed.
_MAX_BODY_CHARACTERS = 65_536


class Rejects:
    """The rejects table."""

    def __init__(self, rows: RowStore, clock: Clock) -> None:
        self._rows = rows
        self._clock = clock

    def blob(self, scope: str, key: str, url: str, code: str, reason: str) -> None:
        """Set a blob aside."""
        self._put(_scope_partition(scope), key, {"url": url, "code": code, "reason": reason})

    def heal_blob(self, scope: str, key: str) -> None:
        """The blob is well again, or gone."""
        self._drop(_scope_partition(scope), key)

    def find_blob(self, scope: str, key: str) -> Row | None:
        """The row of a blob that is set aside."""
        return self._rows.get(_scope_partition(scope), key)

    def message(self, queue: str, body: str, reason: str) -> None:
        """Set a message aside that cannot be handled."""
        key = hashlib.sha256(f"{queue} {body}".encode(errors="replace")).hexdigest()
        values = {
            "queue": queue,
            "body": body[:_MAX_BODY_CHARACTERS],
            "code": "message",
            "reason": reason,
        }
        self._put(MESSAGES, key, values)

    def series(self, ready: SeriesReady, reason: str) -> None:
        """Set a series aside that failed every time it was tried."""
        values = {
            "queue": "series-ready",
            "body": dump_ready(ready),
            "code": "poison",
            "reason": reason,
        }
        self._put(SERIES, ready.series, values)

    def heal_series(self, series: str) -> None:
        """The series was indexed after all."""
        self._drop(SERIES, series)

    def series_reason(self, series: str) -> str | None:
        """Why a series is set aside, None when it is not."""
        row = self._rows.get(SERIES, series)
        return None if row is None else str(row.values["reason"])

    def series_keys(self) -> Iterator[str]:
        """Series that are set aside."""
        return (row.key for row in self._rows.query(SERIES))

    def waiting(self) -> Iterator[Row]:
        """Series that are set aside; `body` is the message that failed."""
        return self._rows.query(SERIES)

    def all(self) -> Iterator[Row]:
        """Everything that is set aside."""
        return self._rows.scan()

    def blobs(self, scope: str) -> Iterator[Row]:
        """Blobs of a scope that are set aside."""
        return self._rows.query(_scope_partition(scope))

    def drop(self, row: Row) -> None:
        """Take a row out, for a replay."""
        self._rows.delete(row)

    def _put(self, partition: str, key: str, values: Mapping[str, Any]) -> None:
        stamped = {
            **values,
            "format_version": FORMAT_VERSION,
            "rejected_s": self._clock.now_s(),
        }
        for _ in range(_RACES):
            row = self._rows.get(partition, key)
            if row is None:
                written = self._rows.insert(partition, key, stamped)
            else:
                written = self._rows.merge(row, stamped)
            if isinstance(written, Written):
                return
        raise ConflictError("others keep writing this reject; try again later")

    def _drop(self, partition: str, key: str) -> None:
        row = self._rows.get(partition, key)
        if row is not None:
            self._rows.delete(row)


def _scope_partition(scope: str) -> str:
    # Hashed: a scope may hold characters that a table key may not.
    return f"scope:{hashlib.sha256(scope.encode()).hexdigest()[:32]}"
