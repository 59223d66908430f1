"""Putting a map in force: a place for every point, in one commit.

Coordinates of every segment are written first, and those of segments that arrive meanwhile before
the next try, so a series that lands while a map is fitted or published is on it when it appears,
once. Killed before the commit, the map in force stays, and files are left that nobody names.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import ConflictError, NotFoundError
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.files import read_file
from indexer_core.index.filling import DEFAULT_PART_VECTORS, SegmentFiller
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import CoordinateFile, Manifest, Segment
from indexer_core.index.projections import put_projector, put_state
from indexer_core.index.rows import column_of, numbers_of, table_of
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.index.updates import (
    Incomplete,
    KeepMap,
    MissingCoordinates,
    PublishProjection,
    Update,
)
from indexer_core.map_state import MapState
from indexer_core.placing import MAP
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles
from indexer_core.projector import Projector

Progress = Callable[[int, int], None]
"""Points that have their place by now, and how many there are."""


def _no_progress(done: int, total: int) -> None:
    del done, total


class MapPublisher:
    """Publishes the maps of one index."""

    def __init__(
        self, blobs: BlobStore, vector_files: VectorFiles, *, clock: Clock, ids: Ids
    ) -> None:
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._filler = SegmentFiller(blobs, vector_files, ids, DEFAULT_PART_VECTORS)
        self._clock = clock
        self._ids = ids

    def publish(
        self,
        projector: Projector,
        state: MapState,
        made_of: Manifest,
        *,
        reason: str,
        progress: Progress = _no_progress,
    ) -> Manifest:
        """Put a map in force in the place of that of `made_of`.

        Parameters
        ----------
        made_of
            The manifest whose points it was made of; what it lacks is placed as new series are.
        reason
            For the lineage: ``fit``, ``refit`` or ``grow``.

        Raises
        ------
        ConflictError
            Another map was published meanwhile, or others won too many races.
        """
        parent = made_of.projection
        if parent is None:
            raise NotFoundError("nothing is indexed yet, so there is nothing to map")
        is_major = projector.version.endswith(".0")
        places = _Places(self._blobs, self._filler, projector, state, made_of)
        total = sum(segment.n_points for segment in made_of.segments)

        def complete(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            assert isinstance(update, PublishProjection)
            made = dict(update.coordinates)
            n_done = 0
            for gap in incomplete.missing:
                segment = manifest.segment(gap.segment_id)
                assert segment is not None
                assert isinstance(gap, MissingCoordinates)
                made[segment.id] = places.of(segment)
                n_done += segment.n_points
                progress(min(n_done, total), total)
            return replace(update, coordinates=made)

        projection = replace(
            put_projector(self._blobs, projector),
            state=put_state(self._blobs, state, self._ids.new_id()),
            major=None if is_major else parent.major or parent.file,
        )
        update = PublishProjection(projection=projection, coordinates={}, parent=parent.version)
        counts = {"points": state.n_points}
        return self._commit(update, reason, counts, {MAP: projector.version}, complete).manifest

    def keep(self, version: str, reasons: tuple[str, ...], measures: Mapping[str, float]) -> None:
        """Note that the map stays as it is, and why; nothing where another one is in force."""
        told = {name: f"{value:.4f}" for name, value in measures.items()}
        self._try(KeepMap(version=version, reasons=reasons), "keep-map", {}, {MAP: version, **told})

    def _commit(
        self,
        update: Update,
        reason: str,
        counts: Mapping[str, int],
        details: Mapping[str, str],
        complete: Callable[[Manifest, Update, Incomplete], Update],
    ) -> Committed:
        outcome = self._try(update, reason, counts, details, complete)
        if isinstance(outcome, Abandoned):
            raise ConflictError(f"the map was not published: {outcome.reason}")
        return outcome

    def _try(
        self,
        update: Update,
        reason: str,
        counts: Mapping[str, int],
        details: Mapping[str, str],
        complete: Callable[[Manifest, Update, Incomplete], Update] | None = None,
    ) -> Committed | Abandoned:
        return commit(
            self._manifests,
            update,
            commit_id=self._ids.new_id(),
            lineage=made_now(reason, self._clock.now_s(), counts, details),
            complete=complete,
        )


class _Places:
    """Places of segments on a new map, each made once."""

    def __init__(
        self,
        blobs: BlobStore,
        filler: SegmentFiller,
        projector: Projector,
        state: MapState,
        made_of: Manifest,
    ) -> None:
        self._blobs, self._filler = blobs, filler
        self._projector, self._state = projector, state
        self._segments = {segment.id for segment in made_of.segments}
        self._made_of = made_of
        self._known: frozenset[str] | None = None

    def of(self, segment: Segment) -> CoordinateFile:
        vectors = segment.vector_file(IMAGE_SPACE, self._projector.encoder_id)
        if vectors is None:
            raise ConflictError("the index has changed to another image encoder meanwhile")
        are_new = None if segment.id in self._segments else self._are_new(segment)
        return self._filler.coordinate_file(
            vectors, self._projector, state=self._state, are_new=are_new
        )

    def _are_new(self, segment: Segment) -> NDArray[np.bool_]:
        """Which vectors of a segment that has come since are of series that came since."""
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        keys = column_of(table, "seriesKey").to_pylist()
        known = self._series()
        are_new = np.array([key not in known for key in keys], dtype=np.bool_)
        return np.repeat(are_new, numbers_of(table, "imageCount"))

    def _series(self) -> frozenset[str]:
        if self._known is None:
            tables = (
                table_of(read_file(self._blobs, s.rows), s.rows.name)
                for s in self._made_of.segments
            )
            self._known = frozenset(
                key for table in tables for key in column_of(table, "seriesKey").to_pylist()
            )
        return self._known
