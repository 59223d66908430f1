"""Dates and times in questions: to the year, month or day, and back from today."""

import calendar
import re
from collections.abc import Sequence
from datetime import date, timedelta

from indexer_core.filters import Filter
from indexer_core.query.tokens import Token
from indexer_core.query.vocabulary import Vocabulary

_FIRST_YEAR = 1970
_DAY = re.compile(r"0?[1-9]|[12][0-9]|3[01]", re.ASCII)
_BACK = frozenset({"last", "past", "previous", "preceding"})
_DAYS = {"day": 1, "days": 1, "week": 7, "weeks": 7}
_MONTHS = {
    "month": 1,
    "months": 1,
    "year": 12,
    "years": 12,
    "yrs": 12,
    "decade": 120,
    "decades": 120,
}
_MAX_BACK = 1500


def on(operator: str, day: str) -> Filter:
    """A filter on the date of the study."""
    return Filter(field="studyDate", operator=operator, values=(day,))


def year_at(tokens: Sequence[Token], place: int, today: date) -> int | None:
    """The year that a token says, if it can be the year of a study."""
    if place >= len(tokens):
        return None
    text = tokens[place].text
    if len(text) != len("2019") or not (text.isascii() and text.isdigit()):
        return None
    return int(text) if _FIRST_YEAR <= int(text) <= today.year + 1 else None


def _month_and_day_at(
    tokens: Sequence[Token], place: int, month: int, today: date
) -> tuple[str, int] | None:
    """A day as in "March 4, 2015", its month at `place`, and where what follows begins."""
    following = place + 1
    day = tokens[following].text if following < len(tokens) else ""
    if not _DAY.fullmatch(day):
        return None
    following += 1
    for between in (("st", "nd", "rd", "th"), (",",)):
        if following < len(tokens) and tokens[following].text in between:
            following += 1
    year = year_at(tokens, following, today)
    return None if year is None else (f"{year}-{month:02}-{int(day):02}", following + 1)


def date_at(
    tokens: Sequence[Token], place: int, today: date, vocabulary: Vocabulary
) -> tuple[str, int] | None:
    """A date (2019, 2019-05, 2019-05-01, May 2019) and the token after it."""
    if place >= len(tokens):
        return None
    month = vocabulary.months.get(tokens[place].text)
    if month is not None:
        following = place + 1
        if following < len(tokens) and tokens[following].text in ("of", ","):
            following += 1
        year = year_at(tokens, following, today)
        if year is None:
            return _month_and_day_at(tokens, place, month, today)
        return f"{year}-{month:02}", following + 1
    year = year_at(tokens, place, today)
    if year is None:
        return None
    written, end = f"{year}", place + 1
    for highest in (12, 31):
        part = _part_at(tokens, end, highest)
        if part is None:
            break
        written, end = f"{written}-{part:02}", end + 2
    return written, end


def relative_at(
    tokens: Sequence[Token], place: int, today: date, vocabulary: Vocabulary
) -> tuple[tuple[Filter, ...], int] | None:
    """``last 5 years``, ``past month``, ``this year``: filters, and the token after them."""
    word = tokens[place].text
    if word not in _BACK:
        return _this(tokens, place, today)
    count, end = _count_at(tokens, place + 1, vocabulary)
    if end >= len(tokens):
        return None
    unit = tokens[end].text
    if count is None and word == "last" and unit == "year" and not _is_the(tokens, place):
        return (on("=", f"{today.year - 1}"),), end + 1
    earlier = _before(today, unit, 1 if count is None else count)
    return None if earlier is None else ((on(">=", earlier),), end + 1)


def _this(
    tokens: Sequence[Token], place: int, today: date
) -> tuple[tuple[Filter, ...], int] | None:
    """``today``, ``yesterday``, ``this year``, ``this month``."""
    word = tokens[place].text
    following = tokens[place + 1].text if place + 1 < len(tokens) else ""
    if word == "this" and following in ("year", "month"):
        return (on("=", today.isoformat()[: 4 if following == "year" else 7]),), place + 2
    days = {"today": 0, "yesterday": 1}.get(word)
    if days is None:
        return None
    return (on("=", (today - timedelta(days=days)).isoformat()),), place + 1


def _part_at(tokens: Sequence[Token], place: int, highest: int) -> int | None:
    """A month or day of two digits behind a hyphen or slash."""
    if place + 1 >= len(tokens):
        return None
    sign, part = tokens[place], tokens[place + 1]
    if sign.text not in ("-", "/") or not (sign.glued and part.glued) or len(part.text) != 2:
        return None
    if not (part.text.isascii() and part.text.isdigit()):
        return None
    return int(part.text) if 1 <= int(part.text) <= highest else None


def _count_at(
    tokens: Sequence[Token], place: int, vocabulary: Vocabulary
) -> tuple[int | None, int]:
    if place < len(tokens):
        text = tokens[place].text
        if text.isascii() and text.isdigit():
            return min(int(text[:6]), _MAX_BACK), place + 1
        if text in vocabulary.numbers:
            return vocabulary.numbers[text], place + 1
    return None, place


def _before(today: date, unit: str, count: int) -> str | None:
    if unit in _DAYS:
        return (today - timedelta(days=_DAYS[unit] * count)).isoformat()
    if unit not in _MONTHS:
        return None
    month = today.year * 12 + today.month - 1 - _MONTHS[unit] * count
    year, month = month // 12, month % 12 + 1
    if year < 1:
        return None
    day = min(today.day, calendar.monthrange(year, month)[1])
    return date(year, month, day).isoformat()


def _is_the(tokens: Sequence[Token], place: int) -> bool:
    return place > 0 and tokens[place - 1].text == "the"
