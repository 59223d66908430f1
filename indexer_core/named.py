"""Series that are named one by one: by Series Instance UID, by series key or by its short key.

A short key is the first 16 hexadecimal digits of a key, as the points of the map carry it. It names
every series whose key begins so.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.index.keys import SHORT_DIGITS, Hashes, short_numbers
from indexer_core.index.loaded import LiveSegment, OpenedRows

MAX_NAMES = 100_000
"""Names in a request, at most."""

_SHORT = re.compile(r"[0-9a-f]{16}", re.ASCII)

_Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)  # without slots: what follows from the names is kept beside them
class Names:
    """Names of series, each once, in order; what is made of them is made once and kept.

    whole: all of them, for any may be a UID, or a whole key.
    """

    whole: pa.Array

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Names":
        """These names, however often and in whatever order."""
        distinct = pa.array(list(texts), pa.string()).unique()
        return cls(distinct.take(pc.array_sort_indices(distinct)))

    @cached_property
    def digest(self) -> str:
        """What stands for them in tokens: hexadecimal, the same for the same names."""
        lengths = pc.binary_length(self.whole).to_numpy().astype("<i4")
        return sha256(lengths.tobytes() + "".join(self.whole.to_pylist()).encode()).hexdigest()

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Lengths of the names in bytes, ascending, each once."""
        return np.unique(pc.binary_length(self.whole).to_numpy().astype(np.int64))

    @cached_property
    def short(self) -> pa.Array:
        """Those that can be short keys."""
        here = self.whole.filter(pc.equal(pc.binary_length(self.whole), SHORT_DIGITS))
        return here.filter(pc.match_substring_regex(here, f"^{_SHORT.pattern}$"))

    @cached_property
    def numbers(self) -> Hashes:
        """The same as numbers, ascending, none twice: hexadecimal digits are in order as texts."""
        return short_numbers(self.short)


def is_short_key(text: str) -> bool:
    """Whether a name can be a short key."""
    return _SHORT.fullmatch(text) is not None


def rows_named(segments: Sequence[LiveSegment], names: Names) -> _Mask:
    """Rows of all segments, one after the other, that are named, live or not: bool (n_rows,)."""
    opened = [segment.loaded.rows for segment in segments]
    found = np.zeros(sum(rows.table.num_rows for rows in opened), dtype=np.bool_)
    for name in ("seriesKey", "seriesInstanceUid"):
        _mark(found, [rows.column(name) for rows in opened], names)
    if len(names.numbers):
        _mark_short(found, opened, names)
    return found


def _mark(found: _Mask, columns: Sequence[pa.Array], names: Names) -> None:
    """Mark the rows whose value is one of the names."""
    column = pa.chunked_array([each.cast(pa.string()) for each in columns], pa.string())
    lengths = pc.fill_null(pc.binary_length(column), -1).to_numpy()
    # Short keys have a length that no UID has: then nothing is looked up.
    rows = np.flatnonzero(np.isin(lengths, names.lengths))
    if len(rows):
        values = column if len(rows) == len(column) else column.take(pa.array(rows))
        found[rows[pc.is_in(values, value_set=names.whole).to_numpy()]] = True


def _mark_short(found: _Mask, opened: Sequence[OpenedRows], names: Names) -> None:
    """Mark the rows whose keys begin with a short key that is named."""
    firsts = np.cumsum([0, *(rows.table.num_rows for rows in opened)])
    nearby = [rows.short_keys.find(names.numbers)[1] for rows in opened]
    keys = [each.keys_of(rows).cast(pa.string()) for each, rows in zip(opened, nearby, strict=True)]
    # Two texts may be the same number, where one of them is no hexadecimal one.
    begin = pc.utf8_slice_codeunits(pa.chunked_array(keys, pa.string()), 0, SHORT_DIGITS)
    is_named = pc.is_in(begin, value_set=names.short).to_numpy()
    places = [rows + first for rows, first in zip(nearby, firsts, strict=False)]
    found[np.concatenate([np.empty(0, np.int64), *places])[is_named]] = True
