"""Orders of series, judged against plain Python over the same records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function_app.series_list import ListRequest, list_series
from indexer_core.errors import InvalidInputError, ManifestExpiredError
from indexer_core.filters import parse_filter
from indexer_core.index.reader import Reader
from indexer_core.index.updates import Suppress
from indexer_core.paging import Cursor, cursor_of
from indexer_core.search import listing
from indexer_core.selection import Conditions, select
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.sorting import NEWEST_FIRST, SORTED_BY, Sort, first_sorted, parse_sort
from tests.support.many_series import any_record, known, live_records, shelf_of
from tests.support.shelf import Shelf

FIELDS = ("modality", "studyDate", "ageYears", "instances", "studyInstanceUid", "patientKey")
fields = st.sampled_from((*FIELDS, "seriesKey", "scope"))
indexes = st.builds(shelf_of, st.lists(any_record, max_size=12), st.integers(1, 3))


def snapshot_of(shelf: Shelf):
    return Reader(shelf.blobs, shelf.files).refresh()


def expected_order(snapshot, sort: Sort) -> list[str]:
    records = {key: {**said, "seriesKey": key} for key, said in live_records(snapshot).items()}
    values = {key: known(said, sort.field) for key, said in records.items()}
    there = sorted(key for key in records if values[key] is not None)

    def compared(key):
        value = values[key]
        return value.lower() if isinstance(value, str) else value

    in_order = sorted(there, key=compared, reverse=sort.is_descending)  # stable in both directions
    return in_order + sorted(records.keys() - set(there))


@given(indexes, fields, st.booleans(), st.integers(1, 14), st.data())
def test_series_come_in_the_order_of_a_field(shelf, field, is_descending, n_hits, data):
    snapshot, sort = snapshot_of(shelf), Sort(field=field, is_descending=is_descending)
    expected, selection = expected_order(snapshot, sort), select(snapshot)
    found = first_sorted(snapshot, selection, sort, n_hits)
    assert [hit.key for hit in found] == expected[:n_hits]
    if not expected:
        return
    after = data.draw(st.sampled_from(expected))
    found = first_sorted(snapshot, selection, sort, n_hits, after=after)
    first = expected.index(after) + 1
    assert [hit.key for hit in found] == expected[first : first + n_hits]


@given(indexes, fields, st.booleans(), st.integers(1, 5))
def test_pages_tell_every_series_once_whatever_is_deleted_meanwhile(
    shelf, field, is_descending, top
):
    snapshot, sort = snapshot_of(shelf), Sort(field=field, is_descending=is_descending)
    expected = expected_order(snapshot, sort)
    told, token = [], None
    while True:
        page = list_series(ListRequest(sort=sort, top=top, token=token), SnapshotIndex(snapshot))
        told += [hit.key for hit in page.hits]
        assert page.count == len(expected) - (len(told) > top)
        if page.token is None:
            break
        token = page.token
        if len(told) == top:  # the last one told is deleted: the next page begins behind it
            shelf.commit(Suppress(series_keys=frozenset({told[-1]})))
            snapshot = Reader(shelf.blobs, shelf.files).at(snapshot.manifest.number)
    assert told == expected


@given(indexes, st.sampled_from(["modality=A", "modality!=A", "ageYears>=40"]))
def test_a_list_is_of_what_meets_the_conditions(shelf, text):
    snapshot, conditions = snapshot_of(shelf), Conditions(filters=(parse_filter(text),))
    page = list_series(ListRequest(conditions=conditions, top=1000), SnapshotIndex(snapshot))
    met = {hit.key for hit in listing(snapshot, select(snapshot, conditions))}
    assert {hit.key for hit in page.hits} == met
    assert (page.count, page.token) == (len(met), None)


@pytest.mark.parametrize("field", SORTED_BY)
def test_an_order_is_written_as_its_field(field):
    snapshot, selection = _all_of(shelf_of([{field: None}, {}]))
    for text in (field, f"-{field}"):
        assert str(parse_sort(text)) == text
        assert len(first_sorted(snapshot, selection, parse_sort(text), 5)) == 2


def _all_of(shelf):
    snapshot = snapshot_of(shelf)
    return snapshot, select(snapshot)


@pytest.mark.parametrize("text", ["", "-", "--modality", "flags", "x", "bodypart", "evidence"])
def test_what_cannot_be_sorted_by_is_refused(text):
    with pytest.raises(InvalidInputError, match="sort by one of"):
        parse_sort(text)


def test_a_token_is_good_for_its_list_only():
    snapshot = snapshot_of(shelf_of([{}] * 3))
    token = list_series(ListRequest(top=1), SnapshotIndex(snapshot)).token
    more = ListRequest(top=2, token=token)  # the size of a page may change
    assert [hit.key for hit in list_series(more, SnapshotIndex(snapshot)).hits] == ["s001", "s002"]
    filters = (parse_filter("sex=F"),)
    for other in (
        ListRequest(token=token, sort=Sort(field="studyDate")),
        ListRequest(token=token, conditions=Conditions(filters=filters)),
        ListRequest(token=f"{token}x"),
        ListRequest(top=0),
        ListRequest(top=100_001),
    ):
        with pytest.raises(InvalidInputError):
            list_series(other, SnapshotIndex(snapshot))
    shelf = shelf_of([{}] * 3)
    shelf.add("another")
    with pytest.raises(InvalidInputError, match="belongs to manifest"):
        list_series(more, SnapshotIndex(snapshot_of(shelf)))


def test_behind_a_series_that_was_erased_nothing_is_known():
    snapshot, selection = _all_of(shelf_of([{}] * 3))
    with pytest.raises(ManifestExpiredError, match="first page"):
        first_sorted(snapshot, selection, NEWEST_FIRST, 1, after="erased")


def test_a_token_says_nothing_but_the_series_told_last():
    snapshot = snapshot_of(shelf_of([{"patientKey": "p1"}, {"patientKey": "p2"}]))
    request = ListRequest(sort=Sort(field="patientKey"), top=1)
    token = list_series(request, SnapshotIndex(snapshot)).token
    expected = Cursor(manifest=snapshot.manifest.number, n_before=1, score=0.0, key="s000")
    assert cursor_of(token, request._digest) == expected
