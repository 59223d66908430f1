"""What the collections are to hold of a snapshot: ids first, entities where they are needed."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from indexer_core.adapters.milvus.entities import (
    Entity,
    Rows,
    series_entities,
    series_versions,
    vector_entities,
    vector_versions,
)
from indexer_core.adapters.milvus.position import FollowedSpace
from indexer_core.adapters.milvus.schema import ID, SERIES
from indexer_core.index.loaded import LoadedSegment
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader, Snapshot


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """Some rows of one segment that count: int64 (n,)."""

    loaded: LoadedSegment
    rows: Rows


def spaces_of(manifest: Manifest) -> dict[str, FollowedSpace]:
    """By name the spaces of a manifest, as they are searched."""
    return {
        space.name: FollowedSpace(encoder=space.live, dimension=space.dimension)
        for space in manifest.spaces
    }


def parts_of(seats: Iterable[tuple[LoadedSegment, int]]) -> list[Part]:
    """Rows by segment."""
    rows: dict[str, list[int]] = {}
    loaded = {}
    for segment, row in seats:
        loaded[segment.segment.id] = segment
        rows.setdefault(segment.segment.id, []).append(row)
    return [
        Part(loaded=loaded[name], rows=np.array(sorted(found), dtype=np.int64))
        for name, found in rows.items()
    ]


def n_entities(snapshot: Snapshot, kind: str) -> int:
    """How many entities of a snapshot one of its collections has."""
    if kind == SERIES:
        return snapshot.n_series
    counts = (each.loaded.counts(kind)[np.flatnonzero(each.live)] for each in snapshot.segments)
    return sum(int(found.sum()) for found in counts)


def ids_of(kind: str, part: Part, projection: str | None) -> list[list[str]]:
    """Of each row the ids of its entities in a collection, under a version of the map."""
    keys = part.loaded.rows.keys_at(part.rows)
    if kind == SERIES:
        versions = series_versions(part.loaded, part.rows, projection)
        return [[f"{key}@{version}"] for key, version in zip(keys, versions, strict=True)]
    versions = vector_versions(part.loaded, part.rows, projection)
    counts = part.loaded.counts(kind)[part.rows].tolist()
    return [
        [f"{key}@{version}#{number}" for number in range(count)]
        for key, version, count in zip(keys, versions, counts, strict=True)
    ]


class Contents:
    """What a snapshot is in Milvus.

    Parameters
    ----------
    reader
        At this snapshot; it finds rows by series key.
    """

    def __init__(self, snapshot: Snapshot, reader: Reader) -> None:
        manifest = snapshot.manifest
        self.number = manifest.number
        self.suppressed = manifest.suppressed
        self.spaces: Mapping[str, FollowedSpace] = spaces_of(manifest)
        self.kinds = (SERIES, *self.spaces)
        self.n_series = snapshot.n_series
        self._snapshot = snapshot
        self._reader = reader
        self._is_hiding = False
        self._map = None if manifest.projection is None else manifest.projection.version

    def hide(self, keys: Collection[str]) -> None:
        """From now on the snapshot is as if these series were suppressed in it."""
        places = self._reader.winners_of(set(keys) - self.suppressed)
        self.n_series -= sum(place.alive for place in places.values())
        self.suppressed |= frozenset(keys)
        self._is_hiding = True

    @property
    def projection_version(self) -> str | None:
        """Of the map in force."""
        return self._map

    def parts(self, n: int) -> Iterator[Part]:
        """All rows that count, `n` at most at a time."""
        for segment in self._snapshot.segments:
            rows = np.flatnonzero(segment.live)
            for first in range(0, len(rows), n):
                some = rows[first : first + n]
                yield Part(loaded=segment.loaded, rows=self._shown(segment.loaded, some))

    def _shown(self, loaded: LoadedSegment, rows: Rows) -> Rows:
        if not self._is_hiding:
            return rows
        keys = loaded.rows.keys_at(rows)
        return rows[np.array([key not in self.suppressed for key in keys], np.bool_)]

    def of(self, keys: Collection[str]) -> tuple[list[Part], set[str]]:
        """The rows that count of some series, and which of these series have no row at all.

        A removed one has: its tombstone.
        """
        places = self._reader.winners_of(keys)
        loaded = {s.loaded.segment.id: s.loaded for s in self._snapshot.segments}
        seats = (
            (loaded[place.segment_id], place.row)
            for key, place in places.items()
            if place.alive and key not in self.suppressed
        )
        return parts_of(seats), set(keys) - places.keys()

    def ids(self, kind: str, part: Part) -> list[list[str]]:
        """Of each row the ids of its entities in a collection."""
        return ids_of(kind, part, self._map)

    def entities(
        self, kind: str, part: Part, born: int, missing: Collection[str] | None = None
    ) -> list[Entity]:
        """The entities of rows in a collection; only those of some ids, where they are given."""
        if missing is not None:
            of_rows = self.ids(kind, part)
            is_missing = np.array([any(one in missing for one in ids) for ids in of_rows], np.bool_)
            part = Part(loaded=part.loaded, rows=part.rows[is_missing])
        if not len(part.rows):
            return []
        if kind == SERIES:
            found = series_entities(part.loaded, part.rows, self._map, born)
        else:
            encoder = self.spaces[kind].encoder
            found = vector_entities(part.loaded, part.rows, kind, encoder, self._map, born)
        return found if missing is None else [each for each in found if each[ID] in missing]
