"""Proving an index: every checksum, every count, orphans, and search against brute force."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.files import read_file
from indexer_core.index.loaded import LiveSegment
from indexer_core.index.manifest import Manifest, Projection
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import rows_of
from indexer_core.index.segment import IMAGE_SPACE, PREFIX, TEXT_SPACE
from indexer_core.index.survey import FileKind, damage_of, survey_manifests
from indexer_core.ports import BlobStore, VectorFiles
from indexer_core.projector import Projector

_NEEDED = frozenset(
    {FileKind.MANIFEST, FileKind.ROWS, FileKind.VECTORS, FileKind.COORDINATES, FileKind.PROJECTOR}
)
_QUERIES_PER_SEGMENT = 8
_NEIGHBOURS = 10
_TOLERANCE = 1e-3  # scores of fp16 vectors, summed in another order


@dataclass(slots=True)
class Verification:
    """What a verification saw; `problems` is empty when the index is sound."""

    n_manifests: int = 0
    n_files: int = 0
    n_series: int = 0
    n_searches: int = 0
    orphans: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def verify(blobs: BlobStore, vector_files: VectorFiles) -> Verification:
    """Check every file, and what the newest manifest lists by searching it."""
    manifests = survey_manifests(blobs)
    named = manifests.files()
    seen = Verification(n_manifests=len(manifests.retained), n_files=len(named))
    damage = damage_of(blobs, manifests)
    seen.problems = [str(found) for found in damage]
    seen.orphans = [entry.name for entry in blobs.list(PREFIX) if entry.name not in named]
    if _NEEDED.isdisjoint(found.kind for found in damage):
        _check_newest(blobs, vector_files, seen)
    return seen


def _check_newest(blobs: BlobStore, vector_files: VectorFiles, seen: Verification) -> None:
    reader = Reader(blobs, vector_files)
    try:
        snapshot = reader.refresh()
        projection = snapshot.manifest.projection
        if projection is not None:
            _check_projector(blobs, projection)
        seen.n_series = snapshot.n_series
        for segment in snapshot.segments:
            seen.problems.extend(_check_rows(segment, snapshot.manifest))
            seen.problems.extend(_check_search(segment, snapshot, seen))
    except CorruptIndexError as error:
        seen.problems.append(str(error))


def _check_projector(blobs: BlobStore, projection: Projection) -> None:
    try:
        Projector.from_bytes(read_file(blobs, projection.file))
    except (CorruptIndexError, InvalidInputError) as error:
        raise CorruptIndexError(f"{projection.file.name}: {error}") from error


def _check_rows(segment: LiveSegment, manifest: Manifest) -> Iterator[str]:
    name = segment.loaded.segment.rows.name
    for row in rows_of(segment.loaded.table):
        if row.alive != (row.record is not None and row.facts is not None):
            yield f"{name}: a row's record does not fit its alive flag"
        if row.record is not None and row.text_count != len(row.record["texts"]):
            yield f"{name}: a row has not as many text vectors as texts"
    for space in manifest.spaces:
        n_expected = int(segment.loaded.counts(space.name).sum())
        for encoder_id in (space.live, space.building):
            held = segment.loaded.segment.vector_file(space.name, encoder_id or "")
            # A segment may lack the one that is being built, and is filled by and by.
            if encoder_id is None or (held is None and encoder_id != space.live):
                continue
            if segment.loaded.vectors(space.name, encoder_id).n_vectors != n_expected:
                yield f"{name}: rows and vectors of {encoder_id} differ in number"
    projection = manifest.projection
    n_points = int(segment.loaded.counts(IMAGE_SPACE).sum())
    if projection is not None and n_points:
        points = segment.loaded.points(projection.version)
        if points is None or len(points.xy) != n_points or not np.isfinite(points.xy).all():
            yield f"{name}: coordinates do not fit the rows"


def _check_search(segment: LiveSegment, snapshot: Snapshot, seen: Verification) -> Iterator[str]:
    space = snapshot.manifest.space(TEXT_SPACE)
    assert space is not None
    vectors = segment.loaded.vectors(TEXT_SPACE, space.live)
    selected = np.repeat(segment.live, segment.loaded.counts(TEXT_SPACE))
    stored = vectors.reconstruct()
    if not selected.any():
        return
    selection = vectors.select(selected)
    k = min(_NEIGHBOURS, selection.n_selected)
    step = max(1, len(stored) // _QUERIES_PER_SEGMENT)
    for query in stored[::step]:
        seen.n_searches += 1
        scores, _ = vectors.search(query[None, :], k, selection)
        exact = np.sort((stored @ query)[selected])[::-1][:k]
        if not np.allclose(scores[0], exact, atol=_TOLERANCE):
            yield f"{segment.loaded.segment.id}: a search differs from brute force"
            return
