"""Two indexes with one prefix, or a copy of one, leave each other's collections as they are."""

from collections.abc import Iterator, Mapping
from itertools import count

import pytest
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.schema import BORN, ID
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WriteFault
from indexer_core.testing.memory import MemoryBlobs, SequentialIds
from tests.support.following import AroundClient, Followed, milvus

LONG_S = 10_000.0
_SERIES = count(1)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[MilvusClient]:
    with milvus(tmp_path_factory.mktemp("milvus")) as found:
        yield found


@pytest.fixture
def followed(client) -> Iterator[Followed]:
    found = Followed(client)
    found.add(s1=1, s2=1, s3=1)
    found.follow()
    yield found
    found.drop()


def another(followed: Followed, saved: Mapping[str, bytes] | None = None) -> Followed:
    """One more index with the same prefix, whose ids are its own; or a copy in a container."""
    found = Followed(followed.client, None if saved is None else MemoryBlobs())
    found.prefix, found.ids = followed.prefix, SequentialIds(found.clock, series=next(_SERIES))
    for name, data in (saved or {}).items():
        if found.blobs.get(name) is None:
            found.blobs.put_if_absent(name, data)
    return found


def saved_of(followed: Followed) -> dict[str, bytes]:
    """A container, copied."""
    found = {each.name: followed.blobs.get(each.name) for each in followed.blobs.list()}
    return {name: blob.data for name, blob in found.items() if blob is not None}


def held(followed: Followed) -> dict[str, list[tuple[str, int]]]:
    kinds = ("series", "text", "image")
    return {
        kind: sorted((each[ID], each[BORN]) for each in followed.entities(kind)) for kind in kinds
    }


def test_two_indexes_with_one_prefix(followed):
    other = another(followed)
    other.add(x1=1)
    other.follow()
    for _ in range(2):
        for one in (followed, other):
            one.clock.advance(LONG_S)
            one.follow()
            one.assert_equal()
    assert followed.generations() == {each.position.generation for each in (followed, other)}


def test_a_copy_leaves_the_collections_to_those_who_went_on(followed):
    copy = another(followed, saved_of(followed))
    followed.add(s1=2, s4=1)
    followed.follow()
    before = held(followed)
    copy.add(s2=-2, s5=1)
    copy.suppress("s1")
    copy.follow()
    copy.assert_equal()
    assert held(followed) == before
    followed.assert_equal()
    copy.clock.advance(LONG_S)
    copy.follow()
    assert held(followed) == before


@pytest.mark.parametrize("is_building", [False, True])
def test_a_copy_of_one_at_rest_leaves_its_collections_alone(followed, is_building):
    generations = followed.generations()
    if is_building:
        followed.follower().ledger.note(is_rebuild_wanted=True)
        plan = FaultPlan(at=5, fault=WriteFault.CRASH_BEFORE)
        with pytest.raises(SimulatedCrash):
            followed.follower(AroundClient(followed.client, plan)).step()
        assert followed.following.building
        generations = followed.generations()
        assert len(generations) == 2
    copy = another(followed, saved_of(followed))
    before = held(followed)
    for _ in range(2):
        copy.clock.advance(LONG_S)
        copy.suppress("s2")
        copy.follower().ledger.note(is_rebuild_wanted=True)
        copy.follow()
        copy.assert_equal()
        assert held(followed) == before
    assert generations < followed.generations()
    followed.clock.advance(LONG_S)
    followed.add(s4=1)
    followed.follow()
    followed.assert_equal()


@pytest.mark.parametrize("is_here", [False, True])
@pytest.mark.parametrize("is_swept", [False, True])
def test_an_index_that_was_put_back_with_its_position(followed, is_swept, is_here):
    saved = saved_of(followed)
    followed.add(s2=-2)
    followed.follow()
    if is_swept:
        followed.clock.advance(LONG_S)
        followed.follow()
    again = another(followed, saved)
    if is_here:
        again.address = followed.address
    before = again.position.generation
    again.follow()
    again.assert_equal()
    # Only where it was, and with nothing of later manifests in them, they are compared and go on.
    assert (again.position.generation == before) == (is_swept and is_here)


def test_what_was_lost_from_the_collections_is_written_again(followed):
    generation = followed.position.generation
    followed.client.delete(followed.collection("text"), filter='seriesKey == "s1"')
    followed.follow()
    followed.assert_equal()
    assert followed.generations() == {generation}
