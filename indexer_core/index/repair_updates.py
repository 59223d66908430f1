"""The update of a repair: files of a segment that were damaged, made again."""

from dataclasses import dataclass, replace

from indexer_core.index.manifest import CoordinateFile, Manifest, Segment, VectorFile
from indexer_core.index.outcomes import (
    Applied,
    Outcome,
    Refused,
    Unchanged,
    is_stale,
    missing_files,
    with_files,
    with_segments,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MendSegment:
    """Take damaged files out of a segment and put others in. Only a repair ever does that.

    What is found never changes by it: vectors of the same texts, coordinates of the same vectors.
    """

    segment_id: str
    damaged: frozenset[str]
    vectors: tuple[VectorFile, ...] = ()
    coordinates: tuple[CoordinateFile, ...] = ()


def apply_mend(manifest: Manifest, update: MendSegment) -> Outcome:
    """Exchange the files; see `MendSegment`."""
    segment = manifest.segment(update.segment_id)
    if segment is None:
        return Refused(reason="the segment was merged away")
    kept = _without(segment, update.damaged)
    if kept == segment:
        return Unchanged()
    made = (*(v.file for v in update.vectors), *(c.file for c in update.coordinates))
    if is_stale(manifest, *made):
        return Refused(reason="it took so long that the files may have been collected: try again")
    mended = with_files(kept, update.vectors, update.coordinates)
    if missing_files(manifest, mended):
        return Refused(reason="the segment needs other files by now: try again")
    return Applied(manifest=with_segments(manifest, {segment.id: mended}))


def _without(segment: Segment, names: frozenset[str]) -> Segment:
    return replace(
        segment,
        vectors=tuple(v for v in segment.vectors if v.file.name not in names),
        coordinates=tuple(c for c in segment.coordinates if c.file.name not in names),
    )
