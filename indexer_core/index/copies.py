"""What a purge writes in the place of files that hold the series: the same without them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError
from indexer_core.index.files import read_file
from indexer_core.index.manifest import CoordinateFile, FileRef, Segment, VectorFile
from indexer_core.index.projections import load_state, put_state
from indexer_core.index.rows import concatenate_rows, table_of
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, SegmentWriter, load_points
from indexer_core.index.write_ids import write_id_of
from indexer_core.ports import BlobStore, Ids, VectorFiles

_COUNTS = {TEXT_SPACE: "textCount", IMAGE_SPACE: "imageCount"}


class Copies:
    """Segments and states of maps without some series, each written once.

    Attributes
    ----------
    replaced
        Names of files that held the series.
    written
        Write ids of what was written in their place, if only half.
    """

    def __init__(self, blobs: BlobStore, vector_files: VectorFiles, ids: Ids) -> None:
        self.replaced: set[str] = set()
        self.written: set[str] = set()
        self._blobs = blobs
        self._copier = _Copier(blobs, vector_files)
        self._ids = ids
        self._segments: dict[Segment, Segment | None] = {}
        self._states: dict[FileRef, FileRef] = {}
        self._held: dict[tuple[str, frozenset[str]], bool] = {}
        self._landmarks: dict[tuple[str, frozenset[str]], int] = {}

    def segment(self, segment: Segment, series: frozenset[str]) -> Segment | None:
        """The copy of a segment; None where no row is left.

        Raises
        ------
        CorruptIndexError
            A file of the segment is missing or damaged.
        """
        if segment not in self._segments:
            write_id = self._begun(*(file.name for file in segment.files()))
            self._segments[segment] = self._copier.without(segment, series, write_id)
        return self._segments[segment]

    def state(self, state: FileRef, series: frozenset[str]) -> FileRef:
        """The copy of a map's state.

        Raises
        ------
        CorruptIndexError
            It is missing or damaged.
        """
        if state not in self._states:
            write_id = self._begun(state.name)
            slim = load_state(self._blobs, state).without(series)
            self._states[state] = put_state(self._blobs, slim, write_id)
        return self._states[state]

    def forget(self) -> None:
        """Write the copies anew when they are asked for again: these may have been collected."""
        self._segments.clear()
        self._states.clear()

    def is_ours(self, name: str) -> bool:
        """Whether a file was replaced, or was written in the place of one."""
        return name in self.replaced or write_id_of(name) in self.written

    def is_held(self, rows: FileRef, series: frozenset[str]) -> bool:
        """Whether a rows file has a row of the series; one that is damaged may."""
        known = self._held.get((rows.name, series))
        if known is None:
            try:
                table = table_of(read_file(self._blobs, rows), rows.name)
            except CorruptIndexError:
                known = True
            else:
                known = bool(pc.any(is_of(table, series)).as_py())
            self._held[rows.name, series] = known
        return known

    def n_landmarks_of(self, state: FileRef, series: frozenset[str]) -> int:
        """How many landmarks are of the series; of a damaged file, as if it were one."""
        known = self._landmarks.get((state.name, series))
        if known is None:
            try:
                known = len(series.intersection(load_state(self._blobs, state).landmarks.keys))
            except CorruptIndexError:
                known = 1
            self._landmarks[state.name, series] = known
        return known

    def _begun(self, *replaced: str) -> str:
        """A write id, noted before anything is written under it: that may fail half-way."""
        write_id = self._ids.new_id()
        self.replaced.update(replaced)
        self.written.add(write_id)
        return write_id


def is_of(table: pa.Table, series: frozenset[str]) -> pa.Array:
    """Which rows of a table are of some series."""
    wanted = pa.array(sorted(series), pa.string())
    found: pa.Array = pc.is_in(table.column("seriesKey"), value_set=wanted).combine_chunks()
    return found


class _Copier:
    """Writes segments anew without some series."""

    def __init__(self, blobs: BlobStore, vector_files: VectorFiles) -> None:
        self._blobs = blobs
        self._vector_files = vector_files
        self._writer = SegmentWriter(blobs, vector_files)

    def without(self, segment: Segment, series: frozenset[str], write_id: str) -> Segment | None:
        """The segment without these series, under a new id; None when no row is left.

        It is read and written file by file, so that memory holds one of them twice.
        """
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        stays = pc.invert(is_of(table, series)).to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(stays).astype(np.int64)
        if not len(rows):
            return None
        numbers = {
            space: np.flatnonzero(np.repeat(stays, table.column(counts).to_numpy())).astype(
                np.int64
            )
            for space, counts in _COUNTS.items()
        }
        return Segment(
            id=write_id,
            rows=self._writer.put_rows(write_id, concatenate_rows([(table, rows)])),
            n_rows=len(rows),
            n_alive=pc.sum(table.column("alive").filter(pa.array(stays))).as_py() or 0,
            n_points=len(numbers[IMAGE_SPACE]),
            vectors=tuple(self._vectors(v, numbers[v.space], write_id) for v in segment.vectors),
            coordinates=tuple(
                self._points(c, numbers[IMAGE_SPACE], write_id) for c in segment.coordinates
            ),
            level=segment.level,
        )

    def _vectors(
        self, vectors: VectorFile, numbers: NDArray[np.int64], write_id: str
    ) -> VectorFile:
        reader = self._vector_files.open(read_file(self._blobs, vectors.file))
        return self._writer.put_vectors(
            write_id,
            self._vector_files.concatenate([(reader, numbers)]),
            space=vectors.space,
            encoder_id=vectors.encoder_id,
            n_vectors=len(numbers),
            dimension=vectors.dimension,
        )

    def _points(
        self, coordinates: CoordinateFile, numbers: NDArray[np.int64], write_id: str
    ) -> CoordinateFile:
        data = read_file(self._blobs, coordinates.file)
        kept = load_points(data, coordinates).taken(numbers)
        return self._writer.write_points(write_id, kept)
