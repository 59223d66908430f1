"""Which points of the map a caller is told: all of them, or those that differ from an earlier one.

Of segments that both snapshots have, only rows count that one of them shows and the other does not.
Of the others all rows are looked at: a merge writes rows again as they are, and such a row is told
as little as one that has stayed where it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer_core.index.loaded import LiveSegment
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.point_files import Ids, ids_of
from indexer_core.selection import Conditions, Selection, select

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

_ORDER = ("revision", "recipe", "writeId")
"""Two rows of a series that have these in common are one row, however often it was written."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Told:
    """Points of a snapshot that are told.

    Parameters
    ----------
    visible
        The series that the caller may see, with and without a place.
    rows
        By segment, ascending: those that are told.
    n_placed
        How many of the visible ones have a place, told or not.
    removed
        Short keys of those that had a place before and have none now, ascending.
    """

    visible: Selection
    rows: tuple[Rows, ...]
    n_placed: int
    removed: Ids


def map_version(snapshot: Snapshot) -> str:
    """Version of the map in force, "" where there is none."""
    projection = snapshot.manifest.projection
    return "" if projection is None else projection.version


def placed(segment: LiveSegment, mask: Mask, version: str) -> Mask:
    """Those of some rows of a segment that have a place on a map: bool (n_rows,)."""
    if segment.loaded.points(version) is None:
        return np.zeros_like(mask)
    return mask & (segment.loaded.counts(IMAGE_SPACE) > 0)


def every_point(snapshot: Snapshot, scopes: frozenset[str] | None) -> Told:
    """All points of series of these scopes; None: of any."""
    visible = select(snapshot, Conditions(scopes=scopes))
    masks = _placed_of(snapshot, visible)
    rows = tuple(np.flatnonzero(mask) for mask in masks)
    n_placed = sum(map(len, rows))
    return Told(visible=visible, rows=rows, n_placed=n_placed, removed=np.empty(0, np.uint64))


def points_since(before: Snapshot, after: Snapshot, scopes: frozenset[str] | None) -> Told:
    """Points of `after` that `before` lacks, or has from another row or at another place.

    Both have the same version of the map.
    """
    version = map_version(after)
    then = {
        segment.loaded.segment.rows.name: (segment, mask)
        for segment, mask in zip(
            before.segments,
            _placed_of(before, select(before, Conditions(scopes=scopes))),
            strict=True,
        )
    }
    visible = select(after, Conditions(scopes=scopes))
    masks = _placed_of(after, visible)
    come: list[tuple[LiveSegment, Rows]] = []
    gone: list[tuple[LiveSegment, Rows]] = []
    moved: list[Rows] = []
    for segment, mask in zip(after.segments, masks, strict=True):
        held = then.pop(segment.loaded.segment.rows.name, None)
        if held is None:
            come.append((segment, np.flatnonzero(mask)))
            moved.append(np.empty(0, np.int64))
            continue
        come.append((segment, np.flatnonzero(mask & ~held[1])))
        gone.append((held[0], np.flatnonzero(held[1] & ~mask)))
        moved.append(_moved(held[0], segment, held[1] & mask, version))
    gone.extend((segment, np.flatnonzero(mask)) for segment, mask in then.values())
    told, removed = _differing(gone, come, version)
    return Told(
        visible=visible,
        rows=tuple(
            np.sort(np.concatenate([rows, others]))
            for rows, others in zip(told, moved, strict=True)
        ),
        n_placed=sum(int(np.count_nonzero(mask)) for mask in masks),
        removed=removed,
    )


def ids_at(parts: Sequence[tuple[LiveSegment, Rows]]) -> Ids:
    """Short keys of some rows of each of several segments."""
    found = [ids_of(segment.loaded.rows.keys_of(rows)) for segment, rows in parts]
    return np.concatenate([np.empty(0, np.uint64), *found])


def places_at(
    parts: Sequence[tuple[LiveSegment, Rows]], version: str
) -> tuple[NDArray[np.float32], Mask]:
    """Where some rows of each of several segments are, float32 (n, 2), and which provisionally.

    All of them have a place.
    """
    xy, flags = [np.empty((0, 2), np.float32)], [np.empty(0, np.bool_)]
    for segment, rows in parts:
        if not len(rows):
            continue
        points = segment.loaded.points(version)
        assert points is not None
        here = points.taken(segment.loaded.rows.starts(IMAGE_SPACE)[rows])
        strange = here.is_provisional
        xy.append(here.xy)
        flags.append(np.zeros(len(rows), np.bool_) if strange is None else strange)
    return np.concatenate(xy), np.concatenate(flags)


def _placed_of(snapshot: Snapshot, visible: Selection) -> list[Mask]:
    version = map_version(snapshot)
    return [
        placed(segment, mask, version)
        for segment, mask in zip(snapshot.segments, visible.rows, strict=True)
    ]


def _moved(before: LiveSegment, after: LiveSegment, both: Mask, version: str) -> Rows:
    """Rows that both show, of one segment, at places that were written anew and differ."""
    files = [each.loaded.segment.coordinate_file(version) for each in (before, after)]
    if files[0] == files[1]:
        return np.empty(0, np.int64)
    rows = np.flatnonzero(both)
    return rows[_differ(*(places_at([(each, rows)], version) for each in (before, after)))]


def _differing(
    gone: Sequence[tuple[LiveSegment, Rows]],
    come: Sequence[tuple[LiveSegment, Rows]],
    version: str,
) -> tuple[list[Rows], Ids]:
    """Of the rows that have come those that say or are something else, and what has only gone."""
    ids_gone, ids_come = ids_at(gone), ids_at(come)
    _, at_gone, at_come = np.intersect1d(
        ids_gone, ids_come, assume_unique=True, return_indices=True
    )
    removed = np.delete(ids_gone, at_gone)
    is_told = np.ones(len(ids_come), dtype=np.bool_)
    if len(at_come):
        same = _same_rows(gone, at_gone, come, at_come)
        old, new = places_at(gone, version), places_at(come, version)
        moved = _differ((old[0][at_gone], old[1][at_gone]), (new[0][at_come], new[1][at_come]))
        is_told[at_come] = ~same | moved
    ends = np.cumsum([len(rows) for _, rows in come])[:-1]
    kept = np.split(is_told, ends) if come else []
    return [rows[mask] for (_, rows), mask in zip(come, kept, strict=True)], np.sort(removed)


def _same_rows(
    gone: Sequence[tuple[LiveSegment, Rows]],
    at_gone: Rows,
    come: Sequence[tuple[LiveSegment, Rows]],
    at_come: Rows,
) -> Mask:
    same = np.ones(len(at_come), dtype=np.bool_)
    for name in _ORDER:
        old, new = _column(gone, name), _column(come, name)
        # By codes: texts that are compared one by one cost more than all of the rest.
        codes = pa.concat_arrays([old, new]).dictionary_encode().indices.to_numpy()
        same &= codes[: len(old)][at_gone] == codes[len(old) :][at_come]
    return same


def _column(parts: Sequence[tuple[LiveSegment, Rows]], name: str) -> pa.Array:
    """A column of some rows of each of several segments, in one piece."""
    taken = [segment.loaded.rows.column(name).take(pa.array(rows)) for segment, rows in parts]
    plain = [each.dictionary_decode() if _is_coded(each) else each for each in taken]
    return pa.concat_arrays(plain)


def _is_coded(array: pa.Array) -> bool:
    is_coded: bool = pa.types.is_dictionary(array.type)
    return is_coded


def _differ(one: tuple[NDArray[np.float32], Mask], other: tuple[NDArray[np.float32], Mask]) -> Mask:
    """Which of two lists of places are not the same: bool (n,)."""
    differs: Mask = (one[0] != other[0]).any(axis=1) | (one[1] != other[1])
    return differs
