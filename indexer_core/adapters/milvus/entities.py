"""Rows of segments as entities of the collections, and back.

An entity is a function of what its series is, and of the number of the manifest that it was born
with. Its id says the former: ``KEY@VERSION`` in the `series` collection, ``KEY@VERSION#NUMBER`` in
those of vectors. So writing an entity twice is writing it once, and versions tell, without building
anything, which series need new ones.

`row` is the row as JSON, without its facts and the URLs of its blobs, compressed: what is found is
shown from it. Where that is more than Milvus takes, the evidence is left out; then every value that
is long, and its flags have `SHORTENED`; its texts are cut, because hits name them by number. Texts
that are compared are cut where they are too long.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.adapters.milvus.schema import (
    BORN,
    DIED,
    FOREVER,
    ID,
    IMAGE_COUNT,
    IS_PLACED,
    ITEM,
    KEY,
    MAX_BYTES,
    NUMBER,
    PLACE,
    REVISION,
    ROW,
    SCOPE,
    SHORT_KEY,
    UID,
    VECTOR,
    as_written,
)
from indexer_core.errors import CorruptIndexError
from indexer_core.filters import UNKNOWN
from indexer_core.index.keys import SHORT_DIGITS
from indexer_core.index.loaded import LoadedSegment, OpenedRows
from indexer_core.index.rows import (
    BOOL_FIELDS,
    COUNT_FIELDS,
    LIST_FIELDS,
    NUMBER_FIELDS,
    STRING_FIELDS,
    IndexRow,
)
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.selection import PROVISIONAL

Entity = dict[str, Any]
Rows = NDArray[np.int64]

SHORTENED = "shortened"
"""Flag of a record whose long values Milvus does not take."""
_LONGEST_VALUE = 1_000
_TEXTS = "texts"
_LONGEST_TEXT = 200
_MOST_TEXTS = 32
"""More than there are templates: cut texts alone never are more than Milvus takes."""
_VERSION_DIGITS = 16
_FAST = 1
"""Level of compression: the text is short, and there are many."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Places:
    """Where some rows are on the map.

    xy: float32 (n, 2), 0 where there is no place. is_placed, is_provisional: bool (n,).
    """

    xy: NDArray[np.float32]
    is_placed: NDArray[np.bool_]
    is_provisional: NDArray[np.bool_]


def series_versions(loaded: LoadedSegment, rows: Rows, projection: str | None) -> list[str]:
    """Which version of its series each of some rows is, in the `series` collection.

    Parameters
    ----------
    rows : ndarray of int64, shape (n,)
        Of rows that are alive.
    projection
        Version of the map in force; None where there is none.
    """
    places = _places(loaded, rows, projection)
    at = zip(places.is_placed.tolist(), places.xy.tolist(), strict=True)
    further = [tuple(xy) if is_placed else () for is_placed, xy in at]
    return _versions(loaded, rows, places, further)


def vector_versions(loaded: LoadedSegment, rows: Rows, projection: str | None) -> list[str]:
    """The same in the collections of vectors, where a place on the map is nothing to look at."""
    return _versions(loaded, rows, _places(loaded, rows, projection), [()] * len(rows))


def series_entities(
    loaded: LoadedSegment, rows: Rows, projection: str | None, born: int
) -> list[Entity]:
    """The entities of some rows in the `series` collection: one each.

    Parameters
    ----------
    rows, projection
        As of `series_versions`.
    born
        Number of the manifest that they count from.
    """
    opened, places = loaded.rows, _places(loaded, rows, projection)
    keys = opened.keys_at(rows)
    versions = series_versions(loaded, rows, projection)
    columns = {
        ID: [f"{key}@{version}" for key, version in zip(keys, versions, strict=True)],
        **_filter_fields(opened, rows, places),
        **{as_written(name): _taken(opened, name, rows).to_pylist() for name in STRING_FIELDS},
        **{as_written(name): _joined(_items(opened, name, rows)) for name in LIST_FIELDS},
        ROW: [_packed(opened.texts.row(row)) for row in rows.tolist()],
        REVISION: _taken(opened, REVISION, rows).to_pylist(),
        IS_PLACED: places.is_placed.tolist(),
        PLACE: list(places.xy),
        **_life(len(rows), born),
    }
    return _entities(columns)


def vector_entities(
    loaded: LoadedSegment,
    rows: Rows,
    space: str,
    encoder_id: str,
    projection: str | None,
    born: int,
) -> list[Entity]:
    """The entities of some rows in the `text` or `image` collection: one for every vector.

    Parameters
    ----------
    rows, projection, born
        As of `series_entities`.
    space, encoder_id
        Whose vectors.

    Raises
    ------
    CorruptIndexError
        The segment has no vectors of this encoder.
    """
    opened, places = loaded.rows, _places(loaded, rows, projection)
    counts = loaded.counts(space)[rows].astype(np.int64)
    n_vectors = int(counts.sum())
    owners = np.repeat(np.arange(len(rows)), counts)
    numbers = np.arange(n_vectors) - np.repeat(np.cumsum(counts) - counts, counts)
    keys, versions = opened.keys_at(rows), vector_versions(loaded, rows, projection)
    names = [f"{key}@{version}" for key, version in zip(keys, versions, strict=True)]
    of_rows = _filter_fields(opened, rows, places)
    owned = owners.tolist()
    columns: dict[str, Sequence[Any]] = {
        ID: [f"{names[row]}#{number}" for row, number in zip(owned, numbers.tolist(), strict=True)],
        **{name: [values[row] for row in owned] for name, values in of_rows.items()},
        NUMBER: numbers.tolist(),
        **_life(n_vectors, born),
    }
    if n_vectors:
        first = opened.starts(space)[rows]
        columns[VECTOR] = list(_vectors(loaded, space, encoder_id, first[owners] + numbers))
    return _entities(columns)


def row_of(entity: Mapping[str, Any]) -> IndexRow:
    """The row of an entity of the `series` collection, without facts and blobs.

    Raises
    ------
    CorruptIndexError
        Its `row` is not what `series_entities` writes.
    """
    try:
        said = json.loads(zlib.decompress(base64.b64decode(entity[ROW])))
        return IndexRow(alive=True, **said)
    except (ValueError, TypeError, zlib.error) as error:
        raise CorruptIndexError("an entity of Milvus holds no row") from error


def items_of(joined: str) -> list[str]:
    """The items of a list, as the collections have it."""
    return joined.split(ITEM)[1:-1]


def key_of(entity_id: str) -> str:
    """The series key in the id of an entity."""
    return entity_id.rpartition("@")[0]


def number_of(entity_id: str) -> int:
    """The number of the vector in the id of an entity."""
    return int(entity_id.rpartition("#")[2])


def _versions(
    loaded: LoadedSegment, rows: Rows, places: _Places, further: Sequence[tuple[float, ...]]
) -> list[str]:
    orders = (order for _, order in loaded.rows.ranks(rows))
    said = zip(orders, places.is_provisional.tolist(), further, strict=True)
    return [
        sha256(json.dumps([*order, flag, *more]).encode()).hexdigest()[:_VERSION_DIGITS]
        for order, flag, more in said
    ]


def _places(loaded: LoadedSegment, rows: Rows, projection: str | None) -> _Places:
    xy = np.zeros((len(rows), 2), dtype=np.float32)
    is_placed, is_provisional = (np.zeros(len(rows), dtype=np.bool_) for _ in range(2))
    points = None if projection is None else loaded.points(projection)
    if points is not None:
        is_placed = loaded.counts(IMAGE_SPACE)[rows] > 0
        numbers = loaded.rows.starts(IMAGE_SPACE)[rows[is_placed]]
        xy[is_placed] = points.xy[numbers]
        if points.is_provisional is not None:
            is_provisional[is_placed] = points.is_provisional[numbers]
    return _Places(xy=xy, is_placed=is_placed, is_provisional=is_provisional)


def _filter_fields(opened: OpenedRows, rows: Rows, places: _Places) -> dict[str, list[Any]]:
    """What all three collections hold of some rows but for `_life`, by field."""
    keys = opened.keys_at(rows)
    fields: dict[str, list[Any]] = {
        KEY: keys,
        SHORT_KEY: [key[:SHORT_DIGITS] for key in keys],
        SCOPE: _taken(opened, "scope", rows).to_pylist(),
        UID: _taken(opened, "seriesInstanceUid", rows).to_pylist(),
        IMAGE_COUNT: _taken(opened, IMAGE_COUNT, rows).to_pylist(),
    }
    for name in STRING_FIELDS:
        fields[name] = _compared(_taken(opened, name, rows)).to_pylist()
    for name in (*NUMBER_FIELDS, *COUNT_FIELDS, *BOOL_FIELDS):
        fields[name] = _taken(opened, name, rows).to_pylist()
    flags = _items(opened, "flags", rows, is_lower=True)
    for place in np.flatnonzero(places.is_provisional).tolist():
        flags[place].append(PROVISIONAL)
    fields["flags"] = _joined(flags)
    names = _joined(_items(opened, "sequence", rows, is_lower=True))
    fields["sequence"] = [each or None for each in names]
    return fields


def _life(n: int, born: int) -> dict[str, list[int]]:
    return {BORN: [born] * n, DIED: [FOREVER] * n}


def _taken(opened: OpenedRows, name: str, rows: Rows) -> pa.Array:
    column = opened.column(name).take(pa.array(rows, type=pa.int64()))
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return _cut(column) if pa.types.is_string(column.type) else column


def _compared(texts: pa.Array) -> pa.Array:
    """Texts as filters compare them, null where they take them for unknown."""
    is_unknown = pc.is_in(texts, value_set=pa.array(["", UNKNOWN]))
    return _cut(pc.if_else(is_unknown, pa.scalar(None, pa.string()), pc.utf8_lower(texts)))


def _cut(texts: pa.Array) -> pa.Array:
    """Texts as long as Milvus takes them."""
    longest = pc.max(pc.binary_length(texts)).as_py() or 0
    if longest <= MAX_BYTES:
        return texts
    cut = [None if text is None else _cut_text(text) for text in texts.to_pylist()]
    return pa.array(cut, pa.string())


def _cut_text(text: str) -> str:
    return text.encode()[:MAX_BYTES].decode(errors="ignore")


def _items(opened: OpenedRows, name: str, rows: Rows, *, is_lower: bool = False) -> list[list[str]]:
    """The lists of texts of some rows."""
    lists = opened.column(name).take(pa.array(rows, type=pa.int64()))
    texts = pc.fill_null(lists.values.cast(pa.string()), "")
    # No item is told from others by a line break: names and flags have none.
    texts = pc.replace_substring(texts, ITEM, " ")
    items, ends = (pc.utf8_lower(texts) if is_lower else texts).to_pylist(), lists.offsets
    return [items[first:end] for first, end in pairwise(ends.to_pylist())]


def _joined(lists: Iterable[Sequence[str]]) -> list[str]:
    """Lists as the collections have them."""
    joined = [f"{ITEM}{ITEM.join(items)}{ITEM}" if items else "" for items in lists]
    # Of a list that is too long the first items are there.
    return [
        text if len(text.encode()) <= MAX_BYTES else _cut_text(text).rpartition(ITEM)[0] + ITEM
        for text in joined
    ]


def _vectors(
    loaded: LoadedSegment, space: str, encoder_id: str, numbers: Rows
) -> NDArray[np.float32]:
    """Vectors of these numbers, at least one: those that lie side by side are read together."""
    reader = loaded.vectors(space, encoder_id)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) != 1) + 1)
    return np.concatenate([reader.reconstruct(int(run[0]), len(run)) for run in runs])


def _packed(row: IndexRow) -> str:
    """A row as text that Milvus takes: one series too long for it must not stop all others."""
    record = row.record or {}
    packed = _as_text(row, record)
    if len(packed) > MAX_BYTES:
        packed = _as_text(row, {**record, "evidence": {}})
    if len(packed) > MAX_BYTES:
        short = {name: _shortened(name, value) for name, value in record.items()}
        packed = _as_text(row, {**short, "flags": [*short.get("flags", []), SHORTENED]})
    return packed


def _shortened(name: str, value: Any) -> Any:
    """A value of a record, or none of its kind where it is long; of texts how they begin."""
    is_short = len(json.dumps(value)) <= _LONGEST_VALUE
    if is_short or not isinstance(value, str | list | dict):
        return value
    if name == _TEXTS:
        return [text[:_LONGEST_TEXT] for text in value[:_MOST_TEXTS]]
    return type(value)()


def _as_text(row: IndexRow, record: Mapping[str, Any]) -> str:
    said = {
        "series_key": row.series_key,
        "revision": row.revision,
        "recipe": row.recipe,
        "write_id": row.write_id,
        "digest": row.digest,
        "record": record,
        "text_count": row.text_count,
        "image_count": row.image_count,
    }
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(zlib.compress(text.encode(), _FAST)).decode()


def _entities(columns: Mapping[str, Iterable[Any]]) -> list[Entity]:
    names = tuple(columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)]
