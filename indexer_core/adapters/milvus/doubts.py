"""How well series fit a question, as boolean expressions of Milvus: see `indexer_core.fitting`.

Doubt is a sum over the filters of an alternative, and Milvus adds nothing up. So "at most so many
halves" and "at least so many" are put together from those of the two halves of a list of filters;
for eight filters that is some thirty thousand characters, for the usual three two thousand. With
several alternatives of many filters it would be megabytes, which no Milvus reads in time: longer
ones than `MAX_BYTES` are not made, and the series in question have to be fetched and judged
(`in_question`).
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from indexer_core.adapters.milvus.expressions import (
    EVERYTHING,
    NOTHING,
    all_of,
    allowed,
    any_of,
    parts_of,
)
from indexer_core.filters import Filter
from indexer_core.fitting import ASKS_FOR, UNKNOWN_HALVES, UNMET_HALVES
from indexer_core.selection import Conditions

MAX_BYTES = 131_072
"""Length of an expression of doubt, in UTF-8, without that of filters by hand, scopes and names."""


class _TooLongError(Exception):
    """An expression is longer than `MAX_BYTES`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Costs:
    """Of a filter of an alternative: where it costs so many halves; and where it is out of it."""

    zero: str
    one: str
    two: str
    out: str


def possible(conditions: Conditions) -> str | None:
    """Series of which something is not known, that would fit otherwise; None: it gets too long."""
    try:
        return all_of([allowed(conditions), _possible(conditions)])
    except _TooLongError:
        return None


def in_doubt(conditions: Conditions, halves: int) -> str | None:
    """Series of exactly this doubt, in halves, at least 1; None: it gets too long.

    See `indexer_core.fitting`.
    """
    branches = _costs_of_branches(conditions)
    try:
        nearest = _bounded(any_of(_at_most(costs, halves) for costs in branches))
        not_nearer = _bounded(all_of(_doubted(costs, halves) for costs in branches))
    except _TooLongError:
        return None
    return all_of([allowed(conditions), nearest, not_nearer])


def in_question(conditions: Conditions) -> str:
    """Series that fit or are in doubt: all that nothing leaves out."""
    branches = any_of(
        all_of(_not_missed(each) for each in branch if each.operator not in ASKS_FOR)
        for branch in _branches(conditions)
    )
    return all_of([allowed(conditions), branches])


def _possible(conditions: Conditions) -> str:
    branches = _costs_of_branches(conditions)
    found: list[str] = []
    for place, (branch, costs) in enumerate(zip(_branches(conditions), branches, strict=True)):
        misses_none = all_of(_not_missed(each) for each in branch)
        if len(branches) == 1:
            found.append(all_of([misses_none, _at_least(costs, 1)]))
            break
        for halves in range(1, _most(costs) + 1):
            exactly = [_at_most(costs, halves), _at_least(costs, halves)]
            # The first of the alternatives that a series comes nearest to decides.
            before = [_doubted(each, halves + 1) for each in branches[:place]]
            behind = [_doubted(each, halves) for each in branches[place + 1 :]]
            found.append(_bounded(all_of([misses_none, *exactly, *before, *behind])))
    return _bounded(any_of(found))


def most_halves(conditions: Conditions) -> int:
    """The greatest doubt that a series can have, in halves."""
    return max(_most(costs) for costs in _costs_of_branches(conditions))


def _not_missed(condition: Filter) -> str:
    parts = parts_of(condition)
    return any_of([parts.passed, parts.unknown])


def _branches(conditions: Conditions) -> Sequence[Sequence[Filter]]:
    return conditions.alternatives or ((),)


def _costs_of_branches(conditions: Conditions) -> list[list[_Costs]]:
    included = conditions.with_unknown
    return [[_costs(each, included) for each in branch] for branch in _branches(conditions)]


def _costs(condition: Filter, included: Collection[str]) -> _Costs:
    parts = parts_of(condition)
    is_included, is_near = condition.field in included, condition.operator in ASKS_FOR
    return _Costs(
        zero=any_of([parts.passed, parts.unknown]) if is_included else parts.passed,
        one=NOTHING if is_included else parts.unknown,
        two=parts.unmet if is_near else NOTHING,
        out=NOTHING if is_near else parts.unmet,
    )


def _most(costs: Sequence[_Costs]) -> int:
    return sum(
        UNMET_HALVES if each.two != NOTHING else UNKNOWN_HALVES if each.one != NOTHING else 0
        for each in costs
    )


def _doubted(costs: Sequence[_Costs], halves: int) -> str:
    """Where an alternative costs this or more, or is out of the question."""
    return any_of([*(each.out for each in costs), _at_least(costs, halves)])


def _at_most(costs: Sequence[_Costs], halves: int) -> str:
    """Where filters cost this or less, and none is out."""
    if not costs:
        return EVERYTHING
    if len(costs) > 1:
        return _split(costs, halves, _at_most)
    [one] = costs
    return any_of([one.zero, one.one, one.two][: halves + 1])


def _at_least(costs: Sequence[_Costs], halves: int) -> str:
    """Where filters cost this or more; where one is out it says nothing that may be relied on."""
    if halves <= 0:
        return EVERYTHING
    if not costs:
        return NOTHING
    if len(costs) > 1:
        return _split(costs, halves, _at_least)
    [one] = costs
    return any_of([one.one, one.two][halves - 1 :])


def _split(
    costs: Sequence[_Costs], halves: int, bounded: Callable[[Sequence[_Costs], int], str]
) -> str:
    """A bound of a sum, by all ways to share it between the two halves of a list."""
    middle = len(costs) // 2
    left, right = costs[:middle], costs[middle:]
    most_left, most_right = _most(left), _most(right)
    shares = range(max(0, halves - most_right), min(halves, most_left) + 1)
    if halves > most_left + most_right:  # as a bound from above it holds, as one from below not
        shares = range(most_left, most_left + 1)
    return _bounded(
        any_of(all_of([bounded(left, share), bounded(right, halves - share)]) for share in shares)
    )


def _bounded(expression: str) -> str:
    """The same, as long as it may be: so that none is made of many long ones."""
    if len(expression.encode()) > MAX_BYTES:
        raise _TooLongError
    return expression
