"""Typed manifest updates and the one pure function that applies them.

Each update says how it is revalidated when another commit came first: applying it to the newer
manifest gives `Applied`, `Incomplete` (files are missing that the caller can make: make them and
try again), `Unchanged` (it is already so), or `Refused` (give up; nothing was changed).
"""

from dataclasses import dataclass, replace
from typing import assert_never

from indexer_core.index.manifest import (
    Manifest,
    Projection,
    Recipe,
    Segment,
    Space,
)
from indexer_core.index.map_updates import (
    KeepMap,
    MendMapState,
    PublishProjection,
    apply_keep,
    apply_mend_state,
    apply_publish,
)
from indexer_core.index.outcomes import (
    Applied,
    Incomplete,
    Missing,
    MissingCoordinates,
    MissingVectors,
    Outcome,
    Refused,
    StaleSegment,
    Unchanged,
    is_stale,
    missing_files,
    with_files,
    without_strangers,
)
from indexer_core.index.repair_updates import MendSegment, apply_mend
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
from indexer_core.index.upkeep_updates import (
    Collect,
    MergeSegments,
    apply_collect,
    apply_merge,
)
from indexer_core.index.write_ids import is_behind
from indexer_core.placing import BatchDrift

# What becomes of updates, and those of spaces, maps and upkeep, are imported from here, too.
__all__ = [
    "AbandonSpace",
    "AddSegment",
    "AddVectors",
    "AdoptRecipe",
    "Applied",
    "BuildSpace",
    "Collect",
    "Incomplete",
    "KeepMap",
    "MendMapState",
    "MendSegment",
    "MergeSegments",
    "Missing",
    "MissingCoordinates",
    "MissingVectors",
    "OpenIndex",
    "Outcome",
    "Pin",
    "PublishProjection",
    "Refused",
    "Restore",
    "StaleSegment",
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
    """Add rows. Lacking a live space or the projection in force it is completed first.

    Files that may have been collected meanwhile are written again under a fresh write id. Rows
    that were prepared so long ago that what outranks them may be forgotten are refused; `prepared`
    is the write id (or fence) of that moment, by default that of the segment.

    `drift`: what its new points say of map `drift_of`; nothing where another one is in force.
    """

    segment: Segment
    prepared: str | None = None
    drift: BatchDrift | None = None
    drift_of: str = ""


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
    """Keep manifest `number` for `name`; refused when it has expired or is about to.

    `oldest_safe` may ask for more than the manifest's own `retained_from` does.
    """

    number: int
    name: str
    oldest_safe: int = 1


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
    | KeepMap
    | MendMapState
    | Suppress
    | Restore
    | Pin
    | Unpin
    | Collect
    | MendSegment
)


def apply_update(manifest: Manifest, update: Update) -> Outcome:  # noqa: C901, PLR0911, PLR0912 - one flat case per update is the clearest
    """Apply an update to a manifest; pure, and safe to repeat on a newer manifest."""
    match update:
        case OpenIndex():
            return _open(manifest, update)
        case AdoptRecipe(digest=digest, newest=newest):
            return _adopt(manifest, digest, newest=newest)
        case AddSegment():
            return _add(manifest, update)
        case MergeSegments():
            return apply_merge(manifest, update)
        case BuildSpace():
            return apply_build(manifest, update)
        case AddVectors(segment_id=segment_id, vectors=vectors):
            return apply_add_vectors(manifest, segment_id, vectors)
        case SwitchSpace():
            return apply_switch(manifest, update)
        case AbandonSpace(space=name, encoder_id=encoder_id):
            return apply_abandon(manifest, name, encoder_id)
        case PublishProjection():
            return apply_publish(manifest, update)
        case KeepMap():
            return apply_keep(manifest, update)
        case MendMapState():
            return apply_mend_state(manifest, update)
        case Suppress(series_keys=keys):
            return _suppressed(manifest, manifest.suppressed | keys)
        case Restore(series_keys=keys):
            return _suppressed(manifest, manifest.suppressed - keys)
        case Pin():
            return _pin(manifest, update)
        case Unpin(number=number, name=name):
            return _unpin(manifest, number, name)
        case Collect():
            return apply_collect(manifest, update)
        case MendSegment():
            return apply_mend(manifest, update)
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


def _add(manifest: Manifest, update: AddSegment) -> Outcome:
    segment = update.segment
    if manifest.segment(segment.id) is not None:
        return Unchanged()
    if is_behind(update.prepared or segment.id, manifest.forgotten_before):
        return Refused(reason="the rows are older than deletions that were forgotten since")
    if is_stale(manifest, *segment.files()):
        return Incomplete(missing=(StaleSegment(segment_id=segment.id),))
    if missing := missing_files(manifest, segment):
        return Incomplete(missing=missing)
    added = without_strangers(manifest, segment)
    projection, said = manifest.projection, update.drift
    is_of_it = projection is not None and projection.version == update.drift_of
    if projection is not None and said is not None and said.n and is_of_it:
        projection = projection.with_news(said.n, said.n_far, round(1000 * said.preserved_sum))
    return Applied(
        manifest=replace(manifest, segments=(*manifest.segments, added), projection=projection)
    )


def _suppressed(manifest: Manifest, keys: frozenset[str]) -> Outcome:
    if keys == manifest.suppressed:
        return Unchanged()
    return Applied(manifest=replace(manifest, suppressed=keys))


def _pin(manifest: Manifest, update: Pin) -> Outcome:
    names = manifest.pins.get(update.number, ())
    if update.name in names:
        return Unchanged()
    oldest = max(update.oldest_safe, manifest.retained_from)
    if not names and not oldest <= update.number <= manifest.number:
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
