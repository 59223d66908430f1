"""Putting a map in force: a place for every point, in one commit.

Coordinates of every segment are written first, and those of segments that arrive meanwhile before
the next try, so a series that lands while a map is fitted or published is on it when it appears,
once. Killed before the commit, the map in force stays, and files are left that nobody names.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np

from indexer_core.errors import ConflictError, CorruptIndexError, NotFoundError
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.files import read_file
from indexer_core.index.filling import DEFAULT_PART_VECTORS, SegmentFiller
from indexer_core.index.lineage import made_now
from indexer_core.index.manifest import CoordinateFile, Manifest, Segment
from indexer_core.index.map_updates import STATE_IS_OLD
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
from indexer_core.ports import BlobStore, Clock, Ids, VectorFiles
from indexer_core.projector import Projector

_ATTEMPTS = 8

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
        known: Collection[str],
        *,
        reason: str,
        progress: Progress = _no_progress,
    ) -> Manifest:
        """Put a map in force in the place of that of `made_of`.

        Parameters
        ----------
        made_of
            The manifest whose points it was made of.
        known
            Series that are on it by its encoder; all others are placed as new ones are.
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
        places = _Places(self._blobs, self._filler, projector, state, frozenset(known))
        total = sum(segment.n_points for segment in made_of.segments)

        def complete(manifest: Manifest, update: Update, incomplete: Incomplete) -> Update:
            assert isinstance(update, PublishProjection)
            made = dict(update.coordinates)
            n_done = 0
            for gap in incomplete.missing:
                segment = manifest.segment(gap.segment_id)
                assert segment is not None
                assert isinstance(gap, MissingCoordinates)
                try:
                    made[segment.id] = places.of(segment)
                except CorruptIndexError:
                    if segment in self._manifests.newest().segments:
                        raise
                    break  # a purge has taken it away: begin again from what took its place
                n_done += segment.n_points
                progress(min(n_done, total), total)
            return replace(update, coordinates=made)

        told = {name: f"{value:.4f}" for name, value in state.metrics.items()}
        for _ in range(_ATTEMPTS):
            # Series that were deleted while it was made; a purge must not meet them again.
            slim = state.without(self._manifests.newest().suppressed)
            file = put_state(self._blobs, slim, self._ids.new_id())
            projection = replace(
                put_projector(self._blobs, projector, self._ids.new_id()),
                state=file,
                major=None if is_major else parent.major or parent.file,
            )
            update = PublishProjection(
                projection=projection,
                coordinates={},
                parent=parent.version,
                landmarks=frozenset(slim.landmarks.keys),
            )
            counts = {"points": state.n_points}
            outcome = self._try(
                update, reason, counts, {"map": projector.version, **told}, complete
            )
            if isinstance(outcome, Committed):
                return outcome.manifest
            self._blobs.delete(file.name)  # it may hold what a purge has just erased elsewhere
            self._blobs.delete(projection.file.name)
            if outcome.reason != STATE_IS_OLD:
                raise ConflictError(f"the map was not published: {outcome.reason}")
        raise ConflictError("the map was not published: others kept winning; try again later")

    def keep(self, version: str, reasons: tuple[str, ...], measures: Mapping[str, float]) -> None:
        """Note that the map stays as it is, and why; nothing where another one is in force."""
        told = {name: f"{value:.4f}" for name, value in measures.items()}
        self._try(
            KeepMap(version=version, reasons=reasons), "keep-map", {}, {"map": version, **told}
        )

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
    """Places of segments on a new map."""

    def __init__(
        self,
        blobs: BlobStore,
        filler: SegmentFiller,
        projector: Projector,
        state: MapState,
        known: frozenset[str],
    ) -> None:
        self._blobs, self._filler = blobs, filler
        self._projector, self._state = projector, state
        self._known = known

    def of(self, segment: Segment) -> CoordinateFile:
        vectors = segment.vector_file(IMAGE_SPACE, self._projector.encoder_id)
        if vectors is None:
            raise ConflictError("the index has changed to another image encoder meanwhile")
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        keys = column_of(table, "seriesKey").to_pylist()
        are_new = np.array([key not in self._known for key in keys], dtype=np.bool_)
        return self._filler.coordinate_file(
            vectors,
            self._projector,
            state=self._state,
            are_new=np.repeat(are_new, numbers_of(table, "imageCount")),
        )
