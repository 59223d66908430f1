"""Erasing series from segments and manifests, of the present and of all retained history.

The fence of the collector is raised first: whoever has written files and not yet committed them
must write them again, and by then knows which series are hidden. Then, in this order:

1. live segments that hold a row of the series are written anew without it, one commit each, and
   so are the landmarks of the map in force;
2. earlier manifests that name such segments become stubs, unless they are pinned; pinned ones are
   rewritten in place, the only exception to "a manifest never changes", and say so;
3. whatever no manifest names any more, and was written before the fence, is deleted.

Killed anywhere, the next run finds the same work, or less of it. Rows, vectors and coordinates that
stay are taken over as they are stored.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from enum import Enum

import pyarrow as pa

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.index.all_rows import tables_in_history
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit, manifest_name
from indexer_core.index.copies import Copies, is_of
from indexer_core.index.filling import PARTS_PREFIX
from indexer_core.index.lineage import PURGED, made_now
from indexer_core.index.manifest import (
    FileRef,
    Manifest,
    Projection,
)
from indexer_core.index.projections import STATE_PREFIX
from indexer_core.index.rows import rows_of
from indexer_core.index.segment import (
    IMAGE_SPACE,
    PREFIX,
    TEXT_SPACE,
)
from indexer_core.index.updates import (
    Collect,
    MendMapState,
    MergeSegments,
    Suppress,
    Unpin,
    Update,
)
from indexer_core.index.write_ids import fence_at, is_behind, is_file_behind, write_id_of
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles
from indexer_core.purge import Erased, Subject
from indexer_core.purge_receipts import Remaining
from indexer_core.text_cache import text_hash

_COUNTS = {TEXT_SPACE: "textCount", IMAGE_SPACE: "imageCount"}
ROWS, SEGMENT_FILES, PARTS = "index rows", "segment files", "parts of vectors being made"
LANDMARKS, MAP_FILES = "landmarks of the map", "files of landmarks"
EXPIRED, REWRITTEN = "manifests expired", "pinned manifests rewritten"

_ATTEMPTS = 16
# When the collector has surely been past what nobody commits any more.
_COLLECTED_AFTER_S = 2 * 3600.0


class _Fate(Enum):
    """What a purge has done to an earlier manifest."""

    EXPIRED = "expired"
    REWRITTEN = "rewritten"


class Segments:
    """Segments and manifests as a purge sees them (`indexer_core.purge.PurgeableStore`).

    Parameters
    ----------
    behind_s
        Where the fence is raised to, in seconds since the epoch.
    """

    def __init__(
        self,
        blobs: BlobStore,
        vector_files: VectorFiles,
        *,
        clock: Clock,
        ids: Ids,
        behind_s: float,
    ) -> None:
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._clock = clock
        self._ids = ids
        self._fence = fence_at(behind_s)
        self._copies = Copies(blobs, vector_files, ids)

    def find(self, series: frozenset[str]) -> Subject:
        """URLs, UIDs and texts of all rows that any retained manifest has of the series."""
        subject = Subject()
        # What is damaged goes as it is.
        for table in tables_in_history(self._blobs, skips_damaged=True):
            subject |= _named_by(table.filter(is_of(table, series)))
        return subject

    def erase(self, subject: Subject) -> Erased:
        """Erase the rows of the series, and every file that held them."""
        series = subject.series
        self._commit(Collect(before=self._fence, retained_from=1))
        n_rows = self._erase_live(series)
        n_landmarks = self._erase_landmarks(series)
        n_expired, n_rewritten = self._erase_history(series)
        n_files, n_left = self._delete_unnamed(PREFIX)
        n_map_files, n_maps_left = self._delete_unnamed(STATE_PREFIX)
        counts = {
            ROWS: n_rows,
            LANDMARKS: n_landmarks,
            EXPIRED: n_expired,
            REWRITTEN: n_rewritten,
            SEGMENT_FILES: n_files,
            MAP_FILES: n_map_files,
            PARTS: self._delete_parts(),
        }
        return Erased(
            counts=counts,
            remaining=self._in_flight(n_left + n_maps_left),
            incidental=frozenset({SEGMENT_FILES, MAP_FILES}),
        )

    def _erase_live(self, series: frozenset[str]) -> int:
        n_rows = 0
        for _ in range(_ATTEMPTS):
            manifest = self._manifests.newest()
            held = [s for s in manifest.segments if self._copies.is_held(s.rows, series)]
            if not held:
                return n_rows
            for segment in held:
                try:
                    copy = self._copies.segment(segment, series)
                except CorruptIndexError:
                    if segment in self._manifests.newest().segments:
                        raise
                    break  # another purge has written it anew and deleted its files
                n_gone = segment.n_rows - (0 if copy is None else copy.n_rows)
                update = MergeSegments(inputs=(segment.id,), output=copy)
                if isinstance(self._commit(update, {"rows": n_gone}), Committed):
                    n_rows += n_gone
                else:
                    self._copies.forget()
        raise ConflictError("others kept merging what is to be purged; run it again later")

    def _erase_landmarks(self, series: frozenset[str]) -> int:
        """Write the state of the map in force anew, without landmarks of the series."""
        for _ in range(_ATTEMPTS):
            projection = self._manifests.newest().projection
            if projection is None or projection.state is None:
                return 0
            before = projection.state
            n_held = self._copies.n_landmarks_of(before, series)
            if not n_held:
                return 0
            try:
                after = self._copies.state(before, series)
            except CorruptIndexError:
                after = None  # it goes as it is; if it was only overtaken, the commit is refused
            update = MendMapState(before=before, after=after)
            if isinstance(self._commit(update, {"landmarks": n_held}), Committed):
                return n_held
            self._copies.forget()
        raise ConflictError("others kept publishing maps; run the purge again later")

    def _erase_history(self, series: frozenset[str]) -> tuple[int, int]:
        """Expire earlier manifests that name segments of the series, or rewrite pinned ones."""
        newest = self._manifests.newest()
        self._manifests.renew_hint(newest, keeps_past=False)
        expired: list[int] = []
        n_rewritten = 0
        for number in self._manifests.listed():
            if number == newest.number:
                continue
            match self._erase_manifest(number, series, newest):
                case _Fate.EXPIRED:
                    expired.append(number)
                case _Fate.REWRITTEN:
                    n_rewritten += 1
        self._unpin(expired)
        return len(expired), n_rewritten

    def _erase_manifest(
        self, number: int, series: frozenset[str], newest: Manifest
    ) -> _Fate | None:
        """Expire or rewrite one earlier manifest; None where it names nothing of the series."""
        for _ in range(_ATTEMPTS):
            # Before the pins are looked at: whoever pins it after that gives it another etag.
            found = self._manifests.read_tagged(number)
            if found is None:
                return None
            manifest, etag = found
            held = [s for s in manifest.segments if self._copies.is_held(s.rows, series)]
            state = self._held_state(manifest, series)
            if not held and state is None:
                return None
            self._copies.replaced |= {file.name for segment in held for file in segment.files()}
            if state is not None:
                self._copies.replaced.add(state.name)
            newest = self._manifests.newest(newest)
            if number in newest.pins:
                return _Fate.REWRITTEN if self._rewrite(manifest, series) else None
            if self._manifests.expire(number, etag):
                return _Fate.EXPIRED
        raise ConflictError("others kept pinning what is to be purged; run it again later")

    def _rewrite(self, original: Manifest, series: frozenset[str]) -> bool:
        """Take the rows out of what a pinned manifest names, in place; False when it has gone.

        Another purge may rewrite the same one: this one then begins from what that one left.
        """
        standing = original
        for _ in range(_ATTEMPTS):
            rewritten = self._without(original, standing, series)
            if rewritten is None or not self._manifests.rewrite(standing, rewritten):
                now = self._manifests.read(standing.number)
                if not isinstance(now, Manifest):
                    return False
                if rewritten is None and now == standing:
                    raise CorruptIndexError(
                        f"{manifest_name(standing.number)}: what it names of the series cannot be "
                        "read, nor rewritten without it: unpin it first"
                    )
                original = standing = now
                continue
            standing = rewritten
            # A collector reads pinned manifests after it has raised its fence: it knows of what we
            # have just named, unless our files were behind that fence already.
            fence = self._manifests.newest().collected_before
            named = {write_id_of(file.name) for file in rewritten.files()}
            if not any(is_behind(write_id, fence) for write_id in self._copies.written & named):
                return True
            self._copies.forget()
        raise ConflictError("others kept winning every race; run the purge again later")

    def _without(
        self, original: Manifest, standing: Manifest, series: frozenset[str]
    ) -> Manifest | None:
        """What is to stand in the place of a manifest; None where its files cannot be read.

        The collector takes either the copies that stand there by now, or what they are copies of.
        """
        details = {**original.lineage.details, PURGED: f"{self._clock.now_s():.0f}"}
        for source in (original, standing):
            try:
                copies = [
                    self._copies.segment(segment, series)
                    if segment.id in self._copies.written
                    or self._copies.is_held(segment.rows, series)
                    else segment
                    for segment in source.segments
                ]
                projection = self._projection_without(source, series)
            except CorruptIndexError:
                continue
            return replace(
                original,
                segments=tuple(copy for copy in copies if copy is not None),
                projection=projection,
                lineage=replace(original.lineage, details=details),
            )
        return None

    def _projection_without(self, manifest: Manifest, series: frozenset[str]) -> Projection | None:
        projection = manifest.projection
        if projection is None or projection.state is None:
            return projection
        is_ours = write_id_of(projection.state.name) in self._copies.written
        if not is_ours and self._held_state(manifest, series) is None:
            return projection
        return replace(projection, state=self._copies.state(projection.state, series))

    def _held_state(self, manifest: Manifest, series: frozenset[str]) -> FileRef | None:
        """The file of the map's state, where it holds landmarks of the series."""
        state = None if manifest.projection is None else manifest.projection.state
        return state if state is not None and self._copies.n_landmarks_of(state, series) else None

    def _unpin(self, expired: Iterable[int]) -> None:
        """Take names off stubs: somebody pinned a manifest just as it expired."""
        pins = self._manifests.newest().pins
        for number in expired:
            for name in pins.get(number, ()):
                self._commit(Unpin(number=number, name=name))

    def _delete_unnamed(self, prefix: str) -> tuple[int, int]:
        """Delete files that no manifest names; how many, and how many are left to others."""
        named = {file.name for m in self._manifests.history() for file in m.files()}
        unnamed = [e.name for e in self._blobs.list(prefix) if e.name not in named]
        garbage = [name for name in unnamed if self._is_ours(name)]
        n_deleted = sum(self._blobs.delete(name) for name in garbage)
        return n_deleted, len(unnamed) - len(garbage)

    def _is_ours(self, name: str) -> bool:
        """Whether an unnamed file is for this run to delete."""
        return self._copies.is_ours(name) or is_file_behind(name, self._fence)

    def _delete_parts(self) -> int:
        """Delete parts of vectors that are being made for segments which are no longer live."""
        live = {segment.id for segment in self._manifests.newest().segments}
        names = [entry.name for entry in self._blobs.list(PARTS_PREFIX)]
        return sum(self._blobs.delete(name) for name in names if live.isdisjoint(name.split("/")))

    def _in_flight(self, n_files: int) -> tuple[Remaining, ...]:
        if not n_files:
            return ()
        what = f"{n_files} files that were being written meanwhile, should nobody commit them"
        return (Remaining(what=what, until_s=self._clock.now_s() + _COLLECTED_AFTER_S),)

    def _commit(
        self, update: Update, counts: Mapping[str, int] | None = None
    ) -> Committed | Abandoned:
        return commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=made_now("purge", self._clock.now_s(), counts),
        )


def suppress(manifests: Manifests, series: frozenset[str], *, clock: Clock, ids: Ids) -> Committed:
    """Hide series from every reader at every manifest, for a purge."""
    outcome = commit(
        manifests,
        Suppress(series_keys=series),
        commit_id=ids.new_id(),
        lineage=made_now("purge", clock.now_s(), {"series": len(series)}),
    )
    assert isinstance(outcome, Committed), "suppressing is never refused"
    return outcome


def _named_by(table: pa.Table) -> Subject:
    """By what names the rows of a table know their series."""
    rows = rows_of(table)
    records = [row.record for row in rows if row.record is not None]
    return Subject(
        urls=frozenset(url for row in rows for url in row.blobs),
        uids=frozenset(str(record["seriesInstanceUid"]) for record in records),
        texts=frozenset(text_hash(text) for record in records for text in record["texts"]),
    )
