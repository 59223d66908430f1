"""What changed between two snapshots of one index: the series that whoever keeps a copy looks at.

The work follows what changed. Rows are looked at where one side lacks their segment, or where
another row of a segment counts; a merge, which writes the same rows again, changes nothing. With
another version of the map all places are others, which is said in a word.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError
from indexer_core.index.loaded import LiveSegment, LoadedSegment
from indexer_core.index.manifest import CoordinateFile, Manifest
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.index.winners import Order

_Rows = NDArray[np.int64]
_Place = tuple[float, ...] | None


class _Seen(NamedTuple):
    order: Order
    place: _Place
    loaded: LoadedSegment
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Series that differ between two snapshots.

    Parameters
    ----------
    keys
        Those that came, went, or are another version; or in another place of the same map.
    hidden
        Those that were suppressed; those of them that could be found before are in `keys`, too.
    shown
        Those that are suppressed no more; likewise.
    is_other_map
        Whether every series that has a place has another one.
    counted
        Of `keys` those that could be found before: the row that counted, and its segment.
    """

    keys: frozenset[str]
    hidden: frozenset[str]
    shown: frozenset[str]
    is_other_map: bool
    counted: Mapping[str, tuple[LoadedSegment, int]] = field(compare=False)


def changes_between(before: Snapshot, after: Snapshot) -> Changes:
    """What changed from one snapshot to another of the same index, opened by the same reader."""
    then = {segment.loaded.segment.id: segment for segment in before.segments}
    now = {segment.loaded.segment.id: segment for segment in after.segments}
    pairs = [(then.get(name), now.get(name)) for name in {**then, **now}]
    was, became = _map_of(before.manifest), _map_of(after.manifest)
    version = became if was == became else None
    gone = _states(((old, _left(old, new, version)) for old, new in pairs if old), version)
    come = _states(((new, _left(new, old, version)) for old, new in pairs if new), version)
    differing = {key for key in gone.keys() & come.keys() if not _same(gone[key], come[key])}
    suppressed_then, suppressed_now = before.manifest.suppressed, after.manifest.suppressed
    keys = frozenset(differing | (gone.keys() ^ come.keys()))
    return Changes(
        keys=keys,
        hidden=suppressed_now - suppressed_then,
        shown=suppressed_then - suppressed_now,
        is_other_map=was != became,
        counted={key: (one.loaded, one.row) for key, one in gone.items() if key in keys},
    )


def _left(one: LiveSegment, other: LiveSegment | None, version: str | None) -> _Rows:
    """Rows that count in a segment, less those that count in it on the other side just as well."""
    if other is None:
        return np.flatnonzero(one.live)
    if version is not None and _points_file(one, version) != _points_file(other, version):
        return np.flatnonzero(one.live)
    if one.live is other.live:
        return np.empty(0, np.int64)
    return np.flatnonzero(one.live & ~other.live)


def _points_file(segment: LiveSegment, version: str) -> CoordinateFile | None:
    return segment.loaded.segment.coordinate_file(version)


def _states(segments: Iterator[tuple[LiveSegment, _Rows]], version: str | None) -> dict[str, _Seen]:
    """By key what each of some rows is."""
    return dict(chain.from_iterable(_of_rows(segment, rows, version) for segment, rows in segments))


def _of_rows(segment: LiveSegment, rows: _Rows, version: str | None) -> Iterator[tuple[str, _Seen]]:
    ranks = segment.loaded.ranks(rows)
    seen = zip(ranks, _places(segment, rows, version), rows.tolist(), strict=True)
    for (key, order), place, row in seen:
        yield key, _Seen(order, place, segment.loaded, row)


def _places(segment: LiveSegment, rows: _Rows, version: str | None) -> list[_Place]:
    """(x, y, whether it is provisional) of rows that have a place, () of the others.

    None where the file is gone by now: an earlier manifest named it, and may have expired.
    """
    loaded = segment.loaded
    places: list[_Place] = [()] * len(rows)
    if version is None or not len(rows):
        return places
    try:
        points = loaded.points(version)
    except CorruptIndexError:
        return [None] * len(rows)
    if points is None:
        return places
    placed = np.flatnonzero(loaded.counts(IMAGE_SPACE)[rows] > 0)
    numbers = loaded.rows.starts(IMAGE_SPACE)[rows[placed]]
    flags = points.is_provisional
    flagged = np.zeros(len(placed)) if flags is None else flags[numbers]
    told = np.column_stack([points.xy[numbers], flagged]).tolist()
    for row, place in zip(placed.tolist(), told, strict=True):
        places[row] = tuple(place)
    return places


def _same(one: _Seen, other: _Seen) -> bool:
    return one[:2] == other[:2] and one.place is not None


def _map_of(manifest: Manifest) -> str | None:
    return None if manifest.projection is None else manifest.projection.version
