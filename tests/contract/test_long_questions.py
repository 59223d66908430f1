"""Questions too long for Milvus to judge by an expression, and what would fetch too much."""

import random
from datetime import date

import pytest

from indexer_core.adapters.milvus.doubts import in_doubt, most_halves, possible
from indexer_core.adapters.milvus.index import MilvusIndex
from indexer_core.adapters.milvus.reading import StateReader
from indexer_core.adapters.milvus.schema import Names
from indexer_core.errors import InvalidInputError, ManifestExpiredError
from indexer_core.filters import parse_filter
from indexer_core.grouping import Level
from indexer_core.query.parser import understand
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.sorting import NEWEST_FIRST, Sort
from tests.support.some_series import KEYS, SERIES
from tests.support.two_homes import MILVUS, SEGMENTS, TwoHomes

LONG = (
    "axial MR brain T2 female siemens 3T with contrast 2019 or coronal CT chest male philips 1mm "
    "without contrast 2020 or sagittal MR spine T1 GE 1.5T female 2018 or "
    "axial MR knee PD philips 3T male 2017"
)


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    homes = TwoHomes(str(tmp_path_factory.mktemp("milvus") / "m.db"))
    mixed = random.Random(3).sample(KEYS, len(KEYS))
    for part in (mixed[:50], mixed[50:]):
        homes.add({key: SERIES[key] for key in part})
    homes.follow()
    yield homes
    homes.close()


def long_question(*filters: str, **others) -> Conditions:
    branches = understand(LONG, today=date(2026, 1, 1)).alternatives
    some = (*branches, (parse_filter("sequence=T2"), parse_filter("flags=provisional")))
    return Conditions(filters=tuple(map(parse_filter, filters)), alternatives=some, **others)


def told(index, conditions):
    fitted = index.fitting(conditions)
    degrees = [
        (doubt, chosen.n_passed, [hit.key for hit in chosen.listed()])
        for doubt, chosen in fitted.degrees()
    ]
    return degrees, fitted.n_possible


@pytest.mark.parametrize(
    "conditions",
    [
        long_question(),
        long_question("modality=MR", with_unknown=frozenset({"sex", "modality"})),
        long_question("ageYears>=40", scopes=frozenset({"north"})),
    ],
)
def test_long_questions_have_the_same_degrees_in_both_homes(homes, conditions):
    assert possible(conditions) is None
    assert None in [in_doubt(conditions, n) for n in range(1, most_halves(conditions) + 1)]
    expected, n_possible = told(homes.newest(SEGMENTS), conditions)
    assert len(expected) > 1
    assert told(homes.newest(MILVUS), conditions) == (expected, n_possible)


def limited(homes, most):
    followed, position = homes.shelf, homes.shelf.position
    return StateReader(
        client=followed.client,
        names=Names(prefix=followed.prefix, generation=position.generation),
        number=position.applied,
        spaces=position.spaces,
        projection_version=position.projection_version,
        n_series=position.n_series,
        most=most,
    )


def test_what_would_fetch_too_much_is_refused_and_what_does_not_is_answered(homes):
    opened = homes.newest(MILVUS)
    index, few = (
        MilvusIndex(limited(homes, 30)),
        Conditions(filters=(parse_filter("bodyPart=Knee"),)),
    )
    assert 0 < opened.select(few).n_passed <= 30
    everything = index.select(ANYTHING)
    asked = [
        lambda: next(everything.listed()),
        lambda: everything.in_order(Sort(field="modality"), 3, after=None),
        lambda: everything.n_groups(Level.PATIENT),
        lambda: index.facets(
            ANYTHING, ["sex"], exclude_own=False, most=3, least=1, chosen=everything
        ),
        lambda: list(index.fitting(long_question()).degrees()),
    ]
    for ask in asked:
        with pytest.raises(InvalidInputError, match=r"30 are the most: add filters"):
            ask()
    by_key, after = Sort(field="seriesKey"), None
    for first in range(0, len(KEYS), 7):
        hits = everything.in_order(by_key, 7, after=after)
        assert [hit.key for hit in hits] == KEYS[first : first + 7]
        after = hits[-1].key
    assert everything.in_order(by_key, 7, after=after) == []
    with pytest.raises(ManifestExpiredError):
        everything.in_order(by_key, 7, after="0" * 63)
    assert everything.n_passed == len(SERIES)
    assert len(list(index.select(few).listed())) == opened.select(few).n_passed


def test_of_too_many_to_be_fetched_the_newest_are_listed_page_by_page(homes):
    expected = [
        hit.key
        for hit in homes.newest(SEGMENTS).select(ANYTHING).in_order(NEWEST_FIRST, 999, after=None)
    ]
    assert len(expected) == len(SERIES)
    everything = MilvusIndex(limited(homes, 80)).select(ANYTHING)
    assert newest_of(everything, top=7, most=999) == expected
    # Of so few it is found how far back they go; where fewer are dated there is no such day.
    few = MilvusIndex(limited(homes, 40)).select(ANYTHING)
    for top in (1, 7):
        assert newest_of(few, top=top, most=35) == expected[:35]
    with pytest.raises(InvalidInputError, match="40 are the most"):
        newest_of(few, top=7, most=len(expected))


def newest_of(chosen, *, top, most):
    """Keys, page by page."""
    after, told = None, []
    while len(told) < most and (hits := chosen.in_order(NEWEST_FIRST, top, after=after)):
        told += [hit.key for hit in hits]
        after = told[-1]
    return told


def test_series_and_states_are_looked_up_by_an_index(homes):
    client, shelf = homes.shelf.client, homes.shelf
    for kind in ("series", "text", "image"):
        found = {
            name: client.describe_index(shelf.collection(kind), name)["index_type"]
            for name in client.list_indexes(shelf.collection(kind))
        }
        inverted = {name for name, index_type in found.items() if index_type == "INVERTED"}
        assert {"seriesKey", "shortKey", "scopeName", "uid", "born", "died"} <= inverted
        assert ("patientKeyAsWritten" in inverted) == (kind == "series")
        assert sorted(set(found.values())) == ["FLAT", "INVERTED"]


def test_so_many_series_in_doubt_that_milvus_cannot_be_told_them_are_said_to_be(homes, monkeypatch):
    # As if it were longer still: then no degree of doubt can be judged by an expression.
    monkeypatch.setattr("indexer_core.adapters.milvus.index.in_doubt", lambda *_: None)
    expected = told(homes.newest(SEGMENTS), long_question())
    assert told(homes.newest(MILVUS), long_question()) == expected
    monkeypatch.setattr("indexer_core.adapters.milvus.index.MAX_NAMES", 4)
    with pytest.raises(InvalidInputError, match="series are in doubt alike"):
        told(homes.newest(MILVUS), long_question())
