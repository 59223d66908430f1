"""Facets: counted by codes, judged against plain Python over the records, and against filters."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.facets import FacetsRequest, facets
from indexer_core.errors import InvalidInputError
from indexer_core.facets import FACETS, count_facets, facet, facet_field
from indexer_core.filters import Filter, parse_filter
from indexer_core.index.reader import Reader
from indexer_core.index.rows import LIST_FIELDS
from indexer_core.selection import Conditions, select
from indexer_core.small_cells import hidden_cells
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.many_series import add_series, any_record, known, live_records, shelf_of

EVERYTHING = 10_000
BANDS = {
    "ageYears": [(f"{n}-{n + 9}", n, n + 10) for n in range(0, 90, 10)] + [("90+", 90, 1e9)],
    "instances": [("1", -1, 2), ("2-9", 2, 10), ("10-49", 10, 50), ("50-199", 50, 200),
                  ("200-999", 200, 1000), ("1000+", 1000, 1e9)],
    "sliceThicknessMm": [("<1", 0, 1), ("1-2", 1, 2), ("2-3", 2, 3), ("3-5", 3, 5),
                         ("5-10", 5, 10), ("10+", 10, 1e9)],
    "fieldStrengthT": [("<0.5", 0, 0.5), ("0.5-1.25", 0.5, 1.25), ("1.25-2", 1.25, 2),
                       ("2-4", 2, 4), ("4+", 4, 1e9)],
}  # fmt: skip
BANDS["frames"] = BANDS["instances"]


def snapshot_of(shelf):
    return Reader(shelf.blobs, shelf.files).refresh()


def expected(records, field) -> tuple[Counter, int]:
    """Counts by value in lower case, and of unknowns, by the records alone."""
    counts, unknown = Counter(), 0
    for record in records:
        value = known(record, field)
        if field in LIST_FIELDS:
            counts.update({item.lower() for item in value or ()})
            unknown += field == "sequence" and not value
        elif value is None:
            unknown += 1
        elif field in BANDS:
            counts[next(n for n, low, high in BANDS[field] if low <= value < high)] += 1
        else:
            text = value[:4] if field == "studyDate" else str(value)
            counts[text.lower()] += 1
    return counts, unknown


@settings(max_examples=40)
@given(st.lists(any_record, max_size=25), st.integers(1, 3))
def test_counts_are_those_of_the_records(records, n_segments):
    snapshot = snapshot_of(shelf_of(records, n_segments))
    selection = select(snapshot)
    for field in FACETS:
        found = facet(snapshot, selection, field, most=EVERYTHING)
        counts, unknown = expected(live_records(snapshot).values(), field)
        assert {each.value.lower(): each.count for each in found.values} == counts
        assert (found.unknown, found.other) == (unknown, 0)
        ordered = [-each.count for each in found.values]
        assert ordered == sorted(ordered)


@settings(max_examples=25)
@given(st.lists(any_record, min_size=1, max_size=25), st.sampled_from(["A", "B", "T1"]))
def test_a_count_is_what_the_filter_on_its_value_finds(records, wanted):
    snapshot = snapshot_of(shelf_of(records))
    asked = (Filter(field="modality", operator="=", values=(wanted,)),)
    selection = select(snapshot, Conditions(filters=asked))
    for field in set(FACETS) - set(BANDS):
        for each in facet(snapshot, selection, field, most=EVERYTHING).values:
            own = Filter(field=field, operator="=", values=(each.value,))
            assert select(snapshot, Conditions(filters=(*asked, own))).n_passed == each.count
    for field in BANDS:
        for each in facet(snapshot, selection, field, most=EVERYTHING).values:
            ends = [(">=", each.low), ("<", each.high)]
            own = [
                Filter(field=field, operator=operator, values=(str(end),))
                for operator, end in ends
                if end is not None
            ]
            assert select(snapshot, Conditions(filters=(*asked, *own))).n_passed == each.count


def test_replaced_and_removed_series_do_not_count():
    shelf = shelf_of([{"modality": "CT"}] * 4)
    add_series(shelf, {"s000": {"modality": "MR"}}, revision=2)
    add_series(shelf, {"s001": {}}, revision=2, alive=False)
    snapshot = snapshot_of(shelf)
    found = facet(snapshot, select(snapshot), "modality")
    assert [(each.value, each.count) for each in found.values] == [("CT", 2), ("MR", 1)]


def test_strangers_on_the_map_are_counted_among_the_flags():
    shelf = shelf_of([{"flags": ["sliceGap"]}] * 2)
    records = {"a": {"flags": ["sliceGap"]}, "b": {"flags": ["provisional"]}, "c": {}}
    add_series(shelf, records, provisional=["a", "b"])
    snapshot = snapshot_of(shelf)
    found = facet(snapshot, select(snapshot), "flags")
    assert {each.value: each.count for each in found.values} == {"sliceGap": 3, "provisional": 2}
    own = Conditions(filters=(parse_filter("flags=provisional"),))
    assert select(snapshot, own).n_passed == 2


def test_what_is_not_listed_is_counted_together():
    shelf = shelf_of([{"model": f"m{n % 7}"} for n in range(30)])
    snapshot = snapshot_of(shelf)
    found = facet(snapshot, select(snapshot), "model", most=3)
    assert [each.count for each in found.values] == [5, 5, 4]
    assert found.other == 16


def test_a_field_can_be_counted_without_its_own_filter():
    records = [{"modality": m, "plane": p} for m in ("CT", "MR") for p in ("axial", "coronal")]
    snapshot = snapshot_of(shelf_of(records))
    conditions = Conditions(filters=(parse_filter("modality=CT"), parse_filter("plane=axial")))

    def counted(**options):
        found = count_facets(snapshot, conditions, ["modality", "plane", "sex"], **options)
        return [{each.value: each.count for each in one.values} for one in found]

    assert counted() == [{"CT": 1}, {"axial": 1}, {}]
    assert counted(exclude_own=True) == [{"CT": 1, "MR": 1}, {"axial": 1, "coronal": 1}, {}]


def test_the_api_answers_with_bands_unknowns_and_the_manifest():
    shelf = shelf_of([{"ageYears": 44.0, "modality": "MR"}, {"ageYears": None, "modality": "MR"}])
    request = FacetsRequest(fields=("AGEYEARS", "modality"))
    assert facets(request, SnapshotIndex(snapshot_of(shelf))) == {
        "facets": {
            "ageYears": {
                "values": [{"value": "40-49", "count": 1, "from": 40.0, "below": 50.0}],
                "unknown": 1,
                "other": 0,
                "isWithheld": False,
            },
            "modality": {
                "values": [{"value": "MR", "count": 2}],
                "unknown": 0,
                "other": 0,
                "isWithheld": False,
            },
        },
        "count": 2,
        "manifest": shelf.newest.number,
    }


@pytest.mark.parametrize(
    "request_",
    [
        FacetsRequest(fields=()),
        FacetsRequest(fields=("patientKey",)),
        FacetsRequest(fields=("seriesInstanceUid",)),
        FacetsRequest(fields=("modality",), most=0),
        FacetsRequest(fields=("modality",), least=-1),
    ],
)
def test_a_wrong_request_is_refused(request_):
    with pytest.raises(InvalidInputError):
        facets(request_, SnapshotIndex(snapshot_of(shelf_of([]))))


def test_fields_are_named_in_any_case():
    assert facet_field("BODYregion ") == "bodyRegion"


def test_an_empty_index_has_empty_facets():
    answer = facets(FacetsRequest(fields=FACETS), SnapshotIndex(snapshot_of(shelf_of([]))))
    assert answer["count"] == 0
    assert all(
        (found["values"], found["unknown"]) == ([], 0) for found in answer["facets"].values()
    )


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8), st.integers(0, 8))
def test_what_is_hidden_cannot_be_computed_from_the_total(counts, least):
    total = sum(counts)
    hidden = hidden_cells(counts, total, least)
    if hidden is None:
        assert any(0 < n < least or 0 < total - n < least for n in counts)
        return
    told = [n for place, n in enumerate(counts) if place not in hidden]
    assert all(n == 0 or n >= max(least, 1) for n in told)
    if hidden:
        rest = total - sum(told)  # all that the told ones give away
        assert len(hidden) >= 2
        assert rest - (len(hidden) - 1) >= least
    else:
        assert least <= 1 or all(n == 0 or n >= least for n in counts)


@settings(max_examples=40)
@given(st.lists(any_record, max_size=40), st.integers(2, 6))
def test_small_counts_are_not_told_nor_is_their_order(records, least):
    snapshot = snapshot_of(shelf_of(records))
    answer = facets(FacetsRequest(fields=FACETS, least=least), SnapshotIndex(snapshot))
    for found in answer["facets"].values():
        told = [each["count"] for each in found["values"]]
        numbers = [n for n in (*told, found["unknown"], found["other"]) if n is not None]
        assert all(n == 0 or n >= least for n in numbers)
        untold = [each["value"] for each in found["values"] if each["count"] is None]
        assert told[len(told) - len(untold) :] == [None] * len(untold)
        assert untold == sorted(untold)
    n_series = len(live_records(snapshot))
    assert answer["count"] == (None if 0 < n_series < least else n_series)
