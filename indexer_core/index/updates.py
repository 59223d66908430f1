"""Typed manifest updates and the one pure function that applies them.

Each update says how it is revalidated when another commit came first: applying it to the newer
manifest gives `Applied`, `Incomplete` (files are missing that the caller can make: make them and
try again), `Unchanged` (it is already so), or `Refused` (give up; nothing was changed).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import assert_never

from indexer_core.index.manifest import (
    CoordinateFile,
    Manifest,
    Projection,
    Recipe,
    Segment,
    Space,
    VectorFile,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIndex:
    """Name the spaces and the first projection of an empty index; a no-op afterwards."""

    spaces: tuple[Space, ...]
    projection: Projection | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptRecipe:
    """Give a generation of rules, templates or image recipe its number.

    `newest`: make it the highest even where it had one, so that going back to earlier rules
    outranks the rows that later ones made. Only `reprocess` asks for that: two versions of the
    software that run side by side must not race the numbers upwards.
    """

    digest: str
    newest: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AddSegment:
    """Add rows. Lacking a live space or the projection in force it is completed first."""

    segment: Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSegments:
    """Replace inputs by one output. Abandoned when an input has gone: removal may lose a race."""

    inputs: tuple[str, ...]
    output: Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSpace:
    """Begin to fill a second encoder beside the live one."""

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
    """Make the building encoder the live one; only when no segment lacks it."""

    space: str
    encoder_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishProjection:
    """Put a map in force. Segments that arrived meanwhile are projected and it is tried again."""

    projection: Projection
    coordinates: Mapping[str, CoordinateFile]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppress:
    """Mask series for every reader at every manifest number."""

    series_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restore:
    """Unmask series."""

    series_keys: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Keep manifest `number` for `name`; refused below `oldest_safe` (it may be expiring now)."""

    number: int
    name: str
    oldest_safe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpin:
    """Give a pin up."""

    number: int
    name: str


Update = (
    OpenIndex
    | AdoptRecipe
    | AddSegment
    | MergeSegments
    | BuildSpace
    | AddVectors
    | SwitchSpace
    | PublishProjection
    | Suppress
    | Restore
    | Pin
    | Unpin
)


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
class Incomplete:
    """Files are missing; complete the update with them and try again."""

    missing: tuple[MissingVectors | MissingCoordinates, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The update can no longer be made."""

    reason: str


Outcome = Applied | Unchanged | Incomplete | Refused


def apply_update(manifest: Manifest, update: Update) -> Outcome:  # noqa: C901, PLR0911, PLR0912 - one flat case per update is the clearest
    """Apply an update to a manifest; pure, and safe to repeat on a newer manifest."""
    match update:
        case OpenIndex():
            return _open(manifest, update)
        case AdoptRecipe(digest=digest, newest=newest):
            return _adopt(manifest, digest, newest=newest)
        case AddSegment(segment=segment):
            return _add(manifest, segment)
        case MergeSegments(inputs=inputs, output=output):
            return _merge(manifest, frozenset(inputs), output)
        case BuildSpace():
            return _build(manifest, update)
        case AddVectors(segment_id=segment_id, vectors=vectors):
            return _add_vectors(manifest, segment_id, vectors)
        case SwitchSpace(space=name, encoder_id=encoder_id):
            return _switch(manifest, name, encoder_id)
        case PublishProjection():
            return _publish(manifest, update)
        case Suppress(series_keys=keys):
            return _suppressed(manifest, manifest.suppressed | keys)
        case Restore(series_keys=keys):
            return _suppressed(manifest, manifest.suppressed - keys)
        case Pin():
            return _pin(manifest, update)
        case Unpin(number=number, name=name):
            return _unpin(manifest, number, name)
        case _:
            assert_never(update)


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


def _open(manifest: Manifest, update: OpenIndex) -> Outcome:
    if manifest.spaces:
        return Unchanged()
    return Applied(manifest=replace(manifest, spaces=update.spaces, projection=update.projection))


def _adopt(manifest: Manifest, digest: str, *, newest: bool) -> Outcome:
    known = manifest.recipes[-1:] if newest else manifest.recipes
    if any(recipe.digest == digest for recipe in known):
        return Unchanged()
    number = max((recipe.number for recipe in manifest.recipes), default=0) + 1
    recipes = (*manifest.recipes, Recipe(number=number, digest=digest))
    return Applied(manifest=replace(manifest, recipes=recipes))


def missing_files(
    manifest: Manifest, segment: Segment
) -> tuple[MissingVectors | MissingCoordinates, ...]:
    """What a segment must still get before this manifest can take it in."""
    vectors = tuple(
        MissingVectors(segment_id=segment.id, space=space.name, encoder_id=space.live)
        for space in manifest.spaces
        if segment.vector_file(space.name, space.live) is None
    )
    projection = manifest.projection
    if (
        projection is None
        or segment.n_points == 0
        or segment.coordinate_file(projection.version) is not None
    ):
        return vectors
    return (*vectors, MissingCoordinates(segment_id=segment.id, projection=projection))


def _add(manifest: Manifest, segment: Segment) -> Outcome:
    if manifest.segment(segment.id) is not None:
        return Unchanged()
    if missing := missing_files(manifest, segment):
        return Incomplete(missing=missing)
    return Applied(manifest=replace(manifest, segments=(*manifest.segments, segment)))


def _merge(manifest: Manifest, inputs: frozenset[str], output: Segment) -> Outcome:
    if manifest.segment(output.id) is not None:
        return Unchanged()
    if not inputs <= {segment.id for segment in manifest.segments}:
        return Refused(reason="an input of the merge has gone")
    if missing := missing_files(manifest, output):
        return Incomplete(missing=missing)
    kept = tuple(segment for segment in manifest.segments if segment.id not in inputs)
    return Applied(manifest=replace(manifest, segments=(*kept, output)))


def _build(manifest: Manifest, update: BuildSpace) -> Outcome:
    space = manifest.space(update.space)
    if space is None:
        return Refused(reason=f"there is no space {update.space}")
    if update.encoder_id in (space.live, space.building):
        return Unchanged()
    building = replace(space, building=update.encoder_id, building_dimension=update.dimension)
    return Applied(manifest=_with_space(manifest, building))


def _add_vectors(manifest: Manifest, segment_id: str, vectors: VectorFile) -> Outcome:
    segment = manifest.segment(segment_id)
    if segment is None:
        return Refused(reason="the segment was merged away")
    space = manifest.space(vectors.space)
    if space is None or vectors.encoder_id not in (space.live, space.building):
        return Refused(reason=f"{vectors.encoder_id} is neither live nor building")
    if segment.vector_file(vectors.space, vectors.encoder_id) is not None:
        return Unchanged()
    filled = with_files(segment, vectors=(vectors,))
    return Applied(manifest=_with_segments(manifest, {segment_id: filled}))


def _switch(manifest: Manifest, name: str, encoder_id: str) -> Outcome:
    space = manifest.space(name)
    if space is None or encoder_id not in (space.live, space.building):
        return Refused(reason=f"{encoder_id} is not being built in space {name}")
    if space.live == encoder_id:
        return Unchanged()
    projection = manifest.projection
    if projection is not None and projection.encoder_id == space.live:
        return Refused(reason="the map in force reads the live encoder; publish another map first")
    missing = tuple(
        MissingVectors(segment_id=segment.id, space=name, encoder_id=encoder_id)
        for segment in manifest.segments
        if segment.vector_file(name, encoder_id) is None
    )
    if missing:
        return Incomplete(missing=missing)
    assert space.building_dimension is not None
    switched = Space(name=name, live=encoder_id, dimension=space.building_dimension)
    slim = {
        segment.id: replace(
            segment,
            vectors=tuple(
                vectors
                for vectors in segment.vectors
                if vectors.space != name or vectors.encoder_id == encoder_id
            ),
        )
        for segment in manifest.segments
    }
    return Applied(manifest=_with_space(_with_segments(manifest, slim), switched))


def _publish(manifest: Manifest, update: PublishProjection) -> Outcome:
    projection = update.projection
    if manifest.projection is not None and manifest.projection.version == projection.version:
        return Unchanged()
    if not any(projection.encoder_id in (s.live, s.building) for s in manifest.spaces):
        return Refused(reason="the map reads an encoder that the index has no vectors of")
    placed: dict[str, Segment] = {}
    missing: list[MissingCoordinates] = []
    for segment in manifest.segments:
        if segment.n_points == 0 or segment.coordinate_file(projection.version) is not None:
            continue
        coordinates = update.coordinates.get(segment.id)
        if coordinates is None:
            missing.append(MissingCoordinates(segment_id=segment.id, projection=projection))
        else:
            placed[segment.id] = with_files(segment, coordinates=(coordinates,))
    if missing:
        return Incomplete(missing=tuple(missing))
    return Applied(manifest=replace(_with_segments(manifest, placed), projection=projection))


def _suppressed(manifest: Manifest, keys: frozenset[str]) -> Outcome:
    if keys == manifest.suppressed:
        return Unchanged()
    return Applied(manifest=replace(manifest, suppressed=keys))


def _pin(manifest: Manifest, update: Pin) -> Outcome:
    names = manifest.pins.get(update.number, ())
    if update.name in names:
        return Unchanged()
    if not names and not update.oldest_safe <= update.number <= manifest.number:
        return Refused(reason=f"manifest {update.number} is past retention or does not exist")
    pins = {**manifest.pins, update.number: (*names, update.name)}
    return Applied(manifest=replace(manifest, pins=pins))


def _unpin(manifest: Manifest, number: int, name: str) -> Outcome:
    names = manifest.pins.get(number, ())
    if name not in names:
        return Unchanged()
    left = tuple(other for other in names if other != name)
    pins = {n: left if n == number else kept for n, kept in manifest.pins.items()}
    return Applied(manifest=replace(manifest, pins={n: kept for n, kept in pins.items() if kept}))


def _with_segments(manifest: Manifest, changed: Mapping[str, Segment]) -> Manifest:
    segments = tuple(changed.get(segment.id, segment) for segment in manifest.segments)
    return replace(manifest, segments=segments)


def _with_space(manifest: Manifest, changed: Space) -> Manifest:
    spaces = tuple(changed if s.name == changed.name else s for s in manifest.spaces)
    return replace(manifest, spaces=spaces)
