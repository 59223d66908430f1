"""The balance card of a cohort: how its series spread over sex, age, manufacturer and modality.

Both series and patients are counted: of one patient there may be thirty series, so that a count of
series alone hides nobody. Small counts are left untold by the rule of `indexer_core.small_cells`,
in the table of patients as in that of series.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer_core.filters import UNKNOWN
from indexer_core.small_cells import hidden_cells

SEX, AGE, MANUFACTURER, MODALITY, REGION = (
    "sex",
    "ageBand",
    "manufacturer",
    "modality",
    "bodyRegion",
)
RECORD_FIELDS = (
    "sex",
    "ageYears",
    "manufacturer",
    "modality",
    "bodyRegion",
    "patientKey",
    "studyInstanceUid",
)
"""What a card reads of a record."""
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

    Parameters
    ----------
    fields
        For each of `FIELDS` its cells: the largest first, unknown last; age bands ascending. None
        where any of them would tell too much.
    """

    n_series: int | None
    n_patients: int | None
    n_studies: int | None
    fields: Mapping[str, tuple[Cell, ...] | None]


def card_of(records: Iterable[Mapping[str, Any]], least: int = 0) -> Card:
    """The card of these series records.

    Parameters
    ----------
    records
        Their `RECORD_FIELDS` at least.
    least
        Suppress counts below this; 0 or 1: none.
    """
    counted = {field: _Counted() for field in FIELDS}
    patients: list[str] = []
    studies: set[str] = set()
    for record in records:
        patient = str(record.get("patientKey") or "")
        patients.append(patient)
        studies.add(str(record.get("studyInstanceUid") or ""))
        for field, found in counted.items():
            found.add(_value(record, field), patient)
    totals = len(patients), _distinct(patients)
    shown = not _is_small(totals, least)
    return Card(
        n_series=totals[0] if shown else None,
        n_patients=totals[1] if shown else None,
        n_studies=len(studies) if shown and not _is_small((len(studies),), least) else None,
        fields={
            field: _cells(field, found.counts(), totals, least) for field, found in counted.items()
        },
    )


class _Counted:
    """The series and patients of each value; spellings that filters take for one value are one."""

    def __init__(self) -> None:
        self._series: Counter[str] = Counter()
        self._patients: set[tuple[str, str]] = set()

    def add(self, value: str, patient: str) -> None:
        self._series[value] += 1
        if patient:
            self._patients.add((value, patient))

    def counts(self) -> dict[str, tuple[int, int]]:
        """Series and patients by the most frequent spelling."""
        spellings: dict[str, list[str]] = {}
        for value in self._series:
            spellings.setdefault(value.lower(), []).append(value)
        patients: dict[str, set[str]] = {lower: set() for lower in spellings}
        for value, patient in self._patients:
            patients[value.lower()].add(patient)
        return {
            max(each, key=lambda value: (self._series[value], value)): (
                sum(self._series[value] for value in each),
                len(patients[lower]),
            )
            for lower, each in spellings.items()
        }


def mean_differences(one: Card, other: Card) -> dict[str, dict[str, float | None]]:
    """Standardised mean difference of the share of every value, by field and value.

    (p - q) / sqrt((p (1 - p) + q (1 - q)) / 2), for shares p of `one` and q of `other`; 0.1 is
    often taken as the limit of balance. None where a share is suppressed, or where the difference
    has no bound because all series of one and none of the other have the value.
    """
    found: dict[str, dict[str, float | None]] = {}
    for field in FIELDS:
        p, q = (_shares(card.fields[field]) for card in (one, other))
        found[field] = {
            value: None
            if p is None or q is None
            else _mean_difference(p.get(value, 0.0), q.get(value, 0.0))
            for value in _ordered(field, [*(p or ()), *(q or ())])
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


def _shares(cells: Sequence[Cell] | None) -> dict[str, float | None] | None:
    return None if cells is None else {cell.value: cell.share for cell in cells}


def _cells(
    field: str, counts: Mapping[str, tuple[int, int]], totals: tuple[int, int], least: int
) -> tuple[Cell, ...] | None:
    values = list(counts)
    hidden: set[str] = set()
    for kind, total in enumerate(totals):
        places = hidden_cells([counts[value][kind] for value in values], total, least)
        if places is None:
            return None
        hidden |= {values[place] for place in places}

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
            share=counts[value][0] / totals[0],
        )
        for value in sorted(values, key=place)
    )


def _ordered(field: str, values: Sequence[str]) -> list[str]:
    """Each value once: age bands ascending, others as they come, unknown last."""
    ages = {value: _age_of(value) if field == AGE else 0 for value in values}
    return sorted(ages, key=lambda value: (value == UNKNOWN, ages[value]))


def _age_of(band: str) -> int:
    digits = re.match(r"\d+", band)
    return 0 if digits is None else int(digits[0])


def _is_small(counts: Sequence[int], least: int) -> bool:
    return any(0 < count < least for count in counts)


def _mean_difference(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return None
    if one == other:
        return 0.0
    variance = (one * (1 - one) + other * (1 - other)) / 2
    return (one - other) / math.sqrt(variance) if variance > 0 else None
