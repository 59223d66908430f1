"""Backfill and reconcile: both read storage and enqueue looks; neither writes the index.

Backfill enqueues a look at every blob of a source. Reconcile enqueues one only where storage and
the rows differ, in either direction, and hands on again what the rows announced and the index
lacks.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.assembly import MARKER, Assembly
from indexer_core.events import look_message
from indexer_core.index.reader import Reader
from indexer_core.instance_lists import series_digest
from indexer_core.look import GONE, LOOKING
from indexer_core.ports import BlobProperties, Row, RowStore, WorkQueue, Written
from indexer_core.rejects import Rejects
from indexer_core.uids import instance_key

JOBS = "jobs"
MAX_DEPTH = 5_000
_SEND = 500
# Versions that no etag has: of an interrupted look; and of a reject that heals by itself, without
# a new etag (`indexer_core.look`).
_ALWAYS_LOOK, _LOOK_UNLESS_ARCHIVED = 0, 1
_HEALING = ("archived", "unreadable")
_EMPTY = series_digest(())


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
        """Tells the sources of an index apart."""

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

    @property
    def n_looks(self) -> int:
        """Looks that were enqueued."""
        return self.n_unseen + self.n_changed + self.n_gone


class Looks:
    """Enqueues looks, and waits where the queue is deep: nobody needs millions of messages there.

    Parameters
    ----------
    emit
        Enqueues many messages at once; by default one after the other.
    wait
        Returns after a while; called while the queue has no room.
    """

    def __init__(
        self,
        queue: WorkQueue,
        *,
        emit: Callable[[Iterable[str]], None] | None = None,
        wait: Callable[[], None],
        max_depth: int = MAX_DEPTH,
    ) -> None:
        self._queue = queue
        self._emit = emit or self._one_by_one
        self._wait = wait
        self._max_depth = max_depth

    def send(self, urls: Sequence[str]) -> None:
        """Enqueue a look at each; the queue never gets deeper than the bound because of it."""
        step = min(_SEND, self._max_depth)
        for start in range(0, len(urls), step):
            some = urls[start : start + step]
            while self._queue.length() + len(some) > self._max_depth:
                self._wait()
            self._emit([look_message(url) for url in some])

    def _one_by_one(self, bodies: Iterable[str]) -> None:
        for body in bodies:
            self._queue.send(body)


class Backfill:
    """Enqueues a look at every blob of a source, resumably and with a bounded queue."""

    def __init__(self, *, looks: Looks, jobs: RowStore) -> None:
        self._looks = looks
        self._jobs = jobs

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
            self._looks.send([blob.url for blob in page.blobs])
            report.n_enqueued += len(page.blobs)
            job = self._keep(job, page.cursor, report.n_enqueued)
            progress(report.n_enqueued)
        self._jobs.delete(job)
        return report

    def _job(self, name: str) -> Row:
        # Hashed: a name may hold characters that a table key may not, and tells of folders.
        key = f"backfill-{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:32]}"
        return self._job_at(key)

    def _job_at(self, key: str) -> Row:
        row = None
        while row is None:  # another backfill of the same source may end at any time
            self._jobs.insert(JOBS, key, {"cursor": "", "n_enqueued": 0})
            row = self._jobs.get(JOBS, key)
        return row

    def _keep(self, job: Row, cursor: str | None, n_enqueued: int) -> Row:
        values = {"cursor": cursor or "", "n_enqueued": n_enqueued}
        written = self._jobs.merge(job, values)
        if isinstance(written, Written):
            return Row(partition=job.partition, key=job.key, values=values, etag=written.etag)
        # Another backfill of the same source runs; both enqueue looks, neither harms the other, and
        # the cursor of either leaves nothing out.
        return self._job_at(job.key)


def look_at_all(
    listing: Listing,
    *,
    blobs: RowStore,
    looks: Looks,
    holds: Callable[[str], bool],
    progress: Callable[[int], None] = lambda _: None,
) -> ReconcileReport:
    """Enqueue a look at every blob of a source, and at every known one that has gone.

    For an `index` command over a part of a source; it does not resume.
    """
    report = ReconcileReport()
    known = _Known(blobs, holds)
    for page in listing.pages(None):
        looks.send([blob.url for blob in page.blobs])
        for blob in page.blobs:
            known.meet(blob)
        report.n_listed += len(page.blobs)
        progress(report.n_listed)
    _look_for_gone(known, looks, report)
    return report


def reconcile(
    listing: Listing,
    *,
    blobs: RowStore,
    instances: RowStore,
    looks: WorkQueue,
    assembly: Assembly,
    reader: Reader,
    holds: Callable[[str], bool],
    rejects: Rejects | None = None,
) -> ReconcileReport:
    """Compare a source with the rows, and the rows with the index; enqueue what differs.

    For where looks are taken off the queue meanwhile. Parameters as in `compare` and `resend_lost`.
    """
    unbounded = Looks(looks, wait=lambda: None, max_depth=2**62)
    report = compare(listing, blobs=blobs, looks=unbounded, holds=holds)
    report.n_resent = resend_lost(instances, assembly, reader, rejects)
    return report


def compare(
    listing: Listing,
    *,
    blobs: RowStore,
    looks: Looks,
    holds: Callable[[str], bool],
    progress: Callable[[int], None] = lambda _: None,
) -> ReconcileReport:
    """Compare a source with the rows in both directions; enqueue looks where they differ.

    Memory: 17 bytes per known blob of the source, four times that for a moment. Requests: one per
    page of either side.

    Parameters
    ----------
    holds
        Whether a URL belongs to this source.
    """
    report = ReconcileReport()
    known = _Known(blobs, holds)
    for page in listing.pages(None):
        looks.send([blob.url for blob in page.blobs if _differs(blob, known, report)])
        report.n_listed += len(page.blobs)
        progress(report.n_listed)
    _look_for_gone(known, looks, report)
    return report


def _differs(blob: Listed, known: "_Known", report: ReconcileReport) -> bool:
    version = known.meet(blob)
    if version is None:
        report.n_unseen += 1
        return True
    if version == _version(blob.properties.etag):
        return False
    if version == _LOOK_UNLESS_ARCHIVED and blob.properties.archived:
        return False
    report.n_changed += 1
    return True


def _look_for_gone(known: "_Known", looks: Looks, report: ReconcileReport) -> None:
    missed = known.missed()
    urls: list[str] = []
    for row in known.rows() if missed else ():
        if _short(row.key) not in missed:
            continue
        report.n_gone += 1
        urls.append(str(row.values["url"]))
        if len(urls) == _SEND:
            looks.send(urls)
            urls = []
    looks.send(urls)


def resend_lost(
    instances: RowStore, assembly: Assembly, reader: Reader, rejects: Rejects | None = None
) -> int:
    """Hand on again what the rows announced and the index lacks; the count.

    A series that waits to be worked on is handed on twice, which changes nothing. One that is set
    aside is left to `replay`: it would fail again, for ever.
    """
    manifest = reader.refresh().manifest
    aside = set() if rejects is None else set(rejects.series_keys())
    n_resent = 0
    for row in instances.scan():
        if row.key != MARKER or row.values["state"] != "idle" or not row.values["digest"]:
            continue
        if row.partition in manifest.suppressed or row.partition in aside:
            continue
        if _is_in_index(reader, row):
            continue
        n_resent += assembly.resend(row.partition)
    return n_resent


def _is_in_index(reader: Reader, marker: Row) -> bool:
    place = reader.winner(marker.partition)
    if place is None:
        # Nothing there, and nothing to be there.
        return bool(marker.values["digest"] == _EMPTY)
    return bool(reader.row(place).digest == marker.values["digest"])


class _Known:
    """What the rows say of the blobs of a source, and which of them a listing has met."""

    def __init__(self, blobs: RowStore, holds: Callable[[str], bool]) -> None:
        self._blobs = blobs
        self._holds = holds
        keys, versions = array("Q"), array("Q")
        for row in self.rows():
            keys.append(_short(row.key))
            versions.append(_version_in(row))
        order = np.argsort(np.array(keys, dtype=np.uint64))
        self._keys: NDArray[np.uint64] = np.array(keys, dtype=np.uint64)[order]
        self._versions: NDArray[np.uint64] = np.array(versions, dtype=np.uint64)[order]
        self._met = np.zeros(len(order), dtype=np.bool_)

    def rows(self) -> Iterator[Row]:
        """Rows of blobs that are there, as far as is known."""
        for row in self._blobs.scan():
            if row.values["state"] != GONE and self._holds(str(row.values["url"])):
                yield row

    def meet(self, blob: Listed) -> int | None:
        """The version that the rows know, None when they know none."""
        wanted = np.uint64(_short(instance_key(blob.url)))
        place = int(np.searchsorted(self._keys, wanted))
        if place == len(self._keys) or self._keys[place] != wanted:
            return None
        self._met[place] = True
        return int(self._versions[place])

    def missed(self) -> frozenset[int]:
        """Keys, shortened, of the blobs that no listing has met."""
        return frozenset(self._keys[~self._met].tolist())


def _version_in(row: Row) -> int:
    if row.values["reason"] in _HEALING:
        return _LOOK_UNLESS_ARCHIVED
    return _ALWAYS_LOOK if row.values["state"] == LOOKING else _version(str(row.values["etag"]))


def _version(etag: str) -> int:
    # 62 bits, and never one of the two special values.
    return int(hashlib.sha256(etag.encode()).hexdigest()[:15], 16) * 4 + 3


def _short(key: str) -> int:
    return int(key[:16], 16)
