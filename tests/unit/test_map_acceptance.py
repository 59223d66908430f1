"""What a map must be able to do, beside umap-learn on the same points (ADR 0027)."""

import numpy as np
import pytest

from gpu_worker.projection.fitting import fit_map
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.growing import Grown, KeptFrozen, grow
from gpu_worker.projection.quality import fidelity
from gpu_worker.projection.recipe import FineTuneRecipe
from tests.support.maps import SMALL, UNSEEN, archive, delta, fitted, in_force, references

N, N_NEW, N_DIGITS = 3000, 800, 1437
LENIENT = GateRule(max_drift=1, max_major_drift=1, max_old_loss=1, min_new_share=0)


def of_old(vectors, points):
    """How faithful the places of the first thousand points are among all."""
    return fidelity(vectors, points, rows=np.arange(1000))


def of_new(old_vectors, new_vectors, old_points, new_points):
    """How faithful the new points' places are among all."""
    rows = np.arange(len(old_vectors), len(old_vectors) + len(new_vectors))
    vectors = np.concatenate([old_vectors, new_vectors])
    return fidelity(vectors, np.concatenate([old_points, new_points]), rows=rows)


def principal(vectors, others):
    mean = vectors.mean(axis=0)
    axes = np.linalg.svd(vectors - mean, full_matrices=False)[2][:2]
    return (vectors - mean) @ axes.T, (others - mean) @ axes.T


@pytest.fixture(scope="module", params=[0, 1], ids=["archive 0", "archive 1"])
def world(request):
    """An archive, a map of it, and its points in force."""
    x = archive(N, of=request.param)
    found = fitted(x, SMALL)
    return request.param, x, found, in_force(found, x)


@pytest.fixture(scope="module")
def grown(world):
    """The map after a delta with an unseen kind, and the same without landmarks."""
    of, _, _, old = world
    new = delta(144, of=of, kind=UNSEEN[2])
    tuned = grow(old, new, FineTuneRecipe(), GateRule(), version="1.1", seed=0)
    loose = grow(old, new, FineTuneRecipe(), LENIENT, version="1.1", seed=0, weight_factors=(0.0,))
    return new, tuned, loose


def test_a_fit_is_as_trustworthy_as_umaps_and_so_are_new_points(world):
    of, x, found, _ = world
    new = archive(N_NEW, seed=2, of=of)
    places, new_places = found.projector.project(x), found.projector.project(new)
    theirs, new_theirs = (references()[f"made-up-{of}-{part}"] for part in ("fit", "new"))
    ours, umaps = of_old(x, places), of_old(x, theirs)
    assert ours.trust >= 0.995 * umaps.trust
    assert ours.recall >= 0.85 * umaps.recall
    ours_new = of_new(x, new, places, new_places)
    assert ours_new.trust >= 0.99 * of_new(x, new, theirs, new_theirs).trust
    plain, new_plain = principal(x, new)
    assert ours.trust > of_old(x, plain).trust
    assert ours_new.trust > of_new(x, new, plain, new_plain).trust


def test_digits_are_mapped_as_well_as_by_umap():
    x = references()["digits"].astype(np.float32)
    x, new = x[:N_DIGITS], x[N_DIGITS:]
    projector = fitted(x, SMALL).projector
    ours, umaps = of_old(x, projector.project(x)), of_old(x, references()["digits-fit"])
    assert ours.trust >= 0.98 * umaps.trust
    assert ours.recall >= 0.85 * umaps.recall
    plain, new_plain = principal(x, new)
    found = of_new(x, new, projector.project(x), projector.project(new))
    assert ours.trust > of_old(x, plain).trust
    assert found.trust > of_new(x, new, plain, new_plain).trust


def test_an_unseen_kind_is_learnt_and_old_points_stay(world, grown):
    new, tuned, _ = grown
    assert isinstance(tuned, Grown)
    measures = tuned.measures
    assert measures.drift.median <= 0.01
    assert measures.drift.p95 <= 0.02
    assert measures.old_trust >= measures.old_trust_before - 0.005
    assert measures.new_trust > measures.new_trust_before
    assert tuned.cost.n_encodes <= 1200 * len(new)


def test_without_landmarks_old_points_would_move(grown):
    _, tuned, loose = grown
    assert loose.measures.drift.p95 >= 2 * tuned.measures.drift.p95
    assert loose.measures.drift.median >= 2 * tuned.measures.drift.median


def test_the_frozen_map_has_no_place_for_unseen_kinds(world):
    of, x, found, _ = world
    places = found.projector.project(x)
    known = archive(100, seed=9, of=of)
    usual = of_new(x, known, places, found.projector.project(known)).trust
    unseen = [archive(100, seed=7, of=of, clusters=[kind]) for kind in UNSEEN]
    trusts = [of_new(x, each, places, found.projector.project(each)).trust for each in unseen]
    assert min(trusts) < 0.9
    assert max(trusts) < usual
    assert usual > 0.98


def test_a_learnt_delta_is_placed_as_well_as_by_a_refit(world, grown):
    _, x, _, _ = world
    new, tuned, _ = grown
    everything = np.concatenate([x, new])
    rows = np.arange(len(x), len(everything))
    refit = fit_map(everything, SMALL, version="2.0", encoder_id="image/made-up", seed=1)
    ours, theirs = (
        fidelity(everything, each.projector.project(everything), rows=rows)
        for each in (tuned, refit)
    )
    assert ours.trust >= 0.98 * theirs.trust


def test_what_a_fine_tune_costs_does_not_follow_the_number_of_old_points(world):
    of, x, found, old = world
    new = delta(340, of=of)
    short = FineTuneRecipe(passes=20)
    half = in_force(found, x[: N // 2])
    costs = [
        grow(each, new, short, LENIENT, version="1.1", seed=0, weight_factors=(1.0,)).cost
        for each in (half, old)
    ]
    assert costs[0] == costs[1]
    assert FineTuneRecipe().passes * costs[0].n_encodes / 20 <= 800 * len(new)


def test_a_gate_that_cannot_be_met_keeps_the_parent_and_says_why(world):
    of, _, _, old = world
    strict = GateRule(max_drift=0.0)
    kept = grow(old, delta(60, of=of), FineTuneRecipe(few_passes=30), strict, version="1.1", seed=0)
    assert isinstance(kept, KeptFrozen)
    assert "oldPointsMoved" in kept.reasons
