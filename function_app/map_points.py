"""The points of the map as the API answers them: JSON for some tens of thousands, Arrow for all."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from indexer_core.errors import InvalidInputError
from indexer_core.index.reader import Snapshot
from indexer_core.map_columns import MapColumns, map_columns
from indexer_core.selection import ANYTHING, Conditions, select

ARROW = "application/vnd.apache.arrow.stream"
"""Media type of `map_points_arrow`."""

MAX_POINTS_JSON = 100_000
_DECIMALS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPointsRequest:
    """What is asked: the points of series that meet conditions.

    most: at most so many, an even sample of more; None: as many as the format allows.
    """

    conditions: Conditions = ANYTHING
    most: int | None = None

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            `most` is no number of points.
        """
        if self.most is not None and self.most < 1:
            raise InvalidInputError("the number of points is at least 1")


def map_points(request: MapPointsRequest, snapshot: Snapshot) -> dict[str, Any]:
    """The points as columns of JSON, an even sample where there are more than 100,000.

    Returns
    -------
    dict
        `projectionVersion` (null where there is no map), `manifest`, `count` (of points in all),
        `isSample`, `unplaced` (series without a place), and in one order `keys`, `uids`, `x`, `y`
        (to four decimals), `modality` and `bodyRegion` as `{"values": [...], "codes": [...]}`, and
        `provisional`, the places of those that are.

    Raises
    ------
    InvalidInputError
        As `MapPointsRequest.check`.
    """
    most = MAX_POINTS_JSON if request.most is None else min(request.most, MAX_POINTS_JSON)
    found = _columns(request, snapshot, most)
    table = found.table
    provisional = table.column("provisional").to_numpy()
    return {
        **_head(found, snapshot),
        "keys": table.column("key").to_pylist(),
        "uids": table.column("uid").to_pylist(),
        "x": _rounded(table.column("x")),
        "y": _rounded(table.column("y")),
        "modality": _coded(table, "modality"),
        "bodyRegion": _coded(table, "bodyRegion"),
        "provisional": np.flatnonzero(provisional).tolist(),
    }


def map_points_arrow(request: MapPointsRequest, snapshot: Snapshot) -> bytes:
    """The points as a stream of Arrow IPC; columns as of `indexer_core.map_columns.MapColumns`.

    What JSON says beside the columns is in the metadata of the schema, under the same names.

    Raises
    ------
    InvalidInputError
        As `MapPointsRequest.check`.
    """
    found = _columns(request, snapshot, request.most)
    said = {name: _text(value) for name, value in _head(found, snapshot).items()}
    table = found.table.replace_schema_metadata(said)
    buffer = io.BytesIO()
    with pa.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def _columns(request: MapPointsRequest, snapshot: Snapshot, most: int | None) -> MapColumns:
    request.check()
    return map_columns(snapshot, select(snapshot, request.conditions), most)


def _head(found: MapColumns, snapshot: Snapshot) -> dict[str, Any]:
    return {
        "projectionVersion": found.projection or None,
        "manifest": snapshot.manifest.number,
        "count": found.n_points,
        "isSample": found.is_sample,
        "unplaced": found.n_selected - found.n_points,
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else str(value)


def _rounded(column: pa.ChunkedArray) -> list[float]:
    numbers: list[float] = np.round(column.to_numpy().astype(np.float64), _DECIMALS).tolist()
    return numbers


def _coded(table: pa.Table, name: str) -> dict[str, Any]:
    column = table.column(name).combine_chunks()
    column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    return {"values": column.dictionary.to_pylist(), "codes": column.indices.to_pylist()}
