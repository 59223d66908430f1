"""The map of an index: one commit with its series, whole or not at all, whatever comes between."""

from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from indexer_core.array_file import arrays_to_bytes, parse_arrays
from indexer_core.errors import (
    ConflictError,
    IndexerError,
    InvalidInputError,
    NotFoundError,
)
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.manifest import FileRef
from indexer_core.index.projections import STATE_PREFIX, load_map, load_projector, load_state
from indexer_core.index.reader import Reader
from indexer_core.index.updates import MendMapState
from indexer_core.map_state import FORMAT_VERSION, KIND
from indexer_core.placing import place
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    SimulatedCrash,
    WriteFault,
)
from tests.support.mapped import (
    HASTY,
    MappedIndex,
    N,
    at_some_requests,
    indexed,
    mapped,
    strange,
    usual,
)
from tests.support.segments import LINEAGE


@pytest.fixture
def index():
    return mapped().copy()


def test_before_it_is_fitted_series_have_places_and_nobody_watches():
    index = indexed().copy()
    assert index.version == "0.1"
    assert len(index.places()) == N
    assert index.map().watch() is None
    with pytest.raises(NotFoundError, match="map fit"):
        index.map().learn(10)


def test_a_fit_gives_every_series_its_place_in_one_commit():
    index = indexed().copy()
    before = index.newest
    manifest = index.map().fit()
    assert (manifest.number, index.version) == (before.number + 1, "1.0")
    projector, state = load_map(index.blobs, manifest.projection)
    assert state.watermark == before.number
    vectors = _stored(index)
    for key, (at, is_provisional) in index.places().items():
        assert at == projector.project(vectors[key][None])[0].tobytes()
        assert not is_provisional
    assert index.problems() == []
    assert [(a.subject, a.data) for a in index.heard.all] == [
        ("projection/1.0", {"version": "1.0", "manifest": manifest.number})
    ]
    lineage = manifest.lineage
    assert (lineage.reason, lineage.counts, lineage.details["map"]) == ("fit", {"points": N}, "1.0")
    assert 0 < float(lineage.details["trust"]) <= 1
    # History is read as it was.
    assert index.places(before.number) == indexed().places()


def _stored(index):
    encoder = index.newest.projection.encoder_id
    reader = Reader(index.blobs, index.files)
    reader.refresh()
    return {key: reader.image_of(place, encoder)[0] for key, place in reader.winners()}


def test_a_second_fit_must_be_asked_for(index):
    with pytest.raises(InvalidInputError, match="map refit"):
        index.map().fit()
    index.map().fit(again=True)
    assert index.version == "2.0"


def test_a_refit_lies_over_the_map_before_it(index):
    before = index.points()
    index.map().fit(again=True)
    after = index.points()
    moved = np.linalg.norm(after.points - before.points, axis=1)
    centred = before.points - before.points.mean(axis=0)
    assert np.median(moved) < np.median(np.linalg.norm(centred, axis=1))
    _, state = load_map(index.blobs, index.newest.projection)
    assert state.metrics["movedP95"] > 0
    assert index.newest.projection.major is None


@pytest.mark.parametrize("vectors", [usual(1), usual(2), np.repeat(usual(1), 40, axis=0)])
def test_too_few_different_series_are_refused_and_the_map_in_force_stays(vectors):
    index = MappedIndex()
    index.add(vectors)
    before = index.newest
    with pytest.raises(InvalidInputError, match="at least 32 different vectors"):
        index.map().fit()
    assert index.newest == before
    assert len(index.places()) == len(vectors)


def test_an_index_without_pictures_has_no_map():
    index = MappedIndex()
    with pytest.raises(NotFoundError, match="no series with pixels"):
        index.map().fit()


def test_many_equal_series_do_not_keep_a_map_from_being_fitted():
    index = MappedIndex()
    index.add(np.concatenate([usual(50), np.repeat(usual(1, seed=9), 50, axis=0)]))
    index.map().fit()
    places = index.places()
    assert len({places[f"s{number:05d}"] for number in range(50, 100)}) == 1


def test_deltas_are_placed_in_their_own_commit_and_touch_no_byte_of_the_others(index):
    before = index.places()
    for number in range(3):
        index.add(usual(20, seed=10 + number), first=1000 + 20 * number)
    after = index.places()
    assert {key: after[key] for key in before} == before
    assert len(after) == N + 60
    projector, state = load_map(index.blobs, index.newest.projection)
    vectors = _stored(index)
    keys = sorted(set(after) - set(before))
    placed = place(np.stack([vectors[key] for key in keys]), projector, state)
    # Their places follow from what is stored of them, to the bit.
    assert [after[key] for key in keys] == [
        (at.tobytes(), flag)
        for at, flag in zip(placed.points, placed.is_provisional.tolist(), strict=True)
    ]


def test_provisional_places_survive_a_merge(index):
    index.add(strange(10), first=1000)
    before = index.places()
    assert index.upkeep().compact(full=True).n_merges
    assert index.places() == before


def test_series_that_land_between_any_two_requests_of_a_fit_are_on_the_new_map_once():
    def check(index):
        assert index.version == "1.0"
        places = index.places()
        assert len(places) == N + 30
        assert index.problems() == []
        # Those that the fit has not seen are placed as on any map: strangers are told.
        n_flagged = sum(flag for _, flag in places.values())
        projection = index.newest.projection
        assert n_flagged >= 20 or load_state(index.blobs, projection.state).n_points == N + 30

    n = at_some_requests(
        indexed(),
        lambda index, around: index.map(around).fit(),
        lambda index: index.add(strange(30), first=1000),
        check,
        step=2,
    )
    assert n > 20


def test_a_merge_between_any_two_requests_of_a_fit_loses_nothing():
    def meanwhile(index):
        index.add(usual(3, seed=8), first=500)
        index.clock.advance(10)
        index.upkeep().compact(full=True)

    def check(index):
        assert index.version == "1.0"
        assert len(index.places()) == N + 3
        assert index.problems() == []

    at_some_requests(
        indexed(), lambda index, around: index.map(around).fit(), meanwhile, check, step=3
    )


def test_of_two_maps_made_at_once_one_is_published():
    index = indexed().copy()
    refused = []
    n = 0

    class Late(PassThrough):
        def write(self, operation, call):
            nonlocal n
            n += 1
            if n == 1:
                index.map(settings=replace(HASTY, seed=5)).fit()
            return call()

    try:
        index.map(Late()).fit()
    except ConflictError as error:
        refused.append(str(error))
    assert refused == ["the map was not published: another map was published meanwhile"]
    assert index.version == "1.0"
    assert index.problems() == []


@pytest.mark.parametrize(
    "fault", [WriteFault.CRASH_BEFORE, WriteFault.CRASH_AFTER, WriteFault.UNAVAILABLE]
)
def test_a_fit_that_fails_at_any_write_leaves_the_last_map_in_force(fault):
    fails_at_any_write(indexed(), lambda index, plan: index.map(plan).fit(), "1.0", fault)


@pytest.mark.parametrize("fault", [WriteFault.CRASH_AFTER, WriteFault.LOST_RESPONSE])
def test_teaching_that_fails_at_any_write_leaves_the_last_map_in_force(fault):
    start = mapped().copy()
    start.add(strange(30), first=1000)
    fails_at_any_write(start, lambda index, plan: index.map(plan).learn(0), "1.1", fault)


def fails_at_any_write(start, action, version, fault):
    before, places = start.version, start.places()
    at = 0
    while True:
        at += 1
        index = start.copy()
        plan = FaultPlan(at, fault)
        try:
            action(index, plan)
        except (SimulatedCrash, IndexerError):
            assert index.version in (before, version)
            if index.version == before:
                assert index.places() == places
        if not plan.has_struck:
            break
        assert index.problems() == []
        # The next run does it, and what the first one left is collected.
        if index.version == before:
            action(index, None)
        assert index.version == version
        assert len(index.places()) == len(places)
        index.clock.advance(10)
        policy = RetentionPolicy(keep_s=0, keep_newest=1, grace_s=0)
        Collector(index.blobs, index.clock, index.ids).collect(policy)
        named = {file.name for file in index.newest.files()}
        assert {entry.name for entry in index.blobs.list(STATE_PREFIX)} <= named
        assert index.problems() == []
    assert at > 3


def test_a_series_that_comes_again_with_the_same_picture_stays_where_it_is(index):
    before = index.places()
    n_since = index.newest.projection.n_since
    index.add(usual(N)[:80], revision=2)
    assert index.places() == before
    assert index.newest.projection.n_since == n_since
    index.add(strange(30), first=1000)
    flagged = index.places()
    index.add(strange(30), first=1000, revision=2)
    assert index.places() == flagged


def test_maps_of_the_past_stay_readable_as_long_as_their_manifests(index):
    first = index.newest.number
    before = index.places()
    index.add(strange(30), first=1000)
    index.map().learn(0)
    index.map().fit(again=True)
    assert index.places(first) == before
    projection = Manifests(index.blobs).at(first).projection
    assert load_projector(index.blobs, projection.file).version == "1.0"


def test_series_wait_for_a_worker_that_knows_the_format_of_the_state(index):
    state = index.newest.projection.state
    content = parse_arrays(index.blobs.get(state.name).data, KIND, FORMAT_VERSION)
    data = arrays_to_bytes(KIND, FORMAT_VERSION + 1, content)
    name = f"{STATE_PREFIX}{index.ids.new_id()}-x.map"
    index.blobs.put_if_absent(name, data)
    newer = FileRef(name=name, sha256=sha256(data).hexdigest(), size_bytes=len(data))
    commit(
        Manifests(index.blobs),
        MendMapState(before=state, after=newer),
        commit_id=index.ids.new_id(),
        lineage=LINEAGE,
    )
    before = index.places()
    with pytest.raises(ConflictError, match="upgrade dicom-indexer"):
        index.add(usual(3, seed=5), first=1000)
    assert index.places() == before
