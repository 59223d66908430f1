"""Measures of a map, against slow and plain versions of themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.manifold import trustworthiness

from gpu_worker.projection.alignment import aligned, alignment_of
from gpu_worker.projection.quality import (
    diagonal,
    drift,
    fidelity,
    rms_radius,
)
from indexer_core.placing import preserved
from indexer_core.projector import bootstrap_projector
from tests.support.maps import archive


def plain_trust(vectors, points, k, rows):
    """The definition, pair by pair."""
    n = len(vectors)
    far = np.linalg.norm(vectors[:, None].astype(np.float64) - vectors[None], axis=2)
    near = np.linalg.norm(points[:, None].astype(np.float64) - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    np.fill_diagonal(near, np.inf)
    excess, kept = 0, 0
    for i in rows:
        ranks = np.argsort(np.argsort(far[i])) + 1
        chosen = np.argsort(near[i])[:k]
        excess += sum(max(0, int(ranks[j]) - k) for j in chosen)
        kept += len(set(chosen) & set(np.argsort(far[i])[:k]))
    worst = len(rows) * k * (2 * n - 3 * k - 1) / 2
    return 1 - excess / worst, kept / (len(rows) * k)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.booleans())
def test_trust_and_recall_are_those_of_the_definition(seed, k, some):
    random = np.random.default_rng(seed)
    x = random.normal(size=(60, 5)).astype(np.float32)
    y = (x[:, :2] + random.normal(size=(60, 2)) * 0.5).astype(np.float32)
    rows = np.arange(0, 60, 3) if some else np.arange(60)
    found = fidelity(x, y, k, rows if some else None)
    trust, recall = plain_trust(x, y, k, rows)
    # Single precision may swap two neighbours that are all but equally far: three such at most.
    one_rank = 2 / (len(rows) * k * (2 * len(x) - 3 * k - 1))
    assert found.trust == pytest.approx(trust, abs=3.1 * one_rank)
    assert found.recall == pytest.approx(recall, abs=3.1 / (len(rows) * k))


def test_trust_is_that_of_scikit_learn():
    x = archive(600)[:, :32].copy()
    y = x[:, :2].copy()
    expected = trustworthiness(x, y, n_neighbors=15)
    assert fidelity(x, y).trust == pytest.approx(expected, abs=1e-6)
    assert expected < 0.9


def test_a_perfect_map_has_all_trust_and_a_shuffled_one_about_half():
    y = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    assert fidelity(y, y).trust == 1
    assert fidelity(y, y).recall == 1
    shuffled = y[np.random.default_rng(1).permutation(500)]
    assert fidelity(y, shuffled).trust == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_so_few_points_have_no_wrong_neighbours(n):
    found = fidelity(np.ones((n, 4), np.float32), np.ones((n, 2), np.float32))
    assert (found.trust, found.recall) == (1, 1)


def test_drift_is_a_share_of_the_diagonal_of_all_but_outliers():
    random = np.random.default_rng(0)
    before = random.uniform(0, 1, size=(1000, 2)).astype(np.float32)
    before[0] = 1e6  # a stray point must not hide a movement
    moved = before + np.float32([0.3, 0.4])
    found = drift(before, moved)
    assert found.median == pytest.approx(0.5 / np.sqrt(2 * 0.98**2), rel=0.02)
    assert found.p95 == pytest.approx(found.median, rel=1e-3)


def test_points_that_stay_do_not_drift_even_where_all_are_the_same():
    same = np.ones((10, 2), np.float32)
    assert drift(same, same).p95 == 0
    assert drift(same[:0], same[:0]).p95 == 0
    assert diagonal(same) > 0


def test_kept_neighbours_are_counted_whatever_their_order():
    high = np.array([[1, 2, 3, 4], [5, 6, 7, 8]])
    low = np.array([[4, 3, 2, 1], [5, 0, 9, 10]])
    np.testing.assert_array_equal(preserved(high, low), [1.0, 0.25])


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 6.3), st.booleans(), st.integers(0, 1000))
def test_alignment_undoes_turning_mirroring_and_shifting(angle, mirrored, seed):
    fixed = np.random.default_rng(seed).normal(size=(50, 2)).astype(np.float32) * 9
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if mirrored:
        turn = turn @ np.diag([1.0, -1.0])
    moving = (fixed @ turn.T + [30, -4]).astype(np.float32)
    found = alignment_of(moving, fixed)
    np.testing.assert_allclose(moving @ found.rotation.T + found.shift, fixed, atol=1e-3)


def test_alignment_never_stretches_a_map():
    fixed = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    found = alignment_of(fixed * 3, fixed)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(2), atol=1e-12)


def test_an_aligned_projector_places_every_point_aligned():
    x = archive(40)
    projector = bootstrap_projector(x.shape[1], "image/x")
    fixed = (projector.project(x) @ np.float32([[0, 1], [1, 0]])) + np.float32([5, 6])
    turned = aligned(projector, alignment_of(projector.project(x), fixed))
    np.testing.assert_allclose(turned.project(x), fixed, atol=1e-3)
    assert rms_radius(turned.project(x)) == pytest.approx(rms_radius(fixed), rel=1e-5)


def test_nothing_to_align_with_leaves_a_map_as_it_is():
    none = np.empty((0, 2), np.float32)
    found = alignment_of(none, none)
    np.testing.assert_array_equal(found.rotation, np.eye(2))
    np.testing.assert_array_equal(found.shift, [0, 0])
