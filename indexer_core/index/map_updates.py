"""Updates of the map: publish one, say why one was not published, write its state anew."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from indexer_core.index.manifest import CoordinateFile, FileRef, Manifest, Projection, Segment
from indexer_core.index.outcomes import (
    Applied,
    Incomplete,
    MissingCoordinates,
    Outcome,
    Refused,
    Unchanged,
    is_stale,
    with_files,
    with_segments,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishProjection:
    """Put a map in force. Segments that arrived meanwhile are projected and it is tried again.

    `parent`: the version that it takes the place of; refused where another one is in force by now.
    `landmarks`: the series in its state. Where one of them was deleted, or its files may have been
    collected, it is refused for `STATE_IS_OLD`: write both anew, without those, and try again.
    """

    projection: Projection
    coordinates: Mapping[str, CoordinateFile]
    parent: str | None = None
    landmarks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepMap:
    """The map stays as it is although it was asked to learn; `reasons` are stable codes.

    Refused where another one is in force by now.
    """

    version: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MendMapState:
    """Another state for the map in force, without some series; the map stays as it is.

    `after`: None where the state was damaged and cannot be written anew.
    """

    before: FileRef
    after: FileRef | None


STATE_IS_OLD = "the state of the map is not what may be published by now"
_OVERTAKEN = "another map was published meanwhile"


def apply_publish(manifest: Manifest, update: PublishProjection) -> Outcome:
    """Publish, or say what is missing for it; see `PublishProjection`."""
    projection, now = update.projection, manifest.projection
    if now is not None and now.version == projection.version:
        return Unchanged() if now.file == projection.file else Refused(reason=_OVERTAKEN)
    if update.parent is not None and (now is None or now.version != update.parent):
        return Refused(reason=_OVERTAKEN)
    # Not one that is only being built: a writer without it could not complete its segments.
    if not any(projection.encoder_id == space.live for space in manifest.spaces):
        return Refused(reason="the map reads an encoder that is not live")
    # What is named now, as the last major map is by its successors, may be as old as it likes.
    named = () if now is None else now.files()
    brought = (file for file in projection.files() if file not in named)
    if not update.landmarks.isdisjoint(manifest.suppressed) or is_stale(manifest, *brought):
        return Refused(reason=STATE_IS_OLD)
    placed: dict[str, Segment] = {}
    missing: list[MissingCoordinates] = []
    for segment in manifest.segments:
        if segment.n_points == 0 or segment.coordinate_file(projection.version) is not None:
            continue
        coordinates = update.coordinates.get(segment.id)
        if coordinates is None or is_stale(manifest, coordinates.file):
            missing.append(MissingCoordinates(segment_id=segment.id, projection=projection))
        else:
            placed[segment.id] = with_files(segment, coordinates=(coordinates,))
    if missing:
        return Incomplete(missing=tuple(missing))
    return Applied(manifest=replace(with_segments(manifest, placed), projection=projection))


def apply_keep(manifest: Manifest, update: KeepMap) -> Outcome:
    """Note it; see `KeepMap`."""
    now = manifest.projection
    if now is None or now.version != update.version:
        return Refused(reason=_OVERTAKEN)
    at = manifest.number + 1
    kept = replace(now, refused=update.reasons, refused_at=at, n_since=0, recent=())
    return Applied(manifest=replace(manifest, projection=kept))


def apply_mend_state(manifest: Manifest, update: MendMapState) -> Outcome:
    """Replace it; see `MendMapState`."""
    now = manifest.projection
    if now is not None and now.state == update.after:
        return Unchanged()
    if now is None or now.state != update.before:
        return Refused(reason=_OVERTAKEN)
    if update.after is not None and is_stale(manifest, update.after):
        return Refused(reason="the state of the map may have been collected; write it again")
    return Applied(manifest=replace(manifest, projection=replace(now, state=update.after)))
