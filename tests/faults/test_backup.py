"""A copy of the index container is an index, if manifests are copied first; rows can be made anew.

That is what docs/deploy.md tells to do. The copies are made while others commit.
"""

from collections.abc import Callable

import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.verify import verify
from indexer_core.testing.memory import MemoryBlobs
from tests.support.dicom import dicom_object
from tests.support.pipeline import Pipeline

MANIFESTS = "manifests/"


def uploaded(house: Pipeline, *numbers: int) -> None:
    for number in numbers:
        house.upload(f"{number}.dcm", dicom_object(series=str(number), value=number))
    house.settle(house.process())


@pytest.fixture
def house():
    house = Pipeline()
    for numbers in ((1, 2), (3,), (4, 5)):
        uploaded(house, *numbers)
    house.remove("2.dcm")
    house.settle(house.process())
    return house


def copied(house: Pipeline, passes: list[Callable[[str], bool]], between) -> MemoryBlobs:
    """The index container, copied in several passes with something going on between them."""
    copy = MemoryBlobs(house.clock)
    for wanted in passes:
        for entry in list(house.index.list()):
            if wanted(entry.name):
                copy.put_if_absent(entry.name, house.index.get(entry.name).data)
        between()
    return copy


def is_manifest(name: str) -> bool:
    return name.startswith(MANIFESTS)


def is_other(name: str) -> bool:
    return not is_manifest(name)


def restored(house: Pipeline, index: MemoryBlobs) -> Pipeline:
    """Another account with that index, the same inbox, and not a single row or message."""
    other = Pipeline()
    other.clock.advance(house.clock.now_s() - other.clock.now_s())
    other.ids._given = house.ids._given + 1000
    other.inbox, other.index = house.inbox, index
    return other


def test_manifests_first_and_the_rest_second_is_an_index_of_when_it_began(house):
    before, n_before = house.contents(), house.n_commits()
    numbers = iter((6, 7))
    index = copied(house, [is_manifest, is_other], lambda: uploaded(house, next(numbers)))
    other = restored(house, index)
    assert verify(index, FlatFp16Vectors()).problems == []
    assert (other.contents(), other.n_commits()) == (before, n_before)
    assert len(house.contents()) == len(before) + 2


def test_the_other_way_round_a_manifest_may_name_what_was_not_copied(house):
    numbers = iter((6, 7))
    index = copied(house, [is_other, is_manifest], lambda: uploaded(house, next(numbers)))
    assert verify(index, FlatFp16Vectors()).problems != []


def test_without_rows_a_backfill_makes_them_anew_and_embeds_nothing_again(house):
    index = copied(house, [is_manifest, is_other], lambda: None)
    other = restored(house, index)
    for entry in list(other.inbox.list()):
        other.tell(entry.name)
    other.settle(other.process())
    assert other.contents() == house.contents()
    assert (other.image_encoder.n_series, other.text_encoder.texts.total()) == (0, 0)


def test_what_came_and_changed_after_the_copy_is_indexed_by_that_backfill(house):
    index = copied(house, [is_manifest, is_other], lambda: None)
    uploaded(house, 6)
    house.upload("1.dcm", dicom_object(series="1", value=99))
    house.settle(house.process())
    other = restored(house, index)
    for entry in list(other.inbox.list()):
        other.tell(entry.name)
    other.settle(other.process())
    assert other.contents() == house.contents()
    assert verify(index, FlatFp16Vectors()).problems == []


def test_what_was_deleted_after_the_copy_comes_back_and_nothing_finds_it(house):
    """A limit, told in docs/deploy.md: no row says that there ever was such a file."""
    index = copied(house, [is_manifest, is_other], lambda: None)
    house.remove("3.dcm")
    house.settle(house.process())
    other = restored(house, index)
    for entry in list(other.inbox.list()):
        other.tell(entry.name)
    other.settle(other.process())
    back = other.contents().keys() - house.contents().keys()
    assert len(back) == 1
