"""Points as arrays: the records of the map's series are the oracle, facets that of the names."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.points import PointsRequest, matches, points
from indexer_core.facets import BANDS, FACETS, count_facets
from indexer_core.filters import parse_filter
from indexer_core.index.loaded import LiveSegment
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import BOOL_FIELDS, LIST_FIELDS
from indexer_core.index.segment import SegmentWriter
from indexer_core.point_changes import every_point
from indexer_core.point_columns import OTHER, coded_column
from indexer_core.search import listing, record_of
from indexer_core.selection import Conditions, select
from tests.support.many_series import add_series, any_record, known
from tests.support.points import parse_points
from tests.support.segments import PROJECTION
from tests.support.shelf import Shelf

SCOPES = st.sampled_from([None, frozenset({"here"}), frozenset({"there"}), frozenset()])
_FLAGS = st.lists(
    st.sampled_from(["localizer", "Localizer", "headerPixelDisagreement"]), max_size=3
)
RECORDS = st.lists(st.builds(lambda said, flags: {**said, "flags": flags}, any_record, _FLAGS))


def key_of(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def snapshot_of(records, n_segments: int = 2, strange: int = 3):
    """Every n-th of the series is one that the map does not know."""
    shelf = Shelf()
    keyed = {key_of(number): said for number, said in enumerate(records)}
    for part in range(n_segments):
        keys = list(keyed)[part::n_segments]
        if keys:
            add_series(shelf, {key: keyed[key] for key in keys}, provisional=keys[::strange])
    return Reader(shelf.blobs, shelf.files).refresh()


def told(snapshot, *columns: str, scopes=None):
    return parse_points(points(PointsRequest(columns=columns, scopes=scopes), snapshot).data)


def names_of(snapshot, scopes, field: str) -> dict[str, str]:
    """How the facets of all that may be seen spell each value."""
    found = count_facets(snapshot, Conditions(scopes=scopes), [field], most=1000)[0]
    return {each.value.lower(): each.value for each in found.values}


def expected(record: Mapping[str, Any], field: str, names: Mapping[str, str]) -> str | None:
    """What a column has to say of a record."""
    value = known(record, field)
    if field in LIST_FIELDS:
        items = sorted({item.lower() for item in value or ()})
        empty = None if field == "sequence" else "none"
        return ", ".join(names[item] for item in items) or empty
    if value is None:
        return None
    if field in BANDS:
        bands = BANDS[field]
        return bands.names[sum(edge <= value for edge in bands.edges)]
    if field in BOOL_FIELDS:
        return str(value).lower()
    if field == "bodyPart":
        value = value["term"]
    return names[value[:4].lower() if field == "studyDate" else value.lower()]


@settings(max_examples=60)
@given(
    RECORDS, st.integers(1, 3), SCOPES, st.lists(st.sampled_from(FACETS), max_size=8, unique=True)
)
def test_points_are_those_of_the_records(records, n_segments, scopes, columns):
    snapshot = snapshot_of(records, n_segments)
    file = told(snapshot, *columns, scopes=scopes)
    names = {field: names_of(snapshot, scopes, field) for field in columns}
    found = {}
    for hit in listing(snapshot, select(snapshot, Conditions(scopes=scopes))):
        record = record_of(hit, snapshot)
        flags = ("provisional" in record["flags"]) + 2 * (
            "headerPixelDisagreement" in record["flags"]
        )
        found[hit.key[:16]] = (
            record["x"],
            record["y"],
            flags,
            *(expected(record, field, names[field]) for field in sorted(columns)),
        )
    assert file.points() == found
    assert file.ids == sorted(file.ids)
    head = file.head
    assert (head["total"], head["unplaced"], head["since"]) == (len(found), 0, None)
    assert head["manifest"] == snapshot.manifest.number
    assert head["projectionVersion"] == PROJECTION.version


@given(RECORDS, SCOPES, st.sampled_from(["modality=A", "flags=provisional", "sequence=T1"]))
def test_matches_are_the_series_that_a_listing_has(records, scopes, text):
    snapshot = snapshot_of(records)
    conditions = Conditions(filters=(parse_filter(text),), scopes=scopes)
    found = listing(snapshot, select(snapshot, conditions))
    assert parse_points(matches(conditions, snapshot).data).ids == [hit.key[:16] for hit in found]


def test_one_value_has_one_name_whatever_is_not_on_the_map_or_not_seen():
    said = [("here", "Ge"), ("here", "GE"), ("here", "GE"), *[("there", "ge")] * 5]
    snapshot = snapshot_of([{"scope": scope, "manufacturer": name} for scope, name in said])
    assert told(snapshot, "manufacturer", scopes=frozenset({"here"})).head["columns"] == {
        "manufacturer": ["GE"]
    }
    assert told(snapshot, "manufacturer").head["columns"] == {"manufacturer": ["ge"]}


def test_of_too_many_values_the_rarest_are_others():
    snapshot = snapshot_of([{"model": name} for name in ["a", "b", "b", "c", "c", "c", "d"]])
    seen = every_point(snapshot, None)
    found = coded_column(snapshot, seen.visible.rows, "model", seen.rows, most=2)
    assert found.values == ("b", "c", OTHER)
    assert sorted(found.codes.tolist()) == [0, 0, 1, 1, 1, 2, 2]


def test_an_index_without_a_map_or_without_series_has_no_points():
    snapshot = snapshot_of([])
    file = told(snapshot, "modality", "sequence", "flags", "ageYears", "hasPixels", "studyDate")
    assert file.points() == {}
    assert set(map(tuple, file.head["columns"].values())) == {()}


def test_a_field_that_is_asked_for_twice_is_told_once():
    file = told(snapshot_of([{"modality": "A"}]), "modality", "MODALITY")
    assert [name for name in file.sections if name.startswith("column")] == ["column:modality"]


def test_a_point_whose_place_was_written_anew_is_told_and_no_other():
    shelf = Shelf()
    add_series(shelf, {key_of(number): {} for number in range(3)})
    before = Reader(shelf.blobs, shelf.files).refresh()
    held = before.segments[0]
    points_then = held.loaded.points(PROJECTION.version)
    xy = points_then.xy.copy()
    xy[1] += 1
    file = SegmentWriter(shelf.blobs, shelf.files).write_points("z", replace(points_then, xy=xy))
    mended = replace(held.loaded.segment, coordinates=(file,))
    segment = LiveSegment(loaded=held.loaded.at(mended), live=held.live)
    after = Snapshot(before.manifest, [segment], shelf.files)
    found = parse_points(points(PointsRequest(), after, before).data)
    assert found.points() == {held.loaded.rows.key(1)[:16]: (*xy[1].tolist(), 0)}
    assert found.removed == []
