"""Growing: what the gate lets through, and what a chain of deltas leaves where it was."""

from dataclasses import replace

import numpy as np
import pytest

from gpu_worker.projection.finetune import plan_schedule
from gpu_worker.projection.gate import GateMeasures, GateRule, Refusal, may_help, refusals
from gpu_worker.projection.growing import Grown, KeptFrozen, grow, published
from gpu_worker.projection.quality import Drift, drift
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.reservoir import N_LANDMARKS
from indexer_core.errors import InvalidInputError
from tests.support.maps import archive, delta, fitted, in_force

STAYED = Drift(median=0.001, p95=0.01)
GOOD = GateMeasures(
    drift=STAYED,
    major_drift=STAYED,
    old_trust_before=0.99,
    old_trust=0.99,
    new_trust_before=0.9,
    new_trust=0.99,
)
SHORT = FineTuneRecipe(passes=200, few_passes=200)
STRICT = GateRule()


@pytest.fixture(scope="module")
def old():
    x = archive(1200)
    return in_force(fitted(x, FitRecipe(min_steps=150, passes=1)), x)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, ()),
        ({"drift": Drift(median=0, p95=0.0201)}, (Refusal.MOVED,)),
        ({"drift": Drift(median=0, p95=float("nan"))}, (Refusal.MOVED,)),
        ({"major_drift": Drift(median=0, p95=0.051)}, (Refusal.MOVED_FROM_MAJOR,)),
        ({"major_drift": None}, ()),
        ({"old_trust": 0.984}, (Refusal.OLD_WORSE,)),
        ({"old_trust": float("nan")}, (Refusal.OLD_WORSE,)),
        ({"new_trust": 0.96}, (Refusal.NEW_WORSE,)),
        ({"new_trust_before": 0.995}, (Refusal.NEW_WORSE,)),
        ({"new_trust": float("nan")}, (Refusal.NEW_WORSE,)),
        ({"old_trust": 0.5, "new_trust": 0.5}, (Refusal.OLD_WORSE, Refusal.NEW_WORSE)),
    ],
)
def test_the_gate_names_everything_that_speaks_against_publishing(change, expected):
    assert refusals(replace(GOOD, **change), STRICT) == expected


def test_heavier_landmarks_are_tried_only_where_they_can_help():
    assert may_help((Refusal.MOVED, Refusal.OLD_WORSE))
    assert may_help((Refusal.MOVED, Refusal.NEW_WORSE))
    assert not may_help((Refusal.NEW_WORSE,))
    assert not may_help(())


@pytest.mark.parametrize("n", [1, 50, 144, 299, 300, 512, 513, 5000])
def test_the_price_of_a_new_point_is_within_its_bounds(n):
    schedule = plan_schedule(n, FineTuneRecipe())
    per_point = 2 * schedule.pool * schedule.n_steps / n
    assert per_point <= (1200 if n < 300 else 800) * 1.001


def test_a_first_try_that_moves_points_is_followed_by_one_with_heavier_landmarks(old):
    new = delta(60)
    found = grow(old, new, SHORT, STRICT, version="1.1", seed=0, weight_factors=(0.0, 3.0))
    once = grow(old, new, SHORT, STRICT, version="1.1", seed=0, weight_factors=(3.0,))
    assert isinstance(found, Grown)
    assert found.cost.n_encodes == 2 * once.cost.n_encodes
    # Each try starts from the parent.
    assert found.projector.to_bytes() == once.projector.to_bytes()


def test_a_map_that_may_not_be_published_leaves_the_parent_untouched(old):
    before = old.projector.to_bytes(), old.points.tobytes()
    kept = grow(old, delta(60), SHORT, GateRule(max_drift=0), version="1.1", seed=0)
    assert isinstance(kept, KeptFrozen)
    assert Refusal.MOVED in kept.reasons
    assert (old.projector.to_bytes(), old.points.tobytes()) == before


def test_growing_is_repeatable(old):
    new = delta(40)
    found = [grow(old, new, SHORT, STRICT, version="1.1", seed=3) for _ in range(2)]
    assert found[0].cost == found[1].cost
    assert found[0].measures == found[1].measures


def test_growth_changes_neither_the_normalisation_nor_frozen_layers(old):
    found = grow(old, delta(60), SHORT, STRICT, version="1.1", seed=0)
    assert isinstance(found, Grown)
    assert found.projector.mu.tobytes() == old.projector.mu.tobytes()
    assert found.projector.scale == old.projector.scale
    assert old.n_frozen == 1
    first = found.projector.layers[0], old.projector.layers[0]
    assert first[0].weight.tobytes() == first[1].weight.tobytes()
    assert found.projector.layers[1].weight.tobytes() != old.projector.layers[1].weight.tobytes()


@pytest.mark.parametrize(
    "new",
    [
        archive(1, seed=5),
        archive(2, seed=5),
        np.repeat(archive(1, seed=5), 40, axis=0),
        np.zeros((20, 1024), np.float32),
        archive(30),  # points that are there already
    ],
    ids=["one", "two", "repeated", "zeros", "known"],
)
def test_degenerate_deltas_give_an_answer_and_no_nan(old, new):
    found = grow(old, new, SHORT, STRICT, version="1.1", seed=0)
    if isinstance(found, Grown):
        assert np.isfinite(found.projector.project(np.concatenate([old.vectors, new]))).all()
    assert np.isfinite(found.measures.drift.p95)
    assert np.isfinite([found.measures.old_trust, found.measures.new_trust]).all()


def test_a_delta_that_is_not_finite_is_refused(old):
    new = delta(10)
    new[4, 4] = np.nan
    with pytest.raises(InvalidInputError, match="1 of 10 vectors are not finite"):
        grow(old, new, SHORT, STRICT, version="1.1", seed=0)


def test_no_new_points_leave_the_map_alone(old):
    found = grow(old, delta(10)[:0], SHORT, STRICT, version="1.1", seed=0)
    assert found.cost.n_encodes == 0
    assert found.measures.drift.p95 == 0


def test_published_maps_keep_anchors_and_take_new_landmarks(old):
    new = delta(60)
    found = grow(old, new, SHORT, STRICT, version="1.1", seed=0)
    assert isinstance(found, Grown)
    after = published(old, new, found.projector, seed=0)
    assert after.major is old.projector
    assert len(after.points) == len(old.points) + 60
    assert len(after.landmark_rows) <= N_LANDMARKS
    assert (after.landmark_rows >= len(old.points)).any()
    places = dict(zip(old.landmark_rows.tolist(), old.anchors.tolist(), strict=True))
    for row, anchor in zip(after.landmark_rows.tolist(), after.anchors.tolist(), strict=True):
        if row < len(old.points):
            assert anchor == places[row]
        else:
            assert anchor == after.points[row].tolist()
    assert published(after, new[:0], found.projector, seed=0).major is old.projector


def test_a_chain_of_fine_tunes_is_measured_against_the_last_major_map(old):
    first = grow(old, delta(60), SHORT, STRICT, version="1.1", seed=0)
    assert isinstance(first, Grown)
    assert first.measures.major_drift is None
    after = published(old, delta(60), first.projector, seed=0)
    capped = GateRule(max_major_drift=0.0)
    kept = grow(after, archive(40, seed=6), SHORT, capped, version="1.2", seed=0)
    assert isinstance(kept, KeptFrozen)
    assert Refusal.MOVED_FROM_MAJOR in kept.reasons
    witnesses = np.setdiff1d(np.arange(len(after.points)), after.landmark_rows)
    if len(witnesses) < 20:
        witnesses = np.arange(len(after.points))
    on_major = old.projector.project(after.vectors[witnesses])
    assert kept.measures.major_drift is not None
    assert kept.measures.major_drift.p95 > drift(on_major, on_major).p95
