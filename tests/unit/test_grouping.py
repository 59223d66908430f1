"""Hits by study and patient, judged against plain Python over the records."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.pages import PageRequest, conditions_json, cursor_of_page, level_of, page_json
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.grouping import Level, count_groups, grouped
from indexer_core.index.reader import Reader
from indexer_core.paging import page_of
from indexer_core.search import search_text
from indexer_core.selection import ANYTHING, Conditions, select
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.many_series import any_record, known, live_records, shelf_of
from tests.support.segments import TEXT_DIMENSION, unit_vectors

QUERY = unit_vectors("q", 1, TEXT_DIMENSION)[0]
FIELDS = {Level.STUDY: "studyInstanceUid", Level.PATIENT: "patientKey"}
FILTERED = Conditions(filters=(parse_filter("modality=A"),))


def snapshot_of(shelf):
    return Reader(shelf.blobs, shelf.files).refresh()


def ranked(snapshot, selection):
    return lambda n: search_text(snapshot, QUERY, selection, n)


def shown(hit):
    return {"seriesKey": hit.key}


def told_page(snapshot, ranking, page, question, conditions=ANYTHING):
    index = SnapshotIndex(snapshot)
    return page_json(index.state, index.select(conditions), ranking, page, question, shown)


def expected(snapshot, selection, level):
    """By group: key of its best series, and of all its selected ones; best group first."""
    records = live_records(snapshot)
    found = {}
    for hit in search_text(snapshot, QUERY, selection, 1000):
        record = records[hit.key]
        name = known(record, FIELDS[level]) if level in FIELDS else None
        group = (record["scope"], name) if name else hit.key
        found.setdefault(group, []).append(hit.key)
    return found


@settings(max_examples=40)
@given(
    st.lists(any_record, max_size=30),
    st.sampled_from(Level),
    st.sampled_from([Conditions(), FILTERED]),
    st.integers(1, 5),
)
def test_pages_by_group_are_the_groups_of_the_records(records, level, conditions, size):
    snapshot = snapshot_of(shelf_of(records))
    selection = select(snapshot, conditions)
    groups = expected(snapshot, selection, level)
    question = conditions_json(conditions)
    told, token = [], None
    while True:
        page = PageRequest(top=size, level=level, token=token)
        answer = told_page(snapshot, ranked(snapshot, selection), page, question, conditions)
        assert answer["count"] == len(groups)
        told += answer["value"]
        token = answer["nextLink"]
        if token is None:
            break
    assert [each["seriesKey"] for each in told] == [keys[0] for keys in groups.values()]
    for each, (group, keys) in zip(told, groups.items(), strict=True):
        if level is Level.SERIES:
            assert set(each) == {"seriesKey"}
        else:
            assert each["groupKey"] == (None if isinstance(group, str) else group[1])
            assert each["groupCount"] == len(keys)
            assert [one["seriesKey"] for one in each["members"]] == sorted(keys)


def test_studies_of_two_scopes_with_one_uid_are_two():
    records = [{"scope": scope, "studyInstanceUid": "1.1"} for scope in ("here", "there")]
    snapshot = snapshot_of(shelf_of(records))
    assert count_groups(snapshot, select(snapshot), Level.STUDY) == 2


def test_groups_are_looked_for_as_deep_as_it_takes():
    records = [{"studyInstanceUid": "1.1" if n else "1.2", "scope": "x"} for n in range(60)]
    snapshot = snapshot_of(shelf_of(records))
    selection = select(snapshot)
    asked = []

    def ranking(n):
        asked.append(n)
        return ranked(snapshot, selection)(n)

    found = page_of(grouped(ranking, Level.STUDY), 1, 5, None)
    assert len(found.items) == 2
    assert found.after is None
    assert max(asked) > 60


def test_a_token_belongs_to_its_level_and_question():
    snapshot = snapshot_of(shelf_of([{}] * 5))
    selection = select(snapshot)
    ranking = ranked(snapshot, selection)
    page = PageRequest(top=2)
    token = told_page(snapshot, ranking, page, {"a": 1})["nextLink"]
    cursor = cursor_of_page(PageRequest(top=3, token=token), {"a": 1})
    assert cursor.manifest == snapshot.manifest.number
    for other in (
        (PageRequest(token=token, level=Level.STUDY), {"a": 1}),
        (PageRequest(token=token), {"a": 2}),
    ):
        with pytest.raises(InvalidInputError, match="another question"):
            cursor_of_page(*other)


def test_a_page_is_never_told_from_another_manifest():
    shelf = shelf_of([{}] * 5)
    snapshot = snapshot_of(shelf)
    selection = select(snapshot)
    ranking = ranked(snapshot, selection)
    token = told_page(snapshot, ranking, PageRequest(top=2), {})["nextLink"]
    shelf.add("another")
    later = snapshot_of(shelf)
    with pytest.raises(InvalidInputError, match="belongs to manifest"):
        told_page(later, ranking, PageRequest(token=token), {})


def test_levels_are_named():
    assert level_of(" Study") is Level.STUDY
    with pytest.raises(InvalidInputError, match="series, study, patient"):
        level_of("image")
    with pytest.raises(InvalidInputError):
        PageRequest(top=0).check()
