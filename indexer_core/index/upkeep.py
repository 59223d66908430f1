"""Upkeep of an index: merging and collecting, by whoever works on it anyway.

The worker does a little after every batch, once its messages are acknowledged, and more when it has
nothing else to do. What a merge costs in total is a few times what was committed, so one merge per
batch is enough to keep up. Merging and collecting do not wait for each other, and neither failing
stops the work on new series.
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import islice

from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.index.collect import (
    DAY_S,
    Collected,
    Collector,
    RetentionPolicy,
    last_collection_s,
    retention_of,
)
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.compaction import MergePolicy, plan_full_merge, plan_merge
from indexer_core.index.files import ImmutableFiles, StoredFiles
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import Manifest
from indexer_core.index.merge import Merger, sizes_of
from indexer_core.index.reader import Place, Reader
from indexer_core.index.updates import MergeSegments
from indexer_core.index.write_ids import fence_at
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles
from indexer_core.thumbnails import Expiry, garbage

log = logging.getLogger(__name__)

_ABANDONED_IN_A_ROW = 4
_DAMAGED_IN_A_ROW = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepSettings:
    """How an index is kept.

    Parameters
    ----------
    tombstone_s
        Tombstones are kept for this long at least: longer than any message about their series can
        be under way.
    collect_every_s
        Somebody collects so often.
    collect_limit
        Manifests and files that one collection between two batches gets rid of at most.
    """

    merge: MergePolicy = field(default_factory=MergePolicy)
    retention: RetentionPolicy = field(default_factory=RetentionPolicy)
    tombstone_s: float = 14 * DAY_S
    collect_every_s: float = 3600.0
    collect_limit: int = 500


def upkeep_settings(retention_days: float, merge_mb: float) -> UpkeepSettings:
    """The settings of a program: days that manifests are kept, MiB that a merge reads at most."""
    return UpkeepSettings(
        merge=MergePolicy(max_input_bytes=int(merge_mb * (1 << 20))),
        retention=retention_of(retention_days),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Compacted:
    """What merging did: merges made, and segments, rows and bytes before and after."""

    manifest: int
    n_merges: int
    n_segments: tuple[int, int]
    n_rows: tuple[int, int]
    n_bytes: tuple[int, int]


class Upkeep:
    """Keeps one index; for one thread at a time, with a reader of its own."""

    def __init__(
        self,
        blobs: BlobStore,
        vector_files: VectorFiles,
        *,
        clock: Clock,
        ids: Ids,
        settings: UpkeepSettings | None = None,
        files: ImmutableFiles | None = None,
    ) -> None:
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        files = StoredFiles(blobs) if files is None else files
        self._reader = Reader(blobs, vector_files, files=files)
        self._merger = Merger(blobs, files, vector_files)
        self._collector = Collector(blobs, clock, ids)
        self._clock = clock
        self._ids = ids
        self._settings = settings or UpkeepSettings()
        self._next_collection_s = 0.0
        self._is_unfinished = False
        self._n_damaged: Counter[str] = Counter()

    def after_batch(self) -> None:
        """At most one merge, and a bounded collection where one is due; failing is only logged."""
        self._guarded("merge", lambda: self._merge(full=False))
        self._guarded("collect", self._collect_if_due)

    def when_idle(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Merge until nothing is left to merge, or `is_over`; collect where that is due."""
        self._guarded("merge", lambda: self._merge_all(full=False, is_over=is_over))
        self._guarded("collect", self._collect_if_due)
        while self._is_unfinished and not is_over():
            self._guarded("collect", self._collect_if_due)

    def compact(self, *, full: bool = False) -> Compacted:
        """Merge until nothing is left to merge; with `full`, into as few segments as fit.

        Raises
        ------
        CorruptIndexError
            A file of an input is damaged.
        ConflictError
            Others kept winning every race.
        """
        before = self._reader.refresh().manifest
        n_merges = self._merge_all(full=full)
        after = self._reader.refresh().manifest
        return Compacted(
            manifest=after.number,
            n_merges=n_merges,
            n_segments=(len(before.segments), len(after.segments)),
            n_rows=(_n_rows(before), _n_rows(after)),
            n_bytes=(_n_bytes(before), _n_bytes(after)),
        )

    def collect(
        self,
        retention: RetentionPolicy | None = None,
        *,
        limit: int | None = None,
        dry_run: bool = False,
    ) -> Collected:
        """Collect now; see `Collector.collect`. Thumbnails that no row has are collected, too."""
        policy = retention or self._settings.retention
        done = self._collector.collect(policy, limit=limit, dry_run=dry_run)
        return self._without_pictures(done, policy, limit=limit, dry_run=dry_run)

    def _without_pictures(
        self, done: Collected, policy: RetentionPolicy, *, limit: int | None, dry_run: bool
    ) -> Collected:
        now_s = self._clock.now_s()
        expiry = Expiry(
            fence=fence_at(now_s - policy.keep_s - policy.grace_s),
            orphaned_before_s=now_s - self._settings.tombstone_s,
        )

        def winners_of(keys: AbstractSet[str]) -> Mapping[str, Place]:
            # Rows are read only where there are thumbnails.
            self._reader.refresh()
            return self._reader.winners_of(keys)

        found = garbage(self._blobs, winners_of, expiry)
        left = None if limit is None else max(0, limit - done.n_expired - done.n_files)
        entries = list(islice(found, left))
        if not dry_run:
            for entry in entries:
                self._blobs.delete(entry.name)
        return replace(
            done,
            n_files=done.n_files + len(entries),
            n_bytes=done.n_bytes + sum(entry.properties.size_bytes for entry in entries),
            is_complete=done.is_complete and (left is None or len(entries) < left),
        )

    def _merge_all(self, *, full: bool, is_over: Callable[[], bool] = lambda: False) -> int:
        n_merges = n_abandoned = 0
        while not is_over() and (outcome := self._merge(full=full)) is not None:
            if isinstance(outcome, Committed):
                n_merges, n_abandoned = n_merges + 1, 0
                continue
            n_abandoned += 1
            if n_abandoned == _ABANDONED_IN_A_ROW:
                raise ConflictError(f"merging was overtaken time and again: {outcome.reason}")
        return n_merges

    def _merge(self, *, full: bool) -> Committed | Abandoned | None:
        """Make the next merge that is planned; None when there is none."""
        manifest = self._reader.refresh().manifest
        plan = plan_full_merge if full else plan_merge
        inputs = plan(sizes_of(self._reader), self._settings.merge)
        if not inputs:
            return None
        now_s = self._clock.now_s()
        try:
            update = self._merger.merge(
                self._reader,
                inputs,
                write_id=self._ids.new_id(),
                forget_before=fence_at(now_s - self._settings.tombstone_s),
            )
        except CorruptIndexError:
            # Rightly gone, if others have merged the inputs and collected them since.
            newest = self._manifests.newest(manifest)
            if {segment.id for segment in newest.segments}.issuperset(inputs):
                raise
            return Abandoned(reason="an input of the merge has gone")
        outcome = commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=made_now("merge", now_s, _counts(manifest, update)),
            known=manifest,
        )
        log.info("merge segments=%d made=%s", len(inputs), isinstance(outcome, Committed))
        return outcome

    def _collect_if_due(self) -> None:
        now_s = self._clock.now_s()
        if now_s < self._next_collection_s:
            return
        if not self._is_unfinished:
            # Others collect, too: the store says when somebody last did.
            self._next_collection_s = (
                last_collection_s(self._blobs) + self._settings.collect_every_s
            )
            if now_s < self._next_collection_s:
                return
        self._is_unfinished = False  # should it fail, it is put off like any other
        done = self.collect(limit=self._settings.collect_limit)
        self._is_unfinished = not done.is_complete
        log.info("collect manifests=%d files=%d", done.n_expired, done.n_files)

    def _guarded(self, what: str, step: Callable[[], object]) -> None:
        if self._n_damaged[what] == _DAMAGED_IN_A_ROW:
            return
        try:
            step()
        except (ConflictError, UnavailableError, UnknownOutcomeError) as error:
            log.warning("%s put off kind=%s", what, error.kind)
        except CorruptIndexError as error:
            # Perhaps it was only overtaken. If not, new series can still be indexed, and `verify`
            # tells people what is lost.
            self._n_damaged[what] += 1
            given_up = self._n_damaged[what] == _DAMAGED_IN_A_ROW
            log.error("%s %s: %s", what, "given up" if given_up else "put off", error)  # noqa: TRY400 - one line says it all
        else:
            self._n_damaged[what] = 0


def _n_rows(manifest: Manifest) -> int:
    return sum(segment.n_rows for segment in manifest.segments)


def _n_bytes(manifest: Manifest) -> int:
    return sum(file.size_bytes for segment in manifest.segments for file in segment.files())


def _counts(manifest: Manifest, update: MergeSegments) -> dict[str, int]:
    merged = [segment for segment in manifest.segments if segment.id in set(update.inputs)]
    n_before = sum(segment.n_rows for segment in merged)
    n_after = 0 if update.output is None else update.output.n_rows
    return {"segments": len(merged), "rows": n_after, "dropped": n_before - n_after}
