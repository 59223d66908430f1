"""Conditions on series facts, as rule files write them.

``when: {EchoTime: {min: 80}, ScanningSequence: {has: [SE]}, InversionTime: absent}``

==========  ===========================================================================
test        holds when
==========  ===========================================================================
present     the attribute has a value (written as ``Keyword: present``)
absent      it has none (``Keyword: absent``)
min, max    one of its numbers is at least, at most this (one and the same number for both)
has         any value or component equals one of these (case ignored)
lacks       none does
matches     a value contains a match of this pattern (folded text)
==========  ===========================================================================
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from indexer_core.errors import InvalidInputError
from indexer_core.facts import SeriesFacts, Value
from indexer_core.rules.text import analyse

_TESTS = {"min", "max", "has", "lacks", "matches"}


@lru_cache(maxsize=2048)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile a pattern of a rule file on first use."""
    return re.compile(pattern)


@dataclass(frozen=True)
class FactsView:
    """Series facts with the look-ups that rules need."""

    facts: SeriesFacts

    def values(self, keyword: str) -> tuple[tuple[Value, int], ...]:
        """Distinct values with counts, most frequent first, empty ones left out."""
        return tuple(
            (value, count)
            for value, count in self.facts.attributes.get(keyword, ())
            if as_text(value)
        )

    def texts(self, keyword: str) -> tuple[tuple[str, float], ...]:
        """Distinct values as text with their share of the instances."""
        values = self.values(keyword)
        total = sum(max(count, 1) for _, count in values) or 1
        return tuple((as_text(value), max(count, 1) / total) for value, count in values)

    def text(self, keyword: str) -> str:
        """The most frequent value as text, "" when there is none."""
        values = self.values(keyword)
        return as_text(values[0][0]) if values else ""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """All numbers among the values, those of the most frequent value first."""
        items = (
            item
            for value, _ in self.values(keyword)
            for item in (value if isinstance(value, tuple) else (value,))
        )
        numbers = (as_number(item) for item in items)
        return tuple(number for number in numbers if number is not None)

    def components(self, keyword: str) -> frozenset[str]:
        """All components of all values, upper case; codes by their value and their meaning."""
        return self._components.get(keyword) or self._collect(keyword)

    @cached_property
    def _components(self) -> dict[str, frozenset[str]]:
        return {}

    def _collect(self, keyword: str) -> frozenset[str]:
        parts: set[str] = set()
        for value, _ in self.values(keyword):
            for item in value if isinstance(value, tuple) else (value,):
                text = as_text(item).upper()
                parts.update(piece.strip() for piece in text.replace("\\", "|").split("|"))
        parts.discard("")
        self._components[keyword] = frozenset(parts)
        return self._components[keyword]


def as_text(value: Value) -> str:
    """Value as stripped text, components of several joined by a space."""
    if isinstance(value, tuple):
        return " ".join(filter(None, (as_text(item) for item in value)))
    return str(value).replace("\x00", "").strip()


def as_number(value: object) -> float | None:
    """The number that is written there, or None when it is none or not finite."""
    try:
        number = float(str(value).strip())
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def validate(condition: Any, where: str) -> None:
    """Raise InvalidInputError with one line naming `where` unless this is a condition."""
    if not isinstance(condition, Mapping):
        raise InvalidInputError(f"{where}: 'when' must map DICOM keywords to tests")
    for keyword, test in condition.items():
        if test in ("present", "absent"):
            continue
        if not isinstance(test, Mapping) or not test or set(test) - _TESTS:
            raise InvalidInputError(
                f"{where}: test of {keyword} must be present, absent or one of {sorted(_TESTS)}"
            )
        if "matches" in test:
            validate_pattern(test["matches"], where)


def validate_pattern(pattern: Any, where: str) -> None:
    """Raise InvalidInputError unless `pattern` is a regular expression."""
    try:
        compiled(pattern)
    except (re.error, TypeError) as exc:
        raise InvalidInputError(f"{where}: {pattern!r} is not a regular expression") from exc


def holds(condition: Mapping[str, Any], view: FactsView) -> bool:
    """Whether every test of the condition holds."""
    return all(_test(keyword, test, view) for keyword, test in condition.items())


def _test(keyword: str, test: Any, view: FactsView) -> bool:
    if test == "present":
        return bool(view.values(keyword))
    if test == "absent":
        return not view.values(keyword)
    if "min" in test or "max" in test:
        low, high = test.get("min", -math.inf), test.get("max", math.inf)
        if not any(low <= number <= high for number in view.numbers(keyword)):
            return False
    return all(_compare(name, wanted, keyword, view) for name, wanted in test.items())


def _compare(name: str, wanted: Any, keyword: str, view: FactsView) -> bool:
    if name in ("min", "max"):
        return True
    if name == "matches":
        pattern = compiled(wanted)
        return any(pattern.search(analyse(text).plain) for text, _ in view.texts(keyword))
    options = {str(option).upper() for option in wanted}
    return bool(options & view.components(keyword)) == (name == "has")
