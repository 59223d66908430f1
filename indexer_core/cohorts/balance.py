"""The balance card of a cohort: how its series spread over sex, age, manufacturer and modality.

Small cells can be suppressed: a count from 1 to `least` - 1 is not shown, of series or of patients.
Nor can it be told from the others: further cells of the field are hidden, the smallest first, until
two at least are hidden which together are `least` series or more.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer_core.filters import UNKNOWN

SEX, AGE, MANUFACTURER, MODALITY, REGION = (
    "sex",
    "ageBand",
    "manufacturer",
    "modality",
    "bodyRegion",
)
FIELDS = (SEX, AGE, MANUFACTURER, MODALITY, REGION)
_OLDEST = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """The series that have one value of a field.

    Parameters
    ----------
    n_series, n_patients
        None where they are suppressed. Series without a patient key count for no patient.
    share
        Of all series, between 0 and 1; None where the count is.
    """

    value: str
    n_series: int | None
    n_patients: int | None
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A balance card; counts are None where they are suppressed.

    `fields`: for each of `FIELDS` its cells, the largest first, unknown last; age bands ascending.
    """

    n_series: int | None
    n_patients: int | None
    n_studies: int | None
    fields: Mapping[str, tuple[Cell, ...]]


def card_of(records: Iterable[Mapping[str, Any]], least: int = 0) -> Card:
    """The card of these series records (DESIGN section 5a).

    Parameters
    ----------
    least
        Suppress counts below this; 0 or 1: none.
    """
    counted: dict[str, dict[str, list[str]]] = {field: {} for field in FIELDS}
    patients: list[str] = []
    studies: set[str] = set()
    for record in records:
        patient = str(record.get("patientKey") or "")
        patients.append(patient)
        studies.add(str(record.get("studyInstanceUid") or ""))
        for field in FIELDS:
            counted[field].setdefault(_value(record, field), []).append(patient)
    n_series, n_patients, n_studies = len(patients), _distinct(patients), len(studies)
    shown = not _is_small((n_series, n_patients), least)
    return Card(
        n_series=n_series if shown else None,
        n_patients=n_patients if shown else None,
        n_studies=n_studies if shown and not _is_small((n_studies,), least) else None,
        fields={field: _cells(field, counted[field], n_series, least) for field in FIELDS},
    )


def mean_differences(one: Card, other: Card) -> dict[str, dict[str, float | None]]:
    """Standardised mean difference of the share of every value, by field and value.

    (p - q) / sqrt((p (1 - p) + q (1 - q)) / 2), for shares p of `one` and q of `other`; 0.1 is
    often taken as the limit of balance. None where a share is suppressed, or where the difference
    has no bound because all series of one and none of the other have the value.
    """
    found: dict[str, dict[str, float | None]] = {}
    for field in FIELDS:
        shares = [{cell.value: cell.share for cell in card.fields[field]} for card in (one, other)]
        values = dict.fromkeys([*shares[0], *shares[1]])
        found[field] = {
            value: _mean_difference(shares[0].get(value, 0.0), shares[1].get(value, 0.0))
            for value in values
        }
    return found


def shown_counts(counts: Sequence[int], least: int) -> list[int | None]:
    """Counts that can only fall, without those that are small or tell of a small loss."""
    shown: list[int | None] = []
    before: int | None = None
    for n in counts:
        is_small = 0 < n < least or (before is not None and 0 < before - n < least)
        shown.append(None if is_small else n)
        before = before if is_small else n
    return shown


def age_band(age_years: float | None) -> str:
    """Ten years, such as ``40-49``; 90 and over in one."""
    if age_years is None:
        return UNKNOWN
    if age_years >= _OLDEST:
        return f"{_OLDEST}+"
    first = int(age_years) // 10 * 10
    return f"{first}-{first + 9}"


def _value(record: Mapping[str, Any], field: str) -> str:
    if field == AGE:
        return age_band(record.get("ageYears"))
    return str(record.get(field) or UNKNOWN)


def _distinct(patients: Iterable[str]) -> int:
    return len({patient for patient in patients if patient})


def _cells(
    field: str, counted: Mapping[str, Sequence[str]], n_all: int, least: int
) -> tuple[Cell, ...]:
    counts = {value: (len(found), _distinct(found)) for value, found in counted.items()}
    hidden = _hidden(counts, least)

    def place(value: str) -> tuple[bool, int, str]:
        # By what is shown: the order must not tell of hidden counts.
        n_shown = 0 if value in hidden else counts[value][0]
        return value == UNKNOWN, _age_of(value) if field == AGE else -n_shown, value

    return tuple(
        Cell(value=value, n_series=None, n_patients=None, share=None)
        if value in hidden
        else Cell(
            value=value,
            n_series=counts[value][0],
            n_patients=counts[value][1],
            share=counts[value][0] / n_all,
        )
        for value in sorted(counts, key=place)
    )


def _age_of(band: str) -> int:
    digits = re.match(r"\d+", band)
    return 0 if digits is None else int(digits[0])


def _hidden(counts: Mapping[str, tuple[int, int]], least: int) -> set[str]:
    hidden = {value for value, cell in counts.items() if _is_small(cell, least)}
    others = sorted(counts.keys() - hidden, key=lambda value: (counts[value], value))
    while hidden and others:
        if len(hidden) > 1 and sum(counts[value][0] for value in hidden) >= least:
            break
        hidden.add(others.pop(0))
    return hidden


def _is_small(counts: Sequence[int], least: int) -> bool:
    return any(0 < count < least for count in counts)


def _mean_difference(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    if one == other:
        return 0.0
    variance = (one * (1 - one) + other * (1 - other)) / 2
    return (one - other) / math.sqrt(variance) if variance > 0 else None
