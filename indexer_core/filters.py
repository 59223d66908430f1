"""Explicit filters on the fields of a series record, and what they leave out for being unknown.

A filter is ``field``, an operator and a value: ``modality=MR``, ``plane=axial,coronal`` (either),
``contrast!=yes``, ``ageYears>=60``, ``sequence=FLAIR`` (the list contains it), ``studyDate>=2019``,
``model~discovery`` (the text contains it; ``!~``: it does not).
Comparing is without regard to case. A series whose field is unknown passes no filter on it, except
``field=unknown``; how many were left out for that reason is always told.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError
from indexer_core.index.columns import FilterColumn
from indexer_core.index.rows import (
    BOOL_FIELDS,
    COUNT_FIELDS,
    LIST_FIELDS,
    NUMBER_FIELDS,
    STRING_FIELDS,
)
from indexer_core.rules.model import CONTRASTS, PLANES, REGIONS

UNKNOWN = "unknown"
FIELDS = (*STRING_FIELDS, *NUMBER_FIELDS, *COUNT_FIELDS, *BOOL_FIELDS, *LIST_FIELDS)
_NUMERIC = frozenset((*NUMBER_FIELDS, *COUNT_FIELDS))
_NEGATED = frozenset({"!=", "!~"})
_CONTAINS = frozenset({"~", "!~"})
_ORDERED = _NUMERIC | {"studyDate"}
# A typing error here would find nothing, and nobody would know why.
_CLOSED = {"plane": PLANES, "bodyRegion": REGIONS, "contrast": CONTRASTS}
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?", re.ASCII)
_FORM = re.compile(r"\s*(\w+)\s*(!=|!~|>=|<=|=|>|<|~)\s*(.*?)\s*", re.DOTALL)

_Mask = NDArray[np.bool_]

_COMPARE: dict[str, Callable[..., pa.Array]] = {
    ">=": pc.greater_equal,
    "<=": pc.less_equal,
    ">": pc.greater,
    "<": pc.less,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One condition; `values` are alternatives, one only for the ordering operators."""

    field: str
    operator: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{','.join(self.values)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterResult:
    """Rows that pass, and rows for which the field is unknown: both bool of shape (n_rows,)."""

    passed: _Mask
    unknown: _Mask


def parse_filter(text: str) -> Filter:
    """Read ``field<operator>value``.

    Raises
    ------
    InvalidInputError
        The form, the field or the value is not one that can be used; the message lists what can.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise InvalidInputError(
            f"filter {text!r}: write it as field=value, for example modality=MR"
        )
    field, operator, value = match.groups()
    name = parse_field(field)
    values = tuple(part.strip() for part in value.split(",") if part.strip())
    if not values:
        raise InvalidInputError(f"filter {text!r} has no value; field=unknown finds missing ones")
    _check(name, operator, values)
    return Filter(field=name, operator=operator, values=values)


def parse_field(text: str) -> str:
    """The field of this name, in any case.

    Raises
    ------
    InvalidInputError
        There is none; the message lists those that there are.
    """
    found = {name.lower(): name for name in FIELDS}.get(text.strip().lower())
    if found is None:
        raise InvalidInputError(f"filter field {text!r} is unknown; use one of {', '.join(FIELDS)}")
    return found


def apply_filter(columns: Sequence[FilterColumn], condition: Filter) -> FilterResult:
    """Evaluate one filter over the column of its field, of one or of several rows tables.

    The result is that of all rows, one table after the other. Many small tables cost little more
    than one: each distinct text is looked at once, in all of them together.
    """
    evaluate = _lists if condition.field in LIST_FIELDS else _values
    matched, unknown = evaluate(columns, condition)
    if condition.operator in _NEGATED:
        matched = ~matched & ~unknown
    if UNKNOWN not in _lower(condition.values):
        return FilterResult(passed=matched & ~unknown, unknown=unknown)
    # Unknown is one of the alternatives: "!=" leaves it out with the others, by wish.
    passed = matched & ~unknown if condition.operator in _NEGATED else matched | unknown
    return FilterResult(passed=passed, unknown=np.zeros_like(unknown))


def _check(name: str, operator: str, values: Sequence[str]) -> None:
    if operator in _COMPARE and (name not in _ORDERED or len(values) != 1):
        raise InvalidInputError(f"{operator} compares one number or date; {name} takes = or !=")
    if operator in _CONTAINS and name not in STRING_FIELDS:
        raise InvalidInputError(f"{operator} looks into texts; {name} takes = or !=")
    if operator in _COMPARE and values[0].lower() == UNKNOWN:
        raise InvalidInputError(f"unknown is neither more nor less: write {name}=unknown")
    for value in values:
        if value.lower() != UNKNOWN and operator not in _CONTAINS:
            _check_value(name, value)


def _check_value(name: str, value: str) -> None:
    if name in _NUMERIC:
        _number(name, value)
    if name == "studyDate" and not _DATE.fullmatch(value):
        raise InvalidInputError(
            f"studyDate is a year, month or day such as 2019, 2019-05 or 2019-05-01, not {value!r}"
        )
    if name in _CLOSED and value.lower() not in _CLOSED[name]:
        raise InvalidInputError(f"{name} is one of {', '.join(_CLOSED[name])}, not {value!r}")
    if name in BOOL_FIELDS and value.lower() not in {"true", "false"}:
        raise InvalidInputError(f"{name} is true, false or unknown, not {value!r}")


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise InvalidInputError(f"{name} is a number, not {value!r}")
    return number


def _values(columns: Sequence[FilterColumn], condition: Filter) -> tuple[_Mask, _Mask]:
    """Which rows, or items of lists, match, and which are unknown."""
    values = pa.chunked_array([column.values for column in columns])
    matches = _compare if condition.operator in _COMPARE else _any_of
    if condition.operator in _CONTAINS:
        matches = _holds_any_of
    matched, unknown = matches(values, condition), _unknown(values)
    if all(column.codes is None for column in columns):
        return matched, unknown
    firsts = np.cumsum([0, *(len(column.values) for column in columns)])
    places = np.concatenate(
        [
            np.arange(first, first + column.n_items)
            if column.codes is None
            else column.codes + first
            for column, first in zip(columns, firsts, strict=False)
        ]
    )
    return matched[places], unknown[places]


def _lists(columns: Sequence[FilterColumn], condition: Filter) -> tuple[_Mask, _Mask]:
    """Which lists hold an item that matches, and which are unknown."""
    matched, _ = _values(columns, condition)
    n_before = np.concatenate(([0], np.cumsum(matched)))
    offsets = [column.offsets for column in columns if column.offsets is not None]
    firsts = np.cumsum([0, *(column.n_items for column in columns)])
    starts, ends = (
        np.concatenate([each[part] + first for each, first in zip(offsets, firsts, strict=False)])
        for part in (slice(None, -1), slice(1, None))
    )
    # Of the other lists, to be empty is to know that there is nothing.
    unknown = (starts == ends) & (condition.field == "sequence")
    return n_before[ends] > n_before[starts], unknown


def _unknown(column: pa.ChunkedArray) -> _Mask:
    missing = _mask(pc.is_null(column))
    if pa.types.is_string(column.type):
        return missing | _mask(pc.is_in(column, value_set=pa.array(["", UNKNOWN])))
    return missing


def _compare(column: pa.ChunkedArray, condition: Filter) -> _Mask:
    compare = _COMPARE[condition.operator]
    value = condition.values[0]
    if condition.field in _NUMERIC:
        return _mask(compare(column, _number(condition.field, value)))
    # A date given to the year or month compares to that precision: 2019 <= 2019-05-01 is true.
    return _mask(compare(pc.utf8_slice_codeunits(column, 0, len(value)), value))


def _any_of(column: pa.ChunkedArray, condition: Filter) -> _Mask:
    if condition.field in _NUMERIC:
        numbers = [
            _number(condition.field, value)
            for value in condition.values
            if value.lower() != UNKNOWN
        ]
        values: NDArray[np.float64] = column.to_numpy(zero_copy_only=False).astype(np.float64)
        found: _Mask = np.isin(values, numbers)
        return found
    wanted = set(_lower(condition.values))
    if condition.field in BOOL_FIELDS:
        return _mask(pc.is_in(pc.cast(column, pa.string()), value_set=pa.array(sorted(wanted))))
    if condition.field == "studyDate":
        starts = [pc.starts_with(column, value) for value in sorted(wanted)]
        begins: _Mask = np.logical_or.reduce([_mask(start) for start in starts])
        return begins
    return _mask(pc.is_in(pc.utf8_lower(column), value_set=pa.array(sorted(wanted))))


def _holds_any_of(column: pa.ChunkedArray, condition: Filter) -> _Mask:
    lower = pc.utf8_lower(column)
    found = [_mask(pc.match_substring(lower, value)) for value in _lower(condition.values)]
    either: _Mask = np.logical_or.reduce(found)
    return either


def _mask(array: pa.Array | pa.ChunkedArray) -> _Mask:
    filled: _Mask = np.asarray(pc.fill_null(array, False), dtype=np.bool_)
    return filled


def _lower(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value.lower() for value in values)
