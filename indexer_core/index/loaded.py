"""A segment opened for reading: its files are opened when they are first used, and shared."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError
from indexer_core.index.columns import FilterColumn, filter_column
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.keys import KeyIndex, short_key_index
from indexer_core.index.manifest import FileRef, Segment, VectorFile
from indexer_core.index.rows import RowTexts, column_of, key_index_of, numbers_of, table_of
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, MapPoint, Points, load_points
from indexer_core.index.winners import Order
from indexer_core.ports import VectorFileReader, VectorFiles

_COUNTS = {TEXT_SPACE: "textCount", IMAGE_SPACE: "imageCount"}


class OpenedRows:
    """The rows of a segment, used where their file lies; what is derived from them is kept."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self._starts: dict[str, NDArray[np.int64]] = {}
        self._columns: dict[str, pa.Array] = {}
        self._filter_columns: dict[str, FilterColumn] = {}

    @cached_property
    def key_index(self) -> KeyIndex:
        """Rows by hash of the series key."""
        return key_index_of(self.table)

    @cached_property
    def short_keys(self) -> KeyIndex:
        """Rows by short key, as a number."""
        return short_key_index(self.column("seriesKey").cast(pa.string()))

    @cached_property
    def texts(self) -> RowTexts:
        """Records, facts and URLs."""
        return RowTexts(self.table)

    @cached_property
    def is_sorted(self) -> bool:
        """Whether the rows are in the order of their keys."""
        keys = self.column("seriesKey")
        return pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py() is not False

    def key(self, row: int) -> str:
        """Series key of a row."""
        key: str = self.column("seriesKey")[row].as_py()
        return key

    def column(self, name: str) -> pa.Array:
        """A column, where it lies."""
        if name not in self._columns:
            self._columns[name] = column_of(self.table, name)
        return self._columns[name]

    def filter_column(self, name: str) -> FilterColumn:
        """A column as filters read it."""
        if name not in self._filter_columns:
            self._filter_columns[name] = filter_column(self.column(name))
        return self._filter_columns[name]

    def keys_at(self, rows: NDArray[np.int64]) -> list[str]:
        """Series keys of some rows."""
        keys: list[str] = self.keys_of(rows).to_pylist()
        return keys

    def keys_of(self, rows: NDArray[np.int64]) -> pa.Array:
        """The same as an Arrow array."""
        return self._taken("seriesKey", rows)

    def ranks(self, rows: NDArray[np.int64]) -> list[tuple[str, Order]]:
        """Series key and place in the total order of some rows."""
        if not len(rows):
            return []
        names = ("revision", "recipe", "writeId")
        orders = zip(*(self._taken(name, rows).to_pylist() for name in names), strict=True)
        return list(zip(self.keys_at(rows), orders, strict=True))

    def alive(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some rows are no tombstones: bool (n,)."""
        alive: NDArray[np.bool_] = self._taken("alive", rows).to_numpy(zero_copy_only=False)
        return alive.astype(np.bool_, copy=False)

    def starts(self, space: str) -> NDArray[np.int64]:
        """Number of the first vector of every row in a space, and of vectors in all: (n + 1,)."""
        if space not in self._starts:
            starts = np.zeros(self.table.num_rows + 1, dtype=np.int64)
            np.cumsum(numbers_of(self.table, _COUNTS[space]), out=starts[1:])
            starts.setflags(write=False)
            self._starts[space] = starts
        return self._starts[space]

    def _taken(self, name: str, rows: NDArray[np.int64]) -> pa.Array:
        return self.column(name).take(pa.array(rows, type=pa.int64()))


class LoadedSegment:
    """A segment; safe for several threads once its rows are open."""

    def __init__(self, segment: Segment, files: ImmutableFiles, vector_files: VectorFiles) -> None:
        self.segment = segment
        self._files = files
        self._vector_files = vector_files
        self._rows: OpenedRows | None = None
        self._vectors: dict[str, VectorFileReader] = {}
        self._points: dict[str, Points] = {}

    @property
    def rows(self) -> OpenedRows:
        """The rows.

        Raises
        ------
        CorruptIndexError
            Their file is missing or damaged.
        """
        if self._rows is None:
            ref = self.segment.rows
            table = table_of(self._files.open(ref), ref.name)
            if table.num_rows != self.segment.n_rows:
                raise CorruptIndexError(f"{ref.name}: not as many rows as its manifest says")
            self._rows = OpenedRows(table)
        return self._rows

    @property
    def table(self) -> pa.Table:
        """The rows as a table."""
        return self.rows.table

    @property
    def key_index(self) -> KeyIndex:
        """Rows by hash of the series key."""
        return self.rows.key_index

    def ranks(self, rows: NDArray[np.int64]) -> Sequence[tuple[str, Order]]:
        """Series key and place in the total order of some rows."""
        return self.rows.ranks(rows)

    @property
    def orders(self) -> list[tuple[str, Order, bool]]:
        """(series key, place in the total order, alive) of every row."""
        every = np.arange(self.segment.n_rows)
        alive = self.rows.alive(every).tolist()
        return [
            (key, order, lives)
            for (key, order), lives in zip(self.ranks(every), alive, strict=True)
        ]

    def counts(self, space: str) -> NDArray[np.int64]:
        """Vectors per row in a space, int64 (n_rows,)."""
        return np.diff(self.rows.starts(space))

    def first_vector(self, space: str, row: int) -> int:
        """Number of the first vector of a row in a space."""
        return int(self.rows.starts(space)[row])

    def vectors(self, space: str, encoder_id: str) -> VectorFileReader:
        """The vectors of a space under an encoder.

        Raises
        ------
        CorruptIndexError
            There are none, or the file is damaged.
        """
        named = self._named(space, encoder_id)
        if named.file.name not in self._vectors:
            self._vectors[named.file.name] = self._opened(named)
        return self._vectors[named.file.name]

    def points(self, projection: str) -> Points | None:
        """Coordinates of a projection version, or None when there are none."""
        named = self.segment.coordinate_file(projection)
        if named is None:
            return None
        if named.file.name not in self._points:
            data = self._files.open(named.file)
            self._points[named.file.name] = load_points(data, named)
        return self._points[named.file.name]

    def point(self, projection: str, row: int) -> MapPoint | None:
        """Where a row is on a projection version, or None where it has no place."""
        points, first = self.points(projection), self.first_vector(IMAGE_SPACE, row)
        if points is None or first == self.first_vector(IMAGE_SPACE, row + 1):
            return None
        return points.at(first)

    def key(self, row: int) -> str:
        """Series key of a row."""
        return self.rows.key(row)

    def unopened(self, spaces: Iterable[tuple[str, str]]) -> list[FileRef]:
        """Files of the rows and of these spaces and encoders that have not been opened yet."""
        found = [self.segment.vector_file(space, encoder_id) for space, encoder_id in spaces]
        vectors = [named.file for named in found if named is not None]
        rows = [] if self._rows is not None else [self.segment.rows]
        return rows + [file for file in vectors if file.name not in self._vectors]

    def at(self, segment: Segment) -> "LoadedSegment":
        """The same rows under another manifest, which may name more or fewer files."""
        if segment == self.segment:
            return self
        loaded = LoadedSegment(segment, self._files, self._vector_files)
        loaded._rows = self._rows
        named = {file.name for file in segment.files()}
        # Copied in one step first: other threads open more of them meanwhile.
        loaded._vectors = {name: v for name, v in dict(self._vectors).items() if name in named}
        loaded._points = {name: p for name, p in dict(self._points).items() if name in named}
        return loaded

    def _named(self, space: str, encoder_id: str) -> VectorFile:
        named = self.segment.vector_file(space, encoder_id)
        if named is None:
            raise CorruptIndexError(f"segment {self.segment.id} lacks vectors of {encoder_id}")
        return named

    def _opened(self, named: VectorFile) -> VectorFileReader:
        name = named.file.name
        try:
            reader = self._vector_files.open(self._files.open(named.file), verified=True)
        except CorruptIndexError as error:
            # The format does not know the name of the file.
            raise CorruptIndexError(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
        if (reader.n_vectors, reader.dimension) != (named.n_vectors, named.dimension):
            raise CorruptIndexError(f"{name}: not the shape that its manifest says")
        return reader


class LiveSegment:
    """A segment with the rows that count: bool (n_rows,), read-only."""

    def __init__(self, *, loaded: LoadedSegment, live: NDArray[np.bool_]) -> None:
        self.loaded = loaded
        self.live = live

    @cached_property
    def n_live(self) -> int:
        """Number of rows that count."""
        return int(np.count_nonzero(self.live))


class LiveRows(Protocol):
    """Rows that count, of one state of an index: all of them, or those that were looked up."""

    @property
    def segments(self) -> Sequence[LiveSegment]:
        """Where they lie."""

    @property
    def n_series(self) -> int:
        """How many they are."""

    @property
    def projection_version(self) -> str | None:
        """Of the map in force; None where there is none."""
