"""Collecting garbage: manifests past retention, and files that no retained manifest names.

A file may be written long before the manifest that names it, by a writer that sleeps in between.
So nothing is deleted for being old alone. First the fences are committed (`Collect`): from then on
no file from before the fence enters a manifest, and no manifest past retention is pinned. What is
named now by no manifest that is kept, and lies behind the fence, is then garbage for good:

1. see what there is, and plan; nothing to do ends here, without a commit
2. commit the fences; read what was committed meanwhile
3. replace expired manifests by stubs
4. delete the files

Killed between any two steps, the next collection carries on. A reader of an expired manifest finds
its stub before it misses a file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from indexer_core.encoders import folder_of
from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Committed, Manifests, commit, manifest_name
from indexer_core.index.filling import unneeded_parts
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.projections import PREFIX as PROJECTOR_PREFIX
from indexer_core.index.projections import STATE_PREFIX, is_named_by_content
from indexer_core.index.segment import PREFIX
from indexer_core.index.updates import Collect
from indexer_core.index.write_ids import fence_at, is_behind, is_file_behind, time_of
from indexer_core.ports import BlobEntry, BlobStore, Clock, Ids
from indexer_core.text_cache import PREFIX as CACHE_PREFIX

MARK = "last-collection"
FILE_PREFIXES = (PREFIX, PROJECTOR_PREFIX, STATE_PREFIX)

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionPolicy:
    """What is kept.

    Parameters
    ----------
    keep_s
        A manifest can be searched for this long after another one has followed it.
    keep_newest
        So many of the newest are kept however old they are, at least one.
    grace_s
        Files younger than this are left alone. Not needed for safety: it spares those who write
        just now from writing again.
    """

    keep_s: float = 7 * DAY_S
    keep_newest: int = 10
    grace_s: float = 3600.0


def retention_of(days: float) -> RetentionPolicy:
    """The policy that keeps manifests for so many days."""
    return RetentionPolicy(keep_s=days * DAY_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a collection did, or would do.

    n_expired: manifests that became stubs. n_files, n_bytes: what was deleted. is_complete: False
    when the limit came first and the next collection has more to do.
    """

    manifest: int
    n_expired: int = 0
    n_files: int = 0
    n_bytes: int = 0
    is_complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    retained_from: int
    expired: Sequence[int]
    garbage: Sequence[BlobEntry]


def plan_retention(
    superseded_s: Mapping[int, float], newest: Manifest, now_s: float, policy: RetentionPolicy
) -> int:
    """The lowest number that is retained without being pinned; it never falls. Pure.

    Parameters
    ----------
    superseded_s
        By number, when the next manifest was made, in seconds since the epoch.
    """
    highest = max(newest.retained_from, newest.number - max(1, policy.keep_newest) + 1)
    for number in range(newest.retained_from, highest):
        if superseded_s.get(number, 0.0) > now_s - policy.keep_s:
            return number
    return highest


def last_collection_s(blobs: BlobStore) -> float:
    """When the last collection began, in seconds since the epoch; 0 when there was none."""
    found = blobs.properties(MARK)
    return 0.0 if found is None else found.modified_s


class Collector:
    """Collects the garbage of one index; remembers which files the manifests name."""

    def __init__(self, blobs: BlobStore, clock: Clock, ids: Ids) -> None:
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._clock = clock
        self._ids = ids
        self._known = EMPTY
        # Etags of the manifests that were read; by file, the highest number that names it.
        self._read: dict[int, str] = {}
        self._named_last: dict[str, int] = {}

    def collect(
        self, policy: RetentionPolicy, *, limit: int | None = None, dry_run: bool = False
    ) -> Collected:
        """Collect once.

        Parameters
        ----------
        limit
            Manifests and files to get rid of at most; None: all.
        dry_run
            Only tell what would be done.

        Raises
        ------
        CorruptIndexError
            A retained manifest cannot be read. What it names is not known, so nothing is deleted.
        ConflictError
            Others won too many races.
        """
        newest = self._known = self._manifests.newest(self._known)
        now_s = self._clock.now_s()
        if not dry_run and newest.number:
            # By the store's clock where that is behind: one that is wrong here must not fence off
            # everybody else.
            now_s = min(now_s, self._store_time_s())
        fence = max(fence_at(now_s - policy.grace_s), newest.collected_before)
        plan = self._plan(newest, fence, now_s, policy)
        if dry_run or not (plan.expired or plan.garbage):
            return _report(newest, plan.expired, plan.garbage)
        fenced = self._fenced(plan, fence, newest)
        if plan.expired:
            self._manifests.renew_hint(fenced)
        done = self._clear(fenced, plan, limit)
        self._forget(fenced.retained_from)
        return done

    def _store_time_s(self) -> float:
        data = self._ids.new_id().encode()
        found = self._blobs.properties(MARK)
        if found is None:
            self._blobs.put_if_absent(MARK, data)
        else:
            self._blobs.put_if_match(MARK, data, found.etag)
        return last_collection_s(self._blobs)

    def _plan(self, newest: Manifest, fence: str, now_s: float, policy: RetentionPolicy) -> _Plan:
        listed = self._manifests.listed()
        superseded_s = {
            number: listed[after].properties.modified_s for number, after in pairwise(listed)
        }
        then = replace(newest, retained_from=plan_retention(superseded_s, newest, now_s, policy))
        named = self._named_by(then, listed)
        files = (e for prefix in FILE_PREFIXES for e in self._blobs.list(prefix))
        behind = (entry for entry in files if _is_behind(entry, fence))
        garbage = [entry for entry in behind if entry.name not in named]
        garbage += self._foreign_caches(newest, fence)
        garbage += unneeded_parts(self._blobs, newest)
        if not garbage and then.retained_from < newest.retained_from + policy.keep_newest:
            # A few manifests alone are not worth another one, or an idle index would never rest.
            then = newest
        return _Plan(
            retained_from=then.retained_from,
            expired=[number for number in listed if not then.is_retained(number)],
            garbage=garbage,
        )

    def _fenced(self, plan: _Plan, fence: str, newest: Manifest) -> Manifest:
        outcome = commit(
            self._manifests,
            Collect(before=fence, retained_from=plan.retained_from),
            commit_id=self._ids.new_id(),
            lineage=made_now(
                "collect",
                self._clock.now_s(),
                {"manifests": len(plan.expired), "files": len(plan.garbage)},
            ),
            known=newest,
        )
        assert isinstance(outcome, Committed), "fences are never refused"
        return outcome.manifest

    def _clear(self, fenced: Manifest, plan: _Plan, limit: int | None) -> Collected:
        """Delete what was garbage by the plan and still is, now that the fences stand."""
        listed = self._manifests.listed()
        named = self._named_by(fenced, listed)
        expired = [number for number in listed if not fenced.is_retained(number)]
        garbage = [entry for entry in plan.garbage if entry.name not in named]
        n_wanted = len(expired) + len(garbage)
        if limit is not None:
            # Stubs come first: a file goes only when every manifest without it tells so.
            expired = expired[:limit]
            garbage = garbage[: limit - len(expired)]
        gone = [number for number in expired if self._manifests.expire(number)]
        deleted = [entry for entry in garbage if self._blobs.delete(entry.name)]
        return _report(fenced, gone, deleted, n_left=n_wanted - len(expired) - len(garbage))

    def _named_by(self, manifest: Manifest, listed: Mapping[int, BlobEntry]) -> frozenset[str]:
        """The files that are named by any manifest which `manifest` retains, itself included."""
        for number in range(manifest.retained_from, manifest.number + 1):
            # Not in the list: a stub, or the list is behind. Read, it tells.
            etag = listed[number].properties.etag if number in listed else ""
            if not etag or self._read.get(number) != etag:
                for name in self._names_in(number):
                    self._named_last[name] = max(number, self._named_last.get(name, 0))
                self._read[number] = etag
        kept = {n for n, last in self._named_last.items() if last >= manifest.retained_from}
        # A purge may rewrite pinned manifests, so these are read every time.
        pinned = {name for number in manifest.pins for name in self._names_in(number)}
        # Its own stub may stand in its place, for a purge has no use for it: others name on what is
        # live in it.
        own = {file.name for file in manifest.files()}
        return frozenset(kept | pinned | own)

    def _names_in(self, number: int) -> Iterator[str]:
        found = self._manifests.read(number)
        if found is None:
            raise CorruptIndexError(f"{manifest_name(number)}: missing although later ones exist")
        # A stub: somebody else has expired it, by a later manifest.
        return (file.name for file in found.files()) if isinstance(found, Manifest) else iter(())

    def _forget(self, retained_from: int) -> None:
        """What manifests name that can never be retained again: a committed fence never falls."""
        self._read = {n: etag for n, etag in self._read.items() if n >= retained_from}
        named = self._named_last.items()
        self._named_last = {name: last for name, last in named if last >= retained_from}

    def _foreign_caches(self, newest: Manifest, fence: str) -> Iterator[BlobEntry]:
        """Cached vectors of encoders that are neither live nor being built any more."""
        known = {
            folder_of(encoder_id)
            for space in newest.spaces
            for encoder_id in (space.live, space.building)
            if encoder_id is not None
        }
        for entry in self._blobs.list(CACHE_PREFIX):
            folder, _, write_id = entry.name.removeprefix(CACHE_PREFIX).partition("/")
            if folder not in known and is_behind(write_id, fence):
                yield entry


def _is_behind(entry: BlobEntry, fence: str) -> bool:
    """Whether a file is from before the fence, by its name or else by the store."""
    if is_named_by_content(entry.name):
        return entry.properties.modified_s < time_of(fence)
    return is_file_behind(entry.name, fence)


def _report(
    manifest: Manifest, expired: Sequence[int], files: Iterable[BlobEntry], n_left: int = 0
) -> Collected:
    sizes = [entry.properties.size_bytes for entry in files]
    return Collected(
        manifest=manifest.number,
        n_expired=len(expired),
        n_files=len(sizes),
        n_bytes=sum(sizes),
        is_complete=n_left == 0,
    )
