"""An index over memory of series whose records are given, spread over several segments."""

import datetime as dt
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

from indexer_core.index.commit import Committed
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment
from tests.support.segments import row, write_segment
from tests.support.shelf import Shelf

Record = Mapping[str, Any]

_WORDS = st.sampled_from([None, "", "unknown", "A", "B", "b", "C"])
_LISTS = st.lists(st.sampled_from(["T1", "t1", "FLAIR", "DWI"]), max_size=3)

any_record = st.fixed_dictionaries(
    {
        **dict.fromkeys(("modality", "bodyRegion", "manufacturer", "model", "sex"), _WORDS),
        **dict.fromkeys(("sequence", "flags"), _LISTS),
        "scope": st.sampled_from(["here", "there"]),
        "studyInstanceUid": st.sampled_from(["1.1", "1.2", "1.3", ""]),
        "patientKey": st.sampled_from(["p1", "p2", None]),
        "hasPixels": st.sampled_from([True, False, None]),
        "ageYears": st.none() | st.integers(0, 90).map(float),
        "sliceThicknessMm": st.sampled_from([None, 0.5, 1.0, 1.25, 3.0, 10.0, 12.0]),
        "fieldStrengthT": st.sampled_from([None, 0.2, 1.5, 3.0, 7.0]),
        "instances": st.integers(0, 2000),
        "studyDate": st.none() | st.dates(dt.date(2018, 1, 1)).map(str),
    }
)


def add_series(
    shelf: Shelf,
    records: Mapping[str, Record],
    *,
    revision: int = 1,
    alive: bool = True,
    provisional: Collection[str] = (),
) -> None:
    """Commit a segment of series with these records, or of their tombstones.

    `provisional`: keys of those that the map does not know.
    """
    write_id = shelf.ids.new_id()
    rows = [
        row(key, revision, write_id, record=record, alive=alive) for key, record in records.items()
    ]
    writer = SegmentWriter(shelf.blobs, shelf.files)
    segment = write_segment(writer, write_id, rows, provisional=provisional)
    assert isinstance(shelf.commit(AddSegment(segment=segment)), Committed)


def shelf_of(records: Sequence[Record], n_segments: int = 2) -> Shelf:
    """An index of series ``s000``, ``s001``, ... with these records."""
    shelf = Shelf()
    numbered = {f"s{number:03}": record for number, record in enumerate(records)}
    for part in range(n_segments):
        keys = list(numbered)[part::n_segments]
        if keys:
            add_series(shelf, {key: numbered[key] for key in keys})
    return shelf


def known(record: Record, field: str) -> Any:
    """What a record says of a field, None where it is unknown."""
    value = record.get(field)
    return None if value in ("", "unknown") else value


def live_records(snapshot: Snapshot) -> dict[str, dict[str, Any]]:
    """The records that count, by key."""
    return {
        segment.loaded.rows.key(number): segment.loaded.rows.texts.record(number) or {}
        for segment, number in snapshot.rows()
    }
