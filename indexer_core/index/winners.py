"""Which row of each series counts: the highest in the total order, of equal ones the later."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.index.keys import Hashes, KeyIndex

Order = tuple[int, int, str]


class Contestants(Protocol):
    """Rows of a segment that compete with those of others."""

    @property
    def key_index(self) -> KeyIndex:
        """Rows by hash of the series key."""

    def ranks(self, rows: NDArray[np.int64]) -> Sequence[tuple[str, Order]]:
        """Series key and place in the total order of some rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Rows of one segment, int64 (n,), with whether each is the one that counts, bool (n,)."""

    rows: NDArray[np.int64]
    won: NDArray[np.bool_]


def decide(contested: Hashes, segments: Sequence[Contestants]) -> list[Outcome]:
    """Decide between all rows whose key has one of the contested hashes.

    Parameters
    ----------
    contested : ndarray of uint64, shape (m,), ascending, none twice
        Hashes of keys whose rows may have changed. Rows of other keys are left as they are.
    segments
        All segments there are: of equal rows the one in the later segment counts (a merge writes
        rows again).

    Returns
    -------
    list of Outcome
        Beside `segments`.
    """
    found = [segment.key_index.find(contested) for segment in segments]
    n_rows = np.zeros(len(contested), dtype=np.int64)  # per hash, over all segments
    for places, _ in found:
        if len(places):
            n_rows += np.bincount(places, minlength=len(contested))
    outcomes = [Outcome(rows=rows, won=n_rows[places] == 1) for places, rows in found]
    best: dict[str, tuple[Order, int, int]] = {}
    for number, (segment, outcome) in enumerate(zip(segments, outcomes, strict=True)):
        if outcome.won.all():
            continue
        disputed = np.flatnonzero(~outcome.won)
        ranks = segment.ranks(outcome.rows[disputed])
        for place, (key, order) in zip(disputed.tolist(), ranks, strict=True):
            held = best.get(key)
            if held is None or order >= held[0]:
                best[key] = (order, number, place)
    for _, number, winner in best.values():
        outcomes[number].won[winner] = True
    return outcomes
