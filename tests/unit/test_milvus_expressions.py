"""Conditions as expressions of Milvus: the same series as masks over the rows find."""

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.doubts import in_doubt, most_halves, possible
from indexer_core.adapters.milvus.expressions import (
    EVERYTHING,
    MAX_NAMES,
    NOTHING,
    all_of,
    any_of,
    in_state,
    left_out,
    meeting,
    named,
    parts_of,
    pictured,
    without_keys,
)
from indexer_core.adapters.milvus.schema import KEY, SERIES
from indexer_core.adapters.milvus.schema import Names as Collections
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import InvalidInputError
from indexer_core.filters import Filter, apply_filter, parse_filter
from indexer_core.fitting import fitting
from indexer_core.index.reader import Reader
from indexer_core.named import Names
from indexer_core.search import listing
from indexer_core.selection import Conditions, select
from indexer_core.similar import with_images, without
from tests.support.many_series import add_series
from tests.support.milvus import create_collections, insert
from tests.support.shelf import Shelf

N_SERIES = 160
ODD = ["50%", "a_b", "axb", "c\\d", 'say "so"', "it's", "two\nlines", "tab\there", "ÄÖ ß", "ß%_\\"]
TEXTS = [None, "", "unknown", "Unknown", "axial", "Axial", "coronal", *ODD]
DATES = [None, "", "2018-12-31", "2019-01-01", "2019-05-01", "2019-05-17", "2020-02-29"]
FIELDS = ("modality", "bodyPart", "plane", "manufacturer", "model", "sex", "patientKey")
ITEMS = ["T1", "t1", "FLAIR", "DWI", "T1 FLAIR", "50%", "a_b", "c\\d"]
COLLECTIONS = Collections(prefix="test", generation="g")


def record_of(chance):
    def some(values, n):
        return chance.sample(values, chance.randint(0, n))

    return {
        **{name: chance.choice(TEXTS) for name in FIELDS},
        "bodyPart": {"term": chance.choice(TEXTS)},
        "scope": chance.choice(["here", "Here", "there", None]),
        "studyDate": chance.choice(DATES),
        "sequence": some(ITEMS, 3),
        "flags": some(["sliceGap", "burnedInRisk"], 2),
        "hasPixels": chance.choice([True, False, None]),
        "ageYears": chance.choice([None, 0.0, 41.5, 60.0, 90.0]),
        "sliceThicknessMm": chance.choice([None, 0.1, 2.5, 1e-7]),
        "instances": chance.choice([0, 1, 2, 3, 1000]),
        "frames": chance.choice([None, 1, 2, 3]),
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A snapshot, and how to find keys of the same series in Milvus by an expression."""
    chance, shelf = random.Random(5), Shelf()
    records = {f"{number:016x}{'ab' * 24}": record_of(chance) for number in range(N_SERIES)}
    keys = list(records)
    for half in (keys[::2], keys[1::2]):
        add_series(shelf, {key: records[key] for key in half}, provisional=set(half[::5]))
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    client = connect(MilvusSettings(uri=str(tmp_path_factory.mktemp("milvus") / "m.db")))
    create_collections(client, COLLECTIONS, snapshot)
    insert(client, COLLECTIONS, snapshot, 3)
    client.load_collection(COLLECTIONS.collection(SERIES))

    def found(expression):
        where = all_of([in_state(3), expression])
        entities = client.query(COLLECTIONS.collection(SERIES), filter=where, output_fields=[KEY])
        return sorted(each[KEY] for each in entities)

    yield snapshot, found
    client.close()


def listed(snapshot, selection):
    return [hit.key for hit in listing(snapshot, selection)]


_texts = st.sampled_from([text for text in TEXTS if text]) | st.sampled_from(
    ["x", "%", "_", "\\", '"', "axi", "unk", "äö", "\n"]
)
_numbers = st.sampled_from(["0", "1", "2", "2.0", "2.5", "3", "-1", "60", "41.5", "1e30", "0.1"])


def _filters(fields, operators, values, most=3):
    return st.builds(
        lambda field, operator, chosen: Filter(
            field=field,
            operator=operator,
            values=tuple(chosen[: 1 if operator in (">=", "<=", ">", "<") else most]),
        ),
        field=st.sampled_from(fields),
        operator=st.sampled_from(operators),
        chosen=st.lists(values, min_size=1, max_size=most),
    )


_ORDER = (">=", "<=", ">", "<")
any_filter = st.one_of(
    _filters((*FIELDS, "scope"), ("=", "!=", "~", "!~"), _texts),
    _filters(
        ("studyDate",), ("=", "!="), st.sampled_from(["2019", "2019-05", "2020-02-29", "unknown"])
    ),
    _filters(("studyDate",), _ORDER, st.sampled_from(["2018", "2019", "2019-05", "2019-05-01"])),
    _filters(("ageYears", "sliceThicknessMm", "instances", "frames"), _ORDER, _numbers),
    _filters(("ageYears", "instances", "frames"), ("=", "!="), _numbers | st.just("unknown")),
    _filters(("hasPixels",), ("=", "!="), st.sampled_from(["true", "False", "unknown"])),
    _filters(("sequence",), ("=", "!="), st.sampled_from([*ITEMS, "unknown", "T%", "a\nb"])),
    _filters(
        ("flags",),
        ("=", "!="),
        st.sampled_from(["slicegap", "burnedInRisk", "Provisional", "unknown"]),
    ),
)
any_conditions = st.builds(
    Conditions,
    filters=st.lists(any_filter, max_size=2).map(tuple),
    alternatives=st.lists(st.lists(any_filter, max_size=4).map(tuple), max_size=3).map(tuple),
    with_unknown=st.frozensets(st.sampled_from([*FIELDS, "ageYears", "sequence"]), max_size=2),
    scopes=st.none() | st.frozensets(st.sampled_from(["here", "there", "Here", ""])),
)


@given(condition=any_filter)
@settings(max_examples=60)
def test_a_filter_has_three_parts_that_are_those_of_the_rows(both, condition):
    snapshot, found = both
    columns = [each.loaded.rows.filter_column(condition.field) for each in snapshot.segments]
    told = apply_filter(columns, condition)
    keys = [
        key
        for segment in snapshot.segments
        for key in segment.loaded.rows.column("seriesKey").to_pylist()
    ]
    parts = parts_of(condition)
    passed = set(listed(snapshot, select(snapshot, Conditions(filters=(condition,)))))
    assert set(found(parts.passed)) == passed
    if "provisional" not in map(str.lower, condition.values):
        assert passed == {key for key, ok in zip(keys, told.passed, strict=True) if ok}
    unknown = {key for key, ok in zip(keys, told.unknown, strict=True) if ok}
    assert set(found(parts.unknown)) == unknown
    assert set(found(parts.unmet)) == set(keys) - passed - unknown


@given(conditions=any_conditions)
@settings(max_examples=25)
def test_conditions_find_the_same_series_in_both_homes(both, conditions):
    snapshot, found = both
    expected = fitting(snapshot, conditions)
    fits = found(meeting(conditions))
    assert fits == listed(snapshot, expected.fits)
    for field, n_unknown in expected.fits.unknown.items():
        assert len(found(meeting(conditions, also_unknown=[field]))) - len(fits) == n_unknown
        assert len(found(left_out(conditions, field))) == n_unknown
    degrees = {2 * doubt: listed(snapshot, rows) for doubt, rows in expected.degrees()}
    doubts = {n: in_doubt(conditions, n) for n in range(1, most_halves(conditions) + 1)}
    count_possible = possible(conditions)
    assume(count_possible is not None and None not in doubts.values())  # see test_long_questions
    told = {halves: found(where) for halves, where in doubts.items()}
    assert {halves: keys for halves, keys in told.items() if keys} == {
        halves: keys for halves, keys in degrees.items() if halves and keys
    }
    assert len(found(count_possible)) == expected.n_possible


@pytest.mark.parametrize("value", ["c\\d", "\\", "c\\", "%", "_", "%_\\", "a_b", '"', "'", "\n"])
@pytest.mark.parametrize("operator", ["=", "!=", "~", "!~"])
def test_signs_of_patterns_and_quotes_are_taken_as_they_are(both, operator, value):
    snapshot, found = both
    for field in ("model", "sequence") if operator in ("=", "!=") else ("model",):
        conditions = Conditions(filters=(Filter(field=field, operator=operator, values=(value,)),))
        assert found(meeting(conditions)) == listed(snapshot, select(snapshot, conditions))


def test_many_filters_of_a_question_can_still_be_asked(both):
    snapshot, found = both
    texts = ["plane=axial", "model~a", "sequence=T1", "sex=axial", "ageYears>=40"]
    one = tuple(map(parse_filter, [*texts, "bodyPart=coronal"]))
    conditions = Conditions(alternatives=(one, one[::2]))
    expected = fitting(snapshot, conditions)
    for doubt, rows in list(expected.degrees())[1:]:
        expression = in_doubt(conditions, int(2 * doubt))
        assert expression is not None
        assert found(expression) == listed(snapshot, rows)
    assert len(found(possible(conditions))) == expected.n_possible


def test_series_are_named_by_uid_key_and_short_key(both):
    snapshot, found = both
    keys = listed(snapshot, select(snapshot))
    names = Names.of([keys[3], keys[4][:16], keys[5][:15], "no such", '"'])
    conditions = Conditions(series=names)
    assert found(meeting(conditions)) == listed(snapshot, select(snapshot, conditions)) == keys[3:5]
    assert found(meeting(Conditions(series=Names.of([])))) == []


def test_keys_can_be_left_out_and_images_asked_for(both):
    snapshot, found = both
    every = select(snapshot)
    keys = listed(snapshot, every)
    assert found(without_keys(keys[:150])) == listed(snapshot, without(snapshot, every, keys[:150]))
    assert found(without_keys([])) == keys
    assert found(pictured()) == listed(snapshot, with_images(snapshot, every))


def test_more_names_than_milvus_takes_are_refused():
    names = [f"1.{number}" for number in range(MAX_NAMES + 1)]
    for ask in (lambda: named(Names.of(names)), lambda: without_keys(names)):
        with pytest.raises(InvalidInputError, match=r"20,001 series are named: .* 20,000 at most"):
            ask()


def test_a_state_is_what_was_born_and_has_not_died(both):
    _, found = both
    assert found("born == 3") == found(EVERYTHING)
    assert found("born > 3") == []


def test_what_is_always_or_never_so_vanishes():
    assert all_of([]) == all_of([EVERYTHING, EVERYTHING]) == any_of(["a", EVERYTHING]) == EVERYTHING
    assert any_of([]) == any_of([NOTHING]) == all_of(["a", NOTHING]) == NOTHING
    assert all_of(["a", EVERYTHING, "b", "a"]) == "(a and b)"
    assert any_of(["a", NOTHING]) == "a"
