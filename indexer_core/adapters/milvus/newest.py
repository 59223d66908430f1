"""The newest of very many series, without fetching the date of each.

What is no older than some day is a beginning of the list that has the newest first. How far back it
has to go is found by counting, which Milvus does itself.
"""

from collections.abc import Callable
from datetime import date

from indexer_core.adapters.milvus.expressions import (
    all_of,
    any_of,
    dated_before,
    dated_since,
    dated_until,
    undated,
)
from indexer_core.filters import UNKNOWN

_FIRST, _LAST = date(1900, 1, 1).toordinal(), date(2100, 1, 1).toordinal()
_BEHIND_ALL = "9999-99"
"""Comes behind every date; what comes behind it is none, and is not counted as one."""


def newest(
    count: Callable[[str], int], where: str, top: int, few: int, *, until: str | None
) -> str:
    """An expression of some of the series, among which the `top` newest are.

    Some fifteen counts. Where fewer have a date, those of unknown date are among them, too.

    Parameters
    ----------
    count
        How many series an expression holds of.
    few
        So many may be fetched: it is not looked for fewer.
    until
        The date of the series that was told last, in lower case: the `top` that come behind it are
        among them. None where none was told.
    """
    unknown = any_of([undated(), dated_since(_BEHIND_ALL)])
    if until in ("", UNKNOWN):  # others of which it is unknown come behind that
        return all_of([where, unknown])
    before = dated_before(_BEHIND_ALL if until is None else min(until, _BEHIND_ALL))

    def number_since(day: int) -> int:
        return count(all_of([where, dated_since(_told(day)), before]))

    # Of those since `first` there always are `top`.
    first, behind = _FIRST, _LAST
    n_series = number_since(first)
    if n_series < top:
        return where if until is None else all_of([where, any_of([dated_until(until), unknown])])
    # What has the date of the series told last is fetched as well: some of it comes behind that.
    n_alike = 0 if until is None else count(all_of([where, dated_since(until), dated_until(until)]))
    while n_series + n_alike > few and behind - first > 1:
        middle = (first + behind) // 2
        found = number_since(middle)
        if found >= top:
            first, n_series = middle, found
        else:
            behind = middle
    since = dated_since(_told(first))
    return all_of([where, since] if until is None else [where, since, dated_until(until)])


def _told(day: int) -> str:
    return date.fromordinal(day).isoformat()
