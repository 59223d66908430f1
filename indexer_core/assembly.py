"""Series assembly: from single instances, in any order and repeated, to one message per content.

The rows of one series share a partition: one row per blob and the marker. The marker says whether
a check is pending, and which revision the content has. The order of the writes is what makes a
crash between any two of them harmless; it is spelled out in docs/adr/0003 and must not be changed
without reading it. In short:

- arm: note the series in `open_series`, send a delayed check with a token, flip the marker last;
- check: flip the marker to idle first, then list; a later slice finds it idle and arms again;
- a new content digest: the instance list, then the marker (only if nobody armed since the
  listing), then ``series-ready``, then `unsent` is cleared and the `open_series` entry goes.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.facts import InstanceFacts, instance_from_json, to_json
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
from indexer_core.uids import instance_key

MARKER = "_series"
FORMAT_VERSION = 1
_OPEN_PARTITION = "open"
_RACES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AssemblySettings:
    """How long to wait for further slices.

    quiet_s: a series is closed when nothing arrived for this long. max_wait_s: it is closed at the
    latest this long after it was opened, however steadily slices trickle in.
    """

    quiet_s: float = 30.0
    max_wait_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesCheck:
    """A message on the ``series-check`` queue; `force` skips the quiet period."""

    series: str
    token: str
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesReady:
    """A message on the ``series-ready`` queue."""

    series: str
    revision: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledInstance:
    """One blob of a closed series: exactly the version that the digest stands for."""

    url: str
    etag: str
    content: str
    scope: str
    facts: InstanceFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledSeries:
    """The instance list of one content digest, in instance-key order; empty when all have gone."""

    series: str
    digest: str
    instances: tuple[AssembledInstance, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """A check found new content at `ready`."""

    ready: SeriesReady


@dataclass(frozen=True, slots=True, kw_only=True)
class NotClosed:
    """A check had nothing to hand on: ``stale``, ``early``, ``unchanged`` or ``overtaken``."""

    reason: str


class Hand(Protocol):
    """Takes a closed series on: to the worker's queue, or straight into the index."""

    def __call__(self, ready: SeriesReady, assembled: AssembledSeries) -> int | None:
        """Hand on; safe to repeat; returns when the work cannot get lost any more.

        Returns the revision that the index holds with other content when `ready` has no more than
        that (a marker was lost), else None.
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

    def arm(self, series: str) -> None:
        """Make sure that a check of the series is on its way."""
        marker = self._instances.get(series, MARKER)
        if marker is not None and marker.values["state"] == "pending":
            return
        token = self._ids.new_id()
        self._note_open(series, token)
        self._send_check(SeriesCheck(series=series, token=token), self._settings.quiet_s)
        pending = {"state": "pending", "token": token, "armed_s": self._clock.now_s()}
        # Losing either race means that somebody else armed: our check's token is then stale.
        if marker is None:
            self._instances.insert(series, MARKER, {**_NEW_MARKER, **pending})
        else:
            self._instances.merge(marker, pending)

    def check(self, message: SeriesCheck) -> Closed | NotClosed:
        """Close the series if it is quiet, and hand new content on."""
        idle = self._flip_idle(message)
        if idle is None:
            return NotClosed(reason="stale")
        opened = self._open.get(_OPEN_PARTITION, message.series)
        rows = self._live_rows(message.series)
        wait_s = 0.0 if message.force else self._remaining_s(idle, rows)
        if wait_s > 0:
            self._rearm(idle, message.series, wait_s)
            return NotClosed(reason="early")
        return self._close(idle, opened, assembled_of(message.series, rows))

    def force(self, series: str) -> None:
        """Ask for a check that does not wait for the quiet period; older checks become stale."""
        for _ in range(_RACES):
            marker = self._instances.get(series, MARKER)
            if marker is None:
                self.arm(series)
                continue
            token = self._ids.new_id()
            self._send_check(SeriesCheck(series=series, token=token, force=True), 0.0)
            pending = {"state": "pending", "token": token}
            if isinstance(self._instances.merge(marker, pending), Written):
                return

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
            marker = self._instances.get(row.key, MARKER)
            if marker is None:
                self.arm(row.key)
            else:
                self._send_check(SeriesCheck(series=row.key, token=marker.values["token"]), 0.0)
        return n_sent

    def resend(self, series: str) -> bool:
        """Hand the current content on again, whatever was sent before; False without a marker."""
        for _ in range(_RACES):
            marker = self._instances.get(series, MARKER)
            if marker is None or not marker.values["digest"]:
                return False
            self._note_open(series, marker.values["token"])
            if isinstance(self._instances.merge(marker, {"unsent": True}), Written):
                self.force(series)
                return True
        return False

    def outrank(self, ready: SeriesReady, taken: int) -> None:
        """The index holds another content at this revision: go past `taken` and check again."""
        for _ in range(_RACES):
            marker = self._instances.get(ready.series, MARKER)
            if marker is None or marker.values["digest"] != ready.digest:
                return  # moved on meanwhile
            if int(marker.values["revision"]) > taken:
                return
            values = {"revision": taken + 1, "unsent": True}
            self._note_open(ready.series, marker.values["token"])
            if isinstance(self._instances.merge(marker, values), Written):
                self.force(ready.series)
                return

    def recall(self, ready: SeriesReady) -> None:
        """The content of `ready` could not be read any more: the next check hands on again.

        It need not find another content: a blob may be back to what it was by the time that it is
        looked at. The caller sends that look, which arms the check.
        """
        for _ in range(_RACES):
            marker = self._instances.get(ready.series, MARKER)
            if marker is None or marker.values["digest"] != ready.digest:
                return  # moved on meanwhile
            self._note_open(ready.series, marker.values["token"])
            if isinstance(self._instances.merge(marker, {"unsent": True}), Written):
                return

    def marker(self, series: str) -> Row | None:
        """The marker row, for `trace`."""
        return self._instances.get(series, MARKER)

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
        assembled = parse_list(found.data, ready.series)
        if assembled.digest != ready.digest:
            raise CorruptIndexError(f"{name}: the digest does not fit the list")
        return assembled

    def _flip_idle(self, message: SeriesCheck) -> Row | None:
        for _ in range(_RACES):
            marker = self._instances.get(message.series, MARKER)
            if marker is None or marker.values["token"] != message.token:
                return None
            flipped = self._instances.merge(marker, {"state": "idle"})
            if isinstance(flipped, Written):
                values = {**marker.values, "state": "idle"}
                return Row(partition=marker.partition, key=MARKER, values=values, etag=flipped.etag)
        return None

    def _live_rows(self, series: str) -> tuple[Row, ...]:
        return tuple(
            row
            for row in self._instances.query(series)
            if row.key != MARKER and not row.values["gone"]
        )

    def _remaining_s(self, marker: Row, rows: Sequence[Row]) -> float:
        now_s = self._clock.now_s()
        newest_s = max((float(row.values["seen_s"]) for row in rows), default=0.0)
        quiet_s = newest_s + self._settings.quiet_s - now_s
        patience_s = float(marker.values["armed_s"]) + self._settings.max_wait_s - now_s
        return min(quiet_s, patience_s)

    def _rearm(self, idle: Row, series: str, wait_s: float) -> None:
        token = self._ids.new_id()
        self._send_check(SeriesCheck(series=series, token=token), wait_s)
        # Not the time of arming: the longest wait counts from the first slice.
        self._instances.merge(idle, {"state": "pending", "token": token})

    def _close(
        self, idle: Row, opened: Row | None, assembled: AssembledSeries
    ) -> Closed | NotClosed:
        changed = assembled.digest != idle.values["digest"]
        if not changed and not idle.values["unsent"]:
            self._forget_open(opened)
            return NotClosed(reason="unchanged")
        name = list_name(assembled.series, assembled.digest)
        self._lists.put_if_absent(name, dump_list(assembled))
        revision = int(idle.values["revision"]) + changed
        announced = {"revision": revision, "digest": assembled.digest, "unsent": True}
        marked = self._instances.merge(idle, announced)
        if isinstance(marked, PreconditionFailed):
            return NotClosed(reason="overtaken")
        ready = SeriesReady(series=assembled.series, revision=revision, digest=assembled.digest)
        taken = self._hand(ready, assembled)
        if taken is not None:
            self.outrank(ready, taken)
            return NotClosed(reason="overtaken")
        sent = Row(
            partition=idle.partition,
            key=MARKER,
            values={**idle.values, **announced},
            etag=marked.etag,
        )
        # A conflict leaves `unsent` standing: the content is handed on once more, harmlessly.
        if isinstance(self._instances.merge(sent, {"unsent": False}), Written):
            self._forget_open(opened)
        return Closed(ready=ready)

    def _note_open(self, series: str, token: str) -> None:
        values = {"token": token, "noted_s": self._clock.now_s()}
        for _ in range(_RACES):
            row = self._open.get(_OPEN_PARTITION, series)
            if row is None:
                if isinstance(self._open.insert(_OPEN_PARTITION, series, values), Written):
                    return
            elif isinstance(self._open.merge(row, values), Written):
                return

    def _forget_open(self, opened: Row | None) -> None:
        # Only the entry seen before the listing: one that was renewed since belongs to a later arm.
        if opened is not None:
            self._open.delete(opened)

    def _send_check(self, check: SeriesCheck, delay_s: float) -> None:
        self._checks.send(dump_check(check), delay_s=delay_s)


_NEW_MARKER: dict[str, Any] = {
    "state": "idle",
    "token": "",
    "armed_s": 0.0,
    "revision": 0,
    "digest": "",
    "unsent": False,
}


def series_digest(instances: Sequence[tuple[str, str]]) -> str:
    """sha256 over the sorted (instance key, content) pairs; of no instances too."""
    lines = "".join(f"{key} {content}\n" for key, content in sorted(instances))
    return hashlib.sha256(lines.encode()).hexdigest()


def assembled_of(series: str, rows: Sequence[Row]) -> AssembledSeries:
    """The instance list that these rows describe."""
    ordered = sorted(rows, key=lambda row: row.key)
    return AssembledSeries(
        series=series,
        digest=series_digest([(row.key, row.values["content"]) for row in ordered]),
        instances=tuple(
            AssembledInstance(
                url=row.values["url"],
                etag=row.values["etag"],
                content=row.values["content"],
                scope=row.values["scope"],
                facts=instance_from_json(json.loads(row.values["facts"])),
            )
            for row in ordered
        ),
    )


def list_name(series: str, digest: str) -> str:
    """Blob name of the instance list of a digest."""
    return f"assembly/{series}/{digest}.json"


def dump_list(assembled: AssembledSeries) -> bytes:
    """The instance list as JSON with ``format_version``."""
    body = {
        "format_version": FORMAT_VERSION,
        "instances": [
            {
                "url": instance.url,
                "etag": instance.etag,
                "content": instance.content,
                "scope": instance.scope,
                "facts": to_json(instance.facts),
            }
            for instance in assembled.instances
        ],
    }
    return json.dumps(body, ensure_ascii=True, separators=(",", ":")).encode()


def parse_list(data: bytes, series: str) -> AssembledSeries:
    """Read an instance list; its digest is computed anew.

    Raises
    ------
    CorruptIndexError
        It is unreadable or newer than this software.
    """
    try:
        body = json.loads(data)
        if body["format_version"] > FORMAT_VERSION:
            raise CorruptIndexError("an instance list is newer than this software reads")
        instances = tuple(
            AssembledInstance(
                url=entry["url"],
                etag=entry["etag"],
                content=entry["content"],
                scope=entry["scope"],
                facts=instance_from_json(entry["facts"]),
            )
            for entry in body["instances"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptIndexError("an instance list is unreadable") from error
    pairs = [(instance_key(instance.url), instance.content) for instance in instances]
    return AssembledSeries(series=series, digest=series_digest(pairs), instances=instances)


def dump_check(check: SeriesCheck) -> str:
    """Message body of a check."""
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "series": check.series,
            "token": check.token,
            "force": check.force,
        }
    )


def parse_check(body: str) -> SeriesCheck:
    """Read a check.

    Raises
    ------
    InvalidInputError
        Not such a message.
    """
    return _parse(
        body,
        lambda fields: SeriesCheck(
            series=str(fields["series"]), token=str(fields["token"]), force=bool(fields["force"])
        ),
    )


def dump_ready(ready: SeriesReady) -> str:
    """Message body of ``series-ready``."""
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "series": ready.series,
            "revision": ready.revision,
            "digest": ready.digest,
        }
    )


def parse_ready(body: str) -> SeriesReady:
    """Read ``series-ready``.

    Raises
    ------
    InvalidInputError
        Not such a message.
    """
    return _parse(
        body,
        lambda fields: SeriesReady(
            series=str(fields["series"]),
            revision=int(fields["revision"]),
            digest=str(fields["digest"]),
        ),
    )


T = TypeVar("T")


def _parse(body: str, build: Callable[[dict[str, Any]], T]) -> T:
    try:
        fields = json.loads(body)
        if fields["format_version"] > FORMAT_VERSION:
            raise InvalidInputError("the message is newer than this software reads")
        return build(fields)
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError("the message is not one of this indexer's") from error
