"""What points are coloured by: a field of each as a code, and the texts of the codes.

The texts are those of the facets: spellings that filters take for one value are one, under the name
that it has among all that the caller may see; numbers and dates are told by their bands. What is
known of no told point is not among them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.counting import Masks, usual_spellings
from indexer_core.facets import BANDS, YEARS
from indexer_core.filters import UNKNOWN
from indexer_core.index.columns import FilterColumn
from indexer_core.index.reader import Snapshot
from indexer_core.index.rows import BOOL_FIELDS, LIST_FIELDS
from indexer_core.selection import PROVISIONAL, provisional_rows

UNKNOWN_CODE = 65_535
"""Code of a point whose field is unknown."""
MOST_VALUES = 65_000
OTHER = "other"
"""What is told of rarer values where there are more than `MOST_VALUES`."""
NOTHING = "none"
"""What is told of a list that is known to be empty."""
_JOINED = ", "
_NO_VALUE = -1

Numbers = NDArray[np.int64]
Rows = Sequence[Numbers]
"""Rows of each segment of a snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """A column: `codes`, uint16 (n,), say which of `values` each point has, or `UNKNOWN_CODE`."""

    values: tuple[str, ...]
    codes: NDArray[np.uint16]


def coded_column(
    snapshot: Snapshot, visible: Masks, field: str, rows: Rows, *, most: int = MOST_VALUES
) -> Coded:
    """A field of some rows, one segment after the other.

    Parameters
    ----------
    visible
        By segment, all that the caller may see: their most frequent spelling names a value.
    field
        One of `indexer_core.facets.FACETS`.
    most
        Values at most, the most frequent ones; the others are told as `OTHER`.
    """
    if field in BANDS:
        return _bands(snapshot, field, rows)
    if field in BOOL_FIELDS:
        return _booleans(snapshot, field, rows)
    if field in LIST_FIELDS:
        return _lists(snapshot, visible, field, rows, most)
    vocabulary = _Vocabulary(_columns(snapshot, field), visible, is_date=field == YEARS)
    numbers = vocabulary.numbers_of_rows(rows)
    return _coded(numbers, vocabulary.names(numbers), most)


def rows_with_item(snapshot: Snapshot, field: str, item: str, rows: Rows) -> NDArray[np.bool_]:
    """Which of some rows, one segment after the other, have an item in their list: bool (n,)."""
    vocabulary = _Vocabulary(_columns(snapshot, field), ())
    found = np.zeros(sum(map(len, rows)), dtype=np.bool_)
    owners, numbers = vocabulary.numbers_of_items(rows)
    found[owners[numbers == vocabulary.number_of(item)]] = True
    return found


class _Vocabulary:
    """The texts of a column of all segments, by the numbers of the values that they spell.

    visible: rows by which a value is named; () where no names are asked for.
    """

    def __init__(
        self, columns: Sequence[FilterColumn], visible: Masks, *, is_date: bool = False
    ) -> None:
        self._columns = [_encoded(column) for column in columns]
        self._visible = visible
        sizes = [len(column.values) for column in self._columns]
        self._firsts = np.cumsum([0, *sizes])
        texts = pa.concat_arrays(
            [pa.array([], pa.string()), *(each.values.cast(pa.string()) for each in self._columns)]
        )
        self._texts = pc.utf8_slice_codeunits(texts, 0, 4) if is_date else texts
        values = pc.utf8_lower(self._texts).dictionary_encode()
        self._values = values.dictionary
        says_nothing = pc.is_in(self._texts, value_set=pa.array([None, "", UNKNOWN], pa.string()))
        self._numbers: Numbers = np.where(
            says_nothing.to_numpy(zero_copy_only=False),
            _NO_VALUE,
            pc.fill_null(values.indices, _NO_VALUE).to_numpy(zero_copy_only=False),
        ).astype(np.int64)

    @property
    def n_values(self) -> int:
        """Numbers of values are below."""
        return len(self._values)

    def number_of(self, value: str) -> int:
        """The number of a value, `n_values` where no column has it."""
        place: int = pc.index(self._values, value.lower()).as_py()
        return self.n_values if place < 0 else place

    def numbers_of_rows(self, rows: Rows) -> Numbers:
        """The value of each of some rows, -1 where it is unknown."""
        parts = zip(self._columns, self._firsts, rows, strict=False)
        return _joined(self._numbers[first + _codes(each)[chosen]] for each, first, chosen in parts)

    def numbers_of_items(self, rows: Rows) -> tuple[Numbers, Numbers]:
        """The place of each list among those of some rows, and the value of each of its items."""
        owners, numbers, n_before = [], [], 0
        for column, first, chosen in zip(self._columns, self._firsts, rows, strict=False):
            assert column.offsets is not None
            starts = column.offsets[chosen].astype(np.int64)
            lengths = column.offsets[chosen + 1] - starts
            within = np.arange(int(lengths.sum())) - np.repeat(
                np.cumsum(lengths) - lengths, lengths
            )
            codes = _codes(column)[np.repeat(starts, lengths) + within]
            owners.append(n_before + np.repeat(np.arange(len(chosen)), lengths))
            numbers.append(self._numbers[first + codes])
            n_before += len(chosen)
        return _joined(owners), _joined(numbers)

    def names(self, numbers: Numbers) -> list[str]:
        """The name of each value that occurs in `numbers`, "" for the others."""
        wanted = np.zeros(self.n_values + 1, dtype=np.bool_)
        wanted[numbers] = True
        wanted[_NO_VALUE] = False
        here = np.flatnonzero(wanted[self._numbers])
        names = [""] * self.n_values
        spelled: dict[int, list[int]] = {}
        for place, number in zip(here.tolist(), self._numbers[here].tolist(), strict=True):
            spelled.setdefault(number, []).append(place)
        texts = self._texts.take(pa.array(here)).to_pylist()
        by_place = dict(zip(here.tolist(), texts, strict=True))
        for number, places in spelled.items():
            found = {by_place[place] for place in places}
            names[number] = found.pop() if len(found) == 1 else self._usual(places, by_place)
        return names

    def _usual(self, places: Sequence[int], texts: dict[int, str]) -> str:
        """The most frequent of several spellings of a value."""
        counts = dict.fromkeys((texts[place] for place in places), 0)
        for place in places:
            counts[texts[place]] += int(self._counts[place])
        return next(iter(usual_spellings({t: n for t, n in counts.items() if n}).values()))

    @cached_property
    def _counts(self) -> Numbers:
        """How often each text occurs among what is visible."""
        counts = []
        for column, mask in zip(self._columns, self._visible, strict=True):
            codes = _codes(column)
            if column.offsets is None:
                codes = codes[mask]
            else:
                codes = codes[column.offsets[0] : column.offsets[-1]]
                codes = codes[np.repeat(mask, np.diff(column.offsets))]
            counts.append(np.bincount(codes, minlength=len(column.values)))
        return _joined(counts)


def _bands(snapshot: Snapshot, field: str, rows: Rows) -> Coded:
    bands = BANDS[field]
    parts = zip(_columns(snapshot, field), rows, strict=True)
    taken = [column.values.take(pa.array(chosen)) for column, chosen in parts]
    values = np.concatenate(
        [np.empty(0), *(each.to_numpy(zero_copy_only=False) for each in taken)]
    ).astype(np.float64, copy=False)
    numbers = np.searchsorted(np.array(bands.edges), values, side="right")
    numbers[np.isnan(values)] = _NO_VALUE
    return _coded(numbers, bands.names, len(bands.names), is_ordered=True)


def _booleans(snapshot: Snapshot, field: str, rows: Rows) -> Coded:
    parts = zip(_columns(snapshot, field), rows, strict=True)
    taken = [column.values.take(pa.array(chosen)) for column, chosen in parts]
    numbers = _joined(
        pc.fill_null(each.cast(pa.int8()), _NO_VALUE).to_numpy(zero_copy_only=False)
        for each in taken
    )
    return _coded(numbers, ("false", "true"), 2)


def _lists(snapshot: Snapshot, visible: Masks, field: str, rows: Rows, most: int) -> Coded:
    vocabulary = _Vocabulary(_columns(snapshot, field), visible)
    owners, items = vocabulary.numbers_of_items(rows)
    names = vocabulary.names(items)
    if field == "flags":  # no row says it: the map does
        strange = _joined(
            np.asarray(provisional_rows(segment, snapshot)[chosen])
            for segment, chosen in zip(snapshot.segments, rows, strict=True)
        )
        further = np.flatnonzero(strange)
        owners = np.concatenate((owners, further))
        number = vocabulary.number_of(PROVISIONAL)
        items = np.concatenate((items, np.full(len(further), number)))
        names += [""]
        names[number] = names[number] or PROVISIONAL
    is_known = items != _NO_VALUE
    numbers, lists = _distinct(owners[is_known], items[is_known], names, sum(map(len, rows)))
    if field == "sequence":  # of it, to have none is not to be known
        numbers[numbers == 0] = _NO_VALUE
    joined = [_JOINED.join(names[item] for item in each) or NOTHING for each in lists]
    return _coded(numbers, joined, most)


def _distinct(
    owners: Numbers, items: Numbers, names: Sequence[str], n_lists: int
) -> tuple[Numbers, list[tuple[int, ...]]]:
    """The number of each list among distinct ones, and the items of these in the order of names.

    The first of them is the empty one. Some of them may be only the beginnings of lists.
    """
    by_name = np.argsort(np.argsort([name.lower() for name in names], kind="stable"))
    order = np.lexsort((by_name[items], owners))
    owners, items = owners[order], items[order]
    is_first = np.ones(len(owners), dtype=np.bool_)
    is_first[1:] = (owners[1:] != owners[:-1]) | (items[1:] != items[:-1])
    owners, items = owners[is_first], items[is_first]
    places = np.arange(len(owners)) - np.searchsorted(owners, owners)
    numbers = np.zeros(n_lists, dtype=np.int64)
    lists: list[tuple[int, ...]] = [()]
    for place in range(int(places.max(initial=-1)) + 1):
        here = places == place
        longer = numbers[owners[here]] * len(names) + items[here]
        found, which = np.unique(longer, return_inverse=True)
        numbers[owners[here]] = len(lists) + which
        lists += [(*lists[each // len(names)], each % len(names)) for each in found.tolist()]
    return numbers, lists


def _coded(numbers: Numbers, names: Sequence[str], most: int, *, is_ordered: bool = False) -> Coded:
    """Values by code, in the order of their names unless they have one; only those that occur."""
    counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
    used = np.flatnonzero(counts).tolist()
    if not is_ordered:
        used.sort(key=lambda number: (names[number].lower(), names[number]))
    kept = used
    if len(used) > most:
        frequent = sorted(used, key=lambda number: -int(counts[number]))[:most]
        kept = sorted(frequent, key=used.index)
    table = np.full(len(names) + 1, UNKNOWN_CODE, dtype=np.uint16)
    table[used] = len(kept)
    table[kept] = np.arange(len(kept))
    further = (OTHER,) if len(kept) < len(used) else ()
    return Coded(values=(*(names[number] for number in kept), *further), codes=table[numbers])


def _columns(snapshot: Snapshot, field: str) -> list[FilterColumn]:
    return [segment.loaded.rows.filter_column(field) for segment in snapshot.segments]


def _encoded(column: FilterColumn) -> FilterColumn:
    """The column by codes; that of a table of format 1 has none."""
    if column.codes is not None:
        return column
    coded = column.values.dictionary_encode(null_encoding="encode")
    return FilterColumn(
        values=coded.dictionary, codes=coded.indices.to_numpy(), offsets=column.offsets
    )


def _codes(column: FilterColumn) -> NDArray[np.int32]:
    assert column.codes is not None
    return column.codes


def _joined(parts: Iterable[NDArray[Any]]) -> Numbers:
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64, copy=False)
