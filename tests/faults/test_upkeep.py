"""Merging and collecting, killed or failing at every write, and overtaken at every write."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import pytest

from indexer_core.errors import ConflictError, IndexerError, NotFoundError
from indexer_core.index.commit import Abandoned, Committed, Manifests
from indexer_core.index.manifest import Manifest, Stub
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.updates import AddSegment, MergeSegments, Pin, Suppress
from indexer_core.index.write_ids import fence_at
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, StaleBlobs, WriteFault
from tests.faults.test_interleavings import Between
from tests.support.segments import TEXT
from tests.support.shelf import DAY_S, Shelf


def shelf_with_work() -> Shelf:
    """Something to merge, something that has expired, an orphan, a pin and a suppressed series."""
    shelf = Shelf()
    for key in "abcd":
        shelf.add(key)
    shelf.add("a", revision=2, alive=False)
    shelf.commit(Pin(number=3, name="cohort"))
    shelf.upkeep().compact()
    shelf.written(["orphan"])
    shelf.commit(Suppress(series_keys=frozenset("b")))
    shelf.clock.advance(3 * DAY_S)
    for key in "befg":
        shelf.add(key, revision=3)
    return shelf


WORKED = shelf_with_work()
LIVE = WORKED.live()


def work(shelf: Shelf, plan: FaultPlan | Between | None = None) -> None:
    """One process that merges and collects."""
    upkeep = shelf.upkeep(plan)
    upkeep.compact()
    upkeep.collect()


def assert_all_is_well(shelf: Shelf) -> None:
    """The next process ends what was begun, and nothing is lost or left over."""
    assert shelf.missing() == set()
    assert shelf.live() == LIVE
    work(shelf)
    shelf.clock.advance(2 * DAY_S)
    shelf.add("z")
    shelf.upkeep().collect()
    assert shelf.problems() == []
    assert {k: v for k, v in shelf.live().items() if k != "z"} == LIVE
    assert shelf.orphans() == set()
    assert isinstance(Manifests(shelf.blobs).read(3), Manifest), "it is pinned"
    assert isinstance(Manifests(shelf.blobs).read(4), Stub)
    assert len(open_at(shelf.blobs, shelf.files, 3).manifest.segments) == 2


def n_writes() -> int:
    plan = FaultPlan()
    work(WORKED.copy(), plan)
    assert plan.n_writes > 20
    return plan.n_writes


@pytest.mark.parametrize("fault", [f for f in WriteFault if f is not WriteFault.UNAVAILABLE])
def test_upkeep_that_fails_at_any_write_is_carried_on_by_the_next(fault):
    for at in range(1, n_writes() + 1):
        shelf = WORKED.copy()
        plan = FaultPlan(at, fault)
        with suppress(SimulatedCrash, IndexerError):
            work(shelf, plan)
        assert plan.has_struck
        assert_all_is_well(shelf)


def test_a_worker_goes_on_whatever_is_unavailable_during_its_upkeep():
    plan = FaultPlan()
    WORKED.copy().upkeep(plan).when_idle()
    for at in range(1, plan.n_writes + 1):
        shelf = WORKED.copy()
        shelf.upkeep(FaultPlan(at)).when_idle()
        shelf.upkeep(FaultPlan(at)).after_batch()
        assert_all_is_well(shelf)


def at_every_write(meanwhile: Callable[[Shelf], None], check: Callable[[Shelf], None]) -> int:
    """`meanwhile` happens once, before each write of the upkeep in turn; the number of writes."""
    at = 0
    while True:
        at += 1
        shelf = WORKED.copy()
        between = Between(at, lambda shelf=shelf: meanwhile(shelf), crash=False)
        with suppress(ConflictError):  # overtaken too often is an answer, too
            work(shelf, between)
        if between.n_writes < at:
            return at - 1
        check(shelf)


def test_two_processes_that_merge_and_collect_at_once_lose_nothing():
    assert at_every_write(work, assert_all_is_well) > 20


def test_a_commit_at_any_write_of_upkeep_is_kept():
    def commit(shelf: Shelf) -> None:
        shelf.add("new", "e", revision=9)

    def check(shelf: Shelf) -> None:
        live = shelf.live()
        assert (live["new"].order[0], live["e"].order[0]) == (9, 9)
        assert live.keys() == LIVE.keys() | {"new"}
        assert shelf.problems() == []

    assert at_every_write(commit, check) > 20


def test_a_delete_at_any_write_of_upkeep_is_kept():
    def delete(shelf: Shelf) -> None:
        shelf.add("e", revision=9, alive=False)
        shelf.commit(Suppress(series_keys=frozenset("f")))

    def check(shelf: Shelf) -> None:
        assert shelf.live().keys() == LIVE.keys() - set("ef")

    assert at_every_write(delete, check) > 20


def test_a_pin_at_any_write_of_upkeep_is_refused_or_kept():
    """Manifest 4 is past retention: pinned in time it stays, afterwards it cannot be pinned."""
    outcomes = []

    def pin(shelf: Shelf) -> None:
        outcomes.append(shelf.commit(Pin(number=4, name="late")))

    def check(shelf: Shelf) -> None:
        kept = isinstance(Manifests(shelf.blobs).read(4), Manifest)
        assert kept == isinstance(outcomes[-1], Committed) == (4 in shelf.newest.pins)
        assert shelf.problems() == []
        if kept:
            snapshot = open_at(shelf.blobs, shelf.files, 4)
            assert {s.loaded.orders[r][0] for s, r in snapshot.rows()} == set("ac")

    at_every_write(pin, check)
    assert {type(outcome) for outcome in outcomes} == {Committed, Abandoned}


def test_a_reader_at_an_old_manifest_finds_all_of_it_or_learns_that_it_has_expired():
    n_expired = 0

    def read(shelf: Shelf) -> None:
        nonlocal n_expired
        try:
            snapshot = open_at(shelf.blobs, shelf.files, 5)
            for segment in snapshot.segments:
                segment.loaded.vectors(TEXT_SPACE, TEXT).reconstruct()
        except NotFoundError:
            n_expired += 1

    total = at_every_write(read, lambda shelf: None)
    assert 0 < n_expired < total


class Overtaken(StaleBlobs):
    """Something happens right after the n-th read of manifests."""

    def __init__(self, inner, then, nth):
        super().__init__(inner)
        self._then, self._left = then, nth

    def get(self, name):
        found = super().get(name)
        if name.startswith("manifests/"):
            self._left -= 1
            if self._left == 0:
                self._then()
        return found


def test_a_reader_overtaken_between_the_manifest_and_its_files_learns_that_it_has_expired():
    shelf = WORKED.copy()
    with pytest.raises(NotFoundError, match="manifest 5 has expired"):
        open_at(Overtaken(shelf.blobs, lambda: work(shelf), 1), shelf.files, 5)


def test_a_reader_that_is_overtaken_while_it_adopts_a_manifest_takes_the_next_one():
    shelf = WORKED.copy()
    shelf.settings = replace(
        shelf.settings, retention=replace(shelf.settings.retention, keep_s=-1.0, keep_newest=1)
    )
    shelf.clock.advance(DAY_S)

    def then() -> None:
        work(shelf)
        shelf.add("z")
        shelf.upkeep().collect()

    reader = Reader(Overtaken(shelf.blobs, then, 4), shelf.files)
    reader.refresh()
    assert set(reader.series_keys()) >= LIVE.keys()
    assert reader.snapshot.manifest.number == shelf.newest.number


def test_a_writer_that_slept_through_a_collection_writes_again():
    shelf = WORKED.copy()
    slept = shelf.written(["slept"])
    shelf.clock.advance(DAY_S)
    done = shelf.upkeep().collect()
    assert done.n_files > 4
    for file in slept.files():
        assert shelf.blobs.get(file.name) is None
    assert isinstance(shelf.commit(AddSegment(segment=slept)), Abandoned)
    assert shelf.problems() == []


def test_a_writer_between_its_files_and_its_commit_is_safe_at_any_write_of_a_collection():
    """Its commit comes in time, and its files stay; or it is refused."""
    outcomes = []

    def check(shelf: Shelf) -> None:
        committed = isinstance(outcomes[-1], Committed)
        assert ("slept" in shelf.live()) == committed
        assert shelf.problems() == []

    at, total = 0, 1
    while at < total:
        at += 1
        shelf = WORKED.copy()
        slept = AddSegment(segment=shelf.written(["slept"]))
        shelf.clock.advance(DAY_S)
        between = Between(
            at, lambda shelf=shelf, slept=slept: outcomes.append(shelf.commit(slept)), crash=False
        )
        work(shelf, between)
        total = between.n_writes
        check(shelf)
    assert {type(outcome) for outcome in outcomes} == {Committed, Abandoned}


def test_a_merge_that_slept_through_a_collection_is_abandoned():
    shelf = WORKED.copy()
    upkeep = shelf.upkeep()
    reader = Reader(shelf.blobs, shelf.files)
    inputs = [segment.id for segment in reader.refresh().manifest.segments]
    slept = upkeep._merger.merge(
        reader, inputs, write_id=shelf.ids.new_id(), forget_before=fence_at(0.0)
    )
    assert isinstance(slept, MergeSegments)
    shelf.clock.advance(DAY_S)
    shelf.upkeep().collect()
    assert isinstance(shelf.commit(slept), Abandoned)
    assert_all_is_well(shelf)


def test_a_merge_whose_inputs_are_gone_by_the_time_it_reads_them_is_abandoned():
    shelf = WORKED.copy()
    shelf.settings = replace(
        shelf.settings, retention=replace(shelf.settings.retention, keep_s=-1.0, keep_newest=1)
    )
    upkeep = shelf.upkeep()
    plan = upkeep._merger.merge

    def overtaken(*args, **options):
        work(shelf)
        shelf.clock.advance(DAY_S)
        shelf.add("z")
        shelf.upkeep().collect()
        return plan(*args, **options)

    upkeep._merger.merge = overtaken
    assert isinstance(upkeep._merge(full=False), Abandoned)
    assert {k: v for k, v in shelf.live().items() if k != "z"} == LIVE


def test_a_collector_that_reads_a_stale_store_deletes_nothing_that_is_live():
    shelf = WORKED.copy()
    stale = StaleBlobs(shelf.blobs)
    stale.freeze()
    upkeep = shelf.upkeep()
    shelf.add("late", revision=1)
    shelf.upkeep().compact()
    upkeep._collector.__init__(stale, shelf.clock, shelf.ids)
    with suppress(IndexerError):
        upkeep.collect()
    stale.thaw()
    assert {k: v for k, v in shelf.live().items() if k != "late"} == LIVE
    assert shelf.problems() == []
