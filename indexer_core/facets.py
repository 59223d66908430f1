"""What a selection consists of: how many series have each value of a field.

Counting goes by the codes of a column, not by its texts, and is over before a page is drawn.
Spellings that filters take for one value are one value here, so that a count is what the filter
on that value finds. A series counts once for every item of its lists. Numbers and dates are
counted in bands. What is unknown is counted apart, as filters understand it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from indexer_core.counting import count_bands, count_items, count_texts, merged
from indexer_core.errors import InvalidInputError
from indexer_core.index.loaded import LiveRows
from indexer_core.index.rows import BOOL_FIELDS, LIST_FIELDS
from indexer_core.selection import (
    PROVISIONAL,
    Conditions,
    Selection,
    evaluate,
    provisional_rows,
    select,
    selected,
)
from indexer_core.small_cells import hidden_cells


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """A value and how many series have it; None: too few to be told.

    low, high: of a band of numbers, its least and the first that is above it; None: no end.
    """

    value: str
    count: int | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """The values of a field, most frequent first; those that are not told come last, by value.

    unknown: series that lack the field. other: how often the values occur that are not listed.
    is_withheld: nothing is told, not even the values, because any of it would tell too much.
    """

    field: str
    values: tuple[FacetValue, ...] = ()
    unknown: int | None = 0
    other: int | None = 0
    is_withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """Bands of numbers: the first begins below all, each ends before the next edge."""

    edges: tuple[float, ...]
    names: tuple[str, ...]

    def value(self, number: int, count: int) -> FacetValue:
        """A band as a value."""
        return FacetValue(
            value=self.names[number],
            count=count,
            low=self.edges[number - 1] if number else None,
            high=self.edges[number] if number < len(self.edges) else None,
        )


def _whole(*firsts: int) -> Bands:
    """Bands of whole numbers, named as 10-19; `firsts` are the least of each."""
    names = [
        f"{first}" if after == first + 1 else f"{first}-{after - 1}"
        for first, after in pairwise(firsts)
    ]
    return Bands(edges=tuple(map(float, firsts[1:])), names=(*names, f"{firsts[-1]}+"))


BANDS = {
    "ageYears": _whole(*range(0, 100, 10)),
    "instances": _whole(1, 2, 10, 50, 200, 1000),
    "frames": _whole(1, 2, 10, 50, 200, 1000),
    # Thin, the usual ones, thick; and field strengths around what makers call 0.3, 1, 1.5, 3, 7 T.
    "sliceThicknessMm": Bands(
        edges=(1.0, 2.0, 3.0, 5.0, 10.0), names=("<1", "1-2", "2-3", "3-5", "5-10", "10+")
    ),
    "fieldStrengthT": Bands(
        edges=(0.5, 1.25, 2.0, 4.0), names=("<0.5", "0.5-1.25", "1.25-2", "2-4", "4+")
    ),
}
YEARS = "studyDate"
_WORDS = (
    "scope",
    "modality",
    "headerModality",
    "bodyRegion",
    "bodyPart",
    "plane",
    "contrast",
    "manufacturer",
    "model",
    "sex",
)
FACETS = (*_WORDS, YEARS, *BANDS, *BOOL_FIELDS, *LIST_FIELDS)
"""Fields that can be counted: not those by which each series, or each patient, has its own."""


def facet_field(name: str) -> str:
    """The field of this name, in any case.

    Raises
    ------
    InvalidInputError
        There is none that can be counted.
    """
    found = {field.lower(): field for field in FACETS}.get(name.strip().lower())
    if found is None:
        raise InvalidInputError(f"facet {name!r} cannot be counted; use one of {', '.join(FACETS)}")
    return found


def count_facets(
    snapshot: LiveRows,
    conditions: Conditions,
    fields: Sequence[str],
    *,
    exclude_own: bool = False,
    most: int = 20,
    least: int = 0,
    selection: Selection | None = None,
) -> list[Facet]:
    """The facets of the series that meet conditions.

    Parameters
    ----------
    fields
        Some of `FACETS`.
    exclude_own
        Whether a field is counted as if its own filters were not set, so that further values can
        be chosen beside those that are. `alternatives` stay as they are.
    most, least
        As of `facet`.
    selection
        What meets the conditions, where that is known already.
    """
    met = select(snapshot, conditions) if selection is None else selection
    evaluated = None  # once, for all fields that have filters of their own
    found = []
    for field in fields:
        counted, others = met, tuple(each for each in conditions.filters if each.field != field)
        if exclude_own and len(others) < len(conditions.filters):
            evaluated = evaluated or evaluate(snapshot, conditions)
            counted = selected(snapshot, replace(conditions, filters=others), evaluated)
        found.append(facet(snapshot, counted, field, most=most, least=least))
    return found


def facet(
    snapshot: LiveRows, selection: Selection, field: str, *, most: int = 20, least: int = 0
) -> Facet:
    """How many of the selected series have each value of a field.

    Parameters
    ----------
    most
        Values that are listed; the others are counted together.
    least
        A smaller count is not told; see `indexer_core.small_cells`.
    """
    values, unknown = _counted(snapshot, selection, field)
    values.sort(key=lambda each: (-(each.count or 0), each.value))
    listed = values[:most]
    other = sum(each.count or 0 for each in values[most:])
    counts = [*(each.count or 0 for each in listed), unknown, other]
    hidden = hidden_cells(counts, selection.n_passed, least)
    if hidden is None:
        return Facet(field=field, unknown=None, other=None, is_withheld=True)
    told = [each for place, each in enumerate(listed) if place not in hidden]
    untold = [replace(listed[place], count=None) for place in hidden if place < len(listed)]
    return Facet(
        field=field,
        # By value: the order of their counts would tell of them.
        values=(*told, *sorted(untold, key=lambda each: each.value)),
        unknown=None if len(listed) in hidden else unknown,
        other=None if len(listed) + 1 in hidden else other,
    )


def _counted(snapshot: LiveRows, selection: Selection, field: str) -> tuple[list[FacetValue], int]:
    """All values of a field with their counts, and how many series have none."""
    columns = [segment.loaded.rows.filter_column(field) for segment in snapshot.segments]
    if field in BANDS:
        bands = BANDS[field]
        counts, unknown = count_bands(columns, selection.rows, bands.edges)
        return [bands.value(number, n) for number, n in enumerate(counts) if n], unknown
    if field in LIST_FIELDS:
        further = {}
        if field == "flags":  # no row says it: the map does
            further[PROVISIONAL] = [provisional_rows(each, snapshot) for each in snapshot.segments]
        found, empty = count_items(columns, selection.rows, further)
        # Of flags, to have none is to be known.
        return _values(found), empty if field == "sequence" else 0
    texts, unknown = count_texts(columns, selection.rows)
    return _values(_by_year(texts) if field == YEARS else merged(texts)), unknown


def _values(counts: Mapping[str, int]) -> list[FacetValue]:
    return [FacetValue(value=name, count=n) for name, n in counts.items()]


def _by_year(dates: Mapping[str, int]) -> Mapping[str, int]:
    years: Counter[str] = Counter()
    for date, n in dates.items():
        years[date[:4]] += n
    return years
