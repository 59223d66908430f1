"""Names on manifests: unique, never a number, and only on what is there to be kept."""

from dataclasses import replace

import pytest

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.commit import Manifests, commit, manifest_name
from indexer_core.index.manifest import dump_stub
from indexer_core.index.pins import Pins, number_of
from indexer_core.index.updates import Collect, Suppress
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import LINEAGE, OPEN


class House:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)
        self.manifests = Manifests(self.blobs)
        self.ids = SequentialIds()
        self.pins = Pins(self.manifests, self.clock, self.ids)
        self.commit(OPEN)

    def commit(self, update) -> None:
        lineage = replace(LINEAGE, created_s=self.clock.now_s())
        commit(self.manifests, update, commit_id=self.ids.new_id(), lineage=lineage)

    def named(self) -> dict[int, tuple[str, ...]]:
        return dict(self.manifests.newest().pins)


@pytest.fixture
def house() -> House:
    return House()


def test_a_pin_stays_until_it_is_taken_off(house):
    house.pins.pin("paper-1", 1)
    house.commit(Suppress(series_keys=frozenset({"k"})))
    assert house.named() == {1: ("paper-1",)}
    assert number_of(house.manifests.newest(), "paper-1") == 1
    house.pins.unpin("paper-1")
    assert house.named() == {}
    with pytest.raises(NotFoundError):
        house.pins.unpin("paper-1")


def test_pinning_twice_is_pinning_once(house):
    assert house.pins.pin("a", 1).changed
    assert not house.pins.pin("a", 1).changed
    house.pins.pin("b", 1)
    assert house.named() == {1: ("a", "b")}


def test_one_name_is_on_one_manifest(house):
    house.pins.pin("a", 1)
    with pytest.raises(InvalidInputError, match="unpin it first"):
        house.pins.pin("a", 2)


@pytest.mark.parametrize("name", ["", "12", "a b", "-a", "a/b", "x" * 65, "a\n"])
def test_odd_names_are_refused(house, name):
    with pytest.raises(InvalidInputError, match="letters, digits"):
        house.pins.pin(name, 1)


def test_what_is_not_there_any_more_cannot_be_pinned(house):
    house.commit(Suppress(series_keys=frozenset({"k"})))
    first = house.blobs.get(manifest_name(1))
    house.blobs.put_if_match(manifest_name(1), dump_stub(1), first.etag)
    for number in (1, 9):
        with pytest.raises(NotFoundError, match=f"manifest {number}"):
            house.pins.pin("late", number)
    assert house.named() == {}


def test_what_is_about_to_expire_cannot_be_pinned_unless_it_is_kept_anyway(house):
    house.pins.pin("early", 1)
    house.commit(Suppress(series_keys=frozenset({"k"})))
    # As the collector does, before it expires anything.
    house.commit(Collect(before="", retained_from=3))
    with pytest.raises(NotFoundError, match="past retention"):
        house.pins.pin("late", 2)
    house.pins.pin("late", 1)
    house.pins.pin("newest", house.manifests.newest().number)
    assert house.named()[1] == ("early", "late")


def test_a_manifest_is_named_by_its_number_or_a_pin(house):
    house.pins.pin("a1", 1)
    newest = house.manifests.newest()
    assert (number_of(newest, "a1"), number_of(newest, "7")) == (1, 7)
    for text in ("a", "", "\u0663", "-1"):
        with pytest.raises(NotFoundError):
            number_of(newest, text)
