"""Erasing series while others write, merge, collect, pin and purge; and killed at any write."""

import pytest

from indexer_core.errors import IndexerError, NotFoundError
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Abandoned, Committed
from indexer_core.index.erasure import (
    suppress,
)
from indexer_core.index.pins import Pins
from indexer_core.index.reader import Reader
from indexer_core.index.segment import PREFIX, SegmentWriter
from indexer_core.index.updates import (
    AddSegment,
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
from tests.support.erasing import GONE, Shelf, filled
from tests.support.meanwhile import BetweenRequests
from tests.support.segments import (
    write_segment,
)


@pytest.fixture
def shelf() -> Shelf:
    return filled().copy()


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
    told, said = set(), []

    def pin(shelf: Shelf) -> None:
        pins = Pins(shelf.manifests, shelf.clock, shelf.ids)
        try:
            pins.pin("late", shelf.unpinned)
            told.add("kept")
            said.append(True)
        except NotFoundError:
            told.add("expired")
            assert "late" not in str(shelf.newest.pins)
            said.append(False)

    def check(shelf: Shelf) -> None:
        # Whoever was told that it is kept finds it.
        was_pinned = bool(said) and said.pop()
        assert was_pinned == ("late" in shelf.newest.pins.get(shelf.unpinned, ()))
        if was_pinned:
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
