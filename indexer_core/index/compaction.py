"""Planning merges: which segments, and which of their rows. Pure.

Size-tiered: a tier holds segments of a size within a factor of `fan_in`, and as soon as that many
are in one they become one segment of the next. So a row is written once per tier, and the segments
are at most `fan_in` - 1 per tier. What is too big to be merged within the bound stays as it is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.index.write_ids import is_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePolicy:
    """How segments are merged.

    Parameters
    ----------
    fan_in
        Segments of one tier that become one.
    max_input_bytes
        Bound of what one merge reads, and with it of the memory that it takes.
    smallest_bytes
        Lower end of tier 1; anything smaller is in tier 0.
    dead_share, dead_bytes
        A segment is written anew by itself when this share of its rows is outranked, and so many
        bytes go with them; less waits for its tier to be full.
    """

    fan_in: int = 8
    max_input_bytes: int = 512 << 20
    smallest_bytes: int = 8 << 10
    dead_share: float = 0.5
    dead_bytes: int = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSize:
    """What a plan has to know of a segment.

    n_dead: rows that another row outranks. building: the encoders being built that it has vectors
    of; segments that differ in it are never merged, or the work of filling them would be lost.
    """

    id: str
    size_bytes: int
    n_rows: int
    n_dead: int = 0
    building: frozenset[str] = frozenset()

    @property
    def dead_share(self) -> float:
        """Outranked rows among all."""
        return self.n_dead / self.n_rows if self.n_rows else 0.0


def tier_of(size_bytes: int, policy: MergePolicy) -> int:
    """The tier of a segment of this size."""
    tier, end = 0, policy.smallest_bytes
    while size_bytes >= end:
        tier, end = tier + 1, end * policy.fan_in
    return tier


def plan_merge(segments: Sequence[SegmentSize], policy: MergePolicy) -> tuple[str, ...]:
    """Ids of the segments to merge next, in their order; none when all is well.

    The lowest full tier goes first. When no tier is full, segments that consist of outranked rows
    for the most part are written anew.
    """
    by_tier: dict[tuple[int, tuple[str, ...]], list[SegmentSize]] = {}
    for segment in _by_size(segments):
        place = (tier_of(segment.size_bytes, policy), tuple(sorted(segment.building)))
        by_tier.setdefault(place, []).append(segment)
    for _, tier in sorted(by_tier.items(), key=lambda item: item[0]):
        chosen = tier[: policy.fan_in]
        if len(chosen) == policy.fan_in and _total(chosen) <= policy.max_input_bytes:
            return _in_order(chosen, segments)
    dead = [
        segment
        for segment in segments
        if segment.n_dead
        and segment.dead_share >= policy.dead_share
        and segment.dead_share * segment.size_bytes >= policy.dead_bytes
    ]
    return _in_order(_smallest(dead, policy, policy.fan_in), segments)


def plan_full_merge(segments: Sequence[SegmentSize], policy: MergePolicy) -> tuple[str, ...]:
    """Ids of the segments to merge next so that in the end as few as possible are left.

    Segments by themselves are written anew when any row of theirs is outranked. Repeated until
    nothing is planned, it ends: every merge leaves fewer segments, or fewer rows.
    """
    for building in sorted({tuple(sorted(segment.building)) for segment in segments}):
        alike = [s for s in segments if tuple(sorted(s.building)) == building]
        chosen = _smallest(alike, policy, len(alike))
        if len(chosen) > 1:
            return _in_order(chosen, segments)
    dead = [segment for segment in segments if segment.n_dead]
    return _in_order(_smallest(dead, policy, 1), segments)


def old_tombstones(tombstones: Iterable[tuple[int, str, str]], fence: str) -> dict[int, str]:
    """Row number and series key of the tombstones that were written before a fence.

    Parameters
    ----------
    tombstones
        Row number, series key and write id of each.
    fence
        See `indexer_core.index.write_ids`.
    """
    return {row: key for row, key, write_id in tombstones if is_behind(write_id, fence)}


def rows_to_keep(
    wins: NDArray[np.bool_], old: Mapping[int, str], held: Collection[str]
) -> NDArray[np.int64]:
    """Numbers of the rows that a merge takes over, int64, ascending.

    Suppressed series are kept like any other: whoever restores them wants them back.

    Parameters
    ----------
    wins : ndarray of bool, shape (n_rows,)
        Whether no other row outranks it.
    old
        From `old_tombstones`: these are left out...
    held
        ... except of series of which a segment outside the merge holds a row.
    """
    kept = wins.copy()
    kept[[row for row, key in old.items() if key not in held]] = False
    return np.flatnonzero(kept).astype(np.int64)


def _by_size(segments: Sequence[SegmentSize]) -> list[SegmentSize]:
    return sorted(segments, key=lambda segment: (segment.size_bytes, segment.id))


def _total(segments: Sequence[SegmentSize]) -> int:
    return sum(segment.size_bytes for segment in segments)


def _smallest(segments: Sequence[SegmentSize], policy: MergePolicy, most: int) -> list[SegmentSize]:
    """The smallest segments, at most so many, that are alike and fit the bound together."""
    chosen: list[SegmentSize] = []
    for segment in _by_size(segments):
        fits = _total(chosen) + segment.size_bytes <= policy.max_input_bytes
        if len(chosen) < most and fits and segment.building == (chosen or [segment])[0].building:
            chosen.append(segment)
    return chosen


def _in_order(chosen: Sequence[SegmentSize], segments: Sequence[SegmentSize]) -> tuple[str, ...]:
    ids = {segment.id for segment in chosen}
    return tuple(segment.id for segment in segments if segment.id in ids)
