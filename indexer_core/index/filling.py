"""Making the vectors of a segment under another encoder, from the rows that it holds.

A large segment is worked on in parts, and every finished part is kept, so that a run that is killed
after an hour does not lose the hour. Parts lie under ``building/<hash of the encoder id>/<segment
id>/<first row>-<end row>``. They are work in progress of this module alone: no manifest names them,
and `SegmentFiller.sweep` deletes what no build needs any more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer_core.encoders import folder_of
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.files import read_file
from indexer_core.index.manifest import CoordinateFile, Manifest, Segment, VectorFile
from indexer_core.index.rows import IndexRow, numbers_of, rows_of, table_of
from indexer_core.index.segment import (
    IMAGE_SPACE,
    TEXT_SPACE,
    Points,
    SegmentWriter,
)
from indexer_core.map_state import MapState
from indexer_core.placing import place
from indexer_core.ports import BlobEntry, BlobStore, Ids, TextEncoder, VectorFileReader, VectorFiles
from indexer_core.projector import Projector

PARTS_PREFIX = "building/"
DEFAULT_PART_VECTORS = 8192

_COUNTS = {TEXT_SPACE: "textCount", IMAGE_SPACE: "imageCount"}

Vectors = NDArray[np.float32]

VectorsOf = Callable[[Sequence[IndexRow]], Vectors]
"""The vectors of rows in one space: float32 (n, dimension), as many as the rows say, in order.

A row whose pixels cannot be had any more gets zeros, which are near nothing.
"""


def text_vectors(
    encoder: TextEncoder,
    *,
    uncached: TextEncoder | None = None,
    hidden: Callable[[], frozenset[str]] = frozenset,
) -> VectorsOf:
    """Makes the vectors of the text space, from the texts that are stored in the rows.

    Parameters
    ----------
    uncached
        The same encoder without a cache, for series that are hidden: they may be about to be
        erased from everywhere, and nothing of them must be written to a cache after that.
    hidden
        Keys of the series that are hidden now.
    """

    def vectors(rows: Sequence[IndexRow]) -> Vectors:
        now_hidden = hidden() if uncached is not None else frozenset()
        texts: list[str] = []
        is_hidden: list[bool] = []
        for row in rows:
            own = [] if row.record is None else row.record["texts"]
            texts += own
            is_hidden += [row.series_key in now_hidden] * len(own)
        made = np.empty((len(texts), encoder.dimension), dtype=np.float32)
        for by, among_hidden in ((encoder, False), (uncached or encoder, True)):
            mine = [number for number, flag in enumerate(is_hidden) if flag is among_hidden]
            if mine:
                made[mine] = by.encode([texts[number] for number in mine])
        return made

    return vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """What a segment is filled with: vectors of an encoder in a space."""

    space: str
    encoder_id: str
    dimension: int
    vectors_of: VectorsOf


def _unheard(n_made: int) -> None:
    del n_made


class SegmentFiller:
    """Writes vector files for segments that exist.

    Parameters
    ----------
    part_vectors
        A segment of more vectors is filled in parts of about so many. Memory holds those of one
        part as float32, and all of the segment twice as they are stored.
    """

    def __init__(
        self, blobs: BlobStore, vector_files: VectorFiles, ids: Ids, part_vectors: int
    ) -> None:
        self._blobs = blobs
        self._vector_files = vector_files
        self._writer = SegmentWriter(blobs, vector_files)
        self._ids = ids
        self._part_vectors = part_vectors

    def vector_file(
        self,
        segment: Segment,
        filling: Filling,
        progress: Callable[[int], None] = _unheard,
    ) -> VectorFile:
        """Write the vectors of a segment; `progress` is told of those that are made.

        Raises
        ------
        CorruptIndexError
            The rows of the segment are damaged.
        InvalidInputError
            `vectors_of` gave another number of vectors, or of another dimension.
        """
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        counts = numbers_of(table, _COUNTS[filling.space])
        folder = _parts_folder(filling.encoder_id, segment)
        bounds = list(_slices(counts, self._part_vectors))
        parts: list[VectorFileReader] = []
        for start, stop in bounds:
            part = _Part(
                name=f"{folder}/{start:09d}-{stop:09d}" if len(bounds) > 1 else None,
                rows=table.slice(start, stop - start),
                shape=(int(counts[start:stop].sum()), filling.dimension),
            )
            parts.append(self._left(part) or self._made(part, filling))
            progress(sum(made.n_vectors for made in parts))
        everything = [(part, np.arange(part.n_vectors, dtype=np.int64)) for part in parts]
        data = self._vector_files.concatenate(everything)
        return self._writer.put_vectors(
            self._ids.new_id(),
            data,
            space=filling.space,
            encoder_id=filling.encoder_id,
            n_vectors=int(counts.sum()),
            dimension=filling.dimension,
        )

    def coordinate_file(
        self,
        vectors: VectorFile,
        projector: Projector,
        *,
        state: MapState | None = None,
        are_new: NDArray[np.bool_] | None = None,
    ) -> CoordinateFile:
        """Write the coordinates of image vectors that are stored, under another map.

        `are_new`, bool (n_vectors,): those that the map was made without. They are placed as new
        ones are, strangers among their neighbours.
        """
        reader = self._vector_files.open(read_file(self._blobs, vectors.file))
        xy = np.empty((reader.n_vectors, 2), dtype=np.float32)
        for start in range(0, reader.n_vectors, self._part_vectors):
            count = min(self._part_vectors, reader.n_vectors - start)
            xy[start : start + count] = projector.project(reader.reconstruct(start, count))
        is_provisional = None
        if are_new is not None and are_new.any():
            numbers = np.flatnonzero(are_new)
            vectors_of_new = np.concatenate([reader.reconstruct(n, 1) for n in numbers.tolist()])
            placed = place(vectors_of_new, projector, state)
            is_provisional = np.zeros(reader.n_vectors, dtype=np.bool_)
            xy[numbers], is_provisional[numbers] = placed.points, placed.is_provisional
        points = Points(projection=projector.version, xy=xy, is_provisional=is_provisional)
        return self._writer.write_points(self._ids.new_id(), points)

    def sweep(self, manifest: Manifest) -> None:
        """Delete parts that no build of this manifest needs any more."""
        for entry in unneeded_parts(self._blobs, manifest):
            self._blobs.delete(entry.name)

    def _left(self, part: "_Part") -> VectorFileReader | None:
        """The part as an interrupted run has left it, if it has."""
        found = None if part.name is None else self._blobs.get(part.name)
        if part.name is None or found is None:
            return None
        try:
            reader = self._vector_files.open(found.data)
        except CorruptIndexError:
            reader = None
        if reader is not None and (reader.n_vectors, reader.dimension) == part.shape:
            return reader
        self._blobs.delete(part.name, if_match=found.etag)
        return None

    def _made(self, part: "_Part", filling: Filling) -> VectorFileReader:
        vectors = filling.vectors_of(rows_of(part.rows))
        if vectors.shape != part.shape:
            raise InvalidInputError(
                f"{filling.encoder_id} gave vectors of shape {vectors.shape} where {part.shape} "
                "was asked for"
            )
        data = self._vector_files.build(vectors)
        if part.name is not None:
            # Somebody else's of this name is as good: the same encoder over the same rows.
            self._blobs.put_if_absent(part.name, data)
        return self._vector_files.open(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some rows of a segment; `name` where their vectors are kept, None for a small segment."""

    name: str | None
    rows: pa.Table
    shape: tuple[int, int]


def unneeded_parts(blobs: BlobStore, manifest: Manifest) -> list[BlobEntry]:
    """Parts that no build of this manifest needs any more."""
    needed = {
        _parts_folder(space.building, segment)
        for space in manifest.spaces
        if space.building is not None
        for segment in manifest.segments
        if segment.vector_file(space.name, space.building) is None
    }
    listed = blobs.list(PARTS_PREFIX)
    return [entry for entry in listed if entry.name.rpartition("/")[0] not in needed]


def _slices(counts: NDArray[np.int64], wanted: int) -> Iterator[tuple[int, int]]:
    """Row ranges with about `wanted` vectors each; at least one, if an empty one."""
    ends = np.cumsum(counts)
    start = n_before = 0
    while True:
        stop = max(start + 1, int(np.searchsorted(ends, n_before + wanted, side="right")))
        stop = min(stop, len(counts))
        yield start, stop
        if stop == len(counts):
            return
        start, n_before = stop, int(ends[stop - 1])


def _parts_folder(encoder_id: str, segment: Segment) -> str:
    return f"{PARTS_PREFIX}{folder_of(encoder_id)}/{segment.id}"
