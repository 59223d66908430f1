"""Runs the functions and the worker's loop on one machine until there is nothing left to do."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from function_app.handlers import ingest, series_check, series_checks
from indexer_core.assembly import Closed, NotClosed
from indexer_core.errors import CorruptIndexError, IndexerError, UnavailableError
from indexer_core.ports import QueueMessage, WorkQueue
from local_host.wiring import LocalSystem

if TYPE_CHECKING:
    from collections.abc import Generator

    from gpu_worker.worker import BatchReport

log = logging.getLogger(__name__)

_MAX_TRIES = 5
_BATCH = 32
_VISIBILITY_S = 600.0
_CHECKS = "series-check"
TEACHING = "teaching"
"""The stage of a map that is taught, which may take minutes between two batches."""


class Progress(Protocol):
    """Told of how far a run has come."""

    def advance(self, stage: str, n_done: int, n_total: int) -> None:
        """`n_done` of `n_total` of a stage are done."""


class Silent:
    """Progress that nobody sees."""

    def advance(self, stage: str, n_done: int, n_total: int) -> None:
        """Say nothing."""


_FILE_NAMES = {"changed": "indexed", "gone": "removed", "stale": "unchanged"}


@dataclass(slots=True)
class Tally:
    """What a run did: files and series by outcome, and why some of them were set aside."""

    files: Counter[str] = field(default_factory=Counter)
    series: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def went_well(self) -> bool:
        """Whether everything that could be looked at was, and nothing failed."""
        return not self.failures

    def counts(self) -> dict[str, dict[str, int]]:
        """Files indexed, unchanged, removed, rejected, purged if any; series written, failed."""
        files: Counter[str] = Counter()
        for outcome, count in self.files.items():
            files[_FILE_NAMES.get(outcome, outcome)] += count
        names = (
            "indexed",
            "unchanged",
            "removed",
            "rejected",
            *(("purged",) * bool(files["purged"])),
        )
        return {
            "files": {name: files[name] for name in names},
            "series": {"indexed": self.series["closed"], "failed": self.series["poison"]},
        }


class Runner:
    """One process that stands in for the Functions host and the worker."""

    def __init__(self, system: LocalSystem, progress: Progress | None = None) -> None:
        self._system = system
        self._progress = progress or Silent()
        system.teaching = partial(self._progress.advance, TEACHING)
        self.tally = Tally()

    def reclaim(self) -> None:
        """Take back what a killed run had received; safe because of the writer lock."""
        self._system.home.reclaim()

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue."""
        self._system.home.emit(events)

    def look(self) -> bool:
        """Take the visible looks off their queue; False when there was none."""
        return self._drain_events()

    def round(self) -> bool:
        """Take one batch from each queue; False when there was none.

        For what never ends: a queue that is never empty keeps no other waiting.
        """
        worked = self._drain_events(once=True)
        worked |= self._drain_checks(once=True)
        return self._drain_ready(once=True) or worked

    def run_until_idle(self, *, close: bool = True) -> Tally:
        """Work until no message is visible; with `close`, series do not wait for a quiet period.

        Raises
        ------
        UnavailableError
            The data directory cannot be written (a full disk, say); the next run carries on.
        IndexerError
            A series cannot be closed, or the data directory is damaged.
        """
        has_worked = False
        while True:
            worked = self._drain_events()
            if close:
                for series in list(self._system.assembly.open_keys()):
                    self._system.assembly.force(series)
            worked |= self._drain_checks()
            worked |= self._drain_ready()
            if not worked:
                break
            has_worked = True
        if has_worked:
            self._system.upkeep.when_idle()
        if close and not any(True for _ in self._system.assembly.open_keys()):
            # Whatever is still under way was sent before a forced check, and is stale.
            self._system.home.forget_checks()
        return self.tally

    def _drain_events(self, *, once: bool = False) -> bool:
        def handle(body: str) -> None:
            for looked in ingest(body, self._system.services):
                self.tally.files[looked.outcome] += 1

        return self._drain("headers", self._system.blob_events, "blob-events", handle, once=once)

    def _drain_checks(self, *, once: bool = False) -> bool:
        queue = self._system.series_checks
        n_done = 0
        n_total = queue.length()
        while messages := queue.receive(_BATCH, _VISIBILITY_S):
            self._check_all(messages)
            n_done += len(messages)
            self._progress.advance("series", n_done, max(n_done, n_total))
            if once:
                break
        return n_done > 0

    def _check_all(self, messages: Sequence[QueueMessage]) -> None:
        queue = self._system.series_checks
        try:
            results = series_checks([m.body for m in messages], self._system.services)
        except CorruptIndexError:
            raise
        except IndexerError:
            # One of them, perhaps: each by itself finds out which.
            for message in messages:
                self._try(queue, _CHECKS, message, self._check)
            return
        for message, result in zip(messages, results, strict=True):
            self._count(result)
            queue.delete(message)

    def _check(self, body: str) -> None:
        self._count(series_check(body, self._system.services))

    def _count(self, result: Closed | NotClosed | None) -> None:
        match result:
            case Closed():
                self.tally.series["closed"] += 1
            case NotClosed(reason=reason):
                self.tally.series[reason] += 1
            case None:
                self.tally.failures["a check could not be read"] += 1

    def _drain(
        self,
        stage: str,
        queue: WorkQueue,
        name: str,
        handle: Callable[[str], None],
        *,
        once: bool,
    ) -> bool:
        n_done = 0
        n_total = queue.length()
        while messages := queue.receive(_BATCH, _VISIBILITY_S):
            for message in messages:
                self._try(queue, name, message, handle)
                n_done += 1
                self._progress.advance(stage, n_done, max(n_done, n_total))
            if once:
                break
        return n_done > 0

    def _try(
        self, queue: WorkQueue, name: str, message: QueueMessage, handle: Callable[[str], None]
    ) -> None:
        try:
            handle(message.body)
        except CorruptIndexError:
            raise
        except IndexerError as error:
            log.warning("%s kept for another try kind=%s", name, error.kind)
            if message.dequeue_count < _MAX_TRIES:
                queue.extend(message, 0.0)
                return
            if name == _CHECKS:
                # A check reads our own stores only, so no message is to blame; and its series stays
                # open, so that the next loop would force the next check, for ever.
                raise
            self.tally.failures[str(error)] += 1
            if isinstance(error, UnavailableError):
                return  # hidden from this run, taken back by the next
            self._system.services.rejects.message(name, message.body, str(error))
            self._system.poison.send(message.body)
        queue.delete(message)

    def _drain_ready(self, *, once: bool = False) -> bool:
        queue = self._system.series_ready
        n_total = queue.length()
        if n_total == 0:
            return False
        self._system.check_sight()
        n_done = 0
        with closing(self._batches(once=once)) as reports:
            for report in reports:
                counts = Counter(report.outcomes.values())
                self._tally(counts)
                n_done += len(report.outcomes) - counts["failed"] - counts["unavailable"]
                self._progress.advance("indexing", n_done, max(n_done, n_total))
                if counts["unavailable"]:
                    break  # the next run takes them up again
        return n_done > 0

    def _batches(self, *, once: bool) -> "Generator[BatchReport, None, None]":
        from gpu_worker.loop import batches, work_once

        if not once:
            yield from batches(self._system.worker)
        elif (report := work_once(self._system.worker)) is not None:
            yield report

    def _tally(self, counts: Counter[str]) -> None:
        self.tally.series.update(counts)
        failures = self.tally.failures
        if counts["poison"]:
            failures["a series failed every time it was tried"] += counts["poison"]
        if counts["unavailable"]:
            reason = "files or the pixel model were out of reach; run the command again"
            failures[reason] += counts["unavailable"]
