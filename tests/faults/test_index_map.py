"""The map of an index: one commit with its series, whole or not at all, whatever comes between."""

import contextlib
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pytest

from gpu_worker.projection import carrying
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.keeping import IndexMap, MapSettings
from gpu_worker.projection.watching import DriftRule
from indexer_core.array_file import arrays_to_bytes, parse_arrays
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    IndexerError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
)
from indexer_core.filters import parse_filter
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.erasure import LANDMARKS, Segments, suppress
from indexer_core.index.manifest import FileRef
from indexer_core.index.map_announcements import MARK
from indexer_core.index.projections import STATE_PREFIX, load_map, load_projector, load_state
from indexer_core.index.reader import Reader
from indexer_core.index.updates import MendMapState
from indexer_core.index.write_ids import is_file_behind
from indexer_core.map_state import FORMAT_VERSION, KIND
from indexer_core.placing import place
from indexer_core.purge import Subject
from indexer_core.search import listing, record_of
from indexer_core.selection import Conditions, select
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from tests.support.mapped import HASTY, MappedIndex, N, indexed, mapped, strange, usual
from tests.support.maps import UNSEEN
from tests.support.meanwhile import BetweenRequests
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


def test_strangers_are_provisional_in_their_record_until_the_map_has_learnt_them(index):
    index.add(strange(30), first=1000)
    assert _flagged(index) >= {f"s{1000 + number:05d}" for number in range(25)}
    before = index.places()
    learnt = index.map().learn(0)
    assert (learnt.version, learnt.reasons) == ("1.1", ())
    assert index.version == "1.1"
    assert _flagged(index) == set()
    after = index.places()
    assert after.keys() == before.keys()
    assert index.newest.projection.major == _file_of(index, "1.0")
    assert index.problems() == []


def _flagged(index):
    snapshot = Reader(index.blobs, index.files).refresh()
    records = [record_of(hit, snapshot) for hit in listing(snapshot, select(snapshot))]
    assert {record["projectionVersion"] for record in records} == {index.version}
    places = index.places()
    rest, found = set(places), {key for key, (_, flag) in places.items() if flag}
    assert sum("provisional" in record["flags"] for record in records) == len(found)
    for text, expected in (("flags=provisional", found), ("flags!=provisional", rest - found)):
        hits = listing(snapshot, select(snapshot, Conditions(filters=(parse_filter(text),))))
        assert {hit.key for hit in hits} == expected
    return found


def _file_of(index, version):
    for manifest in Manifests(index.blobs).history():
        if manifest.projection is not None and manifest.projection.version == version:
            return manifest.projection.file
    raise AssertionError(version)


def test_provisional_places_survive_a_merge(index):
    index.add(strange(10), first=1000)
    before = index.places()
    assert index.upkeep().compact(full=True).n_merges
    assert index.places() == before


def settings_for(**others):
    return replace(HASTY, drift=DriftRule(window=40, min_points=40, cooldown=60), **others)


def test_the_alarm_sounds_after_a_window_of_strangers_whoever_watches(index):
    """What new series say is in the lineage, so any process can tell."""
    for number in range(2):
        index.add(usual(10, seed=20 + number), first=1000 + 10 * number)
    quiet = index.map(settings=settings_for()).watch()
    assert (quiet.n_since, quiet.alarm) == (20, None)
    for number in range(4):
        index.add(strange(10, seed=30 + number), first=2000 + 10 * number)
    told = index.map(settings=settings_for()).watch()
    assert told.n_since == 60
    assert told.window.n == 40
    assert told.window.n_far >= 30
    assert told.alarm.far_share == told.window.n_far / 40
    # A merge says nothing, and loses nothing of it.
    index.upkeep().compact(full=True)
    assert index.map(settings=settings_for()).watch() == told


def test_the_worker_teaches_the_map_by_itself_and_then_is_quiet(index):
    for number in range(4):
        index.add(strange(10, seed=30 + number), first=2000 + 10 * number)
    index.map(settings=settings_for()).after_batch()
    assert index.version == "1.1"
    assert index.map(settings=settings_for()).watch().n_since == 0
    index.map(settings=settings_for()).after_batch()
    assert index.version == "1.1"


def test_a_map_that_may_not_be_published_is_kept_with_the_reasons_and_asked_again_later(index):
    strict = settings_for(gate=GateRule(max_drift=0))
    for number in range(4):
        index.add(strange(10, seed=30 + number), first=2000 + 10 * number)
    before = index.places()
    index.map(settings=strict).after_batch()
    projection = index.newest.projection
    assert (projection.version, projection.refused_at) == ("1.0", index.newest.number)
    assert "oldPointsMoved" in projection.refused
    assert index.newest.lineage.reason == "keep-map"
    assert float(index.newest.lineage.details["movedP95"]) > 0
    assert index.places() == before
    # Not before the cooldown is over.
    for number in range(5):
        index.add(strange(10, seed=40 + number), first=3000 + 10 * number)
        index.map(settings=strict).after_batch()
        assert index.newest.projection.refused_at == projection.refused_at
    index.add(strange(10, seed=50), first=4000)
    index.map(settings=strict).after_batch()
    assert index.newest.projection.refused_at == index.newest.number
    index.map().fit(again=True)
    assert index.newest.projection.refused == ()


def at_some_requests(start, action, meanwhile, check, step):
    at = 0
    while True:
        at += step
        index = start.copy()
        around = BetweenRequests(at, lambda index=index: meanwhile(index))
        action(index, around)
        if around.n < at:
            return at
        check(index)


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


GONE = frozenset({"s00003"})


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


def test_a_worker_that_goes_on_compares_with_the_landmarks_that_a_purge_has_left(index):
    indexer = index.indexer()
    index.add(strange(3), first=1000, by=indexer)
    state = indexer._maker._map_in_use.state
    assert set(state.landmarks.keys) >= GONE
    purged(index)
    index.add(strange(3, seed=5), first=1100, by=indexer)
    assert GONE.isdisjoint(indexer._maker._map_in_use.state.landmarks.keys)


def test_strangers_that_were_too_many_to_learn_stay_provisional(index, monkeypatch):
    monkeypatch.setattr(carrying, "N_NEW", 10)
    index.add(np.concatenate([strange(15), strange(15, kind=UNSEEN[1])]), first=1000)
    n_before = len(_flagged(index))
    assert n_before >= 25
    assert index.map().learn(0).version == "1.1"
    left = _flagged(index)
    assert 5 <= len(left) < n_before
    learnt = {f"s{number:05d}" for number in range(1000 + 30 - 10, 1000 + 30)}
    assert not learnt & left


def test_series_that_trickle_in_sound_the_alarm_as_those_of_a_batch_do(index):
    settings = settings_for()
    for number, vector in enumerate(strange(60)):
        index.add(vector[None], first=5000 + 2 * number)
        index.upkeep().compact(full=True)
        if index.map(settings=settings).watch().alarm is not None:
            break
    assert 39 <= number <= 50


def test_after_it_has_learnt_a_map_is_left_alone_for_a_while(index):
    settings = settings_for()
    for number in range(4):
        index.add(strange(10, seed=30 + number), first=2000 + 10 * number)
    index.map(settings=settings).after_batch()
    assert index.version == "1.1"
    for number in range(5):
        index.add(strange(10, seed=60 + number, kind=UNSEEN[2]), first=3000 + 10 * number)
        index.map(settings=settings).after_batch()
        assert index.version == "1.1"
    index.add(strange(10, seed=70, kind=UNSEEN[2]), first=4000)
    index.map(settings=settings).after_batch()
    assert index.version == "1.2"


def test_whatever_fails_in_teaching_ends_nothing_and_is_not_tried_over_and_over(index, caplog):
    for number in range(4):
        index.add(strange(10, seed=30 + number), first=2000 + 10 * number)
    tried = []

    class Broken(IndexMap):
        def learn(self, n_recent, **others):
            tried.append(n_recent)
            raise MemoryError

    keeper = Broken(
        index.blobs,
        index.files,
        clock=index.clock,
        ids=index.ids,
        announcer=index.heard,
        settings=settings_for(),
    )
    keeper.after_batch()
    keeper.after_batch()
    assert tried == [40]
    assert "map version=1.0 is taught no more by this process" in caplog.text


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


def test_maps_of_the_past_stay_readable_as_long_as_their_manifests(index):
    first = index.newest.number
    before = index.places()
    index.add(strange(30), first=1000)
    index.map().learn(0)
    index.map().fit(again=True)
    assert index.places(first) == before
    projection = Manifests(index.blobs).at(first).projection
    assert load_projector(index.blobs, projection.file).version == "1.0"


def test_the_keeper_survives_what_it_cannot_do(index, caplog):
    class Broken(IndexMap):
        def watch(self):
            raise ConflictError("others kept winning")

    Broken(
        index.blobs,
        index.files,
        clock=index.clock,
        ids=index.ids,
        announcer=index.heard,
        settings=MapSettings(),
    ).after_batch()
    assert "map put off kind=conflict" in caplog.text


class Deaf:
    """Nobody can be told."""

    def announce(self, announcements):
        raise UnavailableError("nobody there")


def test_a_map_whose_worker_died_before_it_could_tell_is_told_by_the_next(index):
    index.heard.all.clear()
    told = index.blobs.get(MARK)
    manifest = index.map().fit(again=True)
    # As the dying one left it: the commit, and no word of it.
    index.heard.all.clear()
    index.blobs.put_if_match(MARK, told.data, index.blobs.get(MARK).etag)
    for _ in range(3):
        index.map().when_idle(lambda: False)
    assert [a.data for a in index.heard.all] == [{"version": "2.0", "manifest": manifest.number}]


def test_a_map_is_in_force_though_nobody_can_be_told(index):
    index.heard, heard = Deaf(), index.heard
    heard.all.clear()
    assert index.map().fit(again=True).projection.version == "2.0"
    index.map().after_batch()
    index.heard = heard
    index.map().after_batch()
    assert [a.subject for a in heard.all] == ["projection/2.0"]


def test_a_map_is_taught_however_old_its_major_version_is(index):
    """The fence of the collector is past its file, which only what is new must not be."""
    index.add(strange(30), first=N)
    index.clock.advance(1e6)
    index.upkeep().collect()
    major = index.newest.projection.file
    assert is_file_behind(major.name, index.newest.collected_before)
    for number, version in enumerate(("1.1", "1.2")):
        index.add(strange(30, seed=number, kind=UNSEEN[1 + number]), first=1000 + 30 * number)
        assert index.map().learn(30).version == version
        assert index.newest.projection.major == major
    index.clock.advance(1e6)
    index.upkeep().collect()
    # That of 1.1 has gone with the last manifest that named it.
    kept = {entry.name for entry in index.blobs.list("projections/")}
    assert kept == {major.name, index.newest.projection.file.name}
    assert index.problems() == []


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
