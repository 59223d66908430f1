"""From entries to a segment: rows, vectors of every encoder in use, coordinates.

While an index changes an encoder (`indexer_core.index.switching`), a segment brings the vectors of
the one that is being built along with those of the live one, where this program can make them. It
need not: what it leaves out is filled by whoever builds the encoder.
"""

import logging
from collections.abc import Sequence

import numpy as np

from indexer_core.encoders import FindEncoder
from indexer_core.entries import Entry, row_of
from indexer_core.errors import ConflictError
from indexer_core.index.files import read_file
from indexer_core.index.manifest import Manifest, Projection, Segment, Space
from indexer_core.index.segment import (
    TEXT_SPACE,
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
        self._projectors: dict[str, Projector] = {}

    def made(
        self, write_id: str, manifest: Manifest, entries: Sequence[Entry], recipe: int
    ) -> Segment:
        """Write a segment for a manifest; what this program cannot make is left out."""
        spaces = [
            vectors
            for space in manifest.spaces
            for vectors in (self._live(space, entries), self._building(space, entries))
            if vectors is not None
        ]
        projection = manifest.projection
        seen = [entry for entry in entries if entry.images]
        points = []
        if projection is not None and _can_be_placed(seen, projection):
            points.append(self._points(seen, projection))
        rows = [row_of(entry, write_id, recipe) for entry in entries]
        return self._writer.write(write_id, rows, spaces, points)

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
                    points = self._writer.write_points(write_id, self._points(seen, projection))
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

    def _points(self, seen: Sequence[Entry], projection: Projection) -> Points:
        xy = np.empty((len(seen), 2), dtype=np.float32)
        for index, entry in enumerate(seen):
            place = entry.places.get(projection.version)
            if place is None:
                image = entry.images[projection.encoder_id]
                xy[index] = self._projector(projection).project(image[None, :])[0]
            else:
                xy[index] = place
        return Points(projection=projection.version, xy=xy)

    def _projector(self, projection: Projection) -> Projector:
        if projection.version not in self._projectors:
            data = read_file(self._blobs, projection.file)
            self._projectors[projection.version] = Projector.from_bytes(data)
        return self._projectors[projection.version]


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
