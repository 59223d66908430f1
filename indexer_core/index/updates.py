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
)
from indexer_core.index.outcomes import (
    Applied,
    Incomplete,
    MissingCoordinates,
    MissingVectors,
    Outcome,
    Refused,
    Unchanged,
    missing_files,
    with_files,
    with_segments,
    without_strangers,
)
from indexer_core.index.space_updates import (
    AbandonSpace,
    AddVectors,
    BuildSpace,
    SwitchSpace,
    apply_abandon,
    apply_add_vectors,
    apply_build,
    apply_switch,
)

# What becomes of updates, and those of spaces, are imported from here, too.
__all__ = [
    "AbandonSpace",
    "AddSegment",
    "AddVectors",
    "AdoptRecipe",
    "Applied",
    "BuildSpace",
    "Incomplete",
    "MergeSegments",
    "MissingCoordinates",
    "MissingVectors",
    "OpenIndex",
    "Outcome",
    "Pin",
    "PublishProjection",
    "Refused",
    "Restore",
    "Suppress",
    "SwitchSpace",
    "Unchanged",
    "Unpin",
    "Update",
    "apply_update",
    "missing_files",
    "with_files",
]


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
    | AbandonSpace
    | PublishProjection
    | Suppress
    | Restore
    | Pin
    | Unpin
)


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
            return apply_build(manifest, update)
        case AddVectors(segment_id=segment_id, vectors=vectors):
            return apply_add_vectors(manifest, segment_id, vectors)
        case SwitchSpace():
            return apply_switch(manifest, update)
        case AbandonSpace(space=name, encoder_id=encoder_id):
            return apply_abandon(manifest, name, encoder_id)
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


def _add(manifest: Manifest, segment: Segment) -> Outcome:
    if manifest.segment(segment.id) is not None:
        return Unchanged()
    if missing := missing_files(manifest, segment):
        return Incomplete(missing=missing)
    added = without_strangers(manifest, segment)
    return Applied(manifest=replace(manifest, segments=(*manifest.segments, added)))


def _merge(manifest: Manifest, inputs: frozenset[str], output: Segment) -> Outcome:
    if manifest.segment(output.id) is not None:
        return Unchanged()
    if not inputs <= {segment.id for segment in manifest.segments}:
        return Refused(reason="an input of the merge has gone")
    if missing := missing_files(manifest, output):
        return Incomplete(missing=missing)
    kept = tuple(segment for segment in manifest.segments if segment.id not in inputs)
    merged = without_strangers(manifest, output)
    return Applied(manifest=replace(manifest, segments=(*kept, merged)))


def _publish(manifest: Manifest, update: PublishProjection) -> Outcome:
    projection = update.projection
    if manifest.projection is not None and manifest.projection.version == projection.version:
        return Unchanged()
    # Not one that is only being built: a writer without it could not complete its segments.
    if not any(projection.encoder_id == space.live for space in manifest.spaces):
        return Refused(reason="the map reads an encoder that is not live")
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
    return Applied(manifest=replace(with_segments(manifest, placed), projection=projection))


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
