"""Marking the rows that count, segment by segment; the cost follows what changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.index.keys import Hashes, KeyIndex, hashes_of
from indexer_core.index.winners import Contestants, Outcome, decide

Mask = NDArray[np.bool_]
_NONE = np.empty(0, dtype=np.int64)


class Rows(Contestants, Protocol):
    """The rows of a segment, as far as marking them needs."""

    def keys_at(self, rows: NDArray[np.int64]) -> Sequence[str]:
        """Series keys of some rows."""

    def alive(self, rows: NDArray[np.int64]) -> Mask:
        """Which of some rows are no tombstones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """What is known of the rows of one segment; masks are bool (n_rows,), read-only.

    winning: the newest of their series, tombstones and suppressed ones included. live: those that
    can be found. hidden: rows of suppressed series.
    """

    winning: Mask
    live: Mask
    hidden: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Keys of suppressed series, ready to be looked up."""

    keys: frozenset[str]
    hashes: Hashes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "hashes", np.unique(hashes_of(self.keys)))

    def rows(self, segment: Rows) -> NDArray[np.int64]:
        """The rows of these series in a segment."""
        _, rows = segment.key_index.find(self.hashes)
        if not len(rows):
            return _NONE
        return rows[[key in self.keys for key in segment.keys_at(rows)]]


def next_marks(
    segments: Mapping[str, Rows],
    before: Mapping[str, Marks],
    removed: Sequence[tuple[KeyIndex, Marks]],
    suppressed: Suppressed,
    *,
    other_suppression: bool,
) -> dict[str, Marks]:
    """Marks of all segments after some came and some went.

    Parameters
    ----------
    segments
        All that there are now, in the order of the manifest.
    before
        Marks of those that were there before.
    removed
        The segments that went: the rows that won there give way to the next best.
    other_suppression
        Whether `suppressed` has changed.
    """
    added = [rows.key_index.hashes for name, rows in segments.items() if name not in before]
    freed = [index.hashes[marks.winning[index.rows]] for index, marks in removed]
    contested = np.unique(np.concatenate([np.empty(0, np.uint64), *added, *freed]))
    outcomes = decide(contested, list(segments.values()))
    return {
        name: _marked(rows, before.get(name), outcome, suppressed, again=other_suppression)
        for (name, rows), outcome in zip(segments.items(), outcomes, strict=True)
    }


def _marked(
    rows: Rows, held: Marks | None, outcome: Outcome, suppressed: Suppressed, *, again: bool
) -> Marks:
    if held is None:
        nothing = np.zeros(len(rows.key_index.hashes), dtype=np.bool_)
        nothing.setflags(write=False)
        held, again = Marks(winning=nothing, live=nothing, hidden=_NONE), True
    changed = outcome.rows[held.winning[outcome.rows] != outcome.won]
    hidden = suppressed.rows(rows) if again else held.hidden
    if not len(changed) and np.array_equal(hidden, held.hidden):
        return held
    winning, live = held.winning.copy(), held.live.copy()
    winning[outcome.rows] = outcome.won
    touched = np.concatenate((changed, held.hidden, hidden))
    live[touched] = winning[touched] & rows.alive(touched)
    live[hidden] = False
    winning.setflags(write=False)
    live.setflags(write=False)
    return Marks(winning=winning, live=live, hidden=hidden)
