"""Points of the map, and series that meet conditions, as the API answers a page that draws them.

Files of `indexer_core.point_files`, which a browser reads as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.facets import facet_field
from indexer_core.index.reader import Snapshot
from indexer_core.point_changes import (
    Told,
    every_point,
    ids_at,
    map_version,
    places_at,
    points_since,
)
from indexer_core.point_columns import coded_column, rows_with_item
from indexer_core.point_files import id_bytes, point_file
from indexer_core.rules.reconciliation import DISAGREEMENT
from indexer_core.selection import Conditions, select

MAX_COLUMNS = 8

IS_PROVISIONAL, DISAGREES = 1, 2
"""Bits of the section `flags`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsRequest:
    """What is asked: points of these scopes (None: of any), with these fields of each.

    columns: some of `indexer_core.facets.FACETS`, in any case, at most 8.
    """

    columns: tuple[str, ...] = ()
    scopes: frozenset[str] | None = None

    def fields(self) -> tuple[str, ...]:
        """The fields, each once.

        Raises
        ------
        InvalidInputError
            One cannot be counted, or they are too many.
        """
        fields = tuple(dict.fromkeys(map(facet_field, self.columns)))
        if len(fields) > MAX_COLUMNS:
            raise InvalidInputError(f"a file of points has at most {MAX_COLUMNS} columns")
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class PointsAnswer:
    """A file of points, and how many series it tells of."""

    data: bytes
    n_told: int


def points(
    request: PointsRequest, snapshot: Snapshot, before: Snapshot | None = None
) -> PointsAnswer:
    """All points that the caller may see, or those that have come or differ since `before`.

    The head of the file has `manifest`, `since` (the number of `before`, or null: these are all),
    `projectionVersion` (null where there is no map), `count` (of points told), `total` (of all that
    the caller may see), `unplaced` (series without a place) and `columns` (by field, the texts of
    its codes). The sections are `ids`, `x`, `y`, `flags`, `column:FIELD` for each field and, with
    `since`, `removed`. The order of the points is that of their keys.

    Parameters
    ----------
    before
        As it was, whatever was suppressed since. All points are told where its map is another
        version.

    Raises
    ------
    InvalidInputError
        As `PointsRequest.fields`.
    """
    fields, version = request.fields(), map_version(snapshot)
    if before is not None and map_version(before) != version:
        before = None
    if before is None:
        told = every_point(snapshot, request.scopes)
    else:
        told = points_since(before, snapshot, request.scopes)
    parts = list(zip(snapshot.segments, told.rows, strict=True))
    ids = ids_at(parts)
    xy, is_provisional = places_at(parts, version)
    flags = is_provisional * np.uint8(IS_PROVISIONAL)
    flags |= rows_with_item(snapshot, "flags", DISAGREEMENT, told.rows) * np.uint8(DISAGREES)
    columns = {
        field: coded_column(snapshot, told.visible.rows, field, told.rows) for field in fields
    }
    order = np.argsort(ids)
    sections: dict[str, NDArray[Any]] = {
        "ids": id_bytes(ids[order]),
        "x": xy[order, 0],
        "y": xy[order, 1],
        "flags": flags[order],
        **{f"column:{field}": column.codes[order] for field, column in columns.items()},
    }
    if before is not None:
        sections["removed"] = id_bytes(told.removed)
    head = {
        "manifest": snapshot.manifest.number,
        "since": None if before is None else before.manifest.number,
        "projectionVersion": version or None,
        "count": len(ids),
        "total": told.n_placed,
        "unplaced": told.visible.n_passed - told.n_placed,
        "columns": {field: list(column.values) for field, column in columns.items()},
    }
    return PointsAnswer(data=point_file(head, sections), n_told=_n_told(told, len(ids)))


def matches(conditions: Conditions, snapshot: Snapshot) -> PointsAnswer:
    """The short keys of all series that meet conditions, on the map or not, in their order.

    The head of the file has `manifest` and `count`; its one section is `ids`.
    """
    selection = select(snapshot, conditions)
    chosen: Sequence[NDArray[np.int64]] = [np.flatnonzero(mask) for mask in selection.rows]
    ids = np.sort(ids_at(list(zip(snapshot.segments, chosen, strict=True))))
    head = {"manifest": snapshot.manifest.number, "count": len(ids)}
    return PointsAnswer(data=point_file(head, {"ids": id_bytes(ids)}), n_told=len(ids))


def _n_told(told: Told, n_points: int) -> int:
    return n_points + len(told.removed)
