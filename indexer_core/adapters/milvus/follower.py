"""The follower: keeps the collections equal to the newest manifest, and says how far they are.

One step goes from the state that can be searched to the newest manifest, however many lie between:

1. The claim is taken (`indexer_core.adapters.milvus.ledger`).
2. What an attempt for another manifest has left is taken back: births and deaths after the state.
3. That there is an attempt is written down, with the number of its manifest.
4. Series that are suppressed are deleted, all versions of them.
5. Every series that changed is settled: what is to count and is not there is inserted, what counts
   and should not has died. Nobody sees any of it yet.
6. One compare-and-set moves the position.
7. States that are no longer kept are given up, in the position first; then their dead are deleted.

So whoever is killed anywhere leaves a collection that shows the state it showed, and whoever comes
next begins at 1. Steps 2 and 5 look at what is there, not at what should have been written, so that
doing them twice is doing them once.

Where the state before cannot be told, because its manifest has expired or a purge wrote it anew,
or the collections are in doubt, every series is compared instead of those that changed. Another
encoder, collections that are gone or hold what others wrote, a blob store that is a copy, or a wish
lead to new collections, filled beside those in use; a filling that was killed goes on.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from pymilvus import MilvusClient

from indexer_core.adapters.milvus.collections import Collections, generation_of, is_own
from indexer_core.adapters.milvus.contents import Contents, spaces_of
from indexer_core.adapters.milvus.heeding import Heeding, erased_by, suppressed_between
from indexer_core.adapters.milvus.ledger import Building, ClaimLostError, Entry, Ledger
from indexer_core.adapters.milvus.moving import (
    FollowPolicy,
    alone,
    digest_of,
    disowned,
    moved,
    placed,
    replaced,
    trimmed,
    used_generations,
)
from indexer_core.adapters.milvus.schema import SERIES
from indexer_core.adapters.milvus.settling import Settler, Told
from indexer_core.errors import NotFoundError, UnavailableError, UnknownOutcomeError
from indexer_core.index.changes import changes_between
from indexer_core.index.commit import Manifests
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles

_MOST_ATTEMPTS = 16
"""Manifests whose unfinished attempts are told apart: beyond them all is in doubt."""

APPLIED, CURRENT, HELD, OVERTAKEN, STOPPED = "applied", "current", "held", "overtaken", "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step did.

    outcome: `APPLIED`, `CURRENT` (nothing to do), `HELD` (by another follower), `OVERTAKEN` (by
    the collector, a purge or another follower: take the next step), `STOPPED` (because it was
    told to). number: of the manifest that can be searched now.
    """

    outcome: str
    number: int


class Stopped(Exception):  # noqa: N818 - nothing is wrong
    """The follower was told to stop between two batches."""


class Follower:
    """Follows one index; not for use by several threads at once.

    Parameters
    ----------
    prefix
        Of the collections.
    address
        Where the blob store lies, in the same words for all followers of it; and for no copy.
    files
        Opens the files of segments; None: from `blobs`, in memory.
    told
        Is told how far long work is.
    is_stopped
        Asked between batches whether to stop.
    """

    def __init__(
        self,
        client: MilvusClient,
        blobs: BlobStore,
        vector_files: VectorFiles,
        *,
        prefix: str,
        address: str,
        clock: Clock,
        ids: Ids,
        policy: FollowPolicy | None = None,
        files: ImmutableFiles | None = None,
        told: Told | None = None,
        is_stopped: Callable[[], bool] | None = None,
    ) -> None:
        self.policy = policy or FollowPolicy()
        self.ledger = Ledger(
            blobs, prefix, clock=clock, owner=ids.new_id(), claim_s=self.policy.claim_s
        )
        self.collections = Collections(client, prefix, self.ledger, timeout_s=self.policy.timeout_s)
        self.manifests = Manifests(blobs)
        self._address = address
        self._clock = clock
        self._ids = ids
        self._told = told
        self._is_stopped = is_stopped
        self._open = partial(Reader, blobs, vector_files, files=files)
        self._reader = self._open()
        self._newest = EMPTY
        self._applied: tuple[str, Snapshot] | None = None
        self._has_looked = False

    def step(self) -> Step:
        """Go to the newest manifest.

        Raises
        ------
        UnavailableError, UnknownOutcomeError
            Milvus or the blob store did not answer: take the step again.
        CorruptIndexError
            A file of the index, or the position, is damaged.
        """
        entry = self.ledger.read()
        self._newest = self.manifests.newest(self._newest)
        if not self._newest.number or not self._is_due(entry):
            return self._done(CURRENT)
        if not self.ledger.take():
            return self._done(HELD)
        try:
            with self.manifests.unless_expired(self._newest):
                self._follow()
        except (ClaimLostError, NotFoundError):
            self._newest = EMPTY
            return self._ended(OVERTAKEN)
        except Stopped:
            return self._ended(STOPPED)
        except (UnavailableError, UnknownOutcomeError):
            self._has_looked = False  # Milvus may have been started anew
            raise
        return self._ended(APPLIED)

    def _done(self, outcome: str) -> Step:
        return Step(outcome=outcome, number=self.ledger.entry.position.applied)

    def _ended(self, outcome: str) -> Step:
        self.ledger.give_up()
        return self._done(outcome)

    def _is_due(self, entry: Entry) -> bool:
        position, following = entry.position, entry.following
        if (position.applied, following.digest) != (self._newest.number, digest_of(self._newest)):
            return True
        wishes = following.attempts, following.in_doubt, following.is_rebuild_wanted
        return (
            not self._has_looked
            or any(wishes)
            or following.building is not None
            or self.ledger.has_landed()
            or following.swept < position.floor
            or trimmed(entry, self.policy, self._clock.now_s()) != entry
            or self._is_other_or_lost(entry)
            or bool(self._unused(entry))
        )

    def _follow(self) -> None:
        self.ledger.change(placed(self.ledger.entry, self._address))
        self._drop_unused()
        entry = self.ledger.entry
        if (
            entry.following.is_rebuild_wanted
            or entry.following.building is not None
            or self._is_other_or_lost(entry)
        ):
            self._build()
        elif self._is_strange(entry):
            self.ledger.write(disowned(entry))
            self._build()
        else:
            if self._is_lacking(entry):
                self.ledger.write(entry.noted(in_doubt=True))
            self._apply()
        self._sweep()
        self._has_looked = True

    def _apply(self) -> None:
        """Bring the collections in use to the newest manifest."""
        if len(self.ledger.entry.following.attempts) > _MOST_ATTEMPTS:
            self.ledger.write(self.ledger.entry.noted(attempts=(), attempted="", in_doubt=True))
        digest = digest_of(self._newest)
        touched = self.collections.landed(self._newest.number, digest)
        entry = self.ledger.entry
        position, following = entry.position, entry.following
        settler = self._settler(position.generation, position.spaces)
        is_left = bool(following.attempts) and following.attempted != digest
        before = None if following.in_doubt else self._before(entry)
        contents = self._contents()
        heeding = self._heeding(contents, settler)
        if is_left or following.in_doubt or contents.number < position.applied:
            # A backup that was put back may be behind what was applied.
            number = min(position.applied, contents.number)
            touched |= settler.take_back(number, contents, heeding.telling)
        attempts = self.ledger.entry.following.attempts
        erased = passed = None
        if before is not None:
            erased = erased_by(self.manifests, attempts, before)
            passed = suppressed_between(self.manifests, before, self._newest)
        is_same = before is not None and before.manifest.number == contents.number
        if is_same and not (touched or attempts):
            return
        attempts = tuple(dict.fromkeys((*attempts, contents.number)))
        self.ledger.write(self.ledger.entry.noted(attempts=attempts, attempted=digest))
        if before is None or erased is None:
            heeding.erase(contents.suppressed)
            settler.settle_all(contents, heeding.telling)
            self._move(self.ledger.entry, contents, keeps=False)
            return
        changes = changes_between(before, self._reader.snapshot)
        # Hidden meanwhile and shown again: what there was of them may have been purged.
        hidden = changes.hidden | erased | (passed or frozenset())
        heeding.erase(hidden)
        again = (changes.shown | hidden) - contents.suppressed
        unsure = again | (touched - contents.suppressed)
        was = before.manifest.projection
        version = None if was is None else was.version
        settler.settle_changed(contents, changes, unsure, version, heeding.telling)
        # Earlier states have lost what is shown again; and a position names one map for them all.
        keeps = passed is not None and not again and not changes.is_other_map
        self._move(self.ledger.entry, contents, keeps=keeps)

    def _build(self) -> None:
        """Fill new collections, or go on with it, and move the position to them."""
        contents = self._contents()
        building = self.ledger.entry.following.building
        is_wanted = self.ledger.entry.following.is_rebuild_wanted
        if building is None or is_wanted or building.spaces != contents.spaces:
            index_id = self.ledger.entry.following.index_id or self._ids.new_id()
            generation = generation_of(index_id, self._ids.new_id())
            building = Building(generation=generation, spaces=contents.spaces)
            noted = self.ledger.entry.noted(
                building=building, is_rebuild_wanted=False, index_id=index_id
            )
            self.ledger.write(noted)
        settler = self._settler(building.generation, building.spaces)
        is_filled = building.is_created
        if is_filled:
            self.collections.load(building.generation, settler.kinds)
        else:
            self._create(building)
        heeding = self._heeding(contents, settler)
        heeding.erase(contents.suppressed)
        if is_filled:
            settler.settle_all(contents, heeding.telling)
        else:
            settler.fill(contents, heeding.telling)
        entry = replaced(self.ledger.entry, building.generation, self._clock.now_s())
        self._move(entry, contents, keeps=False)

    def _heeding(self, contents: Contents, settler: Settler) -> Heeding:
        """Deletes series in all collections: some now, and what is suppressed from now on."""
        there = self.collections.generations()
        settlers = [settler]
        for generation in there.keys() & self._used(self.ledger.entry) - {settler.generation}:
            self.collections.load(generation, there[generation])
            other = replace(settler, generation=generation, kinds=tuple(sorted(there[generation])))
            settlers.append(other)
        return Heeding(
            self.manifests,
            self._newest,
            contents,
            settlers,
            ledger=self.ledger,
            clock=self._clock,
            every_s=self.policy.heed_s,
            told=self._telling,
        )

    def _create(self, building: Building) -> None:
        self.collections.create_anew(building.generation, building.spaces)
        created = replace(building, is_created=True)
        self.ledger.write(self.ledger.entry.noted(building=created))

    def _move(self, entry: Entry, contents: Contents, *, keeps: bool) -> None:
        digest, now_s = digest_of(self._newest), self._clock.now_s()
        entry = self.collections.looked_at(moved(entry, contents, digest, now_s, keeps=keeps))
        self.ledger.write(trimmed(entry, self.policy, now_s))
        self._applied = digest, self._reader.snapshot

    def _sweep(self) -> None:
        """Delete what no state that is kept can see; the position gives them up first."""
        entry = trimmed(self.ledger.entry, self.policy, self._clock.now_s())
        self.ledger.change(entry)
        position = entry.position
        if entry.following.swept < position.floor:
            settler = self._settler(position.generation, position.spaces)
            heeding = self._heeding(self._contents(), settler)
            settler.sweep(position.floor, heeding.telling)
            self.ledger.write(self.ledger.entry.noted(swept=position.floor))

    def _leave_one_state(self) -> None:
        """Give up all states but the one in use: they would lose what is written again."""
        self.ledger.change(alone(self.ledger.entry))

    def _contents(self) -> Contents:
        """The newest manifest, opened."""
        self.ledger.keep()
        contents = Contents(self._reader.adopt(self._newest), self._reader)
        self.ledger.keep()
        return contents

    def _before(self, entry: Entry) -> Snapshot | None:
        """The state that can be searched; None where that cannot be told any more."""
        applied, digest = entry.position.applied, entry.following.digest
        if self._applied is not None and self._applied[0] == digest:
            return self._applied[1]
        manifest = self.manifests.read(applied)
        if not isinstance(manifest, Manifest) or digest_of(manifest) != digest:
            return None
        reader = self._open()
        try:
            with self.manifests.unless_expired(manifest):
                snapshot = reader.adopt(manifest)
        except NotFoundError:
            return None
        self._reader, self._applied = reader, (digest, snapshot)
        return snapshot

    def _drop_unused(self) -> None:
        entry = self.ledger.entry
        for generation, kinds in self._unused(entry).items():
            self.collections.drop(generation, kinds)
        used = self._used(entry)
        retired = {each: at_s for each, at_s in entry.following.retired.items() if each in used}
        self.ledger.change(self.ledger.entry.noted(retired=retired))

    def _unused(self, entry: Entry) -> dict[str, set[str]]:
        """Own ones that nobody needs: an attempt has left them, or others replaced them."""
        used, there = self._used(entry), self.collections.generations()
        own = [each for each in there if is_own(each, entry.following.index_id)]
        return {each: there[each] for each in own if each not in used}

    def _used(self, entry: Entry) -> set[str]:
        """Own generations that somebody may need."""
        return used_generations(entry, self.policy, self._clock.now_s())

    def _is_other_or_lost(self, entry: Entry) -> bool:
        """Whether the collections in use have vectors of other encoders, or are not there."""
        position = entry.position
        there = self.collections.generations().get(position.generation, set())
        is_lost = not there >= {SERIES, *position.spaces}
        is_others = not is_own(position.generation, entry.following.index_id)
        return is_lost or is_others or position.spaces != spaces_of(self._newest)

    def _is_strange(self, entry: Entry) -> bool:
        """Whether the collections in use have what no follower of this position wrote.

        That is so where it is an earlier one that was put back.
        """
        settler = self._settler(entry.position.generation, entry.position.spaces)
        if not self._has_looked:
            self.collections.load(entry.position.generation, settler.kinds)
        return not entry.following.in_doubt and settler.has_later(entry)

    def _is_lacking(self, entry: Entry) -> bool:
        """Whether they have more or less than the state, as seen once: then all is in doubt."""
        said = entry.following
        # What was unfinished, or not answered and came late, makes other counts of its own.
        is_open = self._has_looked or said.in_doubt or said.attempts or said.unanswered_s
        before = None if is_open else self._before(entry)
        settler = self._settler(entry.position.generation, entry.position.spaces)
        return before is not None and settler.lacks(before)

    def _settler(self, generation: str, spaces: Iterable[str]) -> Settler:
        return Settler(
            collections=self.collections,
            generation=generation,
            kinds=(SERIES, *spaces),
            batch=self.policy.batch,
            before_reviving=self._leave_one_state,
        )

    def _telling(self, done: int, total: int) -> None:
        if self._told is not None:
            self._told(done, total)
        self.ledger.keep()
        if self._is_stopped is not None and self._is_stopped():
            raise Stopped
