"""Where selected series are on the map in force, as columns: for whoever draws all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.filters import UNKNOWN
from indexer_core.index.loaded import LiveSegment, OpenedRows
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.selection import Selection

_CODED = ("modality", "bodyRegion")
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("uid", pa.string()),
        ("x", pa.float32()),
        ("y", pa.float32()),
        *((name, _DICTIONARY) for name in _CODED),
        ("provisional", pa.bool_()),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapColumns:
    """Points of a map.

    Parameters
    ----------
    table
        ``key`` and ``uid`` (of the series), ``x`` and ``y`` (float32), ``modality`` and
        ``bodyRegion`` (texts by codes, "unknown" where it is), ``provisional``; each column in one
        piece. The order is that of the hashes of the keys: it says nothing, and stays as it is
        when segments are merged.
    n_points
        Selected series that have a place; more than the table has rows if it is a sample.
    n_selected
        Selected series, those without a place included.
    projection
        Version of the map; "" where there is none.
    """

    table: pa.Table
    n_points: int
    n_selected: int
    projection: str

    @property
    def is_sample(self) -> bool:
        """Whether points are left out."""
        return bool(self.table.num_rows < self.n_points)


def map_columns(snapshot: Snapshot, selection: Selection, most: int | None = None) -> MapColumns:
    """The points of selected series on the map in force.

    Parameters
    ----------
    most
        Points at most. Of more, those with the lowest hashes of their keys are told: an even
        sample, of which every smaller one is a part, and which further series hardly change.
    """
    projection = snapshot.manifest.projection
    version = "" if projection is None else projection.version
    placed = [
        (segment, rows)
        for segment, mask in zip(snapshot.segments, selection.rows, strict=True)
        if len(rows := _placed(segment, mask, version))
    ]
    hashes = [_hashes(segment)[rows] for segment, rows in placed]
    n_points = sum(map(len, hashes))
    order = np.argsort(np.concatenate([np.empty(0, np.uint64), *hashes]), kind="stable")
    if most is not None and most < n_points:
        order = order[:most]
        chosen = np.zeros(n_points, dtype=np.bool_)
        chosen[order] = True
        parts = np.split(chosen, np.cumsum([len(each) for each in hashes])[:-1])
        placed = [
            (segment, rows[part]) for (segment, rows), part in zip(placed, parts, strict=True)
        ]
        order = np.cumsum(chosen)[order] - 1
    tables = [_table(segment, rows, version) for segment, rows in placed]
    table = pa.concat_tables([_SCHEMA.empty_table(), *tables]).unify_dictionaries()
    table = table.combine_chunks().take(pa.array(order))
    return MapColumns(
        table=_told_only(table),
        n_points=n_points,
        n_selected=selection.n_passed,
        projection=version,
    )


def _told_only(table: pa.Table) -> pa.Table:
    """The table with codes for the texts that its rows have: others are of series not told of."""
    for name in _CODED:
        texts = table.column(name).cast(pa.string()).combine_chunks()
        place = table.schema.get_field_index(name)
        table = table.set_column(place, _SCHEMA.field(name), texts.dictionary_encode())
    return table


def _placed(segment: LiveSegment, mask: NDArray[np.bool_], version: str) -> NDArray[np.int64]:
    """The rows of a segment that are selected and have a place."""
    if segment.loaded.points(version) is None:
        return np.empty(0, np.int64)
    return np.flatnonzero(mask & (segment.loaded.counts(IMAGE_SPACE) > 0))


def _hashes(segment: LiveSegment) -> NDArray[np.uint64]:
    """The hash of the key of every row."""
    index = segment.loaded.key_index
    hashes = np.empty(len(index.rows), dtype=np.uint64)
    hashes[index.rows] = index.hashes
    return hashes


def _table(segment: LiveSegment, rows: NDArray[np.int64], version: str) -> pa.Table:
    loaded = segment.loaded
    points = loaded.points(version)
    assert points is not None
    here = points.taken(loaded.rows.starts(IMAGE_SPACE)[rows])
    flags = here.is_provisional
    columns = [
        loaded.rows.keys_of(rows).cast(pa.string()),
        pc.fill_null(_taken(loaded.rows, "seriesInstanceUid", rows).cast(pa.string()), ""),
        pa.array(np.ascontiguousarray(here.xy[:, 0])),
        pa.array(np.ascontiguousarray(here.xy[:, 1])),
        *(_coded(_taken(loaded.rows, name, rows)) for name in _CODED),
        pa.array(np.zeros(len(rows), dtype=np.bool_) if flags is None else flags),
    ]
    return pa.table(columns, schema=_SCHEMA)


def _taken(opened: OpenedRows, name: str, rows: NDArray[np.int64]) -> pa.Array:
    return opened.column(name).take(pa.array(rows, type=pa.int64()))


def _coded(column: pa.Array) -> pa.DictionaryArray:
    """Texts by codes; what says nothing is unknown."""
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values: Sequence[str | None] = coded.dictionary.to_pylist()
    texts = list(dict.fromkeys([*(value or UNKNOWN for value in values), UNKNOWN]))
    places = [texts.index(value or UNKNOWN) for value in values]
    unknown = texts.index(UNKNOWN)
    codes = pc.fill_null(coded.indices, len(values)).to_numpy(zero_copy_only=False)
    return pa.DictionaryArray.from_arrays(
        pa.array(np.array([*places, unknown], dtype=np.int32)[codes]), pa.array(texts, pa.string())
    )
