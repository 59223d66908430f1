"""The nearest rows over many vector files: each is asked for its share, and for more where it may
hold more of the best.

A row has several vectors and counts by its best. Which rows are found does not depend on how they
are spread over files: a file is asked again until nothing that it has not told can rank among the
best.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from itertools import groupby
from math import ceil
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.ports import VectorFileReader, VectorSelection

# Five texts of a series lie close together: ten vectors per wanted row hold enough rows, and on a
# flat scan more vectors cost nothing. What a small file is asked for costs more than its scan.
_VECTORS_PER_ROW = 10
_MARGIN = 16
_GROWTH = 4


class Owned(Protocol):
    """A vector file whose vectors belong to rows, in row order."""

    vectors: VectorFileReader

    @property
    def starts(self) -> NDArray[np.int64]:
        """Number of the first vector of every row, and of vectors in all: int64 (n_rows + 1,)."""

    def key(self, row: int) -> str:
        """What orders rows of equal scores."""

    def keys(self, rows: NDArray[np.int64]) -> Sequence[str]:
        """The same of several rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searched:
    """One file to search, and the vectors that may be found."""

    file: Owned
    selection: VectorSelection


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A row found: number of its file, row, and score and number of its best vector."""

    file: int
    row: int
    score: float
    vector: int


@dataclass(slots=True)
class _Asked:
    """What a file has told so far: the `k` best of its vectors, best first."""

    number: int
    searched: Searched
    k: int
    scores: NDArray[np.float32] = field(default_factory=lambda: np.empty(0, np.float32))
    vectors: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def rows(self) -> NDArray[np.int64]:
        """The row of each vector told."""
        rows: NDArray[np.int64] = (
            np.searchsorted(self.searched.file.starts, self.vectors, side="right") - 1
        )
        return rows

    def may_hold(self, worst: float | None) -> bool:
        """Whether a row not told yet may rank before the worst of the best.

        It has told all vectors that score as the last of them, so the rest score less.
        """
        if self.k >= self.searched.selection.n_selected or len(self.vectors) < self.k:
            return False  # it has told all
        return worst is None or float(self.scores[-1]) > worst


def nearest(
    query: NDArray[np.float32], files: Sequence[Searched], top: int, *, exact: bool = True
) -> list[Near]:
    """The `top` rows whose best vector is nearest, best first, equal ones in key order.

    Parameters
    ----------
    query : ndarray of float32, shape (dimension,)
    exact
        Whether every file must tell its very best; false permits those that can to miss some.
    """
    n_vectors = sum(file.selection.n_selected for file in files)
    wanted = _VECTORS_PER_ROW * top / max(n_vectors, 1)
    asked = [
        _Asked(number, file, min(n, _MARGIN + ceil(wanted * n)))
        for number, file in enumerate(files)
        if (n := file.selection.n_selected)
    ]
    pending = asked if top > 0 else []
    best: list[Near] = []
    while pending:
        for part in pending:
            found = part.searched.file.vectors.search(
                query[None, :], part.k, part.searched.selection, exact=exact, ties=True
            )
            part.scores, part.vectors = found[0][0], found[1][0]
        best = _best(asked, files, top)
        worst = best[-1].score if len(best) == top else None
        pending = [part for part in asked if part.may_hold(worst)]
        for part in pending:
            part.k = min(_GROWTH * part.k, part.searched.selection.n_selected)
    return best


def _best(asked: Sequence[_Asked], files: Sequence[Searched], top: int) -> list[Near]:
    """The best rows of all that was told."""
    numbers = np.repeat([part.number for part in asked], [len(part.vectors) for part in asked])
    rows = np.concatenate([part.rows() for part in asked])
    scores = np.concatenate([part.scores for part in asked])
    vectors = np.concatenate([part.vectors for part in asked])
    # Each file tells its best first: the first vector of a row is the row's best.
    _, places = np.unique(numbers << 40 | rows, return_index=True)
    if len(places) > top:
        worst = np.partition(scores[places], -top)[-top]
        above, tied = places[scores[places] > worst], places[scores[places] == worst]
        # Series with the same texts are many: of them the first by key.
        keys = _keys(files, numbers[tied], rows[tied])
        first = nsmallest(top - len(above), range(len(keys)), key=keys.__getitem__)
        places = np.concatenate((above, tied[first]))
    places = places[np.argsort(-scores[places], kind="stable")]
    found = [
        Near(
            file=int(numbers[place]),
            row=int(rows[place]),
            score=float(scores[place]),
            vector=int(vectors[place]),
        )
        for place in places
    ]
    return _in_key_order(found, files)


def _keys(
    files: Sequence[Searched], numbers: NDArray[np.int64], rows: NDArray[np.int64]
) -> list[str]:
    """Keys of rows of several files."""
    keys = np.empty(len(rows), dtype=object)
    for number in np.unique(numbers):
        ours = numbers == number
        keys[ours] = files[number].file.keys(rows[ours])
    listed: list[str] = keys.tolist()
    return listed


def _in_key_order(found: list[Near], files: Sequence[Searched]) -> list[Near]:
    """Rows that come by score, those of equal scores by key."""
    ordered: list[Near] = []
    for _, tied in groupby(found, key=lambda near: near.score):
        together = list(tied)
        if len(together) > 1:
            together.sort(key=lambda near: files[near.file].file.key(near.row))
        ordered += together
    return ordered
