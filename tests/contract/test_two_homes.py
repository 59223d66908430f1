"""Both homes of the index over time: states, what is hidden, what is half there; and their answers
beside each other."""

from itertools import zip_longest

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexer_core.adapters.milvus.entities import series_entities, vector_entities
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.schema import DIED, ID, SERIES, VECTOR
from indexer_core.errors import (
    ManifestExpiredError,
    NotFoundError,
    NotOnThisHomeError,
    UnavailableError,
)
from indexer_core.filters import parse_filter
from indexer_core.grouping import Level
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.upkeep import Upkeep
from indexer_core.search import Precision
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.sorting import NEWEST_FIRST
from tests.support.segments import IMAGE_DIMENSION, PROJECTION, TEXT, TEXT_DIMENSION, unit_vectors
from tests.support.some_series import SERIES as SOME
from tests.support.some_series import Made
from tests.support.two_homes import MILVUS, SEGMENTS, TwoHomes

HOMES = [SEGMENTS, MILVUS]
QUERY = unit_vectors("question", 1, TEXT_DIMENSION)[0]
PICTURE = unit_vectors("picture", 1, IMAGE_DIMENSION)[0]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return str(tmp_path_factory.mktemp("milvus") / "m.db")


@pytest.fixture
def homes(uri):
    homes = TwoHomes(uri)
    yield homes
    homes.close()


@pytest.fixture(scope="module")
def empty(uri):
    homes = TwoHomes(uri)
    yield homes
    homes.close()


def listed(index, conditions=ANYTHING):
    return [hit.key for hit in index.select(conditions).listed()]


def found(index, conditions=ANYTHING):
    """Keys in every collection."""
    chosen = index.select(conditions)
    by_words = {hit.key for hit in chosen.by_words("the", QUERY, 50, exact=True)}
    by_images = {hit.key for hit in chosen.by_images(PICTURE, 50, exact=True)}
    assert by_words == set(listed(index, conditions))
    assert by_images == {hit.key for hit in chosen.with_images().listed()}
    assert chosen.n_passed == len(by_words)
    return sorted(by_words)


def test_before_it_was_followed_there_is_no_state(empty):
    assert empty.milvus.refresh() is None
    with pytest.raises(UnavailableError, match="not on Milvus yet"):
        empty.at(MILVUS, 1)


@pytest.mark.parametrize("home", HOMES)
def test_an_empty_index_answers_that_there_is_nothing(empty, home):
    if empty.milvus.refresh() is None:
        empty.follow()
    index = empty.newest(home)
    assert (index.state.n_series, index.state.text_encoder) == (0, TEXT)
    chosen = index.select(Conditions(filters=(parse_filter("modality=MR"),)))
    assert (chosen.n_passed, chosen.unknown) == (0, {"modality": 0})
    assert found(index) == []
    assert index.select(ANYTHING).in_order(NEWEST_FIRST, 5, after=None) == []
    assert index.select(ANYTHING).n_groups(Level.STUDY) == 0
    [facet] = index.facets(
        ANYTHING, ("flags",), exclude_own=True, most=5, least=0, chosen=index.select(ANYTHING)
    )
    assert (facet.values, facet.unknown) == ((), 0)
    with pytest.raises(NotFoundError):
        index.pictured("1.2.3", None)


FIRST = {name: Made(look=name, record={"modality": "MR"}) for name in ("a", "b", "c", "d")}


@pytest.fixture(scope="module")
def changed(uri):
    """Five manifests, of which Milvus has the first that has series, and the last."""
    homes = TwoHomes(uri)
    first = homes.add(FIRST)
    homes.follow()
    homes.add({"b": Made(look="other", record={"modality": "CT"}), "e": Made(look="e")}, revision=2)
    homes.add({"c": None}, revision=2)
    homes.shelf.suppress("d")
    homes.follow()
    yield homes, first
    homes.close()


@pytest.mark.parametrize("home", HOMES)
def test_the_newest_state_has_what_counts_now(changed, home):
    homes, _ = changed
    index = homes.newest(home)
    assert found(index) == ["a", "b", "e"]
    assert listed(index, Conditions(filters=(parse_filter("modality=CT"),))) == ["b"]
    assert index.state.n_series == 3


@pytest.mark.parametrize("home", HOMES)
def test_an_earlier_state_is_as_it_was_without_what_is_hidden_by_now(changed, home):
    homes, first = changed
    index = homes.at(home, first)
    assert (index.state.number, index.state.n_series) == (first, 3)
    assert found(index) == ["a", "b", "c"]
    records = {hit.key: index.record(hit) for hit in index.select(ANYTHING).listed()}
    assert {record["modality"] for record in records.values()} == {"MR"}
    assert records["b"]["texts"][0] == "b 0"
    [hit] = index.select(ANYTHING).like(FIRST["b"].images, 1, exact=True)
    assert (hit.key, hit.score) == ("b", pytest.approx(1, abs=1e-3))


def test_a_state_that_milvus_never_had_is_told_from_one_that_it_does_not_have_yet(changed):
    homes, first = changed
    with pytest.raises(ManifestExpiredError, match=f"it holds {first}, {first + 3}; others"):
        homes.at(MILVUS, first + 1)
    with pytest.raises(UnavailableError, match=f"holds those up to {first + 3}"):
        homes.at(MILVUS, first + 4)
    assert homes.at(MILVUS, first + 3) is homes.newest(MILVUS)


def test_a_state_is_one_object_until_another_was_followed(changed):
    homes, _ = changed
    assert homes.newest(MILVUS) is homes.newest(MILVUS)


def test_what_was_hidden_before_a_manifest_that_expired_does_not_count_as_hidden_since(
    homes, monkeypatch
):
    monkeypatch.setattr("indexer_core.adapters.milvus.home.MAX_NAMES", 1)
    homes.add(FIRST)
    homes.shelf.suppress("a")
    homes.follow()
    assert found(homes.newest(MILVUS)) == ["b", "c", "d"]
    homes.shelf.suppress("b")
    shelf = homes.shelf
    shelf.clock.advance(90_000)
    upkeep = Upkeep(shelf.blobs, shelf.files, clock=shelf.clock, ids=shelf.ids)
    upkeep.collect(RetentionPolicy(keep_s=0.0, keep_newest=1, grace_s=0.0))
    assert not isinstance(shelf.manifests.read(shelf.position.applied), Manifest)
    assert found(homes.newest(MILVUS)) == ["c", "d"]


def test_what_is_half_applied_is_not_seen(homes):
    number = homes.add(FIRST)
    homes.follow()
    before = homes.newest(MILVUS)
    homes.add({"a": Made(look="new"), "z": Made(look="z")}, revision=2)
    snapshot = Reader(homes.shelf.blobs, homes.shelf.files).refresh()
    version = PROJECTION.version
    for segment in snapshot.segments:
        rows = segment.live.nonzero()[0]
        entities = {SERIES: series_entities(segment.loaded, rows, version, number + 1)}
        for space in snapshot.manifest.spaces:
            entities[space.name] = vector_entities(
                segment.loaded, rows, space.name, space.live, version, number + 1
            )
        for kind, some in entities.items():
            new = [each for each in some if each["seriesKey"] in ("a", "z")]
            if new:
                homes.shelf.client.upsert(homes.shelf.collection(kind), new)
    for kind in (SERIES, "text", "image"):
        dead = [
            {ID: each[ID], DIED: number + 1}
            for each in homes.shelf.entities(kind)
            if each["seriesKey"] == "a" and each["born"] <= number
        ]
        assert dead
        homes.shelf.client.upsert(homes.shelf.collection(kind), dead, partial_update=True)
    assert homes.newest(MILVUS) is before
    assert found(before) == ["a", "b", "c", "d"]
    assert before.select(Conditions(filters=(parse_filter("modality=MR"),))).n_passed == 4


def test_a_series_that_is_removed_while_it_is_looked_at_is_told(homes):
    homes.add(FIRST)
    homes.follow()
    index = homes.newest(MILVUS)
    hits = index.select(ANYTHING).by_images(PICTURE, 4, exact=True)
    homes.shelf.client.delete(homes.shelf.collection(SERIES), filter='seriesKey == "b"')
    with pytest.raises(UnavailableError, match="removed while it was looked at"):
        index.record(hits[0])


def test_an_answer_is_none_where_its_state_was_given_up_while_it_was_read(homes):
    homes.add(FIRST)
    homes.follow()
    index, segments = homes.newest(MILVUS), homes.newest(SEGMENTS)
    for number in range(3):
        homes.add({"a": FIRST["a"]}, revision=number + 2)
        homes.follow()
        if not number:
            index.confirm()
        homes.shelf.clock.advance(3_600)
    with pytest.raises(ManifestExpiredError, match="given up"):
        index.confirm()
    with pytest.raises(ManifestExpiredError, match="given up"):
        index.pictured("1.2.none", None)
    homes.newest(MILVUS).confirm()
    segments.confirm()


def test_collections_of_another_index_are_not_called_exact(homes):
    homes.add(FIRST)
    homes.follow()
    assert homes.newest(MILVUS).precision("text", exact=None) == Precision(exact=True, recall=1.0)
    client, name = homes.shelf.client, homes.shelf.collection("text")
    client.release_collection(name)
    client.drop_index(name, VECTOR)
    other = client.prepare_index_params()
    other.add_index(VECTOR, index_type="HNSW", metric_type="IP", params={"M": 8})
    client.create_index(name, other)
    index = MilvusHome(homes.milvus_settings, homes.shelf.blobs).refresh()
    assert index.precision("text", exact=None) == Precision(exact=False, recall=None)
    assert index.precision("image", exact=True) == Precision(exact=True, recall=1.0)
    with pytest.raises(NotOnThisHomeError, match="approximately"):
        index.precision("text", exact=True)
    assert found(index) == ["a", "b", "c", "d"]


def test_collections_that_a_restarted_milvus_let_go_of_are_loaded_again(homes, monkeypatch):
    homes.add(FIRST)
    homes.follow()
    before = homes.newest(MILVUS)
    for kind in (SERIES, "text", "image"):
        homes.shelf.client.release_collection(homes.shelf.collection(kind))
    with pytest.raises(UnavailableError):
        found(before)
    monkeypatch.setattr("indexer_core.adapters.milvus.home._LOOK_S", -1.0)
    assert homes.newest(MILVUS) is before
    assert found(before) == ["a", "b", "c", "d"]


def test_collections_that_are_gone_are_told(homes):
    homes.add(FIRST)
    homes.follow()
    homes.shelf.drop()
    with pytest.raises(UnavailableError, match="Milvus did not answer"):
        homes.newest(MILVUS)


@pytest.fixture(scope="module")
def both(uri):
    homes, keys = TwoHomes(uri), sorted(SOME)
    for part in (keys[::2], keys[1::2]):
        homes.add({key: SOME[key] for key in part})
    homes.follow()
    yield homes.newest(SEGMENTS), homes.newest(MILVUS)
    homes.close()


FILTERS = [
    *("modality=MR", "modality!=CT", "plane=axial,unknown", "plane!=coronal", "model~5%"),
    *("model!~o_s", "bodyPart=knee", "sequence=T1", "sequence!=flair", "flags=provisional"),
    *("flags!=slicegap", "ageYears>=41", "ageYears<60", "instances>2.5", "hasPixels=true"),
    *("studyDate<=2019-05", "scope=north"),
]
_filters = st.lists(st.sampled_from(FILTERS).map(parse_filter), max_size=3, unique=True).map(tuple)


@given(
    conditions=st.builds(
        Conditions,
        filters=_filters,
        alternatives=st.lists(_filters, max_size=2).map(tuple),
        with_unknown=st.frozensets(st.sampled_from(["modality", "plane", "ageYears"]), max_size=1),
        scopes=st.none() | st.just(frozenset({"north", "south"})),
    ),
    text=st.sampled_from(["the", "brain look1", "twin"]),
    top=st.sampled_from([3, 30]),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_both_homes_give_the_same_answers(both, conditions, text, top):
    fitted = [index.fitting(conditions) for index in both]
    assert len({each.n_possible for each in fitted}) == 1
    first, second = (each.fits for each in fitted)
    assert (first.n_passed, first.unknown) == (second.n_passed, second.unknown)
    for (doubt, ours), (same, theirs) in zip_longest(*(each.degrees() for each in fitted)):
        assert (doubt, ours.n_passed) == (same, theirs.n_passed)
        hits = [each.by_words(text, QUERY, top, exact=True) for each in (ours, theirs)]
        for one, other in zip_longest(*hits):
            assert (one.key, one.text, one.words) == (other.key, other.text, other.words)
            assert one.score == pytest.approx(other.score, abs=1e-6)
            assert fitted[0].verdict(one) == fitted[1].verdict(other)
        for one, other in list(zip(*hits, strict=True))[:3]:
            assert both[0].record(one) == both[1].record(other)
    facets = [
        index.facets(
            conditions,
            ("modality", "flags", "ageYears"),
            exclude_own=True,
            most=3,
            least=2,
            chosen=each.fits,
        )
        for index, each in zip(both, fitted, strict=True)
    ]
    assert facets[0] == facets[1]
