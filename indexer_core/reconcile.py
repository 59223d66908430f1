"""Backfill and reconcile: both read storage and enqueue looks; neither writes the index.

Backfill enqueues a look at every blob of a source. Reconcile enqueues one only where storage and
the rows differ, in either direction, and hands on again what the rows announced and the index
lacks.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.assembly import MARKER, Assembly
from indexer_core.events import look_message
from indexer_core.index.reader import Reader
from indexer_core.look import GONE
from indexer_core.ports import BlobProperties, Row, RowStore, WorkQueue, Written
from indexer_core.uids import instance_key

JOBS = "jobs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A blob of a source."""

    url: str
    properties: BlobProperties


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some blobs of a source; `cursor` continues behind them, None at the end."""

    blobs: Sequence[Listed]
    cursor: str | None


class Listing(Protocol):
    """Everything that a source holds, page by page."""

    @property
    def name(self) -> str:
        """Names the source among the jobs; no patient attribute."""

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Pages from a cursor on; None: from the start."""


@dataclass(slots=True)
class BackfillReport:
    """What a backfill did."""

    n_enqueued: int = 0
    resumed: bool = False


@dataclass(slots=True)
class ReconcileReport:
    """What a reconcile found and put right."""

    n_listed: int = 0
    n_unseen: int = 0
    n_changed: int = 0
    n_gone: int = 0
    n_resent: int = 0


class Backfill:
    """Enqueues a look at every blob of a source, resumably and with a bounded queue."""

    def __init__(
        self,
        *,
        looks: WorkQueue,
        jobs: RowStore,
        wait: Callable[[], None],
        max_depth: int = 5_000,
    ) -> None:
        """`wait` returns after a while; it is called while the queue holds over `max_depth`."""
        self._looks = looks
        self._jobs = jobs
        self._wait = wait
        self._max_depth = max_depth

    def run(
        self, listing: Listing, *, progress: Callable[[int], None] = lambda _: None
    ) -> BackfillReport:
        """Enqueue looks; an interrupted run is continued where it stopped.

        The cursor is kept after the looks of its page are queued, so a crash repeats looks, which
        change nothing, and never leaves one out.
        """
        job = self._job(listing.name)
        cursor = job.values["cursor"]
        report = BackfillReport(n_enqueued=int(job.values["n_enqueued"]), resumed=bool(cursor))
        for page in listing.pages(cursor or None):
            while self._looks.length() > self._max_depth:
                self._wait()
            for blob in page.blobs:
                self._looks.send(look_message(blob.url))
            report.n_enqueued += len(page.blobs)
            job = self._keep(job, page.cursor, report.n_enqueued)
            progress(report.n_enqueued)
        self._jobs.delete(job)
        return report

    def _job(self, name: str) -> Row:
        key = f"backfill-{name}"
        self._jobs.insert(JOBS, key, {"cursor": "", "n_enqueued": 0})
        row = self._jobs.get(JOBS, key)
        assert row is not None
        return row

    def _keep(self, job: Row, cursor: str | None, n_enqueued: int) -> Row:
        values = {"cursor": cursor or "", "n_enqueued": n_enqueued}
        written = self._jobs.merge(job, values)
        if isinstance(written, Written):
            return Row(partition=job.partition, key=job.key, values=values, etag=written.etag)
        # Another backfill of the same source runs; both enqueue looks, and neither harms the other.
        return self._job(job.key.removeprefix("backfill-"))


def reconcile(
    listing: Listing,
    *,
    blobs: RowStore,
    instances: RowStore,
    looks: WorkQueue,
    assembly: Assembly,
    reader: Reader,
    holds: Callable[[str], bool],
) -> ReconcileReport:
    """Compare a source with the rows, and the rows with the index; enqueue what differs.

    Memory: 8 bytes per blob of the source.

    Parameters
    ----------
    holds
        Whether a URL belongs to this source.
    """
    report = ReconcileReport()
    present = array("Q")
    for page in listing.pages(None):
        for blob in page.blobs:
            key = instance_key(blob.url)
            present.append(_short(key))
            report.n_listed += 1
            _compare(blob, blobs.get(key[:2], key), looks, report)
    _look_for_gone(np.sort(np.array(present, dtype=np.uint64)), blobs, looks, holds, report)
    _resend_lost(instances, assembly, reader, report)
    return report


def _compare(blob: Listed, row: Row | None, looks: WorkQueue, report: ReconcileReport) -> None:
    if row is None or row.values["state"] == GONE:
        report.n_unseen += 1
    elif row.values["etag"] != blob.properties.etag:
        report.n_changed += 1
    else:
        return
    looks.send(look_message(blob.url))


def _look_for_gone(
    present: NDArray[np.uint64],
    blobs: RowStore,
    looks: WorkQueue,
    holds: Callable[[str], bool],
    report: ReconcileReport,
) -> None:
    for row in blobs.scan():
        if row.values["state"] == GONE or not holds(str(row.values["url"])):
            continue
        wanted = np.uint64(_short(row.key))
        place = int(np.searchsorted(present, wanted))
        if place < len(present) and present[place] == wanted:
            continue
        report.n_gone += 1
        looks.send(look_message(str(row.values["url"])))


def _resend_lost(
    instances: RowStore, assembly: Assembly, reader: Reader, report: ReconcileReport
) -> None:
    manifest = reader.refresh().manifest
    for row in instances.scan():
        if row.key != MARKER or row.values["state"] != "idle" or not row.values["digest"]:
            continue
        if row.partition in manifest.suppressed:
            continue
        place = reader.winner(row.partition)
        if place is not None and reader.row(place).digest == row.values["digest"]:
            continue
        if assembly.resend(row.partition):
            report.n_resent += 1


def _short(key: str) -> int:
    return int(key[:16], 16)
