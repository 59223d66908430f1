"""A damaged file is named, whatever is wrong and whoever reads it; no answer is ever wrong."""

import random
from collections.abc import Iterator

import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import CorruptIndexError
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import HINT, manifest_name
from indexer_core.index.survey import damage_of, survey_manifests
from indexer_core.index.upkeep import Upkeep
from indexer_core.index.verify import verify
from indexer_core.testing.memory import ManualClock, SequentialIds
from tests.support.pipeline import slice_of
from tests.support.stored import KINDS, answer, contents, made, one_of, store_of

NEEDED = ("newest manifest", "rows", "text vectors", "image vectors", "coordinates")
HEADER_BYTES = 64
N_SAMPLED = 24
N_ANSWERS = 6  # of each kind that readers do without


def flipped(data: bytes, chance: random.Random) -> Iterator[bytes]:
    """Every byte of the header, the last ones and some in between, one bit wrong in each copy."""
    last = range(len(data) - 16, len(data))
    sampled = (chance.randrange(len(data)) for _ in range(N_SAMPLED))
    for place in sorted({*range(min(HEADER_BYTES, len(data))), *last, *sampled}):
        if place >= 0:
            damaged = bytearray(data)
            damaged[place] ^= 1 << chance.randrange(8)
            yield bytes(damaged)


def cut(data: bytes) -> Iterator[bytes]:
    for kept in (0, 1, len(data) // 2, len(data) - 1):
        yield data[:kept]


def found(blobs) -> list[str]:
    """Names of the damaged files."""
    return [damage.name for damage in damage_of(blobs, survey_manifests(blobs))]


def answers_or_names(blobs, name: str, *, needed: bool) -> None:
    """The right answer, or an error that names the file: that, where the file is needed."""
    try:
        said = answer(blobs)
    except CorruptIndexError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right
    else:
        assert not needed
        assert said == answer(store_of(contents()))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hint"])
def test_one_wrong_bit_is_found_wherever_it_is(kind):
    blobs = contents()
    name = one_of(kind, blobs)
    chance = random.Random(kind)
    for number, damaged in enumerate((*flipped(blobs[name], chance), *cut(blobs[name]))):
        store = store_of({**blobs, name: damaged})
        assert found(store) == [name]
        if kind in NEEDED or number < N_ANSWERS:
            answers_or_names(store, name, needed=kind in NEEDED)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_file_is_found(kind):
    blobs = contents()
    name = one_of(kind, blobs)
    store = store_of({n: data for n, data in blobs.items() if n != name})
    # Nobody can tell a newest manifest that was taken away from one that was never written; the
    # hint, an instance list that nothing waits for and the cache may be absent.
    optional = ("newest manifest", "hint", "instance list", "text cache", "receipt", "cohort")
    assert found(store) == ([] if kind in optional else [name])
    if kind != "newest manifest":
        answers_or_names(store, name, needed=kind in NEEDED)


@pytest.mark.parametrize("kind", ["newest manifest", "rows", "text vectors", "coordinates"])
def test_files_that_changed_places_are_found(kind):
    blobs = contents()
    name = one_of(kind, blobs)
    (other, *_) = (n for n in sorted(blobs) if KINDS[kind] in n and blobs[n] != blobs[name])
    store = store_of({**blobs, name: blobs[other], other: blobs[name]})
    assert sorted(found(store)) == sorted([name, other])
    with pytest.raises(CorruptIndexError, match=r"manifests|segments"):
        answer(store)


@pytest.mark.parametrize("distance", [-4, 1, 2])
def test_manifest_under_another_number_is_found(distance):
    blobs = contents()
    newest = one_of("newest manifest", blobs)
    number = survey_manifests(store_of(blobs)).highest + distance
    store = store_of({**blobs, manifest_name(number): blobs[newest]})
    assert manifest_name(number) in found(store)
    if distance == 1:
        with pytest.raises(CorruptIndexError, match=manifest_name(number)):
            answer(store)


def test_missing_manifest_does_not_pass_for_the_end_of_the_index():
    """Not even where the hint leads to the one before it."""
    number = survey_manifests(store_of(contents())).highest - 1
    blobs = {**contents(), HINT: str(number - 1).encode()}
    del blobs[manifest_name(number)]
    with pytest.raises(CorruptIndexError, match=manifest_name(number)):
        answer(store_of(blobs))


@pytest.mark.parametrize("hint", [b"", b"x", b"9" * 5000, b"7" * 17, b"2", b"3", b"\xb2"])
def test_damaged_hint_misleads_nobody(hint):
    blobs = contents()
    store = store_of({**blobs, HINT: hint})
    assert answer(store) == answer(store_of(blobs))
    assert found(store) == ([] if hint in (b"2", b"3") else [HINT])


def test_verify_names_what_is_damaged_and_searches_only_what_is_whole():
    blobs = contents()
    assert verify(store_of(blobs), FlatFp16Vectors()).problems == []
    for kind in NEEDED:
        name = one_of(kind, blobs)
        seen = verify(store_of({**blobs, name: blobs[name][:-1]}), FlatFp16Vectors())
        assert [problem.partition(":")[0] for problem in seen.problems] == [name]
        assert seen.n_searches == 0


def test_file_that_is_no_manifest_among_the_manifests_is_named():
    blobs = {**contents(), "manifests/notes.txt": b"mine"}
    assert found(store_of(blobs)) == ["manifests/notes.txt"]


@pytest.mark.parametrize("kind", NEEDED)
def test_nothing_is_merged_that_is_damaged(kind):
    blobs = contents()
    name = one_of(kind, blobs)
    store = store_of({**blobs, name: blobs[name][:-1]})
    before = {entry.name for entry in store.list("manifests/")}
    clock = ManualClock()
    upkeep = Upkeep(store, FlatFp16Vectors(), clock=clock, ids=SequentialIds(clock))
    with pytest.raises(CorruptIndexError, match=name):
        upkeep.compact(full=True)
    assert {entry.name for entry in store.list("manifests/")} == before


@pytest.mark.parametrize("kind", ["newest manifest", "older manifest"])
def test_nothing_is_collected_while_a_manifest_cannot_be_read(kind):
    """What it names is not known."""
    blobs = {**contents(), f"segments/{0:032x}-{0:064x}.rows.arrow": b"an orphan"}
    name = one_of(kind, contents())
    store = store_of({**blobs, name: blobs[name][:-1]})
    clock = ManualClock()
    clock.advance(86_400.0)
    upkeep = Upkeep(store, FlatFp16Vectors(), clock=clock, ids=SequentialIds(clock))
    with pytest.raises(CorruptIndexError, match=name):
        upkeep.collect(RetentionPolicy(grace_s=0.0))
    assert {entry.name for entry in store.list("segments/")} == {
        name for name in blobs if name.startswith("segments/")
    }


@pytest.mark.parametrize("kind", [*NEEDED, "projector", "text cache", "older manifest"])
def test_writers_do_not_make_damage_worse(kind):
    """They refuse, or write what is right; with the file put back everything is as it should be."""
    house = made()
    before = house.contents()
    name = one_of(kind, {e.name: house.index.get(e.name).data for e in house.index.list()})
    whole = house.index.get(name).data
    house.index.overwrite(name, whole[:-1])
    house.upload("new", slice_of(series="a new series", value=40))
    try:
        house.process().drain()
        house.clock.advance(60)
        house.process().drain()
    except CorruptIndexError as error:
        assert name in str(error)  # noqa: PT017 - either outcome is right
    if house.index.get(name) is not None:  # the cache may drop what is damaged
        house.index.overwrite(name, whole)
    house.settle(house.process())
    after = house.contents()
    assert {key: after[key] for key in before} == before
    assert len(after) == len(before) + 1
    assert house.problems() == []
