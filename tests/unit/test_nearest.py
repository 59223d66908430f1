"""The nearest rows over many files are those of one file that holds them all."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from indexer_core import nearest as module
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.nearest import Searched, nearest

FILES = FlatFp16Vectors()
DIMENSION = 2


class Owned:
    def __init__(self, vectors, starts, keys):
        self.vectors, self.starts, self._keys = vectors, starts, keys

    def key(self, row):
        return self._keys[row]

    def keys(self, rows):
        return [self._keys[row] for row in rows]


class Part:
    """Rows with their vectors, and which of the rows may be found."""

    def __init__(self, keys, counts, vectors, chosen):
        self.keys, self.counts, self.vectors = keys, counts, vectors
        self.chosen = chosen
        self.starts = np.concatenate(([0], np.cumsum(counts))).astype(int)

    def searched(self, files=FILES):
        reader = files.open(files.build(self.vectors))
        selection = reader.select(np.repeat(self.chosen, self.counts))
        return Searched(file=Owned(reader, self.starts, self.keys), selection=selection)

    def scored(self, query):
        """(score, key, number of the vector) of every row that may be found."""
        for number, key in enumerate(self.keys):
            first, behind = self.starts[number], self.starts[number + 1]
            if self.chosen[number] and first < behind:
                scores = self.vectors[first:behind] @ query
                best = int(np.argmax(scores))
                yield float(scores[best]), key, int(first) + best


def brute_force(parts, query, top):
    found = [entry for part in parts for entry in part.scored(query)]
    return sorted(found, key=lambda entry: (-entry[0], entry[1]))[:top]


@st.composite
def collections(draw):
    n_rows = draw(st.integers(0, 25))
    keys = [f"k{number:02}" for number in draw(st.permutations(range(n_rows)))]
    parts = []
    while keys:
        n_here = draw(st.integers(1, len(keys)))
        here, keys = keys[:n_here], keys[n_here:]
        if draw(st.booleans()):
            here.sort()
        counts = draw(hnp.arrays(np.int8, n_here, elements=st.integers(0, 4))).astype(int)
        shape = (int(counts.sum()), DIMENSION)
        # Few distinct values: most scores are shared by several vectors.
        values = draw(hnp.arrays(np.int8, shape, elements=st.integers(-1, 1)))
        chosen = draw(hnp.arrays(np.bool_, n_here))
        parts.append(Part(here, counts, values.astype(np.float32), chosen))
    return parts


@pytest.mark.parametrize(("vectors_per_row", "margin"), [(10, 16), (0, 1)])
@given(parts=collections(), top=st.integers(0, 12), data=st.data())
@settings(deadline=None, max_examples=150)
def test_the_best_rows_are_found_however_they_are_spread(vectors_per_row, margin, parts, top, data):
    query = np.array(data.draw(st.sampled_from([(1, 0), (1, 1), (2, -1), (0, 0)])), np.float32)
    searched = [part.searched() for part in parts]
    with pytest.MonkeyPatch.context() as patch:
        # A tiny first share: files must be asked again, ties and all.
        patch.setattr(module, "_VECTORS_PER_ROW", vectors_per_row)
        patch.setattr(module, "_MARGIN", margin)
        found = nearest(query, searched, top)
    told = [(near.score, searched[near.file].file.key(near.row), near.vector) for near in found]
    assert told == brute_force(parts, query, top)


def test_files_that_cannot_hold_more_of_the_best_are_not_asked_again(monkeypatch):
    near, far = np.full((50, DIMENSION), 1.0), np.full((50, DIMENSION), 0.5)
    parts = [
        Part([f"{letter}{number:02}" for number in range(50)], np.ones(50, int),
             vectors.astype(np.float32), np.ones(50, bool))
        for letter, vectors in (("a", near), ("b", far))
    ]  # fmt: skip
    asked = []

    class Counting:
        def __init__(self, number, reader):
            self.number, self.reader = number, reader

        def search(self, queries, k, selection, **options):
            asked.append((self.number, k))
            return self.reader.search(queries, k, selection, **options)

    monkeypatch.setattr(module, "_VECTORS_PER_ROW", 0)
    monkeypatch.setattr(module, "_MARGIN", 10)
    searched = [part.searched() for part in parts]
    for number, each in enumerate(searched):
        each.file.vectors = Counting(number, each.file.vectors)
    found = nearest(np.ones(DIMENSION, np.float32), searched, 15)
    assert [searched[n.file].file.key(n.row) for n in found] == parts[0].keys[:15]
    # Each tells all that are equally near as the tenth: no second question is needed.
    assert asked == [(0, 10), (1, 10)]
    far_apart = np.linspace(2, 1, 50)[:, None] * np.ones(DIMENSION)
    parts[0].vectors = far_apart.astype(np.float32)
    searched = [part.searched() for part in parts]
    for number, each in enumerate(searched):
        each.file.vectors = Counting(number, each.file.vectors)
    asked.clear()
    nearest(np.ones(DIMENSION, np.float32), searched, 15)
    assert asked == [(0, 10), (1, 10), (0, 40)]
