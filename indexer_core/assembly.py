"""Series assembly: from single instances, in any order and repeated, to one message per content.

The rows of one series share a partition: one row per blob and the marker. The marker says whether
a check is pending and which revision the content has; and, only to measure by, when the newest blob
of it was uploaded (`uploaded_s`) and the newest looked at (`counted_s`). The order of the writes is
what makes a crash between any two of them harmless; it is spelled out in docs/adr/0003 and must not
be changed without reading it. In short:

- arm: note the series in `open_series`, send a delayed check with a token, flip the marker last;
- check: flip the marker to idle first, then list; a later slice finds it idle and arms again;
- a new content digest: the instance list, then the marker (only if nobody armed since the
  listing), then ``series-ready``, then `unsent` is cleared and the `open_series` entry goes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.instance_lists import (
    AssembledSeries,
    assembled_of,
    dump_list,
    list_name,
    parse_list,
)
from indexer_core.messages import SeriesCheck, SeriesReady, dump_check
from indexer_core.ports import (
    BlobStore,
    Clock,
    Ids,
    PreconditionFailed,
    Row,
    RowStore,
    WorkQueue,
    Written,
)
from indexer_core.sealed import check_row_version

MARKER = "_series"
FORMAT_VERSION = 2
"""Of markers; only those of purged series are of version 2: older software must not undo them."""
_OPEN_VERSION = 1
_OPEN_PARTITION = "open"
_RACES = 16
_LOOK_S = 60.0
"""A look notes when it saw a blob before it arms the series; no longer before it than this."""
_NO_UPLOAD = 0.0
"""As a marker's `uploaded_s`: no upload explains its content. Tables have no empty values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblySettings:
    """How long to wait for further slices.

    quiet_s: a series is closed when nothing arrived for this long. max_wait_s: it is closed at the
    latest this long after it was opened, however steadily slices trickle in.
    """

    quiet_s: float = 30.0
    max_wait_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A check found new content at `ready`."""

    ready: SeriesReady


@dataclass(frozen=True, slots=True, kw_only=True)
class NotClosed:
    """A check had nothing to hand on: ``stale``, ``early``, ``unchanged`` or ``overtaken``.

    token: of the check that follows an early one; "" else.
    """

    reason: str
    token: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Announced:
    """New content that the marker announces and nobody has been handed yet."""

    ready: SeriesReady
    assembled: AssembledSeries
    marker: Row
    opened: Row | None


class Hand(Protocol):
    """Takes closed series on: to the worker's queue, or straight into the index."""

    def __call__(
        self, closed: Sequence[tuple[SeriesReady, AssembledSeries]]
    ) -> Sequence[int | None]:
        """Hand on; safe to repeat; returns when the work cannot get lost any more.

        Returns for each series the revision that the index holds with other content where
        `ready` has no more than that (a marker was lost), else None.
        """


class Assembly:
    """The assembly protocol over its ports. Holds no state of its own."""

    def __init__(
        self,
        *,
        instances: RowStore,
        open_series: RowStore,
        checks: WorkQueue,
        lists: BlobStore,
        hand: Hand,
        clock: Clock,
        ids: Ids,
        settings: AssemblySettings,
    ) -> None:
        self._instances = instances
        self._open = open_series
        self._checks = checks
        self._lists = lists
        self._hand = hand
        self._clock = clock
        self._ids = ids
        self._settings = settings

    def arm(self, series: str) -> str:
        """Make sure that a check of the series is on its way; the token of one that this sent.

        It is "" where another one is on its way already, or none is wanted.

        Raises
        ------
        ConflictError
            Others won every race for the marker; the message comes back.
        """
        for _ in range(_RACES):
            marker = self.marker(series)
            if _is_purged(marker) or (marker is not None and marker.values["state"] == "pending"):
                return ""
            token = self._ids.new_id()
            self._note_open(series, token)
            self._send_check(SeriesCheck(series=series, token=token), self._settings.quiet_s)
            pending = {"state": "pending", "token": token, "armed_s": self._clock.now_s()}
            # Losing may mean that a check closed the series, without what we have just written:
            # look again. The check that was sent is stale then.
            if marker is None:
                written = self._instances.insert(series, MARKER, {**_NEW_MARKER, **pending})
            else:
                written = self._instances.merge(marker, pending)
            if isinstance(written, Written):
                return token
        raise _lost_races()

    def check(self, message: SeriesCheck) -> Closed | NotClosed:
        """Close the series if it is quiet, and hand new content on."""
        return self.check_all([message])[0]

    def check_all(self, messages: Sequence[SeriesCheck]) -> list[Closed | NotClosed]:
        """Checks of several series, whose new content is handed on together."""
        begun = [self._begin(message) for message in messages]
        announced = [item for item in begun if isinstance(item, Announced)]
        taken = iter(self._hand([(item.ready, item.assembled) for item in announced]))
        return [
            self._finish(item, next(taken)) if isinstance(item, Announced) else item
            for item in begun
        ]

    def force(self, series: str) -> None:
        """Ask for a check that does not wait for the quiet period; older checks become stale."""
        for _ in range(_RACES):
            marker = self.marker(series)
            if marker is None:
                self.arm(series)
                continue
            if _is_purged(marker):
                return
            token = self._ids.new_id()
            self._send_check(SeriesCheck(series=series, token=token, force=True), 0.0)
            pending = {"state": "pending", "token": token}
            if isinstance(self._instances.merge(marker, pending), Written):
                return
        raise _lost_races()

    def open_keys(self) -> Iterator[str]:
        """Series that are not settled yet."""
        for row in self._open.query(_OPEN_PARTITION):
            yield row.key

    def sweep(self, older_than_s: float) -> int:
        """Send what may have got lost: a check for every series open for longer; the count sent."""
        n_sent = 0
        for row in self._open.query(_OPEN_PARTITION):
            if self._clock.now_s() - float(row.values["noted_s"]) < older_than_s:
                continue
            n_sent += 1
            marker = self.marker(row.key)
            if marker is None:
                self.arm(row.key)
            else:
                self._send_check(SeriesCheck(series=row.key, token=marker.values["token"]), 0.0)
        return n_sent

    def mark_unsent(self, series: str) -> bool:
        """Have the next check hand the current content on again; False when there is none."""
        for _ in range(_RACES):
            marker = self.marker(series)
            if marker is None or not marker.values["digest"]:
                return False
            self._note_open(series, marker.values["token"])
            # It was uploaded long ago: what is handed on for another reason is no lag.
            again = {"unsent": True, "uploaded_s": _NO_UPLOAD}
            if isinstance(self._instances.merge(marker, again), Written):
                return True
        raise _lost_races()

    def resend(self, series: str) -> bool:
        """Hand the current content on again, whatever was sent before; False when there is none."""
        if not self.mark_unsent(series):
            return False
        self.force(series)
        return True

    def outrank(self, ready: SeriesReady, taken: int) -> None:
        """The index holds another content at this revision: go past `taken` and check again."""
        for _ in range(_RACES):
            marker = self.marker(ready.series)
            if marker is None or marker.values["digest"] != ready.digest:
                return  # moved on meanwhile
            if int(marker.values["revision"]) > taken:
                return
            values = {"revision": taken + 1, "unsent": True}
            self._note_open(ready.series, marker.values["token"])
            if isinstance(self._instances.merge(marker, values), Written):
                self.force(ready.series)
                return
        raise _lost_races()

    def recall(self, ready: SeriesReady) -> None:
        """The content of `ready` could not be read any more: the next check hands on again.

        It need not find another content: a blob may be back to what it was by the time that it is
        looked at. The caller sends that look, which arms the check.
        """
        for _ in range(_RACES):
            marker = self.marker(ready.series)
            if marker is None or marker.values["digest"] != ready.digest:
                return  # moved on meanwhile
            self._note_open(ready.series, marker.values["token"])
            if isinstance(self._instances.merge(marker, {"unsent": True}), Written):
                return
        raise _lost_races()

    def is_purged(self, series: str) -> bool:
        """Whether nothing may be kept of this series."""
        return _is_purged(self.marker(series))

    def close_for_good(self, series: str) -> None:
        """Assemble nothing of a series from now on, whatever is under way; its rows are left.

        Its revision stays: whatever comes after `reopen` must outrank what was there before.
        """
        values = {**_FORGOTTEN, "format_version": FORMAT_VERSION, "purged": True}
        for _ in range(_RACES):
            marker = self.marker(series)
            if marker is None:
                written = self._instances.insert(series, MARKER, {**_NEW_MARKER, **values})
            elif _is_purged(marker):
                written = Written(etag=marker.etag)
            else:
                written = self._instances.merge(marker, values)
            if isinstance(written, Written):
                self._forget_open(self._open.get(_OPEN_PARTITION, series))
                return
        raise _lost_races()

    def reopen(self, series: str) -> bool:
        """Take `close_for_good` back; False when it was not closed."""
        for _ in range(_RACES):
            marker = self.marker(series)
            if marker is None or not _is_purged(marker):
                return False
            values = {"format_version": _NEW_MARKER["format_version"], "purged": False}
            if isinstance(self._instances.merge(marker, values), Written):
                if self.live_rows(series):  # it was not erased yet
                    self.arm(series)
                return True
        raise _lost_races()

    def marker(self, series: str) -> Row | None:
        """The marker row of a series, None before its first slice.

        Raises
        ------
        CorruptIndexError
            It is of a newer format.
        """
        row = self._instances.get(series, MARKER)
        if row is not None:
            check_row_version(row.values, FORMAT_VERSION, "a series marker")
        return row

    def live_rows(self, series: str) -> tuple[Row, ...]:
        """The instance rows of a series that are not gone."""
        return tuple(
            row
            for row in self._instances.query(series)
            if row.key != MARKER and not row.values["gone"]
        )

    def load(self, ready: SeriesReady) -> AssembledSeries:
        """The instance list of a message.

        Raises
        ------
        CorruptIndexError
            The list is missing or does not fit its digest.
        """
        name = list_name(ready.series, ready.digest)
        found = self._lists.get(name)
        if found is None:
            raise CorruptIndexError(f"{name}: missing although series-ready names it")
        return parse_list(found.data, ready.series, ready.digest)

    def _begin(self, message: SeriesCheck) -> Announced | NotClosed:
        idle = self._flip_idle(message)
        if idle is None:
            return NotClosed(reason="stale")
        opened = self._open.get(_OPEN_PARTITION, message.series)
        rows = self.live_rows(message.series)
        wait_s = 0.0 if message.force else self._remaining_s(idle, rows)
        if wait_s > 0:
            token = self._rearm(idle, message.series, wait_s)
            return NotClosed(reason="early", token=token)
        return self._announce(idle, opened, assembled_of(message.series, rows), rows)

    def _flip_idle(self, message: SeriesCheck) -> Row | None:
        for _ in range(_RACES):
            marker = self.marker(message.series)
            if marker is None or _is_purged(marker) or marker.values["token"] != message.token:
                return None
            flipped = self._instances.merge(marker, {"state": "idle"})
            if isinstance(flipped, Written):
                values = {**marker.values, "state": "idle"}
                return Row(partition=marker.partition, key=MARKER, values=values, etag=flipped.etag)
        raise _lost_races()

    def _remaining_s(self, marker: Row, rows: Sequence[Row]) -> float:
        now_s = self._clock.now_s()
        newest_s = max((float(row.values["seen_s"]) for row in rows), default=0.0)
        quiet_s = newest_s + self._settings.quiet_s - now_s
        patience_s = float(marker.values["armed_s"]) + self._settings.max_wait_s - now_s
        return min(quiet_s, patience_s)

    def _rearm(self, idle: Row, series: str, wait_s: float) -> str:
        token = self._ids.new_id()
        self._send_check(SeriesCheck(series=series, token=token), wait_s)
        # Not the time of arming: the longest wait counts from the first slice.
        self._instances.merge(idle, {"state": "pending", "token": token})
        return token

    def _announce(
        self,
        idle: Row,
        opened: Row | None,
        assembled: AssembledSeries,
        rows: Sequence[Row],
    ) -> Announced | NotClosed:
        changed = assembled.digest != idle.values["digest"]
        if not changed and not idle.values["unsent"]:
            self._forget_open(opened)
            return NotClosed(reason="unchanged")
        name = list_name(assembled.series, assembled.digest)
        self._lists.put_if_absent(name, dump_list(assembled))
        revision = int(idle.values["revision"]) + changed
        # What was not handed on, or not read, the last time keeps its time of upload.
        uploaded_s = _uploaded_s(idle, rows) if changed else idle.values.get("uploaded_s")
        values = {
            "revision": revision,
            "digest": assembled.digest,
            "unsent": True,
            "uploaded_s": uploaded_s or _NO_UPLOAD,
            "counted_s": max([_counted_s(idle), *(float(row.values["seen_s"]) for row in rows)]),
        }
        marked = self._instances.merge(idle, values)
        if isinstance(marked, PreconditionFailed):
            return NotClosed(reason="overtaken")
        return Announced(
            ready=SeriesReady(
                series=assembled.series,
                revision=revision,
                digest=assembled.digest,
                uploaded_s=uploaded_s or None,
            ),
            assembled=assembled,
            marker=Row(
                partition=idle.partition,
                key=MARKER,
                values={**idle.values, **values},
                etag=marked.etag,
            ),
            opened=opened,
        )

    def _finish(self, announced: Announced, taken: int | None) -> Closed | NotClosed:
        if taken is not None:
            self.outrank(announced.ready, taken)
            return NotClosed(reason="overtaken")
        # A conflict leaves `unsent` standing: the content is handed on once more, harmlessly.
        if isinstance(self._instances.merge(announced.marker, {"unsent": False}), Written):
            self._forget_open(announced.opened)
        return Closed(ready=announced.ready)

    def _note_open(self, series: str, token: str) -> None:
        values = {
            "format_version": _OPEN_VERSION,
            "token": token,
            "noted_s": self._clock.now_s(),
        }
        for _ in range(_RACES):
            row = self._open.get(_OPEN_PARTITION, series)
            if row is None:
                if isinstance(self._open.insert(_OPEN_PARTITION, series, values), Written):
                    return
            elif isinstance(self._open.merge(row, values), Written):
                return
        raise _lost_races()

    def _forget_open(self, opened: Row | None) -> None:
        # Only the entry seen before the listing: one that was renewed since belongs to a later arm.
        if opened is not None:
            self._open.delete(opened)

    def _send_check(self, check: SeriesCheck, delay_s: float) -> None:
        self._checks.send(dump_check(check), delay_s=delay_s)


_FORGOTTEN: dict[str, Any] = {"state": "idle", "token": "", "digest": "", "unsent": False}
_NEW_MARKER: dict[str, Any] = {"format_version": 1, "armed_s": 0.0, "revision": 0, **_FORGOTTEN}


def _uploaded_s(marker: Row, rows: Sequence[Row]) -> float | None:
    """When the newest of the blobs was uploaded that have come since the last content.

    They have been looked at since the series was armed, and after all that the last content was
    made of. None where none has: what is new is that a blob has gone, and no upload explains it.
    """
    armed_s, counted_s = float(marker.values["armed_s"]), _counted_s(marker)
    return max(
        (
            float(row.values["event_s"])
            for row in rows
            if row.values.get("event_s") is not None
            and counted_s < row.values["seen_s"] >= armed_s - _LOOK_S
        ),
        default=None,
    )


def _counted_s(marker: Row) -> float:
    """When the newest blob of the last content was looked at; markers of older software lack it."""
    return float(marker.values.get("counted_s", 0.0))


def _is_purged(marker: Row | None) -> bool:
    return marker is not None and bool(marker.values.get("purged", False))


def _lost_races() -> ConflictError:
    return ConflictError("others won every race for a series; the message will be tried again")
