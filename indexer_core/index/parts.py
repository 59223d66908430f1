"""What one search of a snapshot goes through: large segments one by one, small ones as one.

Asking a file costs some tens of microseconds beside reading it. The tail of deltas may be dozens
of files of a thousand vectors, where that would be most of the time.
"""

from collections.abc import Sequence
from functools import cached_property
from operator import is_

import numpy as np
from numpy.typing import NDArray

from indexer_core.index.loaded import LiveSegment
from indexer_core.ports import VectorFileReader, VectorFiles, VectorSelection

# So large a file takes far longer to read than to ask.
_LARGE_BYTES = 16 << 20
_VALUE_BYTES = 2

Mask = NDArray[np.bool_]
Files = Sequence[VectorFileReader]


class Part:
    """Segments that are searched as one vector file; their rows are numbered through."""

    def __init__(
        self, segments: Sequence[LiveSegment], space: str, files: Files, vectors: VectorFileReader
    ) -> None:
        self.segments = segments
        self.files = files
        self.vectors = vectors
        self._space = space
        self._rows = [segment.loaded.rows for segment in segments]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first vector of every row, and of vectors in all: int64 (n_rows + 1,)."""
        starts = [rows.starts(self._space) for rows in self._rows]
        if len(starts) == 1:
            return starts[0]
        firsts = np.cumsum([0, *(int(each[-1]) for each in starts)])
        return np.concatenate(
            [*(each[:-1] + first for each, first in zip(starts, firsts, strict=False)), firsts[-1:]]
        )

    @cached_property
    def live(self) -> VectorSelection:
        """The vectors of the rows that count."""
        return self.select([segment.live for segment in self.segments])

    def select(self, rows: Sequence[Mask]) -> VectorSelection:
        """The vectors of some rows of each segment, ready to be searched."""
        chosen = rows[0] if len(rows) == 1 else np.concatenate(rows)
        selected = np.repeat(chosen, np.diff(self.starts))
        selected.setflags(write=False)
        return self.vectors.select(selected)

    def place(self, row: int) -> tuple[int, int]:
        """Which of the segments a row is in, and its number there."""
        if len(self.segments) == 1:
            return 0, row
        number = int(np.searchsorted(self._first_rows, row, side="right")) - 1
        return number, row - int(self._first_rows[number])

    def key(self, row: int) -> str:
        """Series key of a row."""
        number, row = self.place(row)
        return self._rows[number].key(row)

    def keys(self, rows: NDArray[np.int64]) -> Sequence[str]:
        """Series keys of some rows."""
        if len(self.segments) == 1:
            return self._rows[0].keys_at(rows)
        keys = np.empty(len(rows), dtype=object)
        owners = np.searchsorted(self._first_rows, rows, side="right") - 1
        for number in np.unique(owners):
            ours = owners == number
            keys[ours] = self._rows[number].keys_at(rows[ours] - self._first_rows[number])
        listed: list[str] = keys.tolist()
        return listed

    @cached_property
    def _first_rows(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(segment.live) for segment in self.segments)])


def parts_of(
    segments: Sequence[LiveSegment],
    space: str,
    encoder_id: str,
    vector_files: VectorFiles,
    before: Sequence[Part] = (),
) -> list[Part]:
    """Parts that together are all segments.

    Parameters
    ----------
    before
        Of the snapshot before: what has not changed is taken over.
    """
    groups = [[each] for each in segments if _is_alone(each, space, encoder_id)]
    small = [each for each in segments if not _is_alone(each, space, encoder_id)]
    groups += [small] if small else []
    return [_part(group, space, encoder_id, vector_files, before) for group in groups]


def _part(
    segments: list[LiveSegment],
    space: str,
    encoder_id: str,
    vector_files: VectorFiles,
    before: Sequence[Part],
) -> Part:
    for part in before:
        if _same(part.segments, segments):
            return part
    files = [segment.loaded.vectors(space, encoder_id) for segment in segments]
    for part in before:
        if _same(part.files, files):  # other rows of them count now
            return Part(segments, space, files, part.vectors)
    return Part(segments, space, files, vector_files.join(files))


def _same(some: Sequence[object], others: Sequence[object]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))


def _is_alone(segment: LiveSegment, space: str, encoder_id: str) -> bool:
    """Whether a file is large, or has an approximate search of its own."""
    vectors = segment.loaded.vectors(space, encoder_id)
    size_bytes = vectors.n_vectors * vectors.dimension * _VALUE_BYTES
    return size_bytes >= _LARGE_BYTES or vectors.recall is not None
