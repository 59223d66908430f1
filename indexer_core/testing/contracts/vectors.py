"""The contract of `indexer_core.ports.VectorFiles`."""

from abc import ABC, abstractmethod
from mmap import mmap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.ports import VectorFileReader, VectorFiles, VectorSelection
from indexer_core.testing.strategies import coarse_vectors


def brute_force(
    vectors: NDArray[np.float32], queries: NDArray[np.float32], k: int, rows: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The oracle: exact scores, best first, equal scores by row number."""
    allowed = np.flatnonzero(rows)
    scores = queries.astype(np.float64) @ vectors[allowed].astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), allowed[order]


def everything(reader: VectorFileReader) -> VectorSelection:
    """Every vector of a file."""
    return reader.select(np.ones(reader.n_vectors, np.bool_))


# Every adapter's subclass runs the same inherited tests, which hypothesis finds suspicious.
_inherited = settings(suppress_health_check=[HealthCheck.differing_executors])


class VectorFilesContract(ABC):
    """What every exact vector file does. Subclasses say which by `files`."""

    @staticmethod
    @abstractmethod
    def files() -> VectorFiles:
        """The adapter under test (no fixture: hypothesis calls it per example)."""

    @_inherited
    @given(st.data())
    def test_search_equals_brute_force_over_the_allowed_rows(self, data: st.DataObject) -> None:
        vectors = data.draw(coarse_vectors())
        n_vectors, dimension = vectors.shape
        rows = data.draw(hnp.arrays(np.bool_, n_vectors))
        k = data.draw(st.integers(0, n_vectors + 2))
        shape = (data.draw(st.integers(0, 3)), dimension)
        quarters = data.draw(hnp.arrays(np.int8, shape, elements=st.integers(-4, 4)))
        queries = quarters.astype(np.float32) / np.float32(4)
        files = self.files()
        reader = files.open(files.build(vectors))
        scores, found = reader.search(queries, k, reader.select(rows))
        expected_scores, expected = brute_force(vectors, queries, k, rows)
        assert np.array_equal(found, expected)
        assert np.array_equal(scores, expected_scores)
        assert scores.dtype == np.float32
        assert found.dtype == np.int64

    @_inherited
    @given(st.data())
    def test_joined_files_are_searched_as_one_file_of_all_their_vectors(
        self, data: st.DataObject
    ) -> None:
        files = self.files()
        dimension = data.draw(st.integers(1, 4))
        parts = data.draw(
            st.lists(coarse_vectors(max_vectors=12, dimension=dimension), min_size=1, max_size=5)
        )
        joined = files.join([files.open(files.build(vectors)) for vectors in parts])
        everything_ = np.concatenate(parts)
        assert (joined.n_vectors, joined.dimension) == everything_.shape
        assert np.array_equal(joined.reconstruct(), everything_)
        one = files.open(files.build(everything_))
        rows = data.draw(hnp.arrays(np.bool_, len(everything_)))
        queries = (np.arange(2 * dimension, dtype=np.float32) - 1).reshape(2, dimension)
        k = data.draw(st.integers(0, 15))
        scores, found = joined.search(queries, k, joined.select(rows))
        expected_scores, expected = one.search(queries, k, one.select(rows))
        assert np.array_equal(found, expected)
        assert np.array_equal(scores, expected_scores)

    def test_joined_files_of_all_sizes_find_what_each_holds(self) -> None:
        files = self.files()
        random = np.random.default_rng(5)
        sizes = (1, 6_000, 0, 20_000, 300, 6_000)
        parts = [random.standard_normal((n, 256)).astype(np.float32) for n in sizes]
        joined = files.join([files.open(files.build(vectors)) for vectors in parts])
        everything_ = joined.reconstruct()
        query = random.standard_normal((1, 256)).astype(np.float32)
        for share in (1, 0.3, 0.001):
            rows = random.random(len(everything_)) < share
            scores, found = joined.search(query, 5, joined.select(rows))
            exact = np.where(rows, everything_ @ query[0], -np.inf)
            assert found[0].tolist() == np.argsort(-exact)[:5].tolist()
            assert np.allclose(scores[0], exact[found[0]], atol=1e-3)

    @_inherited
    @given(st.data())
    def test_ties_with_the_last_place_are_told_where_they_are_wanted(
        self, data: st.DataObject
    ) -> None:
        vectors = data.draw(coarse_vectors())
        rows = data.draw(hnp.arrays(np.bool_, len(vectors)))
        k = data.draw(st.integers(0, len(vectors) + 2))
        files = self.files()
        reader = files.open(files.build(vectors))
        query = np.ones((1, vectors.shape[1]), np.float32)
        selection = reader.select(rows)
        scores, found = reader.search(query, k, selection, ties=True)
        every_score, every = brute_force(vectors, query, len(vectors), rows)
        n_told = min(k, selection.n_selected)
        if n_told:
            n_told = int(np.count_nonzero(every_score[0] >= every_score[0][n_told - 1]))
        assert found[0].tolist() == every[0][:n_told].tolist()
        assert scores[0].tolist() == every_score[0][:n_told].tolist()

    @_inherited
    @given(vectors=coarse_vectors())
    def test_stored_vectors_are_given_back(self, vectors: NDArray[np.float32]) -> None:
        files = self.files()
        reader = files.open(files.build(vectors))
        assert (reader.n_vectors, reader.dimension) == vectors.shape
        restored = reader.reconstruct()
        assert restored.dtype == np.float32
        assert np.array_equal(restored, vectors)
        assert np.array_equal(reader.reconstruct(1, 2), vectors[1:3])

    def test_equal_vectors_are_ranked_by_row_number(self) -> None:
        vectors = np.tile(np.array([[0.6, 0.8], [0.8, 0.6]], np.float32), (300, 1))
        files = self.files()
        reader = files.open(files.build(vectors))
        rows = np.ones(600, np.bool_)
        rows[:4] = False
        _, found = reader.search(np.array([[1, 0]], np.float32), 5, reader.select(rows))
        assert found.tolist() == [[5, 7, 9, 11, 13]]

    def test_score_of_a_row_does_not_depend_on_the_filter(self) -> None:
        random = np.random.default_rng(7)
        vectors = random.standard_normal((4000, 48)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        files = self.files()
        reader = files.open(files.build(vectors))
        queries = vectors[:3]
        all_scores, all_rows = reader.search(queries, 4000, everything(reader))
        for share in (0.5, 0.01, 0.001):
            rows = random.random(4000) < share
            rows[:3] = True
            scores, found = reader.search(queries, 10, reader.select(rows))
            for i in range(len(queries)):
                known = dict(zip(all_rows[i].tolist(), all_scores[i].tolist(), strict=True))
                assert [known[row] for row in found[i].tolist()] == scores[i].tolist()

    def test_empty_file_gives_no_rows(self) -> None:
        files = self.files()
        reader = files.open(files.build(np.empty((0, 5), np.float32)))
        assert (reader.n_vectors, reader.dimension) == (0, 5)
        scores, found = reader.search(np.ones((2, 5), np.float32), 3, everything(reader))
        assert scores.shape == found.shape == (2, 0)
        assert reader.reconstruct().shape == (0, 5)

    def test_same_vectors_give_the_same_bytes(self) -> None:
        vectors = np.random.default_rng(1).random((20, 7)).astype(np.float32)
        assert self.files().build(vectors) == self.files().build(vectors.copy())
        assert self.files().build(vectors) == self.files().build(np.asfortranarray(vectors))

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused(self, bad: float) -> None:
        files = self.files()
        vectors = np.zeros((3, 4), np.float32)
        reader = files.open(files.build(vectors))
        vectors[1, 2] = bad
        with pytest.raises(InvalidInputError):
            files.build(vectors)
        with pytest.raises(InvalidInputError):
            reader.search(vectors, 1, everything(reader))

    def test_shapes_that_do_not_fit_are_refused(self) -> None:
        files = self.files()
        reader = files.open(files.build(np.zeros((3, 4), np.float32)))
        with pytest.raises(InvalidInputError):
            reader.search(np.zeros((1, 5), np.float32), 1, everything(reader))
        with pytest.raises(InvalidInputError):
            reader.select(np.ones(4, np.bool_))
        with pytest.raises(InvalidInputError):
            files.build(np.zeros(4, np.float32))

    def test_selection_of_another_file_is_refused(self) -> None:
        files = self.files()
        reader = files.open(files.build(np.zeros((3, 4), np.float32)))
        other = files.open(files.build(np.zeros((5, 4), np.float32)))
        with pytest.raises(InvalidInputError):
            reader.search(np.zeros((1, 4), np.float32), 1, everything(other))

    def test_selection_serves_many_searches(self) -> None:
        vectors = np.random.default_rng(4).random((50, 6)).astype(np.float32)
        files = self.files()
        reader = files.open(files.build(vectors))
        selection = reader.select(np.arange(50) % 3 == 0)
        assert selection.n_selected == 17
        for query in vectors[:4]:
            _, first = reader.search(query[None, :], 5, selection)
            _, second = reader.search(query[None, :], 5, selection)
            assert first.tolist() == second.tolist()
            assert set(first[0].tolist()) <= set(range(0, 50, 3))

    @_inherited
    @given(st.data())
    def test_concatenation_takes_vectors_over_bit_by_bit(self, data: st.DataObject) -> None:
        files = self.files()
        first = data.draw(coarse_vectors())
        shape = (data.draw(st.integers(0, 5)), first.shape[1])
        second = data.draw(hnp.arrays(np.float16, shape, elements=st.floats(-2, 2, width=16)))
        sources = [first, second.astype(np.float32)]
        parts, expected = [], []
        for vectors in sources:
            most = len(vectors) - 1
            wanted = data.draw(st.lists(st.integers(0, most), max_size=9)) if most >= 0 else []
            numbers = np.array(wanted, np.int64)
            parts.append((files.open(files.build(vectors)), numbers))
            expected.append(vectors[numbers])
        everything_ = np.concatenate(expected)
        order = data.draw(st.permutations(range(len(everything_))))
        ordered = files.open(files.concatenate(parts, np.array(order, dtype=np.int64)))
        assert np.array_equal(ordered.reconstruct(), everything_[order])
        joined = files.open(files.concatenate(parts))
        assert np.array_equal(joined.reconstruct(), np.concatenate(expected))
        assert joined.n_vectors == len(np.concatenate(expected))

    def test_search_that_need_not_be_exact_invents_nothing(self) -> None:
        random = np.random.default_rng(8)
        vectors = random.standard_normal((3000, 24)).astype(np.float32)
        vectors[2000:] = vectors[:1000]
        files = self.files()
        reader = files.open(files.build(vectors))
        every = np.ones(3000, np.bool_)
        for rows in (every, random.random(3000) < 0.7, np.arange(3000) < 3):
            selection = reader.select(rows)
            exact_scores, exact = reader.search(vectors[:4], selection.n_selected, selection)
            for k in (1, 10, 300):
                scores, found = reader.search(vectors[:4], k, selection, exact=False)
                assert found.shape == (4, min(k, selection.n_selected))
                for i in range(4):
                    known = dict(zip(exact[i].tolist(), exact_scores[i].tolist(), strict=True))
                    assert [known[number] for number in found[i].tolist()] == scores[i].tolist()
                    assert len(set(found[i].tolist())) == len(found[i])
                    order = np.lexsort((found[i], -scores[i]))
                    assert order.tolist() == list(range(len(order)))

    def test_files_of_other_dimensions_are_not_joined(self) -> None:
        files = self.files()
        readers = [files.open(files.build(np.zeros((2, d), np.float32))) for d in (3, 4)]
        with pytest.raises(InvalidInputError):
            files.concatenate([(reader, np.arange(2)) for reader in readers])
        with pytest.raises(InvalidInputError):
            files.join(readers)
        for put_together in (files.concatenate, files.join):
            with pytest.raises(InvalidInputError):
                put_together([])

    def test_any_buffer_is_opened(self) -> None:
        vectors = np.random.default_rng(5).random((9, 4)).astype(np.float16).astype(np.float32)
        stored = self.files().build(vectors)
        mapped = mmap(-1, len(stored))
        mapped.write(stored)
        for buffer in (stored, bytearray(stored), memoryview(stored), mapped):
            reader = self.files().open(buffer)
            assert np.array_equal(reader.reconstruct(), vectors)

    @_inherited
    @given(garbage=st.binary(max_size=300))
    def test_garbage_is_refused(self, garbage: bytes) -> None:
        with pytest.raises(CorruptIndexError):
            self.files().open(garbage)

    @_inherited
    @given(st.data())
    def test_damaged_file_is_refused(self, data: st.DataObject) -> None:
        files = self.files()
        stored = bytearray(files.build(np.ones((3, 4), np.float32)))
        place = data.draw(st.integers(0, len(stored) - 1))
        stored[place] ^= data.draw(st.integers(1, 255))
        with pytest.raises(CorruptIndexError):
            files.open(bytes(stored))

    @_inherited
    @given(st.data())
    def test_cut_or_extended_file_is_refused(self, data: st.DataObject) -> None:
        files = self.files()
        stored = files.build(np.ones((3, 4), np.float32))
        with pytest.raises(CorruptIndexError):
            files.open(stored[: data.draw(st.integers(0, len(stored) - 1))])
        with pytest.raises(CorruptIndexError):
            files.open(stored + data.draw(st.binary(min_size=1, max_size=40)))
