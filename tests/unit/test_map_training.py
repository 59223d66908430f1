"""Fitting: repeatable, bounded, honest about input that is no map."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_worker.projection.export import INPUT, OUTPUT, onnx_of
from gpu_worker.projection.graph import FuzzyGraph, fuzzy_graph
from gpu_worker.projection.inputs import MIN_DISTINCT, distinct_rows, finite_rows
from gpu_worker.projection.losses import cross_entropy
from gpu_worker.projection.neighbours import neighbours_within
from gpu_worker.projection.network import network_of, new_network
from gpu_worker.projection.quality import drift
from gpu_worker.projection.recipe import FitRecipe, Preset
from gpu_worker.projection.reservoir import pick_landmarks, sample_to_train, spread_over
from gpu_worker.projection.training import _Edges, n_steps_for, repeatable, train
from indexer_core.errors import InvalidInputError
from indexer_core.projector import Activation, Layer, Projector
from tests.support.maps import ENCODER, HASTY, archive, fitted

FULL = FitRecipe(preset=Preset.FULL, min_steps=20, passes=0.1)


@pytest.fixture(scope="module")
def vectors():
    return archive(600, dimension=128)


@pytest.fixture(scope="module", params=[HASTY, FULL], ids=["small", "full"])
def trained(request, vectors):
    return fitted(vectors, request.param)


def places_of(network, vectors):
    """As torch sees them."""
    with torch.no_grad():
        return network.encode(network.features(vectors)).numpy()


def test_the_same_seed_gives_the_same_bytes_and_another_another_map(vectors, trained):
    recipe = HASTY if trained.n_frozen else FULL
    assert fitted(vectors, recipe).projector.to_bytes() == trained.projector.to_bytes()
    other = fitted(vectors, recipe, seed=1).projector
    assert other.to_bytes() != trained.projector.to_bytes()


def test_what_other_programs_drew_or_set_makes_no_difference(vectors, trained):
    recipe = HASTY if trained.n_frozen else FULL
    np.random.seed(5)  # noqa: NPY002 - the global state is the point
    torch.manual_seed(77)
    again = fitted(vectors, recipe).projector
    assert again.to_bytes() == trained.projector.to_bytes()


def test_training_leaves_the_settings_of_torch_as_they_were():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ZeroDivisionError), repeatable(1):
        raise ZeroDivisionError
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before


def test_numpy_torch_and_onnx_agree(vectors, trained):
    projector = trained.projector
    published = projector.project(vectors)
    in_torch = places_of(network_of(projector, n_frozen=trained.n_frozen), vectors)
    session = onnxruntime.InferenceSession(onnx_of(projector))
    (in_onnx,) = session.run([OUTPUT], {INPUT: vectors})
    (single,) = session.run([OUTPUT], {INPUT: vectors[:1]})
    assert np.abs(published - in_torch).max() < 1e-4
    assert np.abs(published - in_onnx).max() < 1e-4
    assert np.abs(single - in_onnx[:1]).max() < 1e-4
    assert np.ptp(published, axis=0).min() > 0.1


def test_an_onnx_model_says_what_it_is_and_is_the_same_each_time(trained):
    data = onnx_of(trained.projector)
    assert data == onnx_of(trained.projector)
    described = onnxruntime.InferenceSession(data).get_modelmeta().custom_metadata_map
    assert described == {"version": "1.0", "encoder_id": ENCODER}


def test_a_model_with_every_kind_of_layer_is_exported_as_numpy_runs_it():
    random = np.random.default_rng(0)

    def layer(n_out, n_in, activation, *, residual=False):
        weight = random.normal(size=(n_out, n_in)).astype(np.float32)
        bias = random.normal(size=n_out).astype(np.float32)
        return Layer(weight=weight, bias=bias, activation=activation, residual=residual)

    projector = Projector(
        version="1.0",
        encoder_id=ENCODER,
        mu=random.normal(size=5).astype(np.float32),
        scale=0.5,
        layers=(
            layer(4, 5, Activation.GELU_TANH),
            layer(4, 4, Activation.RELU, residual=True),
            layer(3, 4, Activation.LINEAR),
            layer(2, 3, Activation.LINEAR),
        ),
    )
    x = random.normal(size=(50, 5)).astype(np.float32)
    (found,) = onnxruntime.InferenceSession(onnx_of(projector)).run(None, {INPUT: x})
    np.testing.assert_allclose(found, projector.project(x), atol=1e-4)


def test_a_point_lands_on_the_same_bits_alone_and_among_others(vectors, trained):
    together = trained.projector.project(vectors)
    alone = np.concatenate([trained.projector.project(x[None]) for x in vectors[:50]])
    assert alone.tobytes() == together[:50].tobytes()


def test_progress_is_told_and_ends_at_the_end(vectors):
    told = []
    fitted(vectors, replace(HASTY, min_steps=150, passes=0.1), progress=lambda *at: told.append(at))
    assert told == [(100, 150), (150, 150)]


def test_steps_follow_the_edges_of_much_data_and_a_floor_of_little():
    recipe = FitRecipe(passes=10, min_steps=100, many=600, many_passes=20)

    def graph(n_points, n_edges):
        ends = np.zeros(n_edges, np.int64)
        return FuzzyGraph(heads=ends, tails=ends, weights=ends, n_points=n_points)

    assert n_steps_for(graph(599, 50_000), recipe, 1000) == 500
    assert n_steps_for(graph(600, 50_000), recipe, 1000) == 1000
    assert n_steps_for(graph(20, 300), recipe, 1000) == 100


def test_of_more_points_than_are_trained_on_a_sample_is_and_all_have_a_place(vectors):
    found = fitted(vectors, replace(HASTY, n_trained=200))
    assert len(found.trained_rows) <= 200
    assert len(found.trained_rows) >= 195
    assert np.isfinite(found.projector.project(vectors)).all()


def test_batches_smaller_than_the_data_are_trained_too(vectors):
    recipe = replace(HASTY, batch_edges=64, min_steps=30, passes=0.1)
    network = new_network(vectors, recipe.preset, seed=0)
    graph = fuzzy_graph(neighbours_within(vectors, 14, n_exact=1000, seed=0))
    before = places_of(network, vectors)
    steps = n_steps_for(graph, recipe, 64)
    with repeatable(1):
        assert train(network, network.features(vectors), graph, recipe, seed=0) == 128 * steps
    assert np.abs(places_of(network, vectors) - before).max() > 0.1


def test_edges_are_drawn_by_their_weight(vectors):
    graph = fuzzy_graph(neighbours_within(vectors, 14, n_exact=1000, seed=0))
    edges = _Edges(graph, torch.device("cpu"), 0)
    heads, tails = edges.draw(400_000)
    n = graph.n_points
    counts = np.bincount((heads * n + tails).numpy(), minlength=n * n)
    expected = np.zeros(n * n)
    expected[graph.heads * n + graph.tails] = graph.weights / graph.weights.sum() * 400_000
    assert (counts[expected == 0] == 0).all()
    surprise = (counts - expected)[expected > 0] / np.sqrt(expected[expected > 0])
    assert np.sqrt((surprise**2).mean()) == pytest.approx(1, abs=0.05)


def test_coinciding_points_give_a_finite_gradient_and_are_not_pushed_from_themselves():
    points = torch.zeros(4, 2, requires_grad=True)
    others = points[:, None].expand(4, 3, 2)
    loss = cross_entropy(points, points * 1, others, torch.ones(4, 3, dtype=torch.bool))
    loss.backward()
    assert torch.isfinite(points.grad).all()
    mine = cross_entropy(points, points, others, torch.zeros(4, 3, dtype=torch.bool))
    assert mine.item() < 1e-5 < loss.item()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_not_finite_are_refused_with_their_number(vectors, bad):
    spoilt = vectors[:100].copy()
    spoilt[[3, 8], 5] = bad
    assert finite_rows(spoilt).sum() == 98
    with pytest.raises(InvalidInputError, match="2 of 100 vectors are not finite"):
        fitted(spoilt)


@pytest.mark.parametrize(
    ("x", "distinct"),
    [
        (np.empty((0, 8), np.float32), 0),
        (np.ones((1, 8), np.float32), 1),
        (np.eye(2, 8, dtype=np.float32), 2),
        (np.ones((500, 8), np.float32), 1),
        (np.zeros((500, 8), np.float32), 1),
        (np.repeat(np.eye(8, dtype=np.float32), 90, axis=0), 8),
    ],
    ids=["none", "one", "two", "all equal", "constant", "few kinds"],
)
def test_next_to_nothing_is_no_map_and_says_so(x, distinct):
    with pytest.raises(InvalidInputError, match=f"hold {distinct}; the map in force stays"):
        fitted(x)


def test_vectors_of_another_kind_of_number_are_refused(vectors):
    with pytest.raises(InvalidInputError, match="float32"):
        fitted(vectors.astype(np.float64))


def test_the_fewest_vectors_that_make_a_map_do():
    x = archive(MIN_DISTINCT)
    places = fitted(x).projector.project(x)
    assert np.isfinite(places).all()
    assert len(np.unique(places, axis=0)) == MIN_DISTINCT


def test_repeated_vectors_share_a_place_and_make_no_difference_to_the_map(vectors):
    repeated = np.concatenate([vectors, np.repeat(vectors[:5], 100, axis=0)])
    found = fitted(repeated)
    assert found.projector.to_bytes() == fitted(vectors).projector.to_bytes()
    places = found.projector.project(repeated)
    assert np.isfinite(places).all()
    assert len(np.unique(places[600:700], axis=0)) == 1


def test_a_refit_is_laid_over_the_map_before_it(vectors):
    before = fitted(vectors).projector.project(vectors)
    old_points = before.copy()
    old_points[::7] = np.nan  # came after that map
    free = fitted(vectors, seed=1).projector.project(vectors)
    laid = fitted(vectors, seed=1, old_points=old_points).projector.project(vectors)
    assert np.isfinite(laid).all()
    assert drift(before, laid).median < 0.9 * drift(before, free).median
    # Turned and shifted, not fitted anew.
    np.testing.assert_allclose(
        np.linalg.norm(laid[1:] - laid[0], axis=1),
        np.linalg.norm(free[1:] - free[0], axis=1),
        atol=1e-3,
    )


def test_a_refit_without_a_point_on_the_map_before_it_lies_as_it_fell(vectors):
    nowhere = np.full((len(vectors), 2), np.nan, np.float32)
    laid = fitted(vectors, old_points=nowhere).projector
    assert laid.to_bytes() == fitted(vectors).projector.to_bytes()


def test_vectors_that_vary_in_one_direction_only_give_a_finite_map():
    x = np.zeros((200, 16), np.float32)
    x[:, 3] = np.linspace(0, 1, 200)
    places = fitted(x, HASTY).projector.project(x)
    assert np.isfinite(places).all()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_distinct_rows_are_the_first_of_their_kind(kinds):
    x = np.array(kinds, dtype=np.float32)[:, None] * np.ones(3, np.float32)
    x[x == 0] *= -1  # the other zero
    x[0] = np.abs(x[0])
    assert distinct_rows(x).tolist() == sorted({kinds.index(kind) for kind in kinds})


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 70))
def test_points_spread_over_cells_are_as_even_as_the_cells_allow(cells, n):
    rows = spread_over(np.array(cells), n, seed=0)
    assert len(rows) == len(set(rows.tolist())) == min(n, len(cells))
    taken = np.bincount(np.array(cells)[rows], minlength=10)
    counts = np.bincount(cells, minlength=10)
    wanting = taken < counts
    assert not wanting.any() or taken.max() <= taken[wanting].min() + 1


def test_landmarks_cover_the_sparse_parts_of_a_map():
    random = np.random.default_rng(0)
    dense = random.normal(size=(20_000, 2)).astype(np.float32)
    sparse = (random.uniform(20, 30, size=(40, 2))).astype(np.float32)
    rows = pick_landmarks(np.concatenate([dense, sparse]), 500, seed=0)
    assert len(rows) == 500
    assert (rows >= 20_000).sum() > 30  # a plain sample would hold one


def test_landmarks_of_points_that_coincide_are_just_some_of_them():
    assert len(pick_landmarks(np.ones((50, 2), np.float32), 20, seed=0)) == 20


def test_a_sample_to_train_on_keeps_rare_kinds():
    rare = archive(30, clusters=[39], dimension=128)
    usual = archive(6000, clusters=[0, 1, 2], dimension=128)
    rows = sample_to_train(np.concatenate([rare, usual]), 600, seed=0)
    assert 590 < len(rows) <= 600
    assert (rows < 30).sum() > 6  # its share would be three
    np.testing.assert_array_equal(rows, np.unique(rows))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_fits_as_good_a_map_by_the_same_code_and_twice_the_same(vectors):
    found = fitted(vectors, device="cuda").projector
    assert found.to_bytes() == fitted(vectors, device="cuda").projector.to_bytes()
    assert np.isfinite(found.project(vectors)).all()
