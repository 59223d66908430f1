"""Updates of vector spaces: build a second encoder, fill it, switch to it, or abandon it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from indexer_core.index.manifest import (
    CoordinateFile,
    Manifest,
    Projection,
    Segment,
    Space,
    VectorFile,
)
from indexer_core.index.outcomes import (
    Applied,
    Incomplete,
    MissingCoordinates,
    MissingVectors,
    Outcome,
    Refused,
    Unchanged,
    is_stale,
    missing_coordinates,
    with_files,
    with_segments,
    with_space,
    without_strangers,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpace:
    """Begin to fill a second encoder beside the live one; refused while another is being filled."""

    space: str
    encoder_id: str
    dimension: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddVectors:
    """Add the vectors of a building (or live) space to a segment. Abandoned when it was merged."""

    segment_id: str
    vectors: VectorFile


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSpace:
    """Make the building encoder the live one; only when no segment lacks it.

    vectors: by segment id, for segments that arrived while the switch was tried. projection,
    coordinates: the map that replaces one which reads the encoder that goes; likewise complete.
    """

    space: str
    encoder_id: str
    vectors: Mapping[str, VectorFile] = field(default_factory=dict)
    projection: Projection | None = None
    coordinates: Mapping[str, CoordinateFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonSpace:
    """Give up the encoder that is being filled; its files leave the manifest."""

    space: str
    encoder_id: str


def apply_build(manifest: Manifest, update: BuildSpace) -> Outcome:
    """Begin a build; see `BuildSpace`."""
    space = manifest.space(update.space)
    if space is None:
        return Refused(reason=f"there is no space {update.space}")
    if update.encoder_id == space.live:
        return Unchanged()
    if space.building is not None:
        same = (space.building, space.building_dimension) == (update.encoder_id, update.dimension)
        return Unchanged() if same else Refused(reason=f"{space.building} is being built already")
    building = replace(space, building=update.encoder_id, building_dimension=update.dimension)
    return Applied(manifest=with_space(manifest, building))


def apply_abandon(manifest: Manifest, name: str, encoder_id: str) -> Outcome:
    """End a build without a switch; see `AbandonSpace`."""
    space = manifest.space(name)
    if space is None or encoder_id == space.live:
        return Refused(reason=f"{encoder_id} is not being built in space {name}")
    if space.building != encoder_id:
        return Unchanged()
    left = with_space(manifest, replace(space, building=None, building_dimension=None))
    slim = {s.id: without_strangers(left, s) for s in manifest.segments}
    return Applied(manifest=with_segments(left, slim))


def apply_add_vectors(manifest: Manifest, segment_id: str, vectors: VectorFile) -> Outcome:
    """Fill one segment; see `AddVectors`."""
    segment = manifest.segment(segment_id)
    if segment is None:
        return Refused(reason="the segment was merged away")
    space = manifest.space(vectors.space)
    if space is None or vectors.encoder_id not in (space.live, space.building):
        return Refused(reason=f"{vectors.encoder_id} is neither live nor building")
    if segment.vector_file(vectors.space, vectors.encoder_id) is not None:
        return Unchanged()
    if not _fits(space, segment, vectors):
        return Refused(reason="the vectors do not fit the segment in number or dimension")
    if is_stale(manifest, vectors.file):
        gap = MissingVectors(
            segment_id=segment_id, space=vectors.space, encoder_id=vectors.encoder_id
        )
        return Incomplete(missing=(gap,))
    filled = with_files(segment, vectors=(vectors,))
    return Applied(manifest=with_segments(manifest, {segment_id: filled}))


def _fits(space: Space, segment: Segment, vectors: VectorFile) -> bool:
    """Whether there is a vector for every live one, of the dimension that was announced."""
    live = segment.vector_file(space.name, space.live)
    expected = space.building_dimension if vectors.encoder_id == space.building else space.dimension
    return vectors.dimension == expected and (live is None or live.n_vectors == vectors.n_vectors)


def apply_switch(manifest: Manifest, update: SwitchSpace) -> Outcome:
    """Switch, or say what is missing for it; see `SwitchSpace`."""
    name, encoder_id = update.space, update.encoder_id
    space = manifest.space(name)
    if space is None or encoder_id not in (space.live, space.building):
        return Refused(reason=f"{encoder_id} is not being built in space {name}")
    if space.live == encoder_id:
        return Unchanged()
    projection = _map_after_switch(manifest, space, update)
    if isinstance(projection, Refused):
        return projection
    brings_map = projection is update.projection
    given = _without_stale(manifest, update)
    filled = {s.id: _with_given(s, space, given, brings_map) for s in manifest.segments}
    missing = [
        gap
        for segment in filled.values()
        for gap in _missing_for_switch(segment, update, projection)
    ]
    if missing:
        return Incomplete(missing=tuple(missing))
    assert space.building_dimension is not None
    switched = Space(name=name, live=encoder_id, dimension=space.building_dimension)
    after = replace(with_space(manifest, switched), projection=projection)
    slim = {key: without_strangers(after, segment) for key, segment in filled.items()}
    return Applied(manifest=with_segments(after, slim))


def _map_after_switch(
    manifest: Manifest, space: Space, update: SwitchSpace
) -> Projection | Refused | None:
    """The map in force; or the one that the update brings, where that reads what goes."""
    now, brought = manifest.projection, update.projection
    if now is None or now.encoder_id != space.live:
        return now
    if brought is None or brought.encoder_id != update.encoder_id:
        return Refused(reason="the map in force reads the encoder that goes: bring another one")
    if any(segment.coordinate_file(brought.version) for segment in manifest.segments):
        return Refused(reason=f"there was a map {brought.version} already")
    if is_stale(manifest, brought.file):
        return Refused(reason="the file of the map may have been collected; bring it again")
    return brought


def _without_stale(manifest: Manifest, update: SwitchSpace) -> SwitchSpace:
    """The update without files that may have been collected: they are missing again."""
    return replace(
        update,
        vectors={
            key: vectors
            for key, vectors in update.vectors.items()
            if not is_stale(manifest, vectors.file)
        },
        coordinates={
            key: points
            for key, points in update.coordinates.items()
            if not is_stale(manifest, points.file)
        },
    )


def _with_given(
    segment: Segment,
    space: Space,
    update: SwitchSpace,
    brings_map: bool,
) -> Segment:
    """The segment with what the update brings for it, where it still lacks that."""
    vectors = update.vectors.get(segment.id)
    if segment.vector_file(space.name, update.encoder_id) is not None or (
        vectors is not None and not _fits(space, segment, vectors)
    ):
        vectors = None
    points = update.coordinates.get(segment.id) if brings_map else None
    return with_files(
        segment,
        vectors=() if vectors is None else (vectors,),
        coordinates=() if points is None else (points,),
    )


def _missing_for_switch(
    segment: Segment, update: SwitchSpace, projection: Projection | None
) -> tuple[MissingVectors | MissingCoordinates, ...]:
    vectors: tuple[MissingVectors, ...] = ()
    if segment.vector_file(update.space, update.encoder_id) is None:
        gap = MissingVectors(
            segment_id=segment.id, space=update.space, encoder_id=update.encoder_id
        )
        vectors = (gap,)
    return (*vectors, *missing_coordinates(segment, projection))
