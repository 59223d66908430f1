"""From entries to a segment: rows, vectors of every encoder in use, coordinates.

While an index changes an encoder (`indexer_core.index.switching`), a segment brings the vectors of
the one that is being built along with those of the live one, where this program can make them. It
need not: what it leaves out is filled by whoever builds the encoder.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexer_core.encoders import FindEncoder
from indexer_core.entries import Entry, Vector, row_of
from indexer_core.errors import ConflictError, CorruptIndexError, InvalidInputError
from indexer_core.index.manifest import Manifest, Projection, Segment, Space
from indexer_core.index.projections import load_projector, load_state
from indexer_core.index.segment import (
    TEXT_SPACE,
    MapPoint,
    Points,
    SegmentWriter,
    SpaceVectors,
)
from indexer_core.index.updates import (
    Incomplete,
    MissingCoordinates,
    MissingVectors,
    StaleSegment,
    with_files,
)
from indexer_core.index.write_ids import fresh_id
from indexer_core.map_state import MapState
from indexer_core.placing import BatchDrift, place
from indexer_core.ports import BlobStore, Ids, VectorFiles
from indexer_core.projector import Projector

log = logging.getLogger(__name__)


class SegmentMaker:
    """Writes the segment of some entries, and completes it for a newer manifest."""

    def __init__(
        self, blobs: BlobStore, vector_files: VectorFiles, find_encoder: FindEncoder, ids: Ids
    ) -> None:
        self._blobs = blobs
        self._writer = SegmentWriter(blobs, vector_files)
        self._find_encoder = find_encoder
        self._ids = ids
        self._map_in_use: _Map | None = None

    def made(
        self,
        write_id: str,
        manifest: Manifest,
        entries: Sequence[Entry],
        recipe: int,
        standing: Mapping[str, MapPoint],
    ) -> tuple[Segment, BatchDrift | None]:
        """Write a segment for a manifest; what this program cannot make is left out.

        Also what its new series say of the map in force, if there are any and it was fitted.
        `standing`: where series are that come anew; with the same picture they stay there.
        """
        spaces = [
            vectors
            for space in manifest.spaces
            for vectors in (self._live(space, entries), self._building(space, entries))
            if vectors is not None
        ]
        projection = manifest.projection
        seen = [entry for entry in entries if entry.images]
        points: list[Points] = []
        drift = None
        if projection is not None and _can_be_placed(seen, projection):
            placed, drift = self._placed(seen, projection, standing)
            points.append(placed)
        rows = [row_of(entry, write_id, recipe) for entry in entries]
        return self._writer.write(write_id, rows, spaces, points), drift

    def completed(
        self,
        segment: Segment,
        manifest: Manifest,
        entries: Sequence[Entry],
        incomplete: Incomplete,
    ) -> Segment:
        """The segment with what the manifest found missing.

        Raises
        ------
        ConflictError
            The index uses an encoder by now that this program does not have.
        """
        seen = [entry for entry in entries if entry.images]
        for gap in incomplete.missing:
            # A write id of its own: that of the segment may be behind a fence by now.
            write_id = fresh_id(self._ids, manifest.collected_before)
            match gap:
                case MissingVectors(space=name):
                    space = manifest.space(name)
                    assert space is not None
                    vectors = self._live(space, entries)
                    if vectors is None:
                        raise _other_encoder(manifest)
                    file = self._writer.write_vectors(write_id, vectors)
                    segment = with_files(segment, vectors=(file,))
                case MissingCoordinates(projection=projection):
                    if not _can_be_placed(seen, projection):
                        raise _other_encoder(manifest)
                    placed, _ = self._placed(seen, projection, {})
                    points = self._writer.write_points(write_id, placed)
                    segment = with_files(segment, coordinates=(points,))
                case StaleSegment():
                    raise AssertionError("a stale segment is written again as a whole")
        return segment

    def _live(self, space: Space, entries: Sequence[Entry]) -> SpaceVectors | None:
        return self._vectors(space.name, space.live, space.dimension, entries)

    def _building(self, space: Space, entries: Sequence[Entry]) -> SpaceVectors | None:
        """Vectors of the encoder that is being built; its troubles must not hold up the row."""
        if space.building is None or space.building_dimension is None:
            return None
        try:
            return self._vectors(space.name, space.building, space.building_dimension, entries)
        except Exception as error:  # noqa: BLE001 - whoever builds the encoder makes up for it
            log.warning("vectors left to the build space=%s error=%s", space.name, _kind(error))
            return None

    def _vectors(
        self, space: str, encoder_id: str, dimension: int, entries: Sequence[Entry]
    ) -> SpaceVectors | None:
        """The vectors of an encoder; None where this program does not have it."""
        if space == TEXT_SPACE:
            encoder = self._find_encoder(encoder_id)
            if encoder is None:
                return None
            vectors = encoder.encode([text for entry in entries for text in entry.texts])
        else:
            images = [entry.images.get(encoder_id) for entry in entries if entry.images]
            known = [image for image in images if image is not None]
            if len(known) < len(images):
                return None
            vectors = np.stack(known) if known else np.empty((0, dimension), dtype=np.float32)
        return SpaceVectors(space=space, encoder_id=encoder_id, vectors=vectors)

    def _placed(
        self, seen: Sequence[Entry], projection: Projection, standing: Mapping[str, MapPoint]
    ) -> tuple[Points, BatchDrift | None]:
        """Places on a map: those published already as they are, the others by its encoder."""
        known = [entry.places.get(projection.version) for entry in seen]
        on_map = self._map(projection)
        for number, entry in enumerate(seen):
            stands = standing.get(entry.series)
            if known[number] is None and stands is not None and not stands.is_provisional:
                image = _as_stored(entry.images[projection.encoder_id])
                if on_map.projector.project(image[None])[0].tolist() == list(stands[:2]):
                    known[number] = stands
        new = [number for number, point in enumerate(known) if point is None]
        xy = np.empty((len(seen), 2), dtype=np.float32)
        is_provisional = np.zeros(len(seen), dtype=np.bool_)
        for number, point in enumerate(known):
            if point is not None:
                xy[number], is_provisional[number] = point[:2], point.is_provisional
        drift = None
        if new:
            images = np.stack(
                [_as_stored(seen[number].images[projection.encoder_id]) for number in new]
            )
            placed = place(images, on_map.projector, on_map.state)
            xy[new], is_provisional[new] = placed.points, placed.is_provisional
            drift = placed.drift
        points = Points(projection=projection.version, xy=xy, is_provisional=is_provisional)
        return points, drift

    def _map(self, projection: Projection) -> "_Map":
        """The map in force. A purge leaves its encoder and takes series out of its state."""
        state = projection.state
        files = projection.file.name, None if state is None else state.name
        if self._map_in_use is None or self._map_in_use.files != files:
            projector = load_projector(self._blobs, projection.file)
            found = _Map(files, projector, self._state(projection))
            if found.state is None and projection.state is not None:
                return found  # it may only have been overtaken: look again next time
            self._map_in_use = found
        return self._map_in_use

    def _state(self, projection: Projection) -> MapState | None:
        """Damage to it must not hold up new series: without it no stranger is told from others.

        Raises
        ------
        ConflictError
            It is of a newer format. No series is to blame for that; they wait for another worker.
        """
        if projection.state is None:
            return None
        try:
            return load_state(self._blobs, projection.state)
        except CorruptIndexError as error:
            log.error("strangers on the map are not told: %s", error)  # noqa: TRY400 - one line
            return None
        except InvalidInputError as error:
            raise ConflictError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Map:
    """A map in force: its encoder, and its state where it was fitted."""

    files: tuple[str, str | None]
    projector: Projector
    state: MapState | None


def _as_stored(image: Vector) -> Vector:
    """A vector as it will be read back, so that its place follows from what is stored."""
    return image.astype(np.float16).astype(np.float32)


def _can_be_placed(seen: Sequence[Entry], projection: Projection) -> bool:
    return bool(seen) and all(
        projection.version in entry.places or projection.encoder_id in entry.images
        for entry in seen
    )


def _other_encoder(manifest: Manifest) -> ConflictError:
    return ConflictError(
        f"manifest {manifest.number} uses an encoder that this program does not have: restart it "
        "with the encoders that the index uses now"
    )


def _kind(error: Exception) -> str:
    return str(getattr(error, "kind", type(error).__name__))
