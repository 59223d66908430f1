"""How well each series fits a question: what fits first, then what may, then what is near.

What a question was understood to ask is a reading of it, and headers leave much unsaid. So below
the series that are known to fit there may stand others, in the order of their doubt: half a point
for each thing that is asked and not known of the series, a whole one for each that it is known not
to be. Never among them is what the question or a filter leaves out: a value that is negated, a
number or date out of its range, anything that fails a filter set by hand.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from indexer_core.filters import Filter
from indexer_core.index.loaded import LiveRows
from indexer_core.lexical import matched_words, query_words
from indexer_core.query.model import Branch, Understanding
from indexer_core.search import Hit
from indexer_core.selection import (
    Conditions,
    Evaluated,
    Selection,
    evaluate,
    per_segment,
    selected,
)

# Doubts are counted in halves: one for what is not known, two for what is known to be missed.
_OUT = np.iinfo(np.uint16).max
UNKNOWN_HALVES, UNMET_HALVES = 1, 2
_FAR = 0.45
"""Similarity of questions that have nothing to do with the archive: the best of MiniLM's stay below
(0.10 to 0.43 for eleven of them, measured over the sample files); other encoders may lie higher."""
ASKS_FOR = frozenset({"=", "~"})
"""Operators of filters that a series may miss and still be near."""


class Fit(StrEnum):
    """Whether what was found is what was asked for."""

    GOOD = "good"
    WEAK = "weak"
    NONE = "none"


class Match(StrEnum):
    """How a series stands to a question."""

    FITS = "fits"
    """It meets every filter."""
    POSSIBLE = "possible"
    """It fails none; of some, it is not known."""
    NEAR = "near"
    """It is known not to be all that was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a series meets of the alternative that it comes nearest to, filters by hand included."""

    met: Branch
    unknown: Branch
    unmet: Branch

    @property
    def fields(self) -> frozenset[str]:
        """Fields that were asked about."""
        return frozenset(each.field for each in (*self.met, *self.unknown, *self.unmet))

    @property
    def match(self) -> Match:
        """How it stands to the question."""
        if self.unmet:
            return Match.NEAR
        return Match.POSSIBLE if self.unknown else Match.FITS


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitting:
    """Series of a snapshot by how well they fit.

    Parameters
    ----------
    fits
        Those that meet the conditions.
    n_possible
        Those of which something is not known, that would fit otherwise.
    """

    fits: Selection
    n_possible: int
    _snapshot: LiveRows
    _conditions: Conditions
    _evaluated: Evaluated | None
    _doubts: NDArray[np.uint16]
    _starts: Mapping[int, int]
    """Where the rows of a segment, by its identity, begin among all."""

    def degrees(self) -> Iterator[tuple[float, Selection]]:
        """What fits, then the others from the least doubt to the greatest, none twice.

        Each with its doubt: a multiple of a half, 0 of what fits.
        """
        yield 0.0, self.fits
        counts = np.bincount(self._doubts, minlength=_OUT)
        for halves in np.flatnonzero(counts[1:_OUT]) + 1:
            found = Selection(
                rows=per_segment(self._snapshot, self._doubts == halves),
                n_passed=int(counts[halves]),
                unknown={},
            )
            yield float(halves) / 2, found

    def verdict(self, hit: Hit) -> Verdict:
        """What a series found meets."""
        conditions, evaluated = self._conditions, self._evaluated
        if evaluated is None:
            return Verdict(met=conditions.filters, unknown=(), unmet=())
        row = self._starts[id(hit.segment)] + hit.row
        branches = conditions.alternatives or ((),)
        one = slice(row, row + 1)
        doubts = [int(_doubt_of(each, evaluated, conditions, one, 1)[0][0]) for each in branches]
        best = branches[doubts.index(min(doubts))]
        asked = dict.fromkeys((*conditions.filters, *best))
        met = [each for each in asked if evaluated.results[each].passed[row]]
        unknown = [each for each in asked if evaluated.results[each].unknown[row]]
        return Verdict(
            met=tuple(met),
            unknown=tuple(each for each in unknown if each.field not in conditions.with_unknown),
            unmet=tuple(each for each in asked if each not in met and each not in unknown),
        )


def evidence_words(understanding: Understanding) -> frozenset[str]:
    """Words of a question that no filter answers for in full: texts have to."""
    narrower = (term.words for term in understanding.terms if term.is_narrower and not term.negated)
    return query_words(" ".join((understanding.rest, *narrower)))


def how_well(
    n_fits: int, understanding: Understanding, best: Hit | None, *, sees_pictures: bool = False
) -> Fit:
    """Whether anything fits a question.

    With filters, nothing fits where no series meets them, unless the texts of the best one hold
    more than half of the words of the question: then it is weak. Without, nothing fits where no
    text of the best series has a word of the question and none is near in meaning either. What
    fits is weak where its texts have less than half of the words that no filter answers for.

    Parameters
    ----------
    n_fits
        Series that meet every filter.
    best
        The first series found; None where none was.
    sees_pictures
        Whether pictures were compared with the words, too. They may show what no text says, so
        without filters it is then weak at worst.
    """
    if best is None:
        return Fit.NONE
    if not n_fits:
        n_asked = len(query_words(understanding.text))
        return Fit.WEAK if 2 * len(best.words) > n_asked else Fit.NONE
    words = evidence_words(understanding)
    matched = matched_words(words, best.segment.loaded.rows.texts.texts(best.row))
    if not understanding.filters and not matched and best.similarity < _FAR:
        return Fit.WEAK if sees_pictures else Fit.NONE
    is_told = 2 * len(matched) >= len(words)
    return Fit.GOOD if is_told else Fit.WEAK


def fitting(snapshot: LiveRows, conditions: Conditions) -> Fitting:
    """How well the series of a snapshot fit conditions.

    Alternatives are what a question was understood to ask; filters are taken at their word.
    """
    if conditions.are_none:
        rows = tuple(segment.live for segment in snapshot.segments)
        everything = Selection(rows=rows, n_passed=snapshot.n_series, unknown={}, is_all=True)
        return Fitting(
            fits=everything,
            n_possible=0,
            _snapshot=snapshot,
            _conditions=conditions,
            _evaluated=None,
            _doubts=np.zeros(0, dtype=np.uint16),
            _starts={},
        )
    evaluated = evaluate(snapshot, conditions)
    fits = selected(snapshot, conditions, evaluated)
    doubts, is_near = _doubts(conditions, evaluated)
    starts = accumulate((len(segment.live) for segment in snapshot.segments), initial=0)
    return Fitting(
        fits=fits,
        n_possible=int(np.count_nonzero((doubts > 0) & (doubts < _OUT) & ~is_near)),
        _snapshot=snapshot,
        _conditions=conditions,
        _evaluated=evaluated,
        _doubts=doubts,
        _starts=dict(zip(map(id, snapshot.segments), starts, strict=False)),
    )


def _doubts(
    conditions: Conditions, evaluated: Evaluated
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Doubt of every row in halves, `_OUT` where it is left out; whether it is known to miss any.

    Both of shape (n_rows,).
    """
    allowed = evaluated.live
    for each in conditions.filters:
        result = evaluated.results[each]
        is_included = each.field in conditions.with_unknown
        allowed = allowed & (result.passed | result.unknown if is_included else result.passed)
    doubts = np.full(len(allowed), _OUT, dtype=np.uint16)
    is_near = np.zeros(len(allowed), dtype=np.bool_)
    for branch in conditions.alternatives or ((),):
        found, misses = _doubt_of(branch, evaluated, conditions, slice(None), len(allowed))
        is_less = allowed & (found < doubts)
        np.copyto(doubts, found, where=is_less)
        np.copyto(is_near, misses, where=is_less)
    return doubts, is_near


def _doubt_of(
    branch: Sequence[Filter],
    evaluated: Evaluated,
    conditions: Conditions,
    rows: slice,
    n_rows: int,
) -> tuple[NDArray[np.uint16], NDArray[np.bool_]]:
    """Doubt that rows fit an alternative, in halves, and whether they are known to miss any of it.

    Both of shape (n_rows,).
    """
    doubt = np.zeros(n_rows, dtype=np.uint16)
    is_out, misses = (np.zeros(n_rows, dtype=np.bool_) for _ in range(2))
    for each in branch:
        result = evaluated.results[each]
        is_open = ~result.passed[rows]
        is_unmet = is_open & ~result.unknown[rows]
        misses |= is_unmet
        if each.operator in ASKS_FOR:
            doubt += is_unmet.astype(np.uint16) * np.uint16(UNMET_HALVES)
        else:
            is_out |= is_unmet
        if each.field not in conditions.with_unknown:
            doubt += (is_open & ~is_unmet).astype(np.uint16) * np.uint16(UNKNOWN_HALVES)
    doubt[is_out] = _OUT
    return doubt, misses
