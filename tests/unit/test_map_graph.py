"""Neighbours and the fuzzy graph: exact, and equal to umap-learn's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gpu_worker.projection.graph import bandwidths, fuzzy_graph, memberships
from gpu_worker.projection.neighbours import Neighbours, _without_self, nearest, neighbours_within
from indexer_core.errors import UnavailableError
from tests.support.maps import archive, references


def reference_neighbours():
    """The references count each point first among its own neighbours."""
    kept = references()
    return Neighbours(
        indices=kept["graph-indices"][:, 1:], distances=kept["graph-distances"][:, 1:]
    )


def test_bandwidths_and_nearest_distances_are_those_of_umap_learn():
    sigmas, rhos = bandwidths(reference_neighbours().distances)
    np.testing.assert_allclose(sigmas, references()["graph-sigmas"], rtol=1e-5)
    np.testing.assert_array_equal(rhos.astype(np.float32), references()["graph-rhos"])


def test_the_graph_is_that_of_umap_learn_equal_points_included():
    # Where a point is crowded out by its equals, umap-learn drops its first neighbour for itself;
    # we never count it, so such rows are left out of the comparison.
    kept = references()
    crowded = kept["graph-indices"][:, 0] != np.arange(300)
    assert crowded.sum() > 10
    found = fuzzy_graph(reference_neighbours())
    expected = np.zeros((300, 300), dtype=np.float32)
    expected[kept["graph-heads"], kept["graph-tails"]] = kept["graph-weights"]
    ours = np.zeros_like(expected)
    ours[found.heads, found.tails] = found.weights
    plain = ~crowded[:, None] & ~crowded[None]
    np.testing.assert_allclose(ours[plain], expected[plain], atol=1e-5)
    assert (ours[plain] > 0).sum() > 3000


def test_the_graph_is_symmetric_and_its_weights_are_shares():
    x = archive(200)
    found = fuzzy_graph(neighbours_within(x, 14, n_exact=1000, seed=0))
    table = np.zeros((200, 200))
    table[found.heads, found.tails] = found.weights
    np.testing.assert_array_equal(table, table.T)
    assert found.weights.min() > 0
    assert found.weights.max() <= 1
    assert not (found.heads == found.tails).any()


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20),
        elements=st.floats(0, 1e6, width=32),
    )
)
def test_memberships_are_shares_whatever_the_distances(distances):
    found = memberships(np.sort(distances, axis=1))
    assert np.isfinite(found).all()
    assert (found >= 0).all()
    assert (found <= 1).all()
    assert (found[:, 0] == 1).all()  # the nearest belongs fully


def test_a_row_of_memberships_adds_up_to_the_logarithm_of_its_length():
    x = archive(400)
    near = neighbours_within(x, 14, n_exact=1000, seed=0)
    np.testing.assert_allclose(memberships(near.distances).sum(axis=1), np.log2(15), atol=1e-3)


@pytest.mark.parametrize("n", [40, 3000])
def test_neighbours_are_those_of_brute_force(n):
    x, queries = archive(n)[:, :64].copy(), archive(30, seed=2)[:, :64].copy()
    found = nearest(queries, x, 10)
    distances = np.linalg.norm(queries[:, None].astype(np.float64) - x[None], axis=2)
    np.testing.assert_allclose(found.distances, np.sort(distances, axis=1)[:, :10], rtol=1e-5)
    taken = np.take_along_axis(distances, found.indices, axis=1)
    np.testing.assert_allclose(taken, found.distances, rtol=1e-5)


def test_a_point_is_not_its_own_neighbour_but_its_equal_is_at_distance_zero():
    x = archive(50)
    x[7] = x[3]
    found = neighbours_within(x, 5, n_exact=1000, seed=0)
    assert not (found.indices == np.arange(50)[:, None]).any()
    assert found.indices[7, 0] == 3
    assert found.distances[7, 0] == 0
    assert found.distances[0, 0] > 0.1


def test_no_query_has_no_neighbours():
    assert nearest(np.empty((0, 8), np.float32), np.ones((9, 8), np.float32), 3).indices.shape == (
        0,
        3,
    )


def test_an_approximate_search_that_lists_points_as_their_own_neighbours_is_corrected():
    indices = np.array([[0, 1, 2], [2, 1, 0], [0, 1, 3]])
    distances = np.array([[0, 1, 2], [0, 0, 3], [1, 1, 2]], dtype=np.float32)
    found = _without_self(indices, distances)
    np.testing.assert_array_equal(found.indices, [[1, 2], [2, 0], [0, 1]])
    np.testing.assert_array_equal(found.distances, [[1, 2], [0, 3], [1, 1]])


def test_without_the_library_for_many_points_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pynndescent", None)
    with pytest.raises(UnavailableError, match=r"install dicom-indexer\[map\]"):
        neighbours_within(archive(50), 5, n_exact=49, seed=0)


def test_neighbours_by_descent_are_nearly_all_of_the_exact_ones():
    x = archive(1200)
    exact = neighbours_within(x, 14, n_exact=2000, seed=0)
    found = neighbours_within(x, 14, n_exact=1000, seed=0)
    assert found.indices.shape == found.distances.shape == (1200, 14)
    assert not (found.indices == np.arange(1200)[:, None]).any()
    kept = np.mean(
        [len(set(a) & set(b)) for a, b in zip(found.indices, exact.indices, strict=True)]
    )
    assert kept > 0.9 * 14
    apart = np.linalg.norm(x[:50, None] - x[found.indices[:50]], axis=2)
    np.testing.assert_allclose(found.distances[:50], apart, atol=1e-3)
    again = neighbours_within(x, 14, n_exact=1000, seed=0)
    np.testing.assert_array_equal(again.indices, found.indices)
