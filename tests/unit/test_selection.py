"""Conditions on a snapshot, judged against plain Python over the same rows."""

import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.filters import Filter
from indexer_core.search import listing
from indexer_core.selection import Conditions, select
from tests.support.segments import (
    snapshot_of,
)

MODALITIES, PLANES, AGES = ("CT", "MR", None), ("axial", "coronal", "unknown"), (20.0, 70.0, None)
RECORDS = {
    f"{modality}-{plane}-{age}": {
        "modality": modality,
        "plane": plane,
        "ageYears": age,
        "scope": "here" if plane == "axial" else "there",
    }
    for modality in MODALITIES
    for plane in PLANES
    for age in AGES
}


@pytest.fixture(scope="module")
def snapshot():
    return snapshot_of(RECORDS, 10)


def value_of(record, field):
    value = record[field]
    return None if value == "unknown" else value


def meets(record, conditions: Conditions, with_unknown) -> bool:
    def passes(each: Filter) -> bool:
        value = value_of(record, each.field)
        if value is None:
            return each.field in with_unknown
        if each.operator in {">=", "<"}:
            compare = operator.ge if each.operator == ">=" else operator.lt
            return compare(value, float(each.values[0]))
        return (str(value).lower() in {v.lower() for v in each.values}) == (each.operator == "=")

    if conditions.scopes is not None and record["scope"] not in conditions.scopes:
        return False
    if not all(passes(each) for each in conditions.filters):
        return False
    branches = conditions.alternatives
    return not branches or any(all(passes(each) for each in branch) for branch in branches)


words = st.builds(
    lambda field, op, values: Filter(field=field[0], operator=op, values=tuple(values)),
    st.just(("modality",)),
    st.sampled_from(["=", "!="]),
    st.lists(st.sampled_from(["CT", "mr", "US"]), min_size=1, max_size=2),
) | st.builds(
    lambda op, value: Filter(field="plane", operator=op, values=(value,)),
    st.sampled_from(["=", "!="]),
    st.sampled_from(["axial", "coronal", "sagittal"]),
)
ages = st.builds(
    lambda op, value: Filter(field="ageYears", operator=op, values=(str(value),)),
    st.sampled_from([">=", "<"]),
    st.sampled_from([20, 50, 90]),
)
branches = st.lists(words | ages, min_size=1, max_size=3).map(tuple)


@given(
    conditions=st.builds(
        Conditions,
        filters=st.lists(words | ages, max_size=3).map(tuple),
        alternatives=st.lists(branches, max_size=3).map(tuple),
        with_unknown=st.frozensets(st.sampled_from(["modality", "plane", "ageYears"])),
        scopes=st.none() | st.frozensets(st.sampled_from(["here", "there", "nowhere"])),
    )
)
def test_what_is_selected_and_what_is_left_out_for_being_unknown(snapshot, conditions):
    selection = select(snapshot, conditions)
    expected = {
        key for key, each in RECORDS.items() if meets(each, conditions, conditions.with_unknown)
    }
    assert {hit.key for hit in listing(snapshot, selection)} == expected
    assert selection.n_passed == len(expected)
    for field, n_left_out in selection.unknown.items():
        more = conditions.with_unknown | {field}
        fitting = {key for key, each in RECORDS.items() if meets(each, conditions, more)}
        assert n_left_out == len(fitting - expected)
    assert selection.is_all <= (len(expected) == len(RECORDS))


def test_no_scope_at_all_shows_nothing(snapshot):
    assert select(snapshot, Conditions(scopes=frozenset())).n_passed == 0
