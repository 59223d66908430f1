"""Series records as files: CSV, NDJSON and Parquet, their columns the same whatever they hold."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

_AT_ONCE = 5_000
_json = json.JSONEncoder(ensure_ascii=False).encode  # made once: there may be millions of cells
_TEXTS = "string"
COLUMNS = {
    "seriesKey": _TEXTS,
    "scope": _TEXTS,
    "seriesInstanceUid": _TEXTS,
    "studyInstanceUid": _TEXTS,
    "revision": "int64",
    "modality": _TEXTS,
    "headerModality": _TEXTS,
    "bodyRegion": _TEXTS,
    "bodyPart": "json",
    "plane": _TEXTS,
    "sequence": "list",
    "contrast": _TEXTS,
    "instances": "int64",
    "frames": "int64",
    "hasPixels": "bool",
    "sliceThicknessMm": "float64",
    "fieldStrengthT": "float64",
    "manufacturer": _TEXTS,
    "model": _TEXTS,
    "ageYears": "float64",
    "sex": _TEXTS,
    "studyDate": _TEXTS,
    "patientKey": _TEXTS,
    "descriptions": "list",
    "texts": "list",
    "flags": "list",
    "evidence": "json",
    "x": "float64",
    "y": "float64",
    "projectionVersion": _TEXTS,
    "blobs": "list",
}
"""The keys of DESIGN section 5a in their order, with what a column of a file holds."""

HIT_COLUMNS = (
    "seriesInstanceUid",
    "studyInstanceUid",
    "score",
    "why",
    *(
        name
        for name in COLUMNS
        if name not in ("seriesInstanceUid", "studyInstanceUid", "texts", "evidence", "blobs")
    ),
)
"""Columns of what a search finds: in files, why it was found is JSON."""

RECORD_COLUMNS = tuple(name for name in COLUMNS if name != "blobs")
"""Columns of records that are shown to others: without the places of the files."""

FORMATS: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
"""Media types of the files."""


def file_of(records: Iterable[Mapping[str, Any]], names: Sequence[str], form: str) -> bytes:
    """A file of these columns, in one of `FORMATS`; it keeps few of the records at once."""
    if form == "parquet":
        return _parquet(records, names)
    buffer = io.BytesIO()
    text = io.TextIOWrapper(buffer, "utf-8", newline="")
    if form == "csv":
        write_csv(records, names, text)
    else:
        for record in records:
            text.write(_json({name: record.get(name) for name in names}) + "\n")
    text.flush()
    return buffer.getvalue()


def write_csv(records: Iterable[Mapping[str, Any]], names: Sequence[str], target: Any) -> None:
    """Records as CSV that a spreadsheet can open without running any of it."""
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        writer.writerow([_cell(record.get(name)) for name in names])


def _cell(value: Any) -> Any:
    text = _json(value) if isinstance(value, list | dict) else value
    # A spreadsheet runs a cell that begins like a formula; header text is not ours to trust.
    if isinstance(text, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{text}"
    return text


def _parquet(records: Iterable[Mapping[str, Any]], names: Sequence[str]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "string": pa.string(),
        "json": pa.string(),
        "int64": pa.int64(),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "list": pa.list_(pa.string()),
    }
    holds = {**COLUMNS, "score": "float64", "why": "json"}
    schema = pa.schema([(name, types[holds[name]]) for name in names])
    plain = (
        {
            name: _json(value) if isinstance(value, dict) else value
            for name, value in record.items()
            if name in names
        }
        for record in records
    )
    buffer = io.BytesIO()
    with pq.ParquetWriter(buffer, schema) as writer:
        while some := list(islice(plain, _AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=schema))
    return buffer.getvalue()
