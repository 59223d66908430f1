"""Points of the map as columns: the records are the oracle."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.map_points import MapPointsRequest, map_points, map_points_arrow
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.index.reader import Reader
from indexer_core.search import listing, record_of
from indexer_core.selection import Conditions, select
from tests.support.many_series import add_series, any_record, shelf_of
from tests.support.segments import PROJECTION

FILTERED = Conditions(filters=(parse_filter("modality=A"),))


def snapshot_of(shelf):
    return Reader(shelf.blobs, shelf.files).refresh()


def expected(snapshot, conditions):
    found = {}
    for hit in listing(snapshot, select(snapshot, conditions)):
        record = record_of(hit, snapshot)
        found[hit.key] = (
            record["seriesInstanceUid"],
            record["x"],
            record["y"],
            record["modality"] or "unknown",
            record["bodyRegion"] or "unknown",
            "provisional" in record["flags"],
        )
    return found


def told(answer):
    modality, region = answer["modality"], answer["bodyRegion"]
    provisional = set(answer["provisional"])
    return {
        key: (
            answer["uids"][n],
            pytest.approx(answer["x"][n], abs=1e-4),
            pytest.approx(answer["y"][n], abs=1e-4),
            modality["values"][modality["codes"][n]],
            region["values"][region["codes"][n]],
            n in provisional,
        )
        for n, key in enumerate(answer["keys"])
    }


@settings(max_examples=40)
@given(
    st.lists(any_record, max_size=25),
    st.integers(1, 3),
    st.sampled_from([Conditions(), FILTERED]),
)
def test_points_are_those_of_the_records(records, n_segments, conditions):
    snapshot = snapshot_of(shelf_of(records, n_segments))
    request = MapPointsRequest(conditions=conditions)
    answer = json.loads(json.dumps(map_points(request, snapshot)))
    assert expected(snapshot, conditions) == told(answer)
    assert answer["count"] == len(answer["keys"])
    assert (answer["isSample"], answer["unplaced"]) == (False, 0)
    assert answer["manifest"] == snapshot.manifest.number
    assert answer["projectionVersion"] == PROJECTION.version

    table = pa.ipc.open_stream(map_points_arrow(request, snapshot)).read_all()
    assert table.column("key").to_pylist() == answer["keys"]
    assert np.round(table.column("x").to_numpy().astype(float), 4).tolist() == answer["x"]
    modality = answer["modality"]
    assert table.column("modality").to_pylist() == [
        modality["values"][code] for code in modality["codes"]
    ]
    said = {name.decode(): value.decode() for name, value in table.schema.metadata.items()}
    assert said == {
        "projectionVersion": PROJECTION.version,
        "manifest": str(snapshot.manifest.number),
        "count": str(answer["count"]),
        "isSample": "false",
        "unplaced": "0",
    }


def test_a_sample_is_even_says_that_it_is_one_and_hardly_changes():
    records = [{"modality": "CT" if n % 4 else "MR"} for n in range(400)]
    shelf = shelf_of(records, 3)
    sample = map_points(MapPointsRequest(most=100), snapshot_of(shelf))
    assert sample["isSample"]
    assert (sample["count"], len(sample["keys"]), len(set(sample["keys"]))) == (400, 100, 100)
    codes = [sample["modality"]["values"][code] for code in sample["modality"]["codes"]]
    assert 10 <= codes.count("MR") <= 40  # 25 is even
    smaller = map_points(MapPointsRequest(most=10), snapshot_of(shelf))
    assert set(smaller["keys"]) <= set(sample["keys"])
    add_series(shelf, {f"more{n}": {} for n in range(20)})
    later = map_points(MapPointsRequest(most=100), snapshot_of(shelf))
    assert len(set(later["keys"]) & set(sample["keys"])) >= 85


def test_json_is_bounded_and_arrow_is_not(monkeypatch):
    monkeypatch.setattr("function_app.map_points.MAX_POINTS_JSON", 5)
    snapshot = snapshot_of(shelf_of([{}] * 12))
    answer = map_points(MapPointsRequest(), snapshot)
    assert (len(answer["keys"]), answer["count"], answer["isSample"]) == (5, 12, True)
    assert len(map_points(MapPointsRequest(most=9), snapshot)["keys"]) == 5
    data = map_points_arrow(MapPointsRequest(), snapshot)
    assert pa.ipc.open_stream(data).read_all().num_rows == 12


def test_strangers_are_told_by_their_places():
    shelf = shelf_of([{}] * 5)
    add_series(shelf, {f"new{n}": {} for n in range(6)}, provisional=["new1", "new4"])
    snapshot = snapshot_of(shelf)
    answer = map_points(MapPointsRequest(), snapshot)
    assert {answer["keys"][place] for place in answer["provisional"]} == {"new1", "new4"}
    table = pa.ipc.open_stream(map_points_arrow(MapPointsRequest(), snapshot)).read_all()
    strange = table.filter(table.column("provisional")).column("key").to_pylist()
    assert set(strange) == {"new1", "new4"}


def test_points_do_not_depend_on_how_segments_lie():
    records = [{"modality": "CT"}] * 30
    some = map_points(MapPointsRequest(), snapshot_of(shelf_of(records, 1)))
    others = map_points(MapPointsRequest(), snapshot_of(shelf_of(records, 4)))
    assert {**some, "manifest": 0} == {**others, "manifest": 0}


def test_without_an_index_there_is_no_map():
    shelf = shelf_of([])
    snapshot = Reader(type(shelf.blobs)(shelf.clock), shelf.files).refresh()
    answer = map_points(MapPointsRequest(), snapshot)
    assert (answer["projectionVersion"], answer["count"], answer["keys"]) == (None, 0, [])
    assert answer["modality"]["codes"] == []
    table = pa.ipc.open_stream(map_points_arrow(MapPointsRequest(), snapshot)).read_all()
    assert table.num_rows == 0


def test_no_points_at_all_cannot_be_asked_for():
    with pytest.raises(InvalidInputError):
        map_points(MapPointsRequest(most=0), snapshot_of(shelf_of([])))
