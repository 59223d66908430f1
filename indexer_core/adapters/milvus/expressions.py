"""Conditions as boolean expressions of Milvus, with exactly the meaning that they have on segments.

Every filter becomes three expressions that exclude each other and leave nothing out: it is passed,
its field is unknown, or it is known not to be met (`indexer_core.filters.apply_filter`). What is
negated is always a value that is there: Milvus and milvus-lite differ in what they make of others.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor

from indexer_core.adapters.milvus.schema import (
    BORN,
    DIED,
    IMAGE_COUNT,
    ITEM,
    KEY,
    SCOPE,
    SHORT_KEY,
    UID,
)
from indexer_core.errors import InvalidInputError
from indexer_core.filters import UNKNOWN, Filter
from indexer_core.index.rows import BOOL_FIELDS, COUNT_FIELDS, LIST_FIELDS, NUMBER_FIELDS
from indexer_core.named import Names
from indexer_core.selection import Conditions

EVERYTHING, NOTHING = f"{DIED} >= 0", f"{DIED} < 0"
"""Of all entities, and of none. Both vanish where expressions are put together."""

MAX_NAMES = 20_000
"""Names of series in one expression, at most: some four megabytes of text."""

_DATE = "studyDate"
_NEGATED = frozenset({"!=", "!~"})
_CONTAINS = frozenset({"~", "!~"})
_OPPOSITE = {">=": "<", "<=": ">", ">": "<=", "<": ">="}
_INT64 = 1 << 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A filter: of every entity, one of these holds."""

    passed: str
    unknown: str
    unmet: str


def all_of(expressions: Iterable[str]) -> str:
    """What all of them hold of."""
    found = [each for each in dict.fromkeys(expressions) if each != EVERYTHING]
    if NOTHING in found:
        return NOTHING
    return _joined(" and ", found, EVERYTHING)


def any_of(expressions: Iterable[str]) -> str:
    """What one of them holds of."""
    found = [each for each in dict.fromkeys(expressions) if each != NOTHING]
    if EVERYTHING in found:
        return EVERYTHING
    return _joined(" or ", found, NOTHING)


def in_state(number: int) -> str:
    """Entities that count in the state of a manifest."""
    return all_of([f"{BORN} <= {number}", f"{DIED} > {number}"])


def pictured() -> str:
    """Series that have an image."""
    return f"{IMAGE_COUNT} > 0"


def with_values(field: str, values: Collection[str]) -> str:
    """Entities whose field, as it is written, is one of these."""
    return _among(field, sorted(values))


def with_keys(keys: Iterable[str]) -> str:
    """The series of these keys.

    Raises
    ------
    InvalidInputError
        They are more than `MAX_NAMES`.
    """
    found = sorted(keys)
    _check_number(len(found))
    return _among(KEY, found)


def behind_key(key: str) -> str:
    """Series whose keys come after this one."""
    return f"{KEY} > {_quoted(key)}"


def dated_since(text: str) -> str:
    """Studies of this date, or of one that comes behind it as a text."""
    return f"{_DATE} >= {_quoted(text)}"


def dated_before(text: str) -> str:
    """Studies of a date that comes before this one as a text."""
    return f"{_DATE} < {_quoted(text)}"


def dated_until(text: str) -> str:
    """The same, and those of this date."""
    return f"{_DATE} <= {_quoted(text)}"


def undated() -> str:
    """Studies of which no date is known."""
    return f"{_DATE} is null"


def without_keys(keys: Collection[str]) -> str:
    """All but the series of these keys.

    Raises
    ------
    InvalidInputError
        They are more than `MAX_NAMES`.
    """
    _check_number(len(keys))
    return f"{KEY} not in [{_listed(sorted(keys))}]" if keys else EVERYTHING


def named(names: Names) -> str:
    """Series that are named: by UID, key or short key.

    Raises
    ------
    InvalidInputError
        They are more than `MAX_NAMES`.
    """
    whole, short = names.whole.to_pylist(), names.short.to_pylist()
    _check_number(len(whole))
    return any_of([_among(UID, whole), _among(KEY, whole), _among(SHORT_KEY, short)])


def open_to(conditions: Conditions) -> str:
    """Series of the scopes and of the names that are asked for, whatever the filters.

    Raises
    ------
    InvalidInputError
        More are named than `MAX_NAMES`.
    """
    found = []
    if conditions.scopes is not None:
        found.append(_among(SCOPE, sorted(conditions.scopes)))
    if conditions.series is not None:
        found.append(named(conditions.series))
    return all_of(found)


def meeting(conditions: Conditions, *, also_unknown: Collection[str] = ()) -> str:
    """Series that meet conditions; `also_unknown`: with these fields unknown, too.

    Raises
    ------
    InvalidInputError
        As of `open_to`.
    """
    included = conditions.with_unknown | frozenset(also_unknown)
    either = any_of(_meeting(branch, included) for branch in conditions.alternatives or ((),))
    return all_of([open_to(conditions), _meeting(conditions.filters, included), either])


def left_out(conditions: Conditions, field: str) -> str:
    """Series that would meet conditions were a field not asked about where it is unknown.

    Raises
    ------
    InvalidInputError
        As of `open_to`.
    """
    included = conditions.with_unknown
    branches = all_of(_not_meeting(each, included) for each in conditions.alternatives or ((),))
    misses = any_of([_not_meeting(conditions.filters, included), branches])
    return all_of([misses, meeting(conditions, also_unknown=(field,))])


def allowed(conditions: Conditions) -> str:
    """What filters by hand, scopes and names leave, whatever the alternatives ask for.

    Raises
    ------
    InvalidInputError
        As of `open_to`.
    """
    by_hand = _meeting(conditions.filters, conditions.with_unknown)
    return all_of([open_to(conditions), by_hand])


def parts_of(condition: Filter) -> Parts:
    """The three expressions of a filter."""
    field = condition.field
    missing = NOTHING if field == "flags" else f"{field} is null"
    known = EVERYTHING if field == "flags" else f"{field} is not null"
    held, not_held = _held(condition)
    held, not_held = all_of([known, held]), all_of([known, not_held])
    is_negated = condition.operator in _NEGATED
    if UNKNOWN in _lower(condition.values):
        # Unknown is one of the alternatives: "!=" leaves it out with the others, by wish.
        held, missing = any_of([held, missing]), NOTHING
    passed, unmet = (not_held, held) if is_negated else (held, not_held)
    return Parts(passed=passed, unknown=missing, unmet=unmet)


def _meeting(filters: Sequence[Filter], included: Collection[str]) -> str:
    """Entities that pass all filters, or of which a field of those included is unknown."""
    found = []
    for each in filters:
        parts = parts_of(each)
        found += [any_of([parts.passed, parts.unknown]) if each.field in included else parts.passed]
    return all_of(found)


def _not_meeting(filters: Sequence[Filter], included: Collection[str]) -> str:
    """All other entities than those of `_meeting`."""
    found = []
    for each in filters:
        parts = parts_of(each)
        found += [parts.unmet if each.field in included else any_of([parts.unmet, parts.unknown])]
    return any_of(found)


def _held(condition: Filter) -> tuple[str, str]:
    """Where a known value is one of those that are named, and where it is none."""
    if condition.operator in _OPPOSITE:
        return _compared(condition)
    patterns = _patterns(condition)
    if patterns is not None:
        return _like_any(condition.field, patterns)
    return _one_of(condition.field, _literals(condition.field, _lower(condition.values)))


def _patterns(condition: Filter) -> list[str] | None:
    """What values look like that are meant; None where they are named as they are."""
    field, values = condition.field, list(_lower(condition.values))
    if field in LIST_FIELDS:  # no item has a line break
        values = [f"{ITEM}{each}{ITEM}" for each in values if ITEM not in each]
    if field in LIST_FIELDS or condition.operator in _CONTAINS:
        return [pattern for each in values for pattern in _holding(each)]
    return [f"{_escaped(each)}%" for each in values] if field == _DATE else None


def _holding(text: str) -> list[str]:
    """What texts look like that hold this one."""
    part = _escaped(text)
    if "\\" not in text:
        return [f"%{part}%"]
    # Where all wildcards are at the ends, Arrow, and so milvus-lite, takes no escape for one.
    return [part, f"{part}_%", f"%_{part}", f"%_{part}_%"]


def _literals(field: str, values: Sequence[str]) -> list[str]:
    """Values as Milvus reads them, those that a field can have."""
    if field in BOOL_FIELDS:
        return [value for value in ("true", "false") if value in values]
    if field not in NUMBER_FIELDS and field not in COUNT_FIELDS:
        return [_quoted(value) for value in values]
    numbers = [float(value) for value in values if value != UNKNOWN]
    if field in NUMBER_FIELDS:
        return [repr(number) for number in numbers]
    return [str(int(each)) for each in numbers if each.is_integer() and abs(each) < _INT64]


def _one_of(field: str, literals: Sequence[str]) -> tuple[str, str]:
    if not literals:
        return NOTHING, EVERYTHING
    listed = ", ".join(dict.fromkeys(literals))
    return f"{field} in [{listed}]", f"{field} not in [{listed}]"


def _like_any(field: str, patterns: Sequence[str]) -> tuple[str, str]:
    likes = [f"{field} like {_quoted(pattern)}" for pattern in patterns]
    return any_of(likes), all_of(f"(not ({like}))" for like in likes)


def _compared(condition: Filter) -> tuple[str, str]:
    field, operator, value = condition.field, condition.operator, condition.values[0]
    if field == _DATE:
        return _date_compared(operator, value)
    number = float(value)
    if field in NUMBER_FIELDS:
        return f"{field} {operator} {number!r}", f"{field} {_OPPOSITE[operator]} {number!r}"
    # Counts are whole numbers: to be above 2.5 is to be 3 or more.
    first = ceil(number) if operator in (">=", "<") else floor(number) + 1
    above, below = _from(field, first)
    return (above, below) if operator in (">=", ">") else (below, above)


def _from(field: str, first: int) -> tuple[str, str]:
    """Where a count is at least this, and where it is less."""
    if first >= _INT64:
        return NOTHING, EVERYTHING
    if first <= -_INT64:
        return EVERYTHING, NOTHING
    return f"{field} >= {first}", f"{field} < {first}"


def _date_compared(operator: str, value: str) -> tuple[str, str]:
    """A date given to the year or month compares to that precision: 2019-05-01 <= 2019 is true."""
    field, quoted = _DATE, _quoted(value)
    within, not_within = _like_any(field, [f"{_escaped(value)}%"])
    if operator in (">=", "<"):
        since, before = f"{field} >= {quoted}", f"{field} < {quoted}"
        return (since, before) if operator == ">=" else (before, since)
    until = any_of([f"{field} <= {quoted}", within])
    after = all_of([f"{field} > {quoted}", not_within])
    return (until, after) if operator == "<=" else (after, until)


def _among(field: str, values: Sequence[str]) -> str:
    return f"{field} in [{_listed(values)}]" if values else NOTHING


def _listed(values: Iterable[str]) -> str:
    return ", ".join(map(_quoted, values))


def _check_number(n_names: int) -> None:
    if n_names > MAX_NAMES:
        raise InvalidInputError(
            f"{n_names:,} series are named: an index on Milvus takes {MAX_NAMES:,} at most"
        )


def _joined(operator: str, expressions: Sequence[str], none: str) -> str:
    if len(expressions) > 1:
        return f"({operator.join(expressions)})"
    return expressions[0] if expressions else none


def _quoted(text: str) -> str:
    """A text as Milvus reads it: of the escapes of JSON it knows these."""
    # Half a surrogate pair is no text, and no series says it.
    whole = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    for character, escape in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        whole = whole.replace(character, escape)
    return f'"{whole}"'


def _escaped(text: str) -> str:
    """A text as part of a pattern, in which % and _ stand for anything."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _lower(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value.lower() for value in values)
