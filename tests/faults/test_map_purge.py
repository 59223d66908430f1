"""A purge takes series out of the landmarks of maps, in all history, whatever comes between."""

import contextlib

import pytest

from indexer_core.errors import (
    CorruptIndexError,
    IndexerError,
    InvalidInputError,
)
from indexer_core.index.commit import Manifests
from indexer_core.index.erasure import LANDMARKS, Segments, suppress
from indexer_core.index.projections import STATE_PREFIX, load_map, load_state
from indexer_core.purge import Subject
from indexer_core.testing.faults import (
    FaultPlan,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from tests.support.mapped import (
    N,
    at_some_requests,
    indexed,
    mapped,
    strange,
    usual,
)

GONE = frozenset({"s00003"})


@pytest.fixture
def index():
    return mapped().copy()


def purged(index, blobs=None):
    blobs = blobs or index.blobs
    suppress(Manifests(blobs), GONE, clock=index.clock, ids=index.ids)
    index.clock.advance(1)
    segments = Segments(
        blobs, index.files, clock=index.clock, ids=index.ids, behind_s=index.clock.now_s()
    )
    return segments.erase(Subject(series=GONE))


def no_trace_of(index):
    for entry in index.blobs.list(STATE_PREFIX):
        assert b"s00003" not in index.blobs.get(entry.name).data
    for manifest in Manifests(index.blobs).history():
        if manifest.projection is not None and manifest.projection.state is not None:
            state = load_state(index.blobs, manifest.projection.state)
            assert GONE.isdisjoint(state.landmarks.keys)
    assert index.problems() == []


def test_a_purge_takes_the_series_out_of_the_landmarks_and_moves_nothing(index):
    _, state = load_map(index.blobs, index.newest.projection)
    assert set(state.landmarks.keys) >= GONE
    before = index.places()
    erased = purged(index)
    assert erased.counts[LANDMARKS] == 1
    no_trace_of(index)
    after = index.places()
    assert after == {key: at for key, at in before.items() if key not in GONE}
    _, slim = load_map(index.blobs, index.newest.projection)
    assert len(slim.landmarks) == len(state.landmarks) - 1
    assert purged(index).counts[LANDMARKS] == 0
    index.add(strange(30), first=1000)
    assert index.map().learn(0).version == "1.1"


def test_a_purge_between_any_two_requests_of_a_fit_leaves_no_landmark_of_the_series():
    """The series alone in its segment, as one that trickles in."""
    start = indexed().copy()
    start.add(usual(1, seed=77), first=3)

    def check(index):
        no_trace_of(index)
        assert index.version == "1.0"
        assert len(index.places()) == N - 1

    at_some_requests(start, lambda index, around: index.map(around).fit(), purged, check, 1)


def test_a_purge_between_any_two_requests_of_teaching_leaves_no_landmark_of_the_series():
    start = mapped().copy()
    start.add(strange(30), first=1000)

    def check(index):
        no_trace_of(index)
        assert index.version == "1.1"
        assert len(index.places()) == N + 29

    at_some_requests(
        start,
        lambda index, around: index.map(around).learn(0),
        purged,
        check,
        3,
    )


def test_a_worker_that_goes_on_compares_with_the_landmarks_that_a_purge_has_left(index):
    indexer = index.indexer()
    index.add(strange(3), first=1000, by=indexer)
    state = indexer._maker._map_in_use.state
    assert set(state.landmarks.keys) >= GONE
    purged(index)
    index.add(strange(3, seed=5), first=1100, by=indexer)
    assert GONE.isdisjoint(indexer._maker._map_in_use.state.landmarks.keys)


@pytest.mark.parametrize("fault", [WriteFault.CRASH_AFTER, WriteFault.LOST_RESPONSE])
def test_a_purge_that_is_killed_at_any_write_is_ended_by_the_next(fault):
    at = 0
    while True:
        at += 1
        index = mapped().copy()
        plan = FaultPlan(at, fault)
        with contextlib.suppress(SimulatedCrash, IndexerError):
            purged(index, WrappedBlobs(index.blobs, plan))
        if not plan.has_struck:
            break
        index.clock.advance(1)
        purged(index)
        no_trace_of(index)
    assert at > 5


def test_a_damaged_state_holds_up_no_new_series_and_no_purge(index):
    state = index.newest.projection.state
    found = index.blobs.get(state.name)
    index.blobs.put_if_match(state.name, found.data[:-9], found.etag)
    index.add(strange(10), first=1000)
    assert not any(flag for _, flag in index.places().values())
    assert any("map" in problem for problem in index.problems())
    with pytest.raises(CorruptIndexError):
        index.map().learn(0)
    purged(index)
    assert index.newest.projection.state is None
    with pytest.raises(InvalidInputError, match="map refit"):
        index.map().fit()
    index.map().fit(again=True)
    assert index.version == "2.0"
    assert index.newest.projection.state is not None
