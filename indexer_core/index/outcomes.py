"""What becomes of an update, and what a segment lacks: shared by all kinds of updates."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from indexer_core.index.manifest import (
    CoordinateFile,
    FileRef,
    Manifest,
    Projection,
    Segment,
    Space,
    VectorFile,
)
from indexer_core.index.write_ids import is_file_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """The content of the next manifest; number, commit id and lineage are the commit's."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The manifest says this already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingVectors:
    """A segment lacks the vectors of (space, encoder)."""

    segment_id: str
    space: str
    encoder_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingCoordinates:
    """A segment lacks coordinates of a projection."""

    segment_id: str
    projection: Projection


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleSegment:
    """Files of a segment may have been collected: write all of it again under a fresh write id."""

    segment_id: str


Missing = MissingVectors | MissingCoordinates | StaleSegment


@dataclass(frozen=True, slots=True, kw_only=True)
class Incomplete:
    """Files are missing; complete the update with them and try again."""

    missing: tuple[Missing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The update can no longer be made."""

    reason: str


Outcome = Applied | Unchanged | Incomplete | Refused


def with_files(
    segment: Segment,
    vectors: tuple[VectorFile, ...] = (),
    coordinates: tuple[CoordinateFile, ...] = (),
) -> Segment:
    """The segment with more files; none is ever replaced."""
    return replace(
        segment,
        vectors=segment.vectors + vectors,
        coordinates=segment.coordinates + coordinates,
    )


def missing_files(
    manifest: Manifest, segment: Segment
) -> tuple[MissingVectors | MissingCoordinates, ...]:
    """What a segment must still get before this manifest can take it in."""
    vectors = tuple(
        MissingVectors(segment_id=segment.id, space=space.name, encoder_id=space.live)
        for space in manifest.spaces
        if segment.vector_file(space.name, space.live) is None
    )
    return (*vectors, *missing_coordinates(segment, manifest.projection))


def missing_coordinates(
    segment: Segment, projection: Projection | None
) -> tuple[MissingCoordinates, ...]:
    """The coordinates of a projection, where a segment with points lacks them."""
    if (
        projection is None
        or segment.n_points == 0
        or segment.coordinate_file(projection.version) is not None
    ):
        return ()
    return (MissingCoordinates(segment_id=segment.id, projection=projection),)


def is_stale(manifest: Manifest, *files: FileRef) -> bool:
    """Whether a file is behind the collector's fence: one not named yet may be deleted already."""
    return any(is_file_behind(file.name, manifest.collected_before) for file in files)


def without_strangers(manifest: Manifest, segment: Segment) -> Segment:
    """The segment without vectors that were live or building when it was written, and are not now.

    Nobody would read them, and no later switch or abandonment would take them out.
    """
    known = {
        (space.name, encoder_id)
        for space in manifest.spaces
        for encoder_id in (space.live, space.building)
    }
    kept = tuple(v for v in segment.vectors if (v.space, v.encoder_id) in known)
    return segment if len(kept) == len(segment.vectors) else replace(segment, vectors=kept)


def with_segments(manifest: Manifest, changed: Mapping[str, Segment]) -> Manifest:
    """The manifest with some segments replaced, by id."""
    segments = tuple(changed.get(segment.id, segment) for segment in manifest.segments)
    return replace(manifest, segments=segments)


def with_space(manifest: Manifest, changed: Space) -> Manifest:
    """The manifest with one space replaced, by name."""
    spaces = tuple(changed if s.name == changed.name else s for s in manifest.spaces)
    return replace(manifest, spaces=spaces)
