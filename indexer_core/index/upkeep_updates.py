"""Updates of upkeep: merge segments, and raise the fences of the collector."""

from dataclasses import dataclass, replace

from indexer_core.index.manifest import Manifest, Segment
from indexer_core.index.outcomes import (
    Applied,
    Incomplete,
    Outcome,
    Refused,
    Unchanged,
    is_stale,
    missing_files,
    without_strangers,
)
from indexer_core.index.write_ids import is_behind


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeSegments:
    """Replace inputs by one output. Abandoned when an input has gone: removal may lose a race.

    Parameters
    ----------
    output
        None when no row is left.
    forget_before
        Fence behind which tombstones were dropped; "" when none was.
    beside
        Ids of the other segments that the merge was planned with: no row of theirs is outranked by
        a dropped tombstone.
    """

    inputs: tuple[str, ...]
    output: Segment | None
    forget_before: str = ""
    beside: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Raise the fences of the collector, before it deletes anything.

    From then on no file named before `before` is added and no manifest below `retained_from` is
    pinned: what no retained manifest names can be deleted, whoever else is at work or asleep.
    """

    before: str
    retained_from: int


def apply_merge(manifest: Manifest, update: MergeSegments) -> Outcome:
    """Swap inputs for their output; see `MergeSegments`."""
    inputs, output = frozenset(update.inputs), update.output
    if output is not None and manifest.segment(output.id) is not None:
        return Unchanged()
    if not inputs <= {segment.id for segment in manifest.segments}:
        return Refused(reason="an input of the merge has gone")
    kept = tuple(segment for segment in manifest.segments if segment.id not in inputs)
    if any(
        segment.id not in update.beside and is_behind(segment.id, update.forget_before)
        for segment in kept
    ):
        return Refused(reason="a late segment may hold rows that a dropped tombstone outranks")
    if output is not None:
        if obstacle := _obstacle(manifest, inputs, output):
            return obstacle
        kept = (*kept, without_strangers(manifest, output))
    forgotten = max(manifest.forgotten_before, update.forget_before)
    return Applied(manifest=replace(manifest, segments=kept, forgotten_before=forgotten))


def _obstacle(
    manifest: Manifest, inputs: frozenset[str], output: Segment
) -> Refused | Incomplete | None:
    """What keeps the output of a merge out of this manifest."""
    if is_stale(manifest, *output.files()):
        return Refused(reason="the merge took so long that its output may have been collected")
    if _loses_vectors(manifest, inputs, output):
        return Refused(reason="an input got vectors that the output of the merge lacks")
    missing = missing_files(manifest, output)
    return Incomplete(missing=missing) if missing else None


def _loses_vectors(manifest: Manifest, inputs: frozenset[str], output: Segment) -> bool:
    """Whether an input has vectors of an encoder being built that the output lacks."""
    return any(
        space.building is not None
        and output.vector_file(space.name, space.building) is None
        and segment.vector_file(space.name, space.building) is not None
        for space in manifest.spaces
        for segment in manifest.segments
        if segment.id in inputs
    )


def apply_collect(manifest: Manifest, update: Collect) -> Outcome:
    """Raise fences, which never fall; see `Collect`."""
    raised = replace(
        manifest,
        collected_before=max(manifest.collected_before, update.before),
        # The newest manifest never expires, whatever the caller's clock says.
        retained_from=max(manifest.retained_from, min(update.retained_from, manifest.number)),
    )
    return Unchanged() if raised == manifest else Applied(manifest=raised)
