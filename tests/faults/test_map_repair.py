"""Damaged places of a map are made again as a writer would publish them, strangers included."""

import pytest

from indexer_core.encoders import known
from indexer_core.index.aside import Aside
from indexer_core.index.repair import IndexRepair
from indexer_core.index.repair_report import RepairReport
from tests.support.encoders import NamedEncoder
from tests.support.mapped import MappedIndex, N, mapped, strange, usual


@pytest.fixture
def index():
    """A mapped index to which known ones and strangers came."""
    index = mapped().copy()
    index.add([*strange(6), *usual(30, seed=9)], first=N)
    return index


def damage(index: MappedIndex, name: str) -> None:
    found = index.blobs.get(name)
    index.blobs.put_if_match(name, found.data[:-3] + b"xyz", found.etag)


def damaged(index: MappedIndex) -> list[str]:
    """Damage all places on the map in force; the names of their files."""
    segments = index.newest.segments
    names = [segment.coordinate_file(index.version).file.name for segment in segments]
    for name in names:
        damage(index, name)
    return names


def mended(index: MappedIndex) -> RepairReport:
    report = RepairReport()
    IndexRepair(
        blobs=index.blobs,
        vector_files=index.files,
        clock=index.clock,
        ids=index.ids,
        find_encoder=known(NamedEncoder("text/made-up")),
        announced={},
        aside=Aside(index.blobs, index.ids),
        report=report,
    ).run()
    return report


def test_places_come_back_bit_by_bit_and_strangers_stay_provisional(index):
    before, number = index.places(), index.newest.number
    assert sum(flag for _, flag in before.values()) == 6
    names = damaged(index)
    report = mended(index)
    assert sorted(report.restored) == sorted(f"{name}: made again, bit by bit" for name in names)
    assert report.lost == []
    assert (index.places(), index.newest.number) == (before, number)
    assert index.problems() == []


def test_places_of_a_merged_segment_come_back_bit_by_bit(index):
    index.upkeep().compact(full=True)
    before = index.places()
    assert len(damaged(index)) == 1
    assert mended(index).lost == []
    assert index.places() == before


def test_places_come_back_after_the_strangers_were_learnt(index):
    index.map().learn(0)
    assert index.version == "1.1"
    index.add(strange(5, seed=4, kind=37), first=1000)
    before = index.places()
    assert sum(flag for _, flag in before.values()) == 5
    damaged(index)
    assert mended(index).lost == []
    assert index.places() == before


def test_where_the_state_is_lost_too_the_report_says_that_strangers_are_not_told(index):
    before = index.places()
    damage(index, index.newest.projection.state.name)
    damaged(index)
    report = mended(index)
    state, places = [loss.what for loss in report.lost]
    assert "what map 1.0 is carried on from" in state
    assert places.startswith("which places of segment")
    assert "map refit" in report.lost[1].how
    after = index.places()
    moved = {key for key in before if after[key] != before[key]}
    assert moved == {key for key, (_, flag) in before.items() if flag}
    assert index.problems() == []
    assert mended(index).did_nothing
    # Earlier manifests are read as before, at least where they lie.
    assert len(index.places(index.newest.number - 2)) == N + 36
