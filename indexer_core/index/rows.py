"""Index rows: what a segment says of each series, and the file that holds them.

Rows are totally ordered by (revision, recipe, write id); of one series the highest wins, so
appends commute. A row with ``alive`` false is a tombstone. The fields of the series record that
filters use are typed columns. The whole record, the facts behind it and the URLs of its blobs are
packed row by row beside them (`indexer_core.index.packing`), so that opening a file reads none of
them and showing a hit reads one.

Format 2 is an Arrow file, used where it lies in memory or on disk. Format 1, a Parquet file with
the texts in plain columns, is still read.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError
from indexer_core.index.keys import KeyIndex, key_index
from indexer_core.index.packing import (
    Packer,
    dictionary_from_bytes,
    dictionary_of,
    dictionary_to_bytes,
    restored,
    sampled,
    substituted,
    unpack,
)
from indexer_core.ports import Buffer

FORMAT_VERSION = 2

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

_PLAIN = pa.schema(
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
    ]
)
# Nearly every row has a value of its own; of other texts, few are shared by many rows.
_UNIQUE = frozenset({"seriesKey", "digest", "seriesInstanceUid", "studyInstanceUid", "patientKey"})
_SHARED = pa.dictionary(pa.int32(), pa.string())
_PACKED = ("record", "facts", "blobs")
_OWN = ("seriesKey", "seriesInstanceUid", "studyInstanceUid", "patientKey")
_IDENTITY = (
    *("seriesKey", "revision", "recipe", "writeId", "digest", "alive"),
    *("textCount", "imageCount"),
)
_PARQUET = b"PAR1"
_JSON = json.JSONDecoder()
_TEXTS = '"texts":'


def _stored_type(field: pa.Field) -> pa.DataType:
    if pa.types.is_list(field.type):
        return pa.list_(_SHARED)
    is_shared = pa.types.is_string(field.type) and field.name not in _UNIQUE
    return _SHARED if is_shared else field.type


# `keyHash` is in ascending order with the rows beside it in `keyRow`: see `KeyIndex`.
_SCHEMA = pa.schema(
    [
        *(pa.field(field.name, _stored_type(field)) for field in _PLAIN),
        *((name, pa.large_binary()) for name in _PACKED),
        ("keyHash", pa.uint64()),
        ("keyRow", pa.int32()),
    ]
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


def rows_to_bytes(rows: Iterable[IndexRow]) -> bytes:
    """The rows file of rows in the given order."""
    rows = list(rows)
    cells = [_cells(row) for row in rows]
    own = [[cell[name] for name in _OWN] for cell in cells]

    def packable(name: str) -> "_Packable":
        def text_of(row: int) -> bytes | None:
            value = getattr(rows[row], name)
            return None if value in (None, ()) else substituted(_json(value), own[row])

        return text_of

    plain = {name: [cell[name] for cell in cells] for name in _PLAIN.names}
    columns = pa.table(plain, schema=_PLAIN)
    return _to_bytes(columns, {name: packable(name) for name in _PACKED})


def table_of_rows(rows: Sequence[IndexRow]) -> pa.Table:
    """The same as a table in memory, for rows that are looked at once: nothing is packed."""
    cells = [_cells(row) for row in rows]
    plain = {name: [cell[name] for cell in cells] for name in _PLAIN.names}
    texts = {
        "record": [None if row.record is None else _json(row.record) for row in rows],
        "facts": [None if row.facts is None else _json(row.facts) for row in rows],
    }
    table = pa.table(plain, schema=_PLAIN)
    for name, values in texts.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    blobs = pa.array([list(row.blobs) for row in rows], pa.list_(pa.string()))
    return table.append_column("blobs", blobs).replace_schema_metadata({"format_version": "1"})


def concatenate_rows(
    parts: Sequence[tuple[pa.Table, NDArray[np.int64]]], order: NDArray[np.int64] | None = None
) -> bytes:
    """One rows file of the given rows of several, in that order, at least one part.

    No row is parsed. Beside the inputs, which may be mapped, it holds three times the result.

    Parameters
    ----------
    parts
        Tables from `table_of`, of any format version, each with row numbers int64 (n,).
    order
        With it, row i of the file is number order[i] of all that the parts give.
    """
    columns = pa.concat_tables([_taken(table, rows) for table, rows in parts]).combine_chunks()
    texts = [RowTexts(table) for table, _ in parts]
    numbers = np.repeat(np.arange(len(parts)), [len(rows) for _, rows in parts])
    within = np.concatenate([rows for _, rows in parts])
    if order is not None:
        columns, numbers, within = columns.take(pa.array(order)), numbers[order], within[order]

    def packable(name: str) -> "_Packable":
        return lambda row: texts[numbers[row]].substituted(name, int(within[row]))

    return _to_bytes(columns, {name: packable(name) for name in _PACKED})


_Packable = Callable[[int], bytes | None]
"""Gives the text of a row as it is to be packed, None where there is none."""


def table_of(data: Buffer, name: str) -> pa.Table:
    """The Arrow table of a rows file; it lies in `data`, which must not change.

    Raises
    ------
    CorruptIndexError
        It cannot be read, or its format is newer than this software.
    """
    try:
        table = _read(data)
        version = _version(table)
        table.validate()
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise CorruptIndexError(f"{name}: not a rows file") from error
    if not 1 <= version <= FORMAT_VERSION:
        raise CorruptIndexError(
            f"{name}: format_version {version} is not readable by this software"
        )
    if version == FORMAT_VERSION and not table.schema.equals(_SCHEMA):
        raise CorruptIndexError(f"{name}: not a rows file")
    return table


def key_index_of(table: pa.Table) -> KeyIndex:
    """The hashes of the series keys."""
    if _version(table) == 1:
        return key_index(table.column("seriesKey").to_pylist())
    return KeyIndex(hashes=numbers_of(table, "keyHash"), rows=numbers_of(table, "keyRow"))


def numbers_of(table: pa.Table, name: str) -> NDArray[Any]:
    """A column of numbers without gaps as an array, which lies where the table lies."""
    values: NDArray[Any] = column_of(table, name).to_numpy(zero_copy_only=True)
    return values


def column_of(table: pa.Table, name: str) -> pa.Array:
    """A column in one piece."""
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


class RowTexts:
    """The rows of a table with their packed texts, one at a time; safe for several threads."""

    def __init__(self, table: pa.Table) -> None:
        self._columns = {name: column_of(table, name) for name in (*_PACKED, *_OWN, *_IDENTITY)}
        self._version = _version(table)
        self._dictionaries = {}
        if self._version > 1:
            metadata = table.schema.metadata
            self._dictionaries = {
                name: dictionary_from_bytes(metadata[name.encode()]) for name in _PACKED
            }

    def row(self, row: int) -> IndexRow:
        """The whole row."""
        cells = [self._columns[name][row].as_py() for name in _IDENTITY]
        key, revision, recipe, write_id, digest, alive, text_count, image_count = cells
        return IndexRow(
            series_key=key,
            revision=revision,
            recipe=recipe,
            write_id=write_id,
            digest=digest,
            alive=alive,
            record=self.record(row),
            facts=self.facts(row),
            blobs=self.blobs(row),
            text_count=text_count,
            image_count=image_count,
        )

    def record(self, row: int) -> dict[str, Any] | None:
        """The record; None of a tombstone."""
        return self._mapping("record", row)

    def facts(self, row: int) -> dict[str, Any] | None:
        """The facts; None of a tombstone."""
        return self._mapping("facts", row)

    def blobs(self, row: int) -> tuple[str, ...]:
        """URLs of the blobs."""
        text = self._text("blobs", row)
        return () if text is None else tuple(json.loads(text))

    def texts(self, row: int) -> tuple[str, ...]:
        """The texts of the record, at a fraction of the cost of the whole."""
        text = self._text("record", row)
        if text is None:
            return ()
        # Inside a string its quotes would be escaped, and no other object has such a key.
        place = text.find(_TEXTS)
        return () if place < 0 else tuple(_JSON.raw_decode(text, place + len(_TEXTS))[0])

    def substituted(self, name: str, row: int) -> bytes | None:
        """A text as it was packed."""
        stored = self._columns[name][row].as_py()
        if stored is None:
            return None
        if self._version > 1:
            return unpack(stored, self._dictionaries[name])
        text = stored if name != "blobs" else _json(stored)
        return substituted(text, [self._columns[own][row].as_py() for own in _OWN])

    def _mapping(self, name: str, row: int) -> dict[str, Any] | None:
        text = self._text(name, row)
        return None if text is None else dict(json.loads(text))

    def _text(self, name: str, row: int) -> str | None:
        text = self.substituted(name, row)
        if text is None:
            return None
        return restored(text, lambda number: self._columns[_OWN[number]][row].as_py())


def record_at(table: pa.Table, index: int) -> dict[str, Any]:
    """The record of row `index`, {} of a tombstone; without the cost of the rest of the row."""
    return RowTexts(table).record(index) or {}


def row_at(table: pa.Table, index: int) -> IndexRow:
    """Row `index` of a rows table."""
    return RowTexts(table).row(index)


def rows_of(table: pa.Table) -> Sequence[IndexRow]:
    """All rows of a rows table, in order."""
    texts = RowTexts(table)
    return [texts.row(index) for index in range(table.num_rows)]


def _read(data: Buffer) -> pa.Table:
    buffer = pa.py_buffer(data)
    if bytes(memoryview(data)[: len(_PARQUET)]) == _PARQUET:
        return pq.read_table(pa.BufferReader(buffer))
    return pa.ipc.open_file(buffer).read_all()


def _version(table: pa.Table) -> int:
    return int((table.schema.metadata or {}).get(b"format_version", b"0"))


def _taken(table: pa.Table, rows: NDArray[np.int64]) -> pa.Table:
    """What is not packed of some rows, in plain columns: no value of another row is left."""
    taken = table.select(_PLAIN.names).take(pa.array(rows, type=pa.int64()))
    return pa.table([_plain(column_of(taken, name)) for name in _PLAIN.names], schema=_PLAIN)


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_list(column.type):
        return pa.ListArray.from_arrays(column.offsets, _plain(column.values))
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _shared(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    if pa.types.is_list(wanted):
        return pa.ListArray.from_arrays(column.offsets, _shared(column.values, wanted.value_type))
    return column.dictionary_encode() if pa.types.is_dictionary(wanted) else column


def _to_bytes(columns: pa.Table, packable: Mapping[str, _Packable]) -> bytes:
    """The file of plain columns and texts."""
    arrays = [_shared(column_of(columns, name), _SCHEMA.field(name).type) for name in _PLAIN.names]
    metadata = {b"format_version": str(FORMAT_VERSION).encode()}
    for name in _PACKED:
        dictionary, packed = _packed(packable[name], columns.num_rows)
        arrays.append(packed)
        metadata[name.encode()] = dictionary_to_bytes(dictionary)
    keys = key_index(columns.column("seriesKey").to_pylist())
    arrays += [pa.array(keys.hashes), pa.array(keys.rows)]
    table = pa.table(arrays, schema=_SCHEMA.with_metadata(metadata))
    buffer = io.BytesIO()
    with pa.ipc.new_file(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _packed(text_of: _Packable, n_rows: int) -> tuple[bytes, pa.Array]:
    samples = {row: text_of(row) for row in sampled(n_rows)}
    present = [text for text in samples.values() if text is not None]
    dictionary = dictionary_of(present, n_rows)
    packer = Packer(dictionary)
    texts = (samples[row] if row in samples else text_of(row) for row in range(n_rows))
    packed = (None if text is None else packer.pack(text) for text in texts)
    return dictionary, pa.array(packed, type=pa.large_binary())


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
    }


def _number(value: float | None) -> float | None:
    return None if value is None else float(value)


def _json(value: Mapping[str, Any] | Sequence[str] | None) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
