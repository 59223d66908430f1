"""Admitted header values as attributes: cleaned, scrubbed, bounded."""

import datetime as dt
import re
from collections.abc import Iterable, Mapping

from indexer_core.facts import Scalar, Value
from indexer_core.headers import tags
from indexer_core.headers.tags import Attribute, Kind, Private
from indexer_core.headers.values import MAX_VALUES, DataSet
from indexer_core.privacy import Identifiers, scrub

# Six bytes a character at most, so that facts stay below the 32 KiB of a table's property.
MAX_ATTRIBUTE_CHARACTERS = 5_000
OLDEST_AGE_YEARS = 90
_DAYS = {"Y": 365.25, "M": 365.25 / 12, "W": 7.0, "D": 1.0}
_AGE = re.compile(r"(\d{1,3})\s*([YMWD]?)")
# Code strings by DICOM PS3.5 section 6.2, in whatever case they are written.
_TERM = re.compile(r"[A-Za-z0-9_ ]{1,16}")
_DATE = re.compile(r"(\d{4})[.\-/]?(\d{2})[.\-/]?(\d{2})(?!\d)")
_PRIVATE_CREATORS = range(0x10, 0x100)
_B_VALUE_MARK = 10**9
_NAME = 4
_NOBODY = Identifiers()


def read_attributes(dataset: DataSet, identifiers: Identifiers) -> dict[str, Value]:
    """Every admitted attribute that the data set itself holds."""
    attributes: dict[str, Value] = {}
    for attribute in tags.ATTRIBUTES:
        if attribute.tag in dataset:
            put(attributes, attribute.keyword, read_value(dataset, attribute, identifiers))
    if "DiffusionBValue" not in attributes:
        put(attributes, "DiffusionBValue", _private_b_value(dataset))
    study_date = read_date(dataset.text(tags.STUDY_DATE))
    if study_date is not None:
        attributes["StudyDate"] = f"{study_date:%Y%m%d}"
    age = _age_years(dataset, study_date)
    if age is not None:
        attributes["AgeYears"] = age
    return attributes


def put(attributes: dict[str, Value], keyword: str, values: tuple[Scalar, ...]) -> None:
    """Keep one value as a scalar, several as a tuple, none not at all."""
    if values:
        attributes[keyword] = values[0] if len(values) == 1 else values


def read_value(
    dataset: DataSet, attribute: Attribute, identifiers: Identifiers
) -> tuple[Scalar, ...]:
    """The values of one attribute, empty when it is absent, empty or unreadable."""
    if attribute.kind is Kind.NUMBERS:
        return tuple(map(tidy_number, dataset.numbers(attribute.tag, attribute.vr)))
    if attribute.kind is Kind.TEXT:
        return _scrubbed((dataset.text(attribute.tag),), identifiers)
    if attribute.kind is Kind.CODE:
        return _distinct(_code(item, identifiers) for item in _inner_items(dataset, attribute))
    if attribute.kind is Kind.LABELS:
        labels = [item.text(attribute.inner[-1]) for item in dataset.items(attribute.tag)]
        return _distinct(_scrubbed(labels, identifiers))
    return _read_texts(dataset, attribute, identifiers)


def _read_texts(
    dataset: DataSet, attribute: Attribute, identifiers: Identifiers
) -> tuple[str, ...]:
    if attribute.kind is Kind.TERMS:
        return _scrubbed(dataset.texts(attribute.tag), identifiers)
    text = dataset.text(attribute.tag)
    if attribute.kind is Kind.DEFINED:
        # Real terms can equal a short name, so that only longer ones are taken for one.
        is_term = _TERM.fullmatch(text) and (len(text) < _NAME or scrub(text, identifiers) == text)
        return (text,) if is_term else ()
    return _scrubbed((text,), _NOBODY if attribute.kind is Kind.PRODUCT else identifiers)


def tidy_number(value: float) -> int | float:
    """Without the noise of single precision; whole numbers as integers."""
    rounded = float(f"{value:.7g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 2**53 else rounded


def read_date(text: str) -> dt.date | None:
    """A date written YYYYMMDD, or with dots, hyphens or slashes between its parts."""
    match = _DATE.match(text)
    if match is None:
        return None
    year, month, day = map(int, match.groups())
    try:
        return dt.date(year, month, day) if year >= 1900 else None
    except ValueError:
        return None


def bounded(attributes: Mapping[str, Value]) -> tuple[dict[str, Value], bool]:
    """The attributes without their longest ones where they are too long together."""
    sizes = {keyword: _characters(value) for keyword, value in attributes.items()}
    kept = dict(attributes)
    total = sum(sizes.values())
    for keyword in sorted(sizes, key=lambda name: (-sizes[name], name)):
        if total <= MAX_ATTRIBUTE_CHARACTERS:
            break
        total -= sizes[keyword]
        del kept[keyword]
    return kept, len(kept) < len(attributes)


def _characters(value: Value) -> int:
    if isinstance(value, tuple):
        return sum(map(_characters, value))
    return len(value) if isinstance(value, str) else 8


def _scrubbed(texts: Iterable[str], identifiers: Identifiers) -> tuple[str, ...]:
    return tuple(text for text in (scrub(text, identifiers) for text in texts) if text)


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(value for value in values if value))[:MAX_VALUES]


def _inner_items(dataset: DataSet, attribute: Attribute) -> Iterable[DataSet]:
    for item in dataset.items(attribute.tag):
        if attribute.inner:
            yield from item.items(attribute.inner[0])
        else:
            yield item


def _code(item: DataSet, identifiers: Identifiers) -> str:
    """A coded concept (DICOM PS3.3 section 8.8) as value|scheme|meaning."""
    value = item.text(tags.CODE_VALUE) or item.text(tags.LONG_CODE_VALUE)
    meaning = scrub(item.text(tags.CODE_MEANING), identifiers)
    if not value and not meaning:
        return ""
    parts = (value[:64], item.text(tags.CODING_SCHEME)[:16], meaning[:64])
    return "|".join(part.replace("|", "/") for part in parts)


def _private_b_value(dataset: DataSet) -> tuple[Scalar, ...]:
    for private in tags.PRIVATE_B_VALUES:
        number = dataset.number(_private_tag(dataset, private), private.vr)
        if number is not None and number >= 0:
            # Some GE releases store the value plus 1e9.
            return (tidy_number(number % _B_VALUE_MARK),)
    return ()


def _private_tag(dataset: DataSet, private: Private) -> int:
    """The element in the block its creator reserved (DICOM PS3.5 section 7.8.1), or 0."""
    group = private.group << 16
    for block in _PRIVATE_CREATORS:
        if group | block not in dataset:
            return 0
        if dataset.text(group | block) == private.creator:
            return group | block << 8 | private.element
    return 0


def _age_years(dataset: DataSet, study_date: dt.date | None) -> float | int | None:
    """Age in years from PatientAge, or from the birth date on the day of the study.

    Ages over 89 are 90, as the HIPAA Safe Harbor rule has it (45 CFR 164.514(b)(2)(i)(C)).
    """
    match = _AGE.fullmatch(dataset.text(tags.PATIENT_AGE))
    birth_date = read_date(dataset.text(tags.PATIENT_BIRTH_DATE))
    if match is not None:
        days = int(match[1]) * _DAYS[match[2] or "Y"]
    elif birth_date is not None and study_date is not None and birth_date <= study_date:
        days = float((study_date - birth_date).days)
    else:
        return None
    years = days / _DAYS["Y"]
    if years >= OLDEST_AGE_YEARS:
        return OLDEST_AGE_YEARS
    return int(years) if years >= 1 else round(years, 2)
