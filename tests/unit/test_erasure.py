"""Erasing series from segments and manifests: nothing is left of them, and nothing else changes."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import IndexerError, NotFoundError
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.erasure import (
    EXPIRED,
    PARTS,
    REWRITTEN,
    ROWS,
    SEGMENT_FILES,
    Segments,
    suppress,
)
from indexer_core.index.filling import PARTS_PREFIX
from indexer_core.index.manifest import Manifest, Stub
from indexer_core.index.pins import Pins
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.rows import rows_of, table_of
from indexer_core.index.segment import PREFIX, SegmentWriter, SpaceVectors
from indexer_core.index.updates import (
    AddSegment,
    AddVectors,
    BuildSpace,
    Collect,
    MergeSegments,
    Pin,
)
from indexer_core.index.verify import verify
from indexer_core.index.write_ids import fence_at
from indexer_core.purge import Subject
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from indexer_core.text_cache import text_hash
from tests.support.meanwhile import BetweenRequests
from tests.support.segments import (
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    row,
    unit_vectors,
    write_segment,
)

GONE = frozenset({"s2"})


class Shelf:
    """An index whose series s2 is in several segments, some of them only in history."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.blobs = MemoryBlobs(self.clock)
        self.files = FlatFp16Vectors()
        self.manifests = Manifests(self.blobs)

    def fill(self) -> "Shelf":
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)
        self.add(s1=1)
        self.before_s2 = self.newest.number
        self.commit(Pin(number=self.before_s2, name="early"))
        old = self.add(s2=1, s3=1)
        self.add(s2=2)
        self.pinned = self.newest.number
        self.commit(Pin(number=self.pinned, name="paper"))
        # From here on s2 of `old` is in a merged segment, and `old` itself only in history.
        self.merge(old, {"s2": 1, "s3": 1})
        self.add(s4=1, s2=-3)
        self.unpinned = self.newest.number
        self.add(s5=1)
        return self

    def copy(self) -> "Shelf":
        other = Shelf()
        other.__dict__.update({k: v for k, v in vars(self).items() if isinstance(v, int)})
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        other.blobs._blobs.update(self.blobs._blobs)
        other.blobs._written = self.blobs._written
        return other

    @property
    def newest(self) -> Manifest:
        return self.manifests.newest()

    def commit(self, update, blobs=None):
        self.clock.advance(1)
        return commit(
            Manifests(blobs or self.blobs), update, commit_id=self.ids.new_id(), lineage=LINEAGE
        )

    def write(self, blobs=None, **revisions: int):
        """A segment of these rows; a negative revision is a tombstone."""
        self.clock.advance(1)
        write_id = self.ids.new_id()
        rows = [row(key, abs(n), write_id, alive=n > 0) for key, n in sorted(revisions.items())]
        return write_segment(SegmentWriter(blobs or self.blobs, self.files), write_id, rows)

    def add(self, **revisions: int):
        segment = self.write(**revisions)
        assert isinstance(self.commit(AddSegment(segment=segment)), Committed)
        return segment

    def merge(self, segment, revisions) -> None:
        output = self.write(**revisions)
        assert isinstance(
            self.commit(MergeSegments(inputs=(segment.id,), output=output)), Committed
        )

    def purge(self, blobs=None, series=GONE):
        blobs = blobs or self.blobs
        suppress(Manifests(blobs), series, clock=self.clock, ids=self.ids)
        self.clock.advance(1)
        return self.segments(blobs).erase(Subject(series=series))

    def segments(self, blobs=None) -> Segments:
        return Segments(
            blobs or self.blobs,
            self.files,
            clock=self.clock,
            ids=self.ids,
            behind_s=self.clock.now_s(),
        )

    def keys_at(self, number: int) -> set[str]:
        snapshot = open_at(self.blobs, self.files, number)
        return {segment.loaded.orders[index][0] for segment, index in snapshot.rows()}

    def rows_in(self, segment):
        data = self.blobs.get(segment.rows.name).data
        return rows_of(table_of(data, segment.rows.name))

    def stored_keys(self) -> set[str]:
        """Series with a row in any file, whether or not a manifest names it."""
        found: set[str] = set()
        for entry in self.blobs.list(PREFIX):
            data = self.blobs.get(entry.name).data
            if ".rows." in entry.name:
                found |= {r.series_key for r in rows_of(table_of(data, entry.name))}
        return found

    def vectors(self, space: str = "text", encoder: str = "text-encoder") -> dict[str, bytes]:
        """Stored vectors of every searchable series."""
        reader = Reader(self.blobs, self.files)
        reader.refresh()
        found = {}
        for segment, index in reader.snapshot.rows():
            first = segment.loaded.first_vector(space, index)
            n = segment.loaded.first_vector(space, index + 1) - first
            vectors = segment.loaded.vectors(space, encoder).reconstruct(first, n)
            found[segment.loaded.orders[index][0]] = vectors.tobytes()
        return found

    def assert_erased(self) -> None:
        assert self.stored_keys() == {"s1", "s3", "s4", "s5"}
        seen = verify(self.blobs, self.files)
        assert (seen.problems, seen.orphans) == ([], [])
        assert self.keys_at(self.newest.number) == {"s1", "s3", "s4", "s5"}
        assert self.keys_at(self.pinned) == {"s1", "s3"}
        assert self.keys_at(self.before_s2) == {"s1"}
        assert isinstance(self.manifests.read(self.unpinned), Stub)
        assert self.newest.suppressed == GONE


@cache
def filled() -> Shelf:
    return Shelf().fill()


@pytest.fixture
def shelf() -> Shelf:
    return filled().copy()


def test_nothing_is_left_of_a_series_in_any_file_and_the_others_keep_their_vectors(shelf):
    before = {space: shelf.vectors(*space) for space in (("text",), ("image", "image-encoder"))}
    done = shelf.purge()
    shelf.assert_erased()
    for space, vectors in before.items():
        vectors.pop("s2", None)
        assert shelf.vectors(*space) == vectors
    assert done.remaining == ()
    assert done.counts[REWRITTEN] == 1
    assert done.counts[ROWS] == 3  # of the merged segment, of its own, and the tombstone
    assert done.counts[EXPIRED] > 3
    assert done.counts[SEGMENT_FILES] > 12


def test_erasing_again_finds_nothing_and_commits_nothing(shelf):
    shelf.purge()
    shelf.clock.advance(1)
    segments = shelf.segments()
    assert not any(segments.erase(Subject(series=GONE)).counts.values())
    number = shelf.newest.number
    assert not any(segments.erase(Subject(series=GONE)).counts.values())
    assert shelf.newest.number == number


def test_a_pinned_manifest_says_that_it_was_rewritten_and_is_otherwise_what_it_was(shelf):
    before = shelf.manifests.at(shelf.pinned)
    shelf.purge()
    after = shelf.manifests.at(shelf.pinned)
    assert after.lineage.details["purged"]
    details = {k: v for k, v in after.lineage.details.items() if k != "purged"}
    same = replace(after, lineage=replace(after.lineage, details=details), segments=())
    assert same == replace(before, segments=())
    assert shelf.manifests.at(shelf.before_s2).lineage.details == {}


def test_what_was_pinned_is_searched_as_before_without_the_series(shelf):
    query = unit_vectors("query", 1, 8)
    shelf.purge()
    snapshot = open_at(shelf.blobs, shelf.files, shelf.pinned)
    for segment in snapshot.segments:
        vectors = segment.loaded.vectors("text", "text-encoder")
        rows = vectors.select(np.ones(vectors.n_vectors, dtype=bool))
        scores, _ = vectors.search(query, 5, rows)
        assert scores.shape == (1, 5)
    (points,) = [s.loaded.points("0.1") for s in snapshot.segments if "s3" in str(s.loaded.orders)]
    assert points.xy.shape == (1, 2)


def test_vectors_of_an_encoder_that_is_being_built_are_kept(shelf):
    shelf.commit(BuildSpace(space="text", encoder_id="new", dimension=8))
    writer = SegmentWriter(shelf.blobs, shelf.files)
    for segment in shelf.newest.segments:
        n = segment.vector_file("text", "text-encoder").n_vectors
        space = SpaceVectors(space="text", encoder_id="new", vectors=unit_vectors(segment.id, n, 8))
        shelf.clock.advance(1)
        vectors = writer.write_vectors(shelf.ids.new_id(), space)
        shelf.commit(AddVectors(segment_id=segment.id, vectors=vectors))
    before = shelf.vectors("text", "new")
    shelf.purge()
    before.pop("s2", None)
    assert shelf.vectors("text", "new") == before


def test_parts_of_vectors_that_are_being_made_for_its_segments_go_too(shelf):
    others = next(s for s in shelf.newest.segments if "s5" in str(shelf.rows_in(s)))
    its = next(s for s in shelf.newest.segments if "s2" in str(shelf.rows_in(s)))
    names = [f"{PARTS_PREFIX}0123/{segment.id}/0-9" for segment in (others, its)]
    for name in names:
        shelf.blobs.put_if_absent(name, b"vectors")
    assert shelf.purge().counts[PARTS] == 1
    assert [entry.name for entry in shelf.blobs.list(PARTS_PREFIX)] == names[:1]


def test_files_that_nobody_committed_go_too(shelf):
    orphan = shelf.write(s2=9)
    shelf.clock.advance(1)
    shelf.purge()
    assert shelf.blobs.get(orphan.rows.name) is None
    shelf.assert_erased()


def test_names_and_texts_of_all_its_rows_are_found(shelf):
    write_id = shelf.ids.new_id()
    planted = row("s2", 7, write_id)
    record = {**planted.record, "texts": ["one text", "b", "c", "d", "e"]}
    planted = replace(planted, record=record, blobs=("mem://x/1",))
    segment = write_segment(SegmentWriter(shelf.blobs, shelf.files), write_id, [planted])
    shelf.commit(AddSegment(segment=segment))
    found = shelf.segments().find(GONE)
    assert found.urls == {"mem://x/1"}
    assert text_hash("one text") in found.texts
    assert found.uids == {"s2"}
    assert shelf.segments().find(frozenset({"nobody"})) == Subject()


def test_an_unpinned_manifest_with_a_damaged_file_is_expired(shelf):
    old = shelf.manifests.at(shelf.unpinned - 3).segments
    live = {segment.rows.name for segment in shelf.newest.segments}
    pinned = {
        s.rows.name for n in (shelf.pinned, shelf.before_s2) for s in shelf.manifests.at(n).segments
    }
    lost = [s.rows.name for s in old if s.rows.name not in live | pinned]
    for name in lost:
        shelf.blobs.delete(name)
    shelf.purge()
    shelf.assert_erased()


@pytest.mark.parametrize(
    "fault",
    [
        WriteFault.CRASH_AFTER,
        WriteFault.LOST_RESPONSE,
        WriteFault.LOST_REQUEST,
    ],
)
def test_killed_at_any_write_the_next_run_ends_the_work(fault):
    at = 0
    while True:
        at += 1
        shelf = filled().copy()
        plan = FaultPlan(at, fault)
        try:
            shelf.purge(WrappedBlobs(shelf.blobs, plan))
        except (SimulatedCrash, IndexerError):
            pass
        else:
            if not plan.has_struck:
                break
        # What is readable in between hides the series at every number.
        if shelf.newest.suppressed:
            assert "s2" not in shelf.keys_at(shelf.newest.number)
            assert "s2" not in shelf.keys_at(shelf.pinned)
        shelf.clock.advance(1)
        shelf.purge()
        shelf.assert_erased()
    assert at > 20


class Between(PassThrough):
    """Does something once, before the k-th write."""

    def __init__(self, at, meanwhile) -> None:
        self.at, self.meanwhile, self.n_writes = at, meanwhile, 0

    def write(self, operation, call):
        self.n_writes += 1
        if self.n_writes == self.at:
            self.meanwhile()
        return call()


def at_every_write(meanwhile, check=lambda shelf: None) -> None:
    """Purge, with something else happening at one write after the other."""
    at = 0
    while True:
        at += 1
        shelf = filled().copy()
        # Hidden, and the grace is over: whoever comes in between knows.
        suppress(shelf.manifests, GONE, clock=shelf.clock, ids=shelf.ids)
        shelf.clock.advance(1)
        around = Between(at, lambda shelf=shelf: meanwhile(shelf))
        segments = shelf.segments(WrappedBlobs(shelf.blobs, around))
        while any(segments.erase(Subject(series=GONE)).counts.values()):
            pass
        if around.n_writes < at:
            break
        # The collector takes what lost a race: what nobody names must hold nothing, though.
        assert "s2" not in shelf.stored_keys()
        assert verify(shelf.blobs, shelf.files).problems == []
        assert "s3" in shelf.keys_at(shelf.newest.number)
        check(shelf)
    assert at > 10


def test_another_purge_between_any_two_requests_undoes_nothing_and_is_not_undone():
    at = 0
    while True:
        at += 1
        shelf = filled().copy()
        around = BetweenRequests(at, lambda shelf=shelf: shelf.purge(series=frozenset({"s3"})))
        shelf.purge(WrappedBlobs(shelf.blobs, around))
        if around.n < at:
            break
        # What lost a race to be named holds nothing of them, and is the collector's.
        assert shelf.stored_keys() == {"s1", "s4", "s5"}
        assert verify(shelf.blobs, shelf.files).problems == []
        assert shelf.keys_at(shelf.newest.number) == {"s1", "s4", "s5"}
        assert shelf.keys_at(shelf.pinned) == {"s1"}
        assert shelf.newest.suppressed == {"s2", "s3"}
    assert at > 50


class Committing(BetweenRequests):
    """Also commits something before the fence of a collection, as late as can be."""

    def __init__(self, at, meanwhile, late) -> None:
        super().__init__(at, meanwhile)
        self.late, self.n_writes, self.is_late_in = late, 0, False

    def read(self, operation, call):
        return super().write(operation, call)

    def write(self, operation, call):
        self.n_writes += 1
        if self.n_writes == 2:  # the first tells the store's time
            self.is_late_in = isinstance(self.late(), Committed)
        return super().write(operation, call)


def test_a_collection_loses_nothing_to_a_purge_between_any_two_requests():
    """What was garbage by its plan is committed before its fence; then the purge expires all
    manifests that the collection could learn of that from."""
    policy = RetentionPolicy(keep_s=0, keep_newest=1, grace_s=0)
    at, n_in = 0, 0
    while True:
        at += 1
        shelf = filled().copy()
        late = shelf.write(s6=1)
        shelf.clock.advance(1)
        around = Committing(
            at,
            lambda shelf=shelf: shelf.purge(),
            lambda shelf=shelf, late=late: shelf.commit(AddSegment(segment=late)),
        )
        Collector(WrappedBlobs(shelf.blobs, around), shelf.clock, shelf.ids).collect(policy)
        if around.n < at:
            break
        n_in += around.is_late_in  # unless the purge came first, with a fence of its own
        assert verify(shelf.blobs, shelf.files).problems == []
        late_one = {"s6"} if around.is_late_in else set()
        assert shelf.keys_at(shelf.newest.number) == {"s1", "s3", "s4", "s5"} | late_one
        assert shelf.keys_at(shelf.pinned) == {"s1", "s3"}
        assert "s2" not in shelf.stored_keys()
    assert 10 < n_in < at


def test_a_purge_loses_nothing_to_a_collection_between_any_two_requests():
    policy = RetentionPolicy(keep_s=0, keep_newest=1, grace_s=0)
    at = 0
    while True:
        at += 1
        shelf = filled().copy()

        def meanwhile(shelf=shelf):
            shelf.clock.advance(1)
            Collector(shelf.blobs, shelf.clock, shelf.ids).collect(policy)
            shelf.clock.advance(1)

        around = BetweenRequests(at, meanwhile)
        shelf.purge(WrappedBlobs(shelf.blobs, around))
        if around.n < at:
            break
        shelf.purge()
        shelf.assert_erased()
    assert at > 50


def test_a_merge_that_is_committed_at_any_write_does_not_bring_it_back():
    def merge_all(shelf: Shelf) -> None:
        """As the worker would: what wins of every series, hidden ones too."""
        reader = Reader(shelf.blobs, shelf.files)
        snapshot = reader.refresh()
        rows = sorted(
            (reader.row(reader.winner(key)) for key in reader.series_keys()),
            key=lambda r: r.series_key,
        )
        shelf.clock.advance(1)
        output = write_segment(SegmentWriter(shelf.blobs, shelf.files), shelf.ids.new_id(), rows)
        inputs = tuple(segment.id for segment in snapshot.manifest.segments)
        assert isinstance(shelf.commit(MergeSegments(inputs=inputs, output=output)), Committed)

    at_every_write(merge_all)


def test_a_new_segment_at_any_write_stays():
    def add(shelf: Shelf) -> None:
        shelf.add(s9=1)

    at_every_write(add)


def test_a_writer_that_slept_since_before_the_fence_must_write_again(shelf):
    late = shelf.write(s2=9)
    shelf.purge()
    assert isinstance(shelf.commit(AddSegment(segment=late)), Abandoned)
    shelf.assert_erased()


def test_a_manifest_that_is_pinned_while_it_expires_is_kept_or_not_pinned():
    told = set()

    def pin(shelf: Shelf) -> None:
        pins = Pins(shelf.manifests, shelf.clock, shelf.ids)
        try:
            pins.pin("late", shelf.unpinned)
        except NotFoundError:
            told.add("expired")
            assert "late" not in str(shelf.newest.pins)

    def check(shelf: Shelf) -> None:
        if "late" in shelf.newest.pins.get(shelf.unpinned, ()):
            told.add("kept")
            assert shelf.keys_at(shelf.unpinned) == {"s1", "s3", "s4"}

    at_every_write(pin, check)
    assert told == {"expired", "kept"}


def test_a_collector_that_overtakes_a_rewritten_manifest_costs_it_nothing(shelf):
    """Whatever it deletes of ours that was not named yet is written again."""

    class Overtaking(PassThrough):
        struck = False

        def write(self, operation, call):
            if operation == "blobs.put_if_match" and not self.struck:
                self.struck = True
                shelf.clock.advance(1)
                shelf.commit(Collect(before=fence_at(shelf.clock.now_s()), retained_from=1))
                named = {f.name for m in shelf.manifests.history() for f in m.files()}
                for entry in list(shelf.blobs.list(PREFIX)):
                    if entry.name not in named:
                        shelf.blobs.delete(entry.name)
                shelf.clock.advance(1)
            return call()

    around = Overtaking()
    shelf.commit(Pin(number=shelf.unpinned, name="other"))
    shelf.purge(WrappedBlobs(shelf.blobs, around))
    assert around.struck
    assert verify(shelf.blobs, shelf.files).problems == []
    assert shelf.keys_at(shelf.pinned) == {"s1", "s3"}


def test_a_number_that_expired_is_told_so(shelf):
    shelf.purge()
    with pytest.raises(NotFoundError, match="expired"):
        shelf.manifests.at(shelf.unpinned)
