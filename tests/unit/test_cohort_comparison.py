"""What came, went and changed between two answers to a question."""

import pytest

from indexer_core.cohorts.comparing import GONE, NO_LONGER_MEETS, MemberChange, compare, news
from indexer_core.cohorts.drawing import draw
from tests.support.cohorts import House, filled


@pytest.fixture
def house() -> House:
    return filled()


def since(house: House, cohort) -> dict[str, tuple]:
    found = news(cohort, then=house.at(cohort.manifest), now=house.snapshot())
    return {one.member.series_key: told(one) for one in found.changes}


def told(one: MemberChange) -> tuple:
    return (one.kind, *filter(None, (one.why, *one.fields)))


def test_nothing_is_new_at_first_nor_when_others_change(house):
    saved = house.save()
    found = news(saved, then=house.at(saved.manifest), now=house.snapshot())
    assert found.is_empty
    assert (found.before, found.after) == (saved.manifest, house.newest.number)
    house.add(revision=2, s4={"modality": "MR"})
    house.add(s6={"modality": "MR"})
    assert since(house, saved) == {}


def test_what_came_went_and_changed_is_told_with_its_reason(house):
    saved = house.save()
    house.add(s6={})
    house.add(revision=2, s1={"sex": "M", "texts": ["other"] * 5}, s2={"modality": "MR"})
    house.add(revision=2, alive=False, s3={})
    assert since(house, saved) == {
        "s1": ("changed", "ageYears", "instances", "revision", "sequence", "sex"),
        "s2": ("removed", NO_LONGER_MEETS),
        "s3": ("removed", GONE),
        "s6": ("added",),
    }
    found = news(saved, then=house.at(saved.manifest), now=house.snapshot())
    assert found.counts() == {"added": 1, "removed": 2, "changed": 1}


def test_another_wording_is_no_change(house):
    saved = house.save()
    house.add(revision=1, s1={"sex": "F", "texts": ["other"] * 5, "evidence": {"sex": "model"}})
    assert since(house, saved) == {}


def test_deleted_and_erased_series_are_counted_and_not_named(house):
    saved = house.save()
    house.delete("s1")
    found = news(saved, then=house.at(saved.manifest), now=house.snapshot())
    assert (found.changes, found.n_deleted, found.n_erased) == ((), 1, 0)
    house.purge("s1", "s2")
    saved = house.cohorts().load("ct")
    found = news(saved, then=house.at(saved.manifest), now=house.snapshot())
    assert (found.changes, found.n_deleted, found.n_erased) == ((), 0, 2)
    assert found.is_empty


def test_two_versions_are_compared_as_they_were(house):
    first = house.save()
    house.add(s6={})
    second = house.save()
    house.add(s7={})
    found = compare(
        first,
        second,
        then=house.at(first.manifest),
        now=house.at(second.manifest),
        hidden=house.newest.suppressed,
    )
    assert [told(one) for one in found.changes] == [("added",)]
    back = compare(
        second,
        draw(house.at(first.manifest), first.question),
        then=house.at(second.manifest),
        now=house.at(first.manifest),
        hidden=house.newest.suppressed,
    )
    assert [told(one) for one in back.changes] == [("removed", GONE)]
