"""Saving, deleting and purging cohorts, killed or overtaken at every request."""

from contextlib import suppress
from functools import partial

import pytest

from indexer_core.cohorts.drawing import hits_of
from indexer_core.cohorts.erasure import SavedCohorts
from indexer_core.cohorts.pinned import pin_name
from indexer_core.errors import IndexerError
from indexer_core.purge import Subject
from indexer_core.testing.faults import (
    FaultPlan,
    RequestCounts,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from tests.support.cohorts import House, filled, keys_of
from tests.support.meanwhile import BetweenRequests

FAULTS = [
    WriteFault.UNAVAILABLE,
    WriteFault.LOST_RESPONSE,
    WriteFault.LOST_REQUEST,
    WriteFault.CRASH_BEFORE,
    WriteFault.CRASH_AFTER,
]


def with_two() -> House:
    house = filled()
    house.save()
    house.save("other")
    return house


def assert_consistent(house: House) -> None:
    """Every cohort is pinned where it says, shows its series, and holds nothing that is erased."""
    hidden = house.newest.suppressed
    for cohort in house.cohorts().all():
        assert house.pins()[pin_name(cohort.name, cohort.version)] == cohort.manifest
        shown = [hit.key for hit in hits_of(house.at(cohort.manifest), cohort)]
        assert shown == [key for key in keys_of(cohort) if key not in hidden]


def assert_no_pin_is_left_over(house: House) -> None:
    house.cohorts().sweep()
    cohorts = list(house.cohorts().all())
    assert house.pins() == {pin_name(c.name, c.version): c.manifest for c in cohorts}


def delete(house: House, blobs=None) -> None:
    house.cohorts(blobs).delete("ct", 1)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("what", ["save", "delete"])
def test_killed_at_any_write_a_cohort_is_pinned_or_not_there(what, fault):
    at = 0
    while True:
        at += 1
        house = with_two()
        plan = FaultPlan(at, fault)
        blobs = WrappedBlobs(house.blobs, plan)
        try:
            if what == "save":
                house.save(blobs=blobs)
            else:
                delete(house, blobs)
        except (SimulatedCrash, IndexerError):
            pass
        assert_consistent(house)
        if not plan.has_struck:
            break
        assert_no_pin_is_left_over(house)
        assert_consistent(house)
        titles = {cohort.title for cohort in house.cohorts().all()}
        assert "other@1" in titles
        assert ("ct@1" in titles) or what == "delete"
        # Another try ends the work.
        if what == "save":
            assert keys_of(house.save()) == ["s1", "s2", "s3"]
        elif "ct@1" in titles:
            delete(house)
        assert_consistent(house)
    assert at > 2
    assert_no_pin_is_left_over(house)


def requests_of(work) -> int:
    """How many requests some work makes."""
    house = with_two()
    counts = RequestCounts()
    work(house, WrappedBlobs(house.blobs, counts))
    return counts.n_requests


def save(house: House, blobs=None) -> None:
    house.save(blobs=blobs)


def purge(house: House, blobs=None) -> None:
    house.purge("s2", blobs=blobs)


def delete_series(house: House, blobs=None) -> None:
    house.delete("s2")


WORK = {"save": save, "delete": delete, "purge": purge}
OTHERS = {**WORK, "sweep": lambda house: house.cohorts().sweep(), "deletion": delete_series}


def interleaved(work, other):
    """What is left when `other` happens between any two requests of `work`."""
    for at in range(1, requests_of(work) + 1):
        house = with_two()
        around = BetweenRequests(at, partial(other, house))
        work(house, WrappedBlobs(house.blobs, around))
        assert around.n >= at
        yield house


@pytest.mark.parametrize("other", OTHERS)
def test_whatever_happens_meanwhile_a_saved_cohort_is_pinned(other):
    for house in interleaved(save, OTHERS[other]):
        assert_consistent(house)
        newest = house.cohorts().load("ct")
        assert newest.version >= 2
        expected = {"purge": ["s1", "s3"]}.get(other)
        assert expected in (None, keys_of(newest))
        assert_no_pin_is_left_over(house)


@pytest.mark.parametrize("work", ["save", "delete"])
def test_a_purge_beside_it_leaves_no_trace_of_what_it_erases(work):
    for house in interleaved(WORK[work], purge):
        assert house.traces("s2", "1.2.2") == []
        assert_consistent(house)


@pytest.mark.parametrize("other", ["save", "delete"])
def test_a_purge_leaves_no_trace_whatever_is_saved_meanwhile(other):
    for house in interleaved(purge, OTHERS[other]):
        assert house.traces("s2", "1.2.2") == []
        assert_consistent(house)
        assert_no_pin_is_left_over(house)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_purge_that_was_killed_is_ended_by_the_next(fault):
    at = 0
    while True:
        at += 1
        house = with_two()
        plan = FaultPlan(at, fault)
        store = SavedCohorts(WrappedBlobs(house.blobs, plan))
        subject = Subject(series=frozenset({"s2"}))
        with suppress(SimulatedCrash, IndexerError):
            store.erase(subject)
        if not plan.has_struck:
            break
        SavedCohorts(house.blobs).erase(subject)
        for cohort in house.cohorts().all():
            assert (keys_of(cohort), cohort.n_erased) == (["s1", "s3"], 1)
    assert at == 3


def test_two_that_save_at_once_take_two_versions():
    for house in interleaved(save, save):
        versions = [c.version for c in house.cohorts().all() if c.name == "ct"]
        assert len(versions) == 3
        assert versions == sorted(set(versions))
        assert all(keys_of(c) == ["s1", "s2", "s3"] for c in house.cohorts().all())
