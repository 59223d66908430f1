"""When the map is taught, and what becomes of that: learnt, kept with reasons, announced."""

import numpy as np
import pytest

from gpu_worker.projection import carrying
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.keeping import IndexMap, MapSettings
from indexer_core.errors import (
    ConflictError,
    UnavailableError,
)
from indexer_core.index.commit import Manifests
from indexer_core.index.map_announcements import MARK
from indexer_core.index.write_ids import is_file_behind
from tests.support.mapped import N, flagged, mapped, settings_for, strange, usual
from tests.support.maps import UNSEEN


@pytest.fixture
def index():
    return mapped().copy()


def test_strangers_are_provisional_in_their_record_until_the_map_has_learnt_them(index):
    index.add(strange(30), first=1000)
    assert flagged(index) >= {f"s{1000 + number:05d}" for number in range(25)}
    before = index.places()
    learnt = index.map().learn(0)
    assert (learnt.version, learnt.reasons) == ("1.1", ())
    assert index.version == "1.1"
    assert flagged(index) == set()
    after = index.places()
    assert after.keys() == before.keys()
    assert index.newest.projection.major == _file_of(index, "1.0")
    assert index.problems() == []


def _file_of(index, version):
    for manifest in Manifests(index.blobs).history():
        if manifest.projection is not None and manifest.projection.version == version:
            return manifest.projection.file
    raise AssertionError(version)


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


def test_strangers_that_were_too_many_to_learn_stay_provisional(index, monkeypatch):
    monkeypatch.setattr(carrying, "N_NEW", 10)
    index.add(np.concatenate([strange(15), strange(15, kind=UNSEEN[1])]), first=1000)
    n_before = len(flagged(index))
    assert n_before >= 25
    assert index.map().learn(0).version == "1.1"
    left = flagged(index)
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
