"""Reading the index: snapshots that never change, and a reader that follows the manifests.

A snapshot is one manifest with its segments and, per segment, the rows that win (the highest of
their series, alive, not suppressed). The reader loads only files that it has not got, builds the
next snapshot beside the one in use and swaps; requests in flight keep theirs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import EMPTY, Manifest, Segment
from indexer_core.index.rows import IndexRow, row_at, table_of
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, load_points, read_file
from indexer_core.ports import BlobStore, VectorFileReader, VectorFiles

Order = tuple[int, int, str]


class LoadedSegment:
    """A segment in memory; its files are read when they are first used."""

    def __init__(self, segment: Segment, blobs: BlobStore, vector_files: VectorFiles) -> None:
        self.segment = segment
        self._blobs = blobs
        self._vector_files = vector_files
        self._vectors: dict[str, VectorFileReader] = {}
        self._points: dict[str, NDArray[np.float32]] = {}
        self._starts: dict[str, NDArray[np.int64]] = {}

    @cached_property
    def table(self) -> pa.Table:
        """The rows."""
        table = table_of(read_file(self._blobs, self.segment.rows), self.segment.rows.name)
        if table.num_rows != self.segment.n_rows:
            raise CorruptIndexError(
                f"{self.segment.rows.name}: not as many rows as its manifest says"
            )
        return table

    @cached_property
    def orders(self) -> list[tuple[str, Order, bool]]:
        """(series key, place in the total order, alive) of every row."""
        names = ("seriesKey", "revision", "recipe", "writeId", "alive")
        columns = [self.table.column(name).to_pylist() for name in names]
        return [
            (key, (revision, recipe, write_id), alive)
            for key, revision, recipe, write_id, alive in zip(*columns, strict=True)
        ]

    def counts(self, space: str) -> NDArray[np.int64]:
        """Vectors per row in a space, int64 (n_rows,)."""
        name = {TEXT_SPACE: "textCount", IMAGE_SPACE: "imageCount"}[space]
        counts: NDArray[np.int64] = self.table.column(name).to_numpy().astype(np.int64)
        return counts

    def first_vector(self, space: str, row: int) -> int:
        """Number of the first vector of a row in a space."""
        if space not in self._starts:
            counts = self.counts(space)
            self._starts[space] = np.concatenate(([0], np.cumsum(counts)))
        return int(self._starts[space][row])

    def vectors(self, space: str, encoder_id: str) -> VectorFileReader:
        """The vectors of a space under an encoder.

        Raises
        ------
        CorruptIndexError
            There are none, or the file is damaged.
        """
        named = self.segment.vector_file(space, encoder_id)
        if named is None:
            raise CorruptIndexError(f"segment {self.segment.id} lacks vectors of {encoder_id}")
        name = named.file.name
        if name not in self._vectors:
            reader = self._vector_files.open(read_file(self._blobs, named.file))
            if (reader.n_vectors, reader.dimension) != (named.n_vectors, named.dimension):
                raise CorruptIndexError(f"{name}: not the shape that its manifest says")
            self._vectors[name] = reader
        return self._vectors[name]

    def points(self, projection: str) -> NDArray[np.float32] | None:
        """Coordinates float32 (n_points, 2) of a projection, or None when there are none."""
        named = self.segment.coordinate_file(projection)
        if named is None:
            return None
        if named.file.name not in self._points:
            data = read_file(self._blobs, named.file)
            self._points[named.file.name] = load_points(data, named.file.name)
        return self._points[named.file.name]

    def at(self, segment: Segment) -> "LoadedSegment":
        """The same rows under a later manifest, which may have added files."""
        if segment == self.segment:
            return self
        loaded = LoadedSegment(segment, self._blobs, self._vector_files)
        loaded.__dict__.update(
            {name: self.__dict__[name] for name in ("table", "orders") if name in self.__dict__}
        )
        loaded._vectors.update(self._vectors)
        loaded._points.update(self._points)
        return loaded


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the winning row of a series lies."""

    segment_id: str
    row: int
    order: Order
    alive: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveSegment:
    """A segment with the rows that count: bool (n_rows,), read-only."""

    loaded: LoadedSegment
    live: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One manifest, ready to be searched."""

    manifest: Manifest
    segments: tuple[LiveSegment, ...]

    def rows(self) -> Iterator[tuple[LiveSegment, int]]:
        """Every live row, in segment order."""
        for segment in self.segments:
            for row in np.flatnonzero(segment.live):
                yield segment, int(row)

    @property
    def n_series(self) -> int:
        """Number of searchable series."""
        return sum(int(segment.live.sum()) for segment in self.segments)


class Reader:
    """Follows the manifests of an index; not for use by several threads at once."""

    def __init__(self, blobs: BlobStore, vector_files: VectorFiles) -> None:
        self._blobs = blobs
        self._vector_files = vector_files
        self._manifests = Manifests(blobs)
        self._winners: dict[str, Place] = {}
        self._loaded: dict[str, LoadedSegment] = {}
        self._masks: dict[str, NDArray[np.bool_]] = {}
        self._snapshot = Snapshot(manifest=EMPTY, segments=())

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in use."""
        return self._snapshot

    def refresh(self) -> Snapshot:
        """Adopt the newest manifest; one GET when there is no news."""
        return self.adopt(self._manifests.newest(self._snapshot.manifest))

    def adopt(self, manifest: Manifest) -> Snapshot:
        """Make `manifest` the one in use; only files not yet loaded are read.

        The work follows what changed, not what the index holds. A file that cannot be read leaves
        the snapshot in use as it is.
        """
        now = self._snapshot.manifest
        if (manifest.number, manifest.suppressed) == (now.number, now.suppressed):
            return self._snapshot
        loaded = {
            segment.id: self._loaded[segment.id].at(segment)
            if segment.id in self._loaded
            else LoadedSegment(segment, self._blobs, self._vector_files)
            for segment in manifest.segments
        }
        added = [segment for key, segment in loaded.items() if key not in self._loaded]
        for segment in added:
            _ = segment.orders  # read now: nothing has been changed yet
        masks = _Masks(self._masks)
        for segment in added:
            masks.add(segment)
            self._take_in(segment, manifest.suppressed, masks)
        self._forget_removed(loaded, manifest.suppressed, masks)
        for key in manifest.suppressed ^ self._snapshot.manifest.suppressed:
            place = self._winners.get(key)
            if place is not None:
                masks.set(place, live=place.alive and key not in manifest.suppressed)
        self._masks = masks.done(loaded)
        self._loaded = loaded
        segments = tuple(
            LiveSegment(loaded=segment, live=self._masks[key]) for key, segment in loaded.items()
        )
        self._snapshot = Snapshot(manifest=manifest, segments=segments)
        return self._snapshot

    def winner(self, series_key: str) -> Place | None:
        """Where the newest row of a series lies, tombstones and suppressed ones included."""
        return self._winners.get(series_key)

    def row(self, place: Place) -> IndexRow:
        """The row at a place."""
        return row_at(self._loaded[place.segment_id].table, place.row)

    def image_of(
        self, place: Place, encoder_id: str
    ) -> tuple[NDArray[np.float32], tuple[float, float] | None]:
        """Image vector float32 (dimension,) and coordinates of a row that has an image."""
        loaded = self._loaded[place.segment_id]
        index = loaded.first_vector(IMAGE_SPACE, place.row)
        vector = loaded.vectors(IMAGE_SPACE, encoder_id).reconstruct(index, 1)[0]
        projection = self._snapshot.manifest.projection
        points = None if projection is None else loaded.points(projection.version)
        if points is None:
            return vector, None
        return vector, (float(points[index][0]), float(points[index][1]))

    def series_keys(self) -> Iterator[str]:
        """Keys of all series that have a row, tombstones included."""
        return iter(self._winners)

    def _take_in(self, segment: LoadedSegment, suppressed: frozenset[str], masks: "_Masks") -> None:
        for row, (key, order, alive) in enumerate(segment.orders):
            best = self._winners.get(key)
            # A merge writes a row again: of equal ones the later copy counts.
            if best is not None and order < best.order:
                continue
            if best is not None:
                masks.set(best, live=False)
            place = Place(segment_id=segment.segment.id, row=row, order=order, alive=alive)
            self._winners[key] = place
            masks.set(place, live=alive and key not in suppressed)

    def _forget_removed(
        self,
        loaded: Mapping[str, LoadedSegment],
        suppressed: frozenset[str],
        masks: "_Masks",
    ) -> None:
        """Find the next best row of series whose winning row went with its segment."""
        removed = [segment for key, segment in self._loaded.items() if key not in loaded]
        orphans = {
            key
            for segment in removed
            for key, _, _ in segment.orders
            if key in self._winners and self._winners[key].segment_id not in loaded
        }
        for key in orphans:
            del self._winners[key]
        if not orphans:
            return
        for segment in loaded.values():
            for row, (key, order, alive) in enumerate(segment.orders):
                best = self._winners.get(key)
                if key in orphans and (best is None or order >= best.order):
                    if best is not None:
                        masks.set(best, live=False)
                    place = Place(segment_id=segment.segment.id, row=row, order=order, alive=alive)
                    self._winners[key] = place
                    masks.set(place, live=alive and key not in suppressed)


class _Masks:
    """Live rows by segment; a mask in use is copied before it is changed."""

    def __init__(self, used: Mapping[str, NDArray[np.bool_]]) -> None:
        self._masks = dict(used)
        self._own: set[str] = set()

    def add(self, segment: LoadedSegment) -> None:
        self._masks[segment.segment.id] = np.zeros(segment.segment.n_rows, dtype=np.bool_)
        self._own.add(segment.segment.id)

    def set(self, place: Place, *, live: bool) -> None:
        name = place.segment_id
        if name not in self._own:
            self._masks[name] = self._masks[name].copy()
            self._own.add(name)
        self._masks[name][place.row] = live

    def done(self, kept: Mapping[str, LoadedSegment]) -> dict[str, NDArray[np.bool_]]:
        for name in self._own:
            self._masks[name].setflags(write=False)
        return {name: mask for name, mask in self._masks.items() if name in kept}


def open_at(blobs: BlobStore, vector_files: VectorFiles, number: int) -> Snapshot:
    """The snapshot of manifest `number`; what is suppressed now is masked then, too.

    Raises
    ------
    NotFoundError
        The manifest has expired or was never written.
    """
    manifests = Manifests(blobs)
    then = manifests.at(number)
    now = manifests.newest()
    reader = Reader(blobs, vector_files)
    return reader.adopt(replace(then, suppressed=now.suppressed))
