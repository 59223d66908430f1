"""Merging segments: one output in place of several, without what no reader would look at.

Rows, vectors and coordinates are taken over as they are stored; nothing is described, embedded or
projected again. Files are made one after the other, so that memory holds the inputs and the output
of one file at a time; `MergePolicy.max_input_bytes` bounds both.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.index.compaction import SegmentSize, old_tombstones, rows_to_keep
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.keys import hashes_of
from indexer_core.index.loaded import LoadedSegment
from indexer_core.index.manifest import CoordinateFile, Manifest, Segment, Space, VectorFile
from indexer_core.index.reader import Reader
from indexer_core.index.rows import concatenate_rows
from indexer_core.index.segment import IMAGE_SPACE, Points, SegmentWriter, load_points
from indexer_core.index.updates import MergeSegments
from indexer_core.ports import BlobStore, VectorFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A segment that is merged, with the numbers of the rows that are kept: int64 (n,)."""

    loaded: LoadedSegment
    rows: NDArray[np.int64]

    def vector_numbers(self, space: str) -> NDArray[np.int64]:
        """Numbers of the vectors of the kept rows in a space, int64 (m,)."""
        counts = self.loaded.counts(space)
        kept = np.zeros(len(counts), dtype=np.bool_)
        kept[self.rows] = True
        return np.flatnonzero(np.repeat(kept, counts)).astype(np.int64)


def sizes_of(reader: Reader) -> list[SegmentSize]:
    """What a plan has to know of the segments of the reader's snapshot."""
    manifest = reader.snapshot.manifest
    building = {space.building for space in manifest.spaces if space.building}
    return [
        SegmentSize(
            id=segment.id,
            size_bytes=sum(file.size_bytes for file in segment.files()),
            n_rows=segment.n_rows,
            n_dead=segment.n_rows - int(np.count_nonzero(reader.winning(segment.id))),
            building=frozenset(v.encoder_id for v in segment.vectors) & building,
        )
        for segment in manifest.segments
    ]


class Merger:
    """Writes the outputs of merges."""

    def __init__(self, blobs: BlobStore, files: ImmutableFiles, vector_files: VectorFiles) -> None:
        self._files = files
        self._vector_files = vector_files
        self._writer = SegmentWriter(blobs, vector_files)

    def merge(
        self, reader: Reader, inputs: Sequence[str], *, write_id: str, forget_before: str
    ) -> MergeSegments:
        """Write the output of a merge; what is returned is to be committed.

        Parameters
        ----------
        reader
            At the manifest that the merge was planned with.
        inputs
            Ids of segments.
        write_id
            A fresh one, for the output.
        forget_before
            Tombstones from before this fence are dropped, where no segment beside the inputs holds
            a row of their series.

        Raises
        ------
        CorruptIndexError
            A file of an input is damaged or gone.
        """
        loaded = {s.loaded.segment.id: s.loaded for s in reader.snapshot.segments}
        beside = [segment for name, segment in loaded.items() if name not in set(inputs)]
        wins = {name: reader.winning(name) for name in inputs}
        old = {
            name: old_tombstones(_tombstones(loaded[name], wins[name]), forget_before)
            for name in inputs
        }
        keys = {key for tombstones in old.values() for key in tombstones.values()}
        held = _held_by(beside, keys)
        parts = [
            _Part(loaded=loaded[name], rows=rows_to_keep(wins[name], old[name], held))
            for name in inputs
        ]
        manifest = reader.snapshot.manifest
        return MergeSegments(
            inputs=tuple(inputs),
            output=self._output(manifest, write_id, [part for part in parts if len(part.rows)]),
            forget_before=forget_before if keys - held else "",
            beside=frozenset(segment.segment.id for segment in beside),
        )

    def _output(self, manifest: Manifest, write_id: str, parts: Sequence[_Part]) -> Segment | None:
        if not parts:
            return None
        order = _key_order(parts)
        rows = concatenate_rows([(part.loaded.table, part.rows) for part in parts], order)
        return Segment(
            id=write_id,
            rows=self._writer.put_rows(write_id, rows),
            n_rows=sum(len(part.rows) for part in parts),
            n_alive=sum(int(part.loaded.rows.alive(part.rows).sum()) for part in parts),
            n_points=sum(len(part.vector_numbers(IMAGE_SPACE)) for part in parts),
            vectors=tuple(
                self._vectors(write_id, parts, order, space, encoder_id)
                for space in manifest.spaces
                for encoder_id in _encoders(space, parts)
            ),
            coordinates=tuple(self._coordinates(write_id, parts, order, manifest)),
            level=1 + max(part.loaded.segment.level for part in parts),
        )

    def _vectors(
        self,
        write_id: str,
        parts: Sequence[_Part],
        order: NDArray[np.int64],
        space: Space,
        encoder_id: str,
    ) -> VectorFile:
        # Opened here and not through the reader, which would keep them.
        joined = []
        for part in parts:
            named = part.loaded.segment.vector_file(space.name, encoder_id)
            assert named is not None
            opened = self._vector_files.open(self._files.open(named.file), verified=True)
            joined.append((opened, part.vector_numbers(space.name)))
        return self._writer.put_vectors(
            write_id,
            self._vector_files.concatenate(joined, _vector_order(parts, order, space.name)),
            space=space.name,
            encoder_id=encoder_id,
            n_vectors=sum(len(numbers) for _, numbers in joined),
            dimension=joined[0][0].dimension,
        )

    def _coordinates(
        self,
        write_id: str,
        parts: Sequence[_Part],
        order: NDArray[np.int64],
        manifest: Manifest,
    ) -> Iterator[CoordinateFile]:
        """Those of the map in force: of earlier ones the manifests of their time still tell."""
        projection = manifest.projection
        points = []
        for part in parts:
            numbers = part.vector_numbers(IMAGE_SPACE)
            if projection is None or not len(numbers):
                continue
            named = part.loaded.segment.coordinate_file(projection.version)
            assert named is not None
            data = self._files.open(named.file)
            points.append(load_points(data, named).taken(numbers))
        if points:
            joined = Points.joined(points).taken(_vector_order(parts, order, IMAGE_SPACE))
            yield self._writer.write_points(write_id, joined)


def _key_order(parts: Sequence[_Part]) -> NDArray[np.int64]:
    """The kept rows in the order of their keys: a search tells rows of equal scores in that order,
    and where they lie in it need not look at all of them.
    """
    keys = pa.chunked_array([part.loaded.rows.keys_of(part.rows) for part in parts])
    order: NDArray[np.int64] = pc.sort_indices(keys).to_numpy().astype(np.int64)
    return order


def _vector_order(
    parts: Sequence[_Part], order: NDArray[np.int64], space: str
) -> NDArray[np.int64]:
    """The vectors of the kept rows, when the rows are put in `order`."""
    counts = np.concatenate([part.loaded.counts(space)[part.rows] for part in parts])
    firsts = np.cumsum(counts) - counts
    ordered = counts[order]
    shifts = firsts[order] - (np.cumsum(ordered) - ordered)
    numbers: NDArray[np.int64] = np.repeat(shifts, ordered) + np.arange(int(ordered.sum()))
    return numbers


def _encoders(space: Space, parts: Sequence[_Part]) -> Iterator[str]:
    """The live encoder, and the one being built where every part has its vectors."""
    yield space.live
    if space.building is not None and all(
        part.loaded.segment.vector_file(space.name, space.building) is not None for part in parts
    ):
        yield space.building


def _tombstones(loaded: LoadedSegment, wins: NDArray[np.bool_]) -> Iterator[tuple[int, str, str]]:
    """Row number, series key and write id of the tombstones in force."""
    winning = np.flatnonzero(wins)
    numbers = winning[~loaded.rows.alive(winning)]
    for number, (key, (_, _, write_id)) in zip(numbers, loaded.ranks(numbers), strict=True):
        yield int(number), key, write_id


def _held_by(segments: Sequence[LoadedSegment], keys: Collection[str]) -> set[str]:
    """Those of the keys that one of the segments has a row of."""
    hashes = np.unique(hashes_of(keys))
    held: set[str] = set()
    for segment in segments:
        _, rows = segment.key_index.find(hashes)
        held.update(segment.rows.keys_at(rows))
    return held.intersection(keys)
