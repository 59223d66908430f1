"""Merging again what a damaged segment was merged from, as long as that is retained."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from indexer_core.index.files import StoredFiles
from indexer_core.index.manifest import Manifest, Segment
from indexer_core.index.merge import Merger
from indexer_core.index.outcomes import missing_files
from indexer_core.index.reader import Reader
from indexer_core.index.updates import MergeSegments
from indexer_core.ports import BlobStore, Ids, VectorFiles


def inputs_of(segment: Segment, retained: Mapping[int, Manifest]) -> tuple[Segment, ...]:
    """The segments that a retained manifest has in place of this one; none where no one tells.

    Rows are ordered, so it does not matter whether others of them were merged, too.
    """
    for number, manifest in retained.items():
        before = retained.get(number - 1)
        if before is None or manifest.segment(segment.id) is None:
            continue
        if before.segment(segment.id) is None:
            kept = {s.id for s in manifest.segments}
            return tuple(s for s in before.segments if s.id not in kept)
    return ()


def merged_again(
    blobs: BlobStore,
    vector_files: VectorFiles,
    ids: Ids,
    newest: Manifest,
    segment: Segment,
    inputs: tuple[Segment, ...],
    damaged: Collection[str],
) -> MergeSegments | None:
    """Write a merge of the inputs, to take the place of the segment; None where that cannot be.

    Tombstones that the merge had dropped come back with the rows that they outrank.
    """
    files = [file.name for one in inputs for file in one.files()]
    if not inputs or not set(files).isdisjoint(damaged):
        return None
    if any(missing_files(newest, one) for one in inputs):
        return None  # of a time before another encoder or another map
    legible = (s for s in newest.segments if s.rows.name not in damaged and s.id != segment.id)
    reader = Reader(blobs, vector_files)
    reader.adopt(replace(newest, segments=(*legible, *inputs)))
    merge = Merger(blobs, StoredFiles(blobs), vector_files).merge(
        reader, [one.id for one in inputs], write_id=ids.new_id(), forget_before=""
    )
    return MergeSegments(inputs=(segment.id,), output=merge.output)
