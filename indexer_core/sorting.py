"""A selection in the order of a field: by columns alone, so that only what is shown is unpacked.

Texts are compared without regard to case, as filters compare them. Series whose field is unknown
come last in both directions; equal ones are in the order of their keys.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError, ManifestExpiredError
from indexer_core.filters import UNKNOWN
from indexer_core.index.keys import hashes_of
from indexer_core.index.loaded import LiveRows, LiveSegment
from indexer_core.index.rows import COUNT_FIELDS, NUMBER_FIELDS, STRING_FIELDS
from indexer_core.search import Hit
from indexer_core.selection import Selection

SORTED_BY = ("seriesKey", *STRING_FIELDS, "revision", *NUMBER_FIELDS, *COUNT_FIELDS)
"""Fields that series can be in the order of: texts, dates and numbers."""

_Rows = NDArray[np.int64]
_Ranks = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """An order: by a field, one of `SORTED_BY`, from its least value or from its greatest."""

    field: str
    is_descending: bool = False

    def __str__(self) -> str:
        return f"-{self.field}" if self.is_descending else self.field


NEWEST_FIRST = Sort(field="studyDate", is_descending=True)


def parse_sort(text: str) -> Sort:
    """Read ``field`` or ``-field``.

    Raises
    ------
    InvalidInputError
        There is no such field, or none that can be sorted by.
    """
    field = text.removeprefix("-")
    if field not in SORTED_BY:
        raise InvalidInputError(f"sort by one of {', '.join(SORTED_BY)}; with - before it: down")
    return Sort(field=field, is_descending=text.startswith("-"))


def first_sorted(
    snapshot: LiveRows, selection: Selection, sort: Sort, n_hits: int, *, after: str | None = None
) -> list[Hit]:
    """The first of the selected series in this order.

    Parameters
    ----------
    n_hits
        How many, at most; 1 or more.
    after
        The key of a series, selected or not: only what comes behind it.

    Raises
    ------
    ManifestExpiredError
        The series of that key was erased: what comes behind it is not known any more.
    """
    place = None if after is None else _place(snapshot, after)
    rows = [np.flatnonzero(mask) for mask in selection.rows]
    return first_behind(snapshot.segments, rows, sort, n_hits, place=place)


def first_behind(
    segments: Sequence[LiveSegment],
    rows: Sequence[_Rows],
    sort: Sort,
    n_hits: int,
    *,
    place: tuple[int, int] | None,
) -> list[Hit]:
    """The first of some rows of segments in this order.

    Parameters
    ----------
    rows
        Per segment, int64 (n,).
    n_hits
        How many, at most; 1 or more.
    place
        Segment, by its number, and row of a series, one of these or not: only what comes behind it.
    """
    chosen = _Chosen(segments, rows)
    if place is not None:
        chosen = chosen.with_one_more(*place)
    ranks = chosen.ranks(sort)
    places: _Rows = np.arange(len(ranks))
    if place is not None:
        after = segments[place[0]].loaded.key(place[1])
        told = ranks[-1]  # of the one more
        places = places[:-1]
        ties = np.flatnonzero(ranks[:-1] == told)
        behind = pc.greater(chosen.keys(ties), after).to_numpy(zero_copy_only=False)
        places = np.sort(np.concatenate([np.flatnonzero(ranks[:-1] > told), ties[behind]]))
    places = _least(ranks, places, n_hits, chosen)
    in_order = pc.sort_indices(
        pa.table({"rank": ranks[places], "key": chosen.keys(places)}),
        sort_keys=[("rank", "ascending"), ("key", "ascending")],
    )
    return [chosen.hit(place) for place in places[in_order.to_numpy()].tolist()]


class _Chosen:
    """Rows of segments, numbered one segment after the other.

    rows: per segment, int64 (n,).
    """

    def __init__(self, segments: Sequence[LiveSegment], rows: Sequence[_Rows]) -> None:
        self._segments = segments
        self._rows = rows
        self._starts = np.cumsum([0, *map(len, rows)])

    def with_one_more(self, number: int, row: int) -> "_Chosen":
        """The same and a row of a segment, as the last."""
        rows = [*self._rows, np.array([row], dtype=np.int64)]
        return _Chosen([*self._segments, self._segments[number]], rows)

    def hit(self, place: int) -> Hit:
        """One of them."""
        number = int(np.searchsorted(self._starts, place, side="right")) - 1
        row = int(self._rows[number][place - self._starts[number]])
        return Hit(segment=self._segments[number], row=row, score=0.0, text=None)

    def keys(self, places: _Rows) -> pa.Array:
        """Series keys of some of them, which are in ascending order."""
        ends = np.searchsorted(places, self._starts)
        found = [pa.array([], pa.string())]
        for number, (segment, rows) in enumerate(zip(self._segments, self._rows, strict=True)):
            here = places[ends[number] : ends[number + 1]] - self._starts[number]
            found.append(segment.loaded.rows.keys_of(rows[here]).cast(pa.string()))
        return pa.concat_arrays(found)

    def ranks(self, sort: Sort) -> _Ranks:
        """Place of the value of each among all values, equal ones the same: int64 (n,)."""
        values: list[pa.Array] = []
        codes: list[_Rows] = []
        n_before = 0
        for segment, rows in zip(self._segments, self._rows, strict=True):
            column = segment.loaded.rows.filter_column(sort.field)
            if column.codes is None:
                values.append(column.values.take(pa.array(rows)))
                codes.append(np.arange(len(rows)) + n_before)
            else:  # each distinct text is looked at once
                values.append(column.values)
                codes.append(column.codes[rows].astype(np.int64) + n_before)
            n_before += len(values[-1])
        if not n_before:
            return np.empty(0, dtype=np.int64)
        known = _comparable(pa.concat_arrays(values))
        order = "descending" if sort.is_descending else "ascending"
        # Null is last in both.
        ranks: _Ranks = pc.rank(known, sort_keys=order, tiebreaker="dense").to_numpy()
        return ranks.astype(np.int64)[np.concatenate(codes)]


def _comparable(values: pa.Array) -> pa.Array:
    """Values as they are compared, null where they are unknown."""
    if not pa.types.is_string(values.type):
        return values
    lower = pc.utf8_lower(values)
    is_unknown = pc.is_in(lower, value_set=pa.array(["", UNKNOWN]))
    return pc.if_else(is_unknown, pa.scalar(None, pa.string()), lower)


def _least(ranks: _Ranks, places: _Rows, n_hits: int, chosen: _Chosen) -> _Rows:
    """Those of the places that are among the first, ascending."""
    if len(places) <= n_hits:
        return places
    found = ranks[places]
    last = np.partition(found, n_hits - 1)[n_hits - 1]
    before, ties = places[found < last], places[found == last]
    least = pc.bottom_k_unstable(chosen.keys(ties), n_hits - len(before))
    return np.sort(np.concatenate([before, ties[least.to_numpy()]]))


def series_erased() -> ManifestExpiredError:
    """What comes behind a series cannot be told: it is not there any more."""
    return ManifestExpiredError("the series told last was erased: ask from the first page")


def _place(snapshot: LiveRows, key: str) -> tuple[int, int]:
    """Segment and row of a series, suppressed or not."""
    wanted = np.unique(hashes_of([key]))
    ranked = [
        (order, number, row)
        for number, segment in enumerate(snapshot.segments)
        for rows in [segment.loaded.key_index.find(wanted)[1]]
        for row, (found, order) in zip(rows.tolist(), segment.loaded.ranks(rows), strict=True)
        if found == key
    ]
    if not ranked:
        raise series_erased()
    _, number, row = max(ranked)
    return number, row
