"""Which series of a snapshot meet conditions, and how many are left out for what is unknown."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer_core.filters import Filter, FilterResult, apply_filter
from indexer_core.index.columns import FilterColumn
from indexer_core.index.loaded import LiveRows, LiveSegment
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.named import Names, rows_named

PROVISIONAL = "provisional"
"""Flag of a series that the map has placed among its neighbours, not knowing its kind."""

_Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What a series has to meet.

    Parameters
    ----------
    filters
        All of them.
    alternatives
        And all filters of one of these, where there are any.
    with_unknown
        Fields that a series may have unknown, whatever the filters on them ask for.
    scopes
        Its scope is one of these; None: any.
    series
        It is one of these; None: any.
    """

    filters: tuple[Filter, ...] = ()
    alternatives: tuple[tuple[Filter, ...], ...] = ()
    with_unknown: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    series: Names | None = None

    @property
    def are_none(self) -> bool:
        """Whether every series meets them."""
        return not self.distinct and self.scopes is None and self.series is None

    @property
    def distinct(self) -> tuple[Filter, ...]:
        """Every filter once, in the order of its first mention."""
        named = [*self.filters, *(each for branch in self.alternatives for each in branch)]
        return tuple(dict.fromkeys(named))


ANYTHING = Conditions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows that meet the conditions, per segment, and the unknowns that were left out by field.

    A series is left out for a field if it would be selected were the field not asked about where
    it is unknown.
    """

    rows: tuple[_Mask, ...]
    n_passed: int
    unknown: Mapping[str, int]
    is_all: bool = False
    """Whether no row that counts is left out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """Every filter of conditions over the rows of all segments, one segment after the other.

    live: rows that count, of the scopes and the series that are asked for; bool of shape (n_rows,).
    """

    live: _Mask
    results: Mapping[Filter, FilterResult]


def select(snapshot: LiveRows, conditions: Conditions = ANYTHING) -> Selection:
    """Rows of a snapshot that meet the conditions."""
    if conditions.are_none:
        rows = tuple(segment.live for segment in snapshot.segments)
        return Selection(rows=rows, n_passed=snapshot.n_series, unknown={}, is_all=True)
    return selected(snapshot, conditions, evaluate(snapshot, conditions))


def evaluate(snapshot: LiveRows, conditions: Conditions) -> Evaluated:
    """Look at every filter once, whatever becomes of it."""
    if not snapshot.segments:
        nothing = np.zeros(0, dtype=np.bool_)
        result = FilterResult(passed=nothing, unknown=nothing)
        return Evaluated(live=nothing, results=dict.fromkeys(conditions.distinct, result))
    live = np.concatenate([segment.live for segment in snapshot.segments])
    if conditions.scopes is not None:
        live = live & _in_scopes(snapshot, conditions.scopes)
    if conditions.series is not None:
        live = live & rows_named(snapshot.segments, conditions.series)
    results = {each: _passing(snapshot, each) for each in conditions.distinct}
    return Evaluated(live=live, results=results)


def selected(snapshot: LiveRows, conditions: Conditions, evaluated: Evaluated) -> Selection:
    """Rows that meet conditions whose filters were looked at."""
    asked, live, results = conditions.distinct, evaluated.live, evaluated.results
    passed = _meeting(live, conditions, results, conditions.with_unknown)
    unknown = {}
    for field in dict.fromkeys(each.field for each in asked):
        fits = _meeting(live, conditions, results, conditions.with_unknown | {field})
        unknown[field] = int(np.count_nonzero(fits & ~passed))
    return Selection(
        rows=per_segment(snapshot, passed),
        n_passed=int(np.count_nonzero(passed)),
        unknown=unknown,
    )


def per_segment(snapshot: LiveRows, rows: _Mask) -> tuple[_Mask, ...]:
    """A mask of all rows, by segment."""
    ends = np.cumsum([len(segment.live) for segment in snapshot.segments])
    return tuple(np.split(rows, ends[:-1])) if len(ends) else ()


def _meeting(
    live: _Mask,
    conditions: Conditions,
    results: Mapping[Filter, FilterResult],
    with_unknown: Collection[str],
) -> _Mask:
    """Those of the live rows that meet all that is asked, with these fields unknown included."""

    def all_of(filters: Sequence[Filter]) -> _Mask:
        found = live
        for each in filters:
            result = results[each]
            included = each.field in with_unknown
            found = found & (result.passed | result.unknown if included else result.passed)
        return found

    meeting = all_of(conditions.filters)
    if not conditions.alternatives:
        return meeting
    either = np.zeros_like(live)
    for branch in conditions.alternatives:
        either |= all_of(branch)
    return meeting & either


def _in_scopes(snapshot: LiveRows, scopes: frozenset[str]) -> _Mask:
    """Rows of these scopes, by their exact names; none where no scope is named."""
    found = []
    for segment in snapshot.segments:
        column = segment.loaded.rows.filter_column("scope")
        values = [value in scopes for value in column.values.to_pylist()]
        mask = np.array(values, dtype=np.bool_)
        found.append(mask if column.codes is None else mask[column.codes])
    return np.concatenate(found)


def _passing(snapshot: LiveRows, condition: Filter) -> FilterResult:
    """Which rows pass one filter, live or not."""
    found = apply_filter(_column(snapshot, condition.field), condition)
    if condition.field != "flags" or PROVISIONAL not in map(str.lower, condition.values):
        return found
    # No row says it: the map does, and may learn otherwise without writing the row anew.
    strange = np.concatenate([provisional_rows(segment, snapshot) for segment in snapshot.segments])
    is_not = condition.operator == "!="
    return replace(found, passed=found.passed & ~strange if is_not else found.passed | strange)


def provisional_rows(segment: LiveSegment, snapshot: LiveRows) -> _Mask:
    """Rows of a segment that are provisional on the map in force, live or not."""
    loaded, projection = segment.loaded, snapshot.projection_version
    strange = np.zeros(len(segment.live), dtype=np.bool_)
    points = None if projection is None else loaded.points(projection)
    if points is not None and points.is_provisional is not None:
        rows = np.flatnonzero(loaded.counts(IMAGE_SPACE))
        strange[rows] = points.is_provisional[loaded.rows.starts(IMAGE_SPACE)[rows]]
    return strange


def _column(snapshot: LiveRows, name: str) -> list[FilterColumn]:
    """A column of every segment."""
    return [segment.loaded.rows.filter_column(name) for segment in snapshot.segments]
