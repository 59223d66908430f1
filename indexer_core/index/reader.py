"""Reading the index: snapshots that never change, and a reader that follows the manifests.

A snapshot is one manifest with its segments and, per segment, the rows that count (the highest of
their series, alive, not suppressed). The reader opens only files that it has not got, builds the
next snapshot beside the one in use and swaps; requests in flight keep theirs. What the next
snapshot shares with the last one, open segments and what was prepared for searching them, is kept.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import NotFoundError
from indexer_core.index.commit import Manifests
from indexer_core.index.files import ImmutableFiles, StoredFiles
from indexer_core.index.footprint import check_fits
from indexer_core.index.keys import hashes_of
from indexer_core.index.loaded import LiveSegment, LoadedSegment
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.marks import Marks, Suppressed, next_marks
from indexer_core.index.parts import Part, parts_of
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, MapPoint
from indexer_core.index.winners import Order
from indexer_core.ports import BlobStore, VectorFiles

_NOTHING_OPEN: Mapping[str, LoadedSegment] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the winning row of a series lies."""

    segment_id: str
    row: int
    order: Order
    alive: bool


class Snapshot:
    """One manifest, ready to be searched; safe for several threads.

    Parameters
    ----------
    before
        The snapshot before: what was prepared for searching it is used again where it fits.
    """

    def __init__(
        self,
        manifest: Manifest,
        segments: Sequence[LiveSegment],
        vector_files: VectorFiles,
        before: "Snapshot | None" = None,
    ) -> None:
        self.manifest = manifest
        self.segments = tuple(segments)
        self._vector_files = vector_files
        self.prepared: dict[tuple[str, str], list[Part]] = {}
        self._prepared_before = {} if before is None else before.prepared

    def rows(self) -> Iterator[tuple[LiveSegment, int]]:
        """Every live row, in segment order."""
        for segment in self.segments:
            for row in np.flatnonzero(segment.live):
                yield segment, int(row)

    def bare(self) -> "Snapshot":
        """The same without what was prepared for searching it, for whoever keeps it for long."""
        return Snapshot(self.manifest, self.segments, self._vector_files)

    @property
    def n_series(self) -> int:
        """Number of searchable series."""
        return sum(segment.n_live for segment in self.segments)

    @property
    def projection_version(self) -> str | None:
        """Of the map in force; None where there is none."""
        projection = self.manifest.projection
        return None if projection is None else projection.version

    def parts(self, space: str, encoder_id: str) -> Sequence[Part]:
        """What a search of a space goes through; together, all segments."""
        wanted = space, encoder_id
        if wanted not in self.prepared:
            before = self._prepared_before.get(wanted, ())
            self.prepared[wanted] = parts_of(self.segments, *wanted, self._vector_files, before)
        return self.prepared[wanted]


class Reader:
    """Follows the manifests of an index; not for use by several threads at once.

    Parameters
    ----------
    files
        Opens the files of segments; None: from `blobs`, in memory.
    searched
        Spaces whose vectors are opened together with the segments. Those of others are opened
        when they are first used.
    limit_bytes
        Memory that searching may take; None: no limit.
    opened
        Segments that another reader has open, by id.
    follows
        Whether copies of files that the manifest in use does not name may go.
    """

    def __init__(
        self,
        blobs: BlobStore,
        vector_files: VectorFiles,
        *,
        files: ImmutableFiles | None = None,
        searched: Collection[str] = (),
        limit_bytes: int | None = None,
        opened: Mapping[str, LoadedSegment] = _NOTHING_OPEN,
        follows: bool = True,
    ) -> None:
        self._blobs = blobs
        self._vector_files = vector_files
        self._files = StoredFiles(blobs) if files is None else files
        self._searched = frozenset(searched)
        self._limit_bytes = limit_bytes
        self._follows = follows
        self._manifests = Manifests(blobs)
        self._loaded = opened
        self._marks: dict[str, Marks] = {}
        self._suppressed = Suppressed(frozenset())
        self._snapshot = Snapshot(EMPTY, (), vector_files)

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot in use."""
        return self._snapshot

    def refresh(self) -> Snapshot:
        """Adopt the newest manifest; one GET when there is no news."""
        newest = self._manifests.newest(self._snapshot.manifest)
        try:
            with self._manifests.unless_expired(newest):
                return self.adopt(newest)
        except NotFoundError:  # replaced, expired and collected since it was read
            return self.adopt(self._manifests.newest())

    def adopt(self, manifest: Manifest) -> Snapshot:
        """Make `manifest` the one in use; only files not yet open are read.

        The work follows what changed, not what the index holds. A file that cannot be read leaves
        the snapshot in use as it is.

        Raises
        ------
        UnavailableError
            Searching it would take more memory than is allowed; nothing was opened.
        CorruptIndexError
            A file is missing or damaged.
        """
        before = self._snapshot
        now = before.manifest
        if (manifest.number, manifest.suppressed) == (now.number, now.suppressed):
            return before
        if self._limit_bytes is not None:
            in_memory = self._files.in_memory
            check_fits(manifest, self._searched, self._limit_bytes, in_memory=in_memory)
        loaded = self._open(manifest)
        suppressed = self._suppressed
        if manifest.suppressed != suppressed.keys:
            suppressed = Suppressed(manifest.suppressed)
        marks = next_marks(
            {name: segment.rows for name, segment in loaded.items()},
            {name: marks for name, marks in self._marks.items() if name in loaded},
            [
                (self._loaded[name].key_index, marks)
                for name, marks in self._marks.items()
                if name not in loaded
            ],
            suppressed,
            other_suppression=suppressed is not self._suppressed,
        )
        segments = self._live(loaded, marks)
        self._snapshot = Snapshot(manifest, segments, self._vector_files, before)
        self._loaded, self._marks, self._suppressed = loaded, marks, suppressed
        if self._follows:
            self._files.retain(manifest.files())
        return self._snapshot

    def at(self, number: int, *, as_it_was: bool = False) -> Snapshot:
        """The snapshot of manifest `number`; what is suppressed now is masked then, too.

        It shares what this reader has open.

        Parameters
        ----------
        as_it_was
            Whether just what was suppressed then is masked: only to compare with, never to show.

        Raises
        ------
        NotFoundError
            The manifest has expired or was never written.
        """
        then = self._manifests.at(number)
        now = self._manifests.newest(self._snapshot.manifest)
        past = Reader(
            self._blobs,
            self._vector_files,
            files=self._files,
            searched=self._searched,
            limit_bytes=self._limit_bytes,
            opened=self._loaded,
            follows=False,
        )
        with self._manifests.unless_expired(then):
            return past.adopt(then if as_it_was else replace(then, suppressed=now.suppressed))

    def winner(self, series_key: str) -> Place | None:
        """Where the newest row of a series lies, tombstones and suppressed ones included."""
        return self.winners_of([series_key]).get(series_key)

    def winners_of(self, series_keys: Collection[str]) -> dict[str, Place]:
        """The same of those of many series that have a row."""
        hashes = np.unique(hashes_of(series_keys))
        found: dict[str, Place] = {}
        for name, marks in self._marks.items():
            _, rows = self._loaded[name].key_index.find(hashes)
            found.update(self._places(name, rows[marks.winning[rows]]))
        wanted = frozenset(series_keys)
        return {key: place for key, place in found.items() if key in wanted}

    def winning(self, segment_id: str) -> NDArray[np.bool_]:
        """Rows of a segment that no other row outranks, bool (n_rows,), read-only.

        Tombstones and rows of suppressed series are among them.
        """
        return self._marks[segment_id].winning

    def winners(self) -> Iterator[tuple[str, Place]]:
        """Every series that has a row, tombstones included, with its newest row; in no order."""
        for name, marks in self._marks.items():
            yield from self._places(name, np.flatnonzero(marks.winning))

    def series_keys(self) -> Iterator[str]:
        """Keys of all series that have a row, tombstones included."""
        for name, marks in self._marks.items():
            yield from self._loaded[name].rows.keys_at(np.flatnonzero(marks.winning))

    def row(self, place: Place) -> IndexRow:
        """The row at a place."""
        return self._loaded[place.segment_id].rows.texts.row(place.row)

    def image_of(
        self, place: Place, encoder_id: str
    ) -> tuple[NDArray[np.float32], MapPoint | None]:
        """Image vector float32 (dimension,) and coordinates of a row that has an image."""
        loaded = self._loaded[place.segment_id]
        index = loaded.first_vector(IMAGE_SPACE, place.row)
        vector = loaded.vectors(IMAGE_SPACE, encoder_id).reconstruct(index, 1)[0]
        return vector, self.point_of(place)

    def point_of(self, place: Place) -> MapPoint | None:
        """Where a row is on the map in force; None where it has no place."""
        projection = self._snapshot.manifest.projection
        if projection is None:
            return None
        return self._loaded[place.segment_id].point(projection.version, place.row)

    def _places(self, name: str, rows: NDArray[np.int64]) -> Iterator[tuple[str, Place]]:
        if not len(rows):
            return
        opened = self._loaded[name].rows
        ranked = zip(rows.tolist(), opened.ranks(rows), opened.alive(rows).tolist(), strict=True)
        for row, (key, order), alive in ranked:
            yield key, Place(segment_id=name, row=row, order=order, alive=alive)

    def _open(self, manifest: Manifest) -> dict[str, LoadedSegment]:
        loaded = {
            segment.id: self._loaded[segment.id].at(segment)
            if segment.id in self._loaded
            else LoadedSegment(segment, self._files, self._vector_files)
            for segment in manifest.segments
        }
        spaces = [space for space in manifest.spaces if space.name in self._searched]
        self._files.prefetch(
            [
                ref
                for segment in loaded.values()
                for ref in segment.unopened([(space.name, space.live) for space in spaces])
            ]
        )
        for segment in loaded.values():
            _ = segment.rows
            for space in spaces:
                segment.vectors(space.name, space.live)
        return loaded

    def _live(
        self, loaded: Mapping[str, LoadedSegment], marks: Mapping[str, Marks]
    ) -> tuple[LiveSegment, ...]:
        """The segments to search; those that have not changed keep what was prepared for them."""
        in_use = {segment.loaded.segment.id: segment for segment in self._snapshot.segments}
        segments = []
        for name, segment in loaded.items():
            live = in_use.get(name)
            if live is None or live.loaded is not segment or live.live is not marks[name].live:
                live = LiveSegment(loaded=segment, live=marks[name].live)
            segments.append(live)
        return tuple(segments)


def open_at(blobs: BlobStore, vector_files: VectorFiles, number: int) -> Snapshot:
    """The snapshot of manifest `number`; what is suppressed now is masked then, too.

    Raises
    ------
    NotFoundError
        The manifest has expired or was never written.
    """
    return Reader(blobs, vector_files).at(number)
