"""Numbers in questions: ages, dates, thickness of slices, field strength, counts.

A number becomes a filter only where the question says what it measures: a unit, a label, a
comparison that is said of one thing only ("older than"), or the people it is said of.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

from indexer_core.filters import Filter
from indexer_core.query import dates
from indexer_core.query.tokens import Token
from indexer_core.query.vocabulary import Vocabulary

_FIELDS = {
    "age": "ageYears",
    "months": "ageYears",
    "thickness": "sliceThicknessMm",
    "field": "fieldStrengthT",
    "count": "frames",
    "instances": "instances",
    "frames": "frames",
}
_OLDEST, _STRONGEST_T, _THICKEST_MM, _LARGEST = 150, 30, 1000, 1e9
_RANGES = {"between": ("and", "-", "to"), "from": ("to", "-", "until", "till", "through", "up")}
_BARE_RANGE = ("-", "to")
_MORE = frozenset(
    {
        "older",
        "over",
        "above",
        "more",
        "up",
        "greater",
        "thicker",
        "higher",
        "upward",
        "upwards",
        "beyond",
    }
)
_LESS = frozenset({"younger", "under", "below", "less", "fewer", "thinner", "lower", "smaller"})
_LATER = frozenset({"later", "newer", "onward", "onwards", "after", "on"})
_NOW = frozenset({"now", "today", "present", "date"})
_EARLIER = frozenset({"earlier", "older", "before"})
_REVERSED = {">": "<", ">=": "<=", "<": ">", "<=": ">=", "=": "="}
_NOT_OF_AGE = frozenset({"kg", "lb", "lbs", "cm", "ft", "feet", "%"})
_SAID_OLD = frozenset({"old", "olds", "age", "yo", "y/o"})
_YEARS_OF_A_DECADE = 10

Found = tuple[tuple[Filter, ...], int]
"""Filters, and the token after the words that say them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """Reads numbers of one question.

    Parameters
    ----------
    says_nothing_else
        Whether a token, by its place, is a word that is understood, or no word: so that "nodules
        over 5 mm" does not become a thickness of slices.
    """

    tokens: Sequence[Token]
    today: date
    vocabulary: Vocabulary
    says_nothing_else: Callable[[int], bool]

    def at(self, place: int, *, of_people: bool) -> Found | None:
        """What the words from a token on say of a number.

        of_people: whether people are named just before.
        """
        found = dates.relative_at(self.tokens, place, self.today, self.vocabulary)
        found = found or self._decade(place)
        if found is not None:
            return found
        label, start = self.vocabulary.labels.at(self.tokens, place) or ("", place)
        while label and self._text(start) in ("of", "is", "are", "was", ":"):
            start += 1
        kind = "age" if of_people and not label else label
        context = _Context(kind=kind, is_label=bool(label), start=place)
        return (
            self._range(start, context)
            or self._compared(start, context)
            or self._open_ended(start, context)
            or self._plain(start, context)
        )

    def _decade(self, place: int) -> Found | None:
        """``60s``, ``sixties``: ages; ``1990s``: dates."""
        text, end = self._text(place), place + 1
        if text in self.vocabulary.decades:
            first = self.vocabulary.decades[text]
        elif (
            self._text(end) == "s" and self.tokens[end].glued and text.isdigit() and text[-1] == "0"
        ):
            first, end = int(text[:4]), end + 1
        else:
            return None
        year = dates.year_at(self.tokens, place, self.today)
        if year is not None:
            last = year + _YEARS_OF_A_DECADE - 1
            return (dates.on(">=", f"{year}"), dates.on("<=", f"{last}")), end
        if not _YEARS_OF_A_DECADE <= first <= _OLDEST:
            return None
        return (
            _filter("ageYears", ">=", first),
            _filter("ageYears", "<", first + _YEARS_OF_A_DECADE),
        ), end

    def _range(self, place: int, context: "_Context") -> Found | None:
        """``between 2018 and 2020``, ``40-50 years old``, ``1 to 3 mm``."""
        intro = self._text(place)
        separators = _RANGES.get(intro, _BARE_RANGE)
        start = place + 1 if intro in _RANGES else place
        if intro in _RANGES:
            start += self._text(start) == "the"
            if start < len(self.tokens) and (
                named := self.vocabulary.labels.at(self.tokens, start)
            ):
                label, start = named  # "between the ages of 40 and 50"
                start += self._text(start) == "of"
                context = _Context(kind=label, is_label=True, start=context.start)
        found = self._date_range(start, separators)
        if found is not None:
            return found
        first = self._value(start)
        if first is None:
            return None
        unit, end = self._unit(first[1])
        if self._text(end) not in separators:
            return None
        second = self._value(end + 1)
        if second is None:
            return None
        unit_after, end = self._unit(second[1])
        kind = self._kind(unit_after or unit, context, end)
        if kind is None:
            return None
        low, high = sorted((first[0], second[0]))
        return self._filters(kind, ((">=", low), ("<=", high)), end)

    def _date_range(self, start: int, separators: Sequence[str]) -> Found | None:
        first = self._date(start)
        if first is None or self._text(first[1]) not in separators:
            return None
        second = self._date(first[1] + 1)
        if second is None and self._text(first[1] + 1) in _NOW:
            return (dates.on(">=", first[0]),), first[1] + 2
        if second is None:
            return None
        low, high = sorted((first[0], second[0]))
        return (dates.on(">=", low), dates.on("<=", high)), second[1]

    def _compared(
        self, place: int, context: "_Context", *, is_second: bool = False
    ) -> Found | None:
        """``over 60``, ``since 2019``, ``>= 3 mm``, ``more than 100 slices``."""
        is_inside = place < len(self.tokens)
        found = self.vocabulary.comparators.at(self.tokens, place) if is_inside else None
        if found is None:
            return None
        comparator, start = found
        says_age = False
        while self._text(start) in ("the", "of", "year", "age"):
            says_age = says_age or self._text(start) == "age"
            start += 1
        day = self._date(start)
        if day is not None and comparator.of in ("date", "age") and not self._unit(day[1])[0]:
            if self._text(day[1]) in ("onward", "onwards"):
                return (dates.on(">=", day[0]),), day[1] + 1
            operator = comparator.operator
            is_turned = comparator.of == "age"  # what is older than 2010 is earlier
            return (dates.on(_REVERSED[operator] if is_turned else operator, day[0]),), day[1]
        value = None if comparator.of == "date" else self._value(start)
        if value is None:
            return None
        unit, end = self._unit(value[1])
        said = context if not comparator.of else context.of(comparator.of)
        said = said.of("age") if says_age and not said.kind else said
        kind = self._kind(unit, said, end)
        if kind is not None:
            return self._filters(kind, ((comparator.operator, value[0]),), end)
        first = (comparator.operator, value[0])
        return None if unit or is_second else self._bounded(value[1], first, context)

    def _bounded(self, place: int, first: tuple[str, float], context: "_Context") -> Found | None:
        """The rest of "more than 20 but fewer than 100 images", whose unit counts for both."""
        if self._text(place) not in ("but", "and"):
            return None
        second = self._compared(place + 1, context, is_second=True)
        if second is None or second[0][0].field == "studyDate":
            return None
        return (_filter(second[0][0].field, *first), *second[0]), second[1]

    def _open_ended(self, place: int, context: "_Context") -> Found | None:
        """``60+``, ``60 and older``, ``2019 onwards``, ``3 mm or thinner``."""
        day = self._date(place)
        if day is not None:
            said = self._direction(day[1], _LATER, _EARLIER)
            return None if said is None else ((dates.on(said[0], day[0]),), said[1])
        value = self._value(place)
        if value is None:
            return None
        unit, end = self._unit(value[1])
        said = self._direction(end, _MORE, _LESS)
        if said is None:
            return None
        operator, end = said
        unit_after, end = self._unit(end) if not unit else (unit, end)
        is_age = self.tokens[end - 1].text in ("older", "younger")
        kind = self._kind(unit_after, context.of("age") if is_age else context, end)
        return None if kind is None else self._filters(kind, ((operator, value[0]),), end)

    def _plain(self, place: int, context: "_Context") -> Found | None:
        """``1.5T``, ``60-year-old``, ``5 mm slices``, ``in 2019``."""
        day = self._date(place)
        if day is not None and not self._unit(day[1])[0]:
            return (dates.on("=", day[0]),), day[1]
        value = self._value(place)
        if value is None or not self.tokens[place].is_number:
            return None
        unit, end = self._unit(value[1])
        said_old = any(token.text in _SAID_OLD for token in self.tokens[value[1] : end])
        is_sure = context.is_label or said_old or unit in ("field", "thickness")
        if not is_sure:
            return None
        kind = self._kind(unit, context, end)
        return None if kind is None else self._filters(kind, (("=", value[0]),), end)

    def _direction(
        self, place: int, more: frozenset[str], less: frozenset[str]
    ) -> tuple[str, int] | None:
        if self._text(place) == "+":
            return ">=", place + 1
        if self._text(place) in ("onward", "onwards"):
            return ">=", place + 1
        start = place
        if self._text(start) in ("and", "or", "&"):
            start += 1
        else:
            return None
        word = self._text(start)
        if word in more:
            return ">=", start + 1
        return ("<=", start + 1) if word in less else None

    def _kind(self, unit: str, context: "_Context", end: int) -> str | None:
        """What is measured; None where the question does not say."""
        kind = unit or context.kind
        if unit == "thickness" and context.is_label and context.kind == "count":
            return unit  # "slices 1-3 mm"
        if not unit and kind == "age" and self._text(end) in _NOT_OF_AGE:
            return None
        if not kind or (context.is_label and unit and not _agree(unit, context.kind)):
            return None
        if kind in ("age", "months") and self._text(end) == "of":
            return None  # years of something else
        if kind == "thickness" and not context.kind and not self._is_of_slices(context.start, end):
            return None
        return kind

    def _is_of_slices(self, start: int, end: int) -> bool:
        if self._text(end) in self.vocabulary.slice_nouns:
            return True
        while self._text(start - 1) in self.vocabulary.comparing or self._leads_on(start - 1):
            start -= 1
        return self.says_nothing_else(start - 1) and self.says_nothing_else(end)

    def _leads_on(self, place: int) -> bool:
        """Whether a word says nothing by itself, as in "lesions of about 5 mm"."""
        if place < 0:
            return False
        signal = self.vocabulary.signals.at(self.tokens[: place + 1], place)
        return signal is not None and signal[0] in ("filler", "break")

    def _filters(self, kind: str, bounds: Sequence[tuple[str, float]], end: int) -> Found | None:
        highest = {"age": _OLDEST, "field": _STRONGEST_T, "thickness": _THICKEST_MM}.get(kind)
        if highest is not None and any(value > highest for _, value in bounds):
            return None
        while kind == "thickness" and self._text(end) in self.vocabulary.slice_nouns:
            end += 1
        per_unit = 12 if kind == "months" else 1
        return (
            tuple(_filter(_FIELDS[kind], operator, value / per_unit) for operator, value in bounds),
            end,
        )

    def _unit(self, place: int) -> tuple[str, int]:
        """What a unit measures, and the token after it; nothing where there is none."""
        if place >= len(self.tokens):
            return "", place
        found = self.vocabulary.units.at(self.tokens, place)
        if found is None:
            return "", place
        if (
            self._text(place) == "t"
            and self.tokens[place].raw != "T"
            and not self.tokens[place].glued
        ):
            return "", place
        if self._text(place) in ("instances", "files"):
            return "instances", found[1]
        return found

    def _value(self, place: int) -> tuple[float, int] | None:
        if place >= len(self.tokens):
            return None
        token = self.tokens[place]
        if token.is_number and token.text.isascii():
            value = float(token.text)
            return (value, place + 1) if value < _LARGEST else None
        number = self.vocabulary.numbers.get(token.text)
        return None if number is None or token.text == "a" else (float(number), place + 1)

    def _date(self, place: int) -> tuple[str, int] | None:
        return dates.date_at(self.tokens, place, self.today, self.vocabulary)

    def _text(self, place: int) -> str:
        return self.tokens[place].text if 0 <= place < len(self.tokens) else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What a number measures by the words before it, and where these begin."""

    kind: str
    is_label: bool
    start: int

    def of(self, kind: str) -> "_Context":
        """The same, with a comparison that is said of one thing only."""
        return _Context(kind=kind, is_label=self.is_label, start=self.start)


def _agree(unit: str, label: str) -> bool:
    groups = ({"age", "months"}, {"count", "instances", "frames"})
    return unit == label or any(unit in group and label in group for group in groups)


def _filter(field: str, operator: str, value: float) -> Filter:
    return Filter(field=field, operator=operator, values=(f"{round(value, 4):g}",))
