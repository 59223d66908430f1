"""How often each value occurs in columns of several tables: by codes, without their texts."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.filters import UNKNOWN
from indexer_core.index.columns import FilterColumn

Masks = Sequence[NDArray[np.bool_]]
"""Rows that count, of each table."""


def count_texts(columns: Sequence[FilterColumn], masks: Masks) -> tuple[dict[str, int], int]:
    """Rows by what they say, and how many say nothing."""
    counts: Counter[str] = Counter()
    n_unknown = 0
    for column, rows in zip(columns, masks, strict=True):
        for value, n in _texts(column, rows):
            if value is None or value in ("", UNKNOWN):
                n_unknown += n
            else:
                counts[value] += n
    return counts, n_unknown


def count_bands(
    columns: Sequence[FilterColumn], masks: Masks, edges: Sequence[float]
) -> tuple[list[int], int]:
    """Rows by band of their number, and how many have none.

    Band 0 is below the first edge; each edge is the least of the band that follows.
    """
    numbers = [
        column.values.to_numpy(zero_copy_only=False).astype(np.float64)[rows]
        for column, rows in zip(columns, masks, strict=True)
    ]
    every = np.concatenate([np.empty(0), *numbers])
    known = every[~np.isnan(every)]
    bands = np.searchsorted(np.array(edges), known, side="right")
    counts: list[int] = np.bincount(bands, minlength=len(edges) + 1).tolist()
    return counts, len(every) - len(known)


def count_items(
    columns: Sequence[FilterColumn], masks: Masks, further: Mapping[str, Masks]
) -> tuple[dict[str, int], int]:
    """Rows by the items of their lists, each item once; and how many lists are empty.

    Parameters
    ----------
    further
        Items that no list says, with the rows that have them.
    """
    spelled: Counter[str] = Counter()
    counts: Counter[str] = Counter()  # by item as filters compare it
    n_empty = 0
    for number, (column, mask) in enumerate(zip(columns, masks, strict=True)):
        lengths = _lengths(column)
        n_empty += int(np.count_nonzero(mask & (lengths == 0)))
        rows, codes, texts = _listed(column, mask, lengths)
        for name, having in further.items():
            theirs = np.flatnonzero(mask & having[number])
            rows = np.concatenate((rows, theirs))
            codes = np.concatenate((codes, np.full(len(theirs), len(texts))))
            texts.append(name)
        spelled.update(dict(zip(texts, np.bincount(codes, minlength=len(texts)), strict=True)))
        counts.update(_distinct(rows, codes, _lower(texts), len(mask)))
    names = usual_spellings(spelled)
    return {names[lower]: n for lower, n in counts.items() if lower and n}, n_empty


def _distinct(
    rows: NDArray[np.int64], codes: NDArray[np.int64], items: Sequence[str], n_rows: int
) -> dict[str, int]:
    """How many rows have each item; a list may name one twice, in two spellings."""
    places = {item: place for place, item in enumerate(dict.fromkeys(items))}
    having = np.zeros((len(places), n_rows), dtype=np.bool_)
    having[np.array([places[item] for item in items], dtype=np.int64)[codes], rows] = True
    return dict(zip(places, np.count_nonzero(having, axis=1).tolist(), strict=True))


def merged(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts of what filters take for one value, under its most frequent spelling."""
    names = usual_spellings(counts)
    sums: Counter[str] = Counter()
    for lower, n in zip(_lower(counts), counts.values(), strict=True):
        sums[names[lower]] += n
    return sums


def usual_spellings(spelled: Mapping[str, int]) -> dict[str, str]:
    """The most frequent spelling of each value; of equally frequent ones the last."""
    ordered = sorted(spelled, key=lambda text: (spelled[text], text))
    return dict(zip(_lower(ordered), ordered, strict=True))


def _lower(texts: Iterable[str]) -> list[str]:
    lower: list[str] = pc.utf8_lower(pa.array(list(texts), type=pa.string())).to_pylist()
    return lower


def _texts(column: FilterColumn, rows: NDArray[np.bool_]) -> Iterator[tuple[str | None, int]]:
    """Each distinct value of some rows of a column, as a text, with how many have it."""
    if column.codes is None:
        chosen = pc.cast(column.values, pa.string()).filter(pa.array(rows))
        for each in pc.value_counts(chosen).to_pylist():
            yield each["values"], each["counts"]
        return
    counts = np.bincount(column.codes[rows], minlength=len(column.values))
    present = np.flatnonzero(counts)
    values = column.values.take(pa.array(present)).to_pylist()
    yield from zip(values, counts[present].tolist(), strict=True)


def _lengths(column: FilterColumn) -> NDArray[np.int32]:
    assert column.offsets is not None
    return np.diff(column.offsets)


def _listed(
    column: FilterColumn, mask: NDArray[np.bool_], lengths: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str]]:
    """Of the items of some rows: their row and their code; and the texts of the codes."""
    assert column.offsets is not None
    codes, values = column.codes, column.values
    if codes is None:  # of a table of format 1
        encoded = values.dictionary_encode()
        codes, values = encoded.indices.to_numpy(), encoded.dictionary
    codes = codes[column.offsets[0] : column.offsets[-1]]
    counted = np.repeat(mask, lengths)
    rows = np.repeat(np.flatnonzero(mask), lengths[mask])
    return rows, codes[counted].astype(np.int64), [text or "" for text in values.to_pylist()]
