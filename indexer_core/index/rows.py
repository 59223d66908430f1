"""Index rows: what a segment says of each series, and their Parquet form.

Rows are totally ordered by (revision, recipe, write id); of one series the highest wins, so
appends commute. A row with ``alive`` false is a tombstone. The typed columns are the fields of the
series record that filters use; the whole record and the facts behind it are JSON beside them.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from indexer_core.errors import CorruptIndexError

FORMAT_VERSION = 1

STRING_FIELDS = (
    "scope",
    "seriesInstanceUid",
    "studyInstanceUid",
    "modality",
    "headerModality",
    "bodyRegion",
    "bodyPart",
    "plane",
    "contrast",
    "manufacturer",
    "model",
    "sex",
    "studyDate",
    "patientKey",
)
NUMBER_FIELDS = ("sliceThicknessMm", "fieldStrengthT", "ageYears")
COUNT_FIELDS = ("instances", "frames")
BOOL_FIELDS = ("hasPixels",)
LIST_FIELDS = ("sequence", "flags")

_SCHEMA = pa.schema(
    [
        ("seriesKey", pa.string()),
        ("revision", pa.int64()),
        ("recipe", pa.int64()),
        ("writeId", pa.string()),
        ("digest", pa.string()),
        ("alive", pa.bool_()),
        ("textCount", pa.int32()),
        ("imageCount", pa.int32()),
        *((name, pa.string()) for name in STRING_FIELDS),
        *((name, pa.float64()) for name in NUMBER_FIELDS),
        *((name, pa.int64()) for name in COUNT_FIELDS),
        *((name, pa.bool_()) for name in BOOL_FIELDS),
        *((name, pa.list_(pa.string())) for name in LIST_FIELDS),
        ("record", pa.string()),
        ("facts", pa.string()),
        ("blobs", pa.list_(pa.string())),
    ],
    metadata={"format_version": str(FORMAT_VERSION)},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRow:
    """One row of the index.

    Parameters
    ----------
    digest
        Content digest of the series at this revision.
    record
        The series record without coordinates (those have files of their own); None in a tombstone.
    facts
        Series facts as JSON, from which new rules and templates can be applied; None likewise.
    blobs
        URLs of the blobs of the series, unused duplicates included.
    text_count, image_count
        Vectors of the row in the text and image spaces.
    """

    series_key: str
    revision: int
    recipe: int
    write_id: str
    digest: str
    alive: bool
    record: Mapping[str, Any] | None = None
    facts: Mapping[str, Any] | None = None
    blobs: tuple[str, ...] = ()
    text_count: int = 0
    image_count: int = 0

    @property
    def order(self) -> tuple[int, int, str]:
        """Place in the total order of the rows of one series."""
        return (self.revision, self.recipe, self.write_id)


def rows_to_parquet(rows: Iterable[IndexRow]) -> bytes:
    """Parquet bytes of rows in the given order."""
    columns: dict[str, list[Any]] = {name: [] for name in _SCHEMA.names}
    for row in rows:
        for name, value in _cells(row).items():
            columns[name].append(value)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns, schema=_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()


def table_of(data: bytes, name: str) -> pa.Table:
    """The Arrow table of a rows file.

    Raises
    ------
    CorruptIndexError
        It cannot be read, or its format is newer than this software.
    """
    try:
        table = pq.read_table(pa.BufferReader(data))
        version = int((table.schema.metadata or {}).get(b"format_version", b"0"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CorruptIndexError(f"{name}: not a rows file") from error
    if not 1 <= version <= FORMAT_VERSION:
        raise CorruptIndexError(
            f"{name}: format_version {version} is not readable by this software"
        )
    return table


def row_at(table: pa.Table, index: int) -> IndexRow:
    """Row `index` of a rows table."""
    return rows_of(table.slice(index, 1))[0]


def record_at(table: pa.Table, index: int) -> dict[str, Any]:
    """The record of row `index`, {} of a tombstone; without the cost of the rest of the row."""
    stored = table.column("record")[index].as_py()
    return {} if stored is None else dict(json.loads(stored))


def rows_of(table: pa.Table) -> Sequence[IndexRow]:
    """All rows of a rows table, in order."""
    names = (
        "seriesKey",
        "revision",
        "recipe",
        "writeId",
        "digest",
        "alive",
        "record",
        "facts",
        "blobs",
        "textCount",
        "imageCount",
    )
    columns = [table.column(name).to_pylist() for name in names]
    return [
        IndexRow(
            series_key=key,
            revision=revision,
            recipe=recipe,
            write_id=write_id,
            digest=digest,
            alive=alive,
            record=None if record is None else json.loads(record),
            facts=None if facts is None else json.loads(facts),
            blobs=tuple(blobs or ()),
            text_count=text_count,
            image_count=image_count,
        )
        for (
            key,
            revision,
            recipe,
            write_id,
            digest,
            alive,
            record,
            facts,
            blobs,
            text_count,
            image_count,
        ) in zip(*columns, strict=True)
    ]


def _cells(row: IndexRow) -> dict[str, Any]:
    record = row.record or {}
    part = record.get("bodyPart") or {}
    return {
        "seriesKey": row.series_key,
        "revision": row.revision,
        "recipe": row.recipe,
        "writeId": row.write_id,
        "digest": row.digest,
        "alive": row.alive,
        "textCount": row.text_count,
        "imageCount": row.image_count,
        **{name: record.get(name) for name in STRING_FIELDS if name != "bodyPart"},
        "bodyPart": part.get("term") if isinstance(part, Mapping) else part,
        **{name: _number(record.get(name)) for name in NUMBER_FIELDS},
        **{name: record.get(name) for name in COUNT_FIELDS},
        **{name: record.get(name) for name in BOOL_FIELDS},
        **{name: list(record.get(name) or ()) for name in LIST_FIELDS},
        "record": None if row.record is None else _json(row.record),
        "facts": None if row.facts is None else _json(row.facts),
        "blobs": list(row.blobs),
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
