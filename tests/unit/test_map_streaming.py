"""New series on a map that stays: places, strangers, alarms, and what a purge leaves of it."""

import numpy as np
import pytest

from benchmarks.made_up_archive import archive_of, joined
from gpu_worker.projection.archive import Archive
from gpu_worker.projection.carrying import MadeMap, fit_archive, grow_archive
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.quality import diagonal
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import DriftRule, alarm_over
from indexer_core.errors import InvalidInputError
from indexer_core.placing import FAR_RANK, nearest_landmarks, place, preserved
from indexer_core.projector import bootstrap_projector
from tests.support.maps import ENCODER, UNSEEN, archive, delta

N_BATCHES = 20
RECIPE = FitRecipe(min_steps=200, passes=1)
RULE = DriftRule()


@pytest.fixture(scope="module", params=[(0, 1000), (1, 3000)], ids=["few", "more than landmarks"])
def world(request):
    of, n = request.param
    x = archive(n, of=of)
    return of, x, fit_archive(archive_of(x), RECIPE, seed=0, lays_over=False)


def seen(world, new):
    _, _, made = world
    return place(new, made.projector, made.state)


def test_landmarks_are_series_of_the_archive_where_the_map_has_them(world):
    _, x, made = world
    landmarks = made.state.landmarks
    rows = [int(key[1:]) for key in landmarks.keys]
    np.testing.assert_array_equal(landmarks.vectors, x[rows])
    np.testing.assert_array_equal(landmarks.points, made.projector.project(x[rows]))
    np.testing.assert_array_equal(landmarks.anchors, landmarks.points)
    assert len(landmarks) == min(2000, len(x) - len(x) // 10)
    assert (made.state.version, made.state.watermark, made.state.n_points) == ("1.0", 7, len(x))
    assert made.state.metrics["trust"] > 0.9


def test_usual_batches_raise_no_alarm(world):
    of, _, made = world
    for number in range(N_BATCHES):
        drift = seen(world, archive(100, seed=100 + number, of=of)).drift
        assert alarm_over([drift], made.state.reference, RULE) is None


def test_every_batch_with_a_quarter_of_an_unseen_kind_raises_one(world):
    of, _, made = world
    for number in range(N_BATCHES):
        new = np.concatenate(
            [
                archive(25, seed=200 + number, of=of, clusters=[UNSEEN[number % 4]]),
                archive(75, seed=300 + number, of=of),
            ]
        )
        alarm = alarm_over([seen(world, new).drift], made.state.reference, RULE)
        assert alarm is not None
        assert alarm.far_share > 0.2


def test_the_map_keeps_fewer_neighbours_of_an_unseen_kind(world):
    of, _, made = world
    unseen = seen(world, delta(100, of=of, unseen=1, kind=UNSEEN[1])).drift
    usual = seen(world, archive(100, seed=9, of=of)).drift
    assert unseen.preserved_sum < 0.6 * 100 * made.state.reference.preservation
    assert usual.preserved_sum > 0.8 * 100 * made.state.reference.preservation


def test_strangers_are_placed_among_their_neighbours_and_flagged(world):
    of, _, made = world
    new = delta(100, of=of, unseen=0.5)
    placed = seen(world, new)
    assert placed.is_provisional[:50].mean() > 0.9
    assert placed.is_provisional[50:].mean() < 0.1
    landmarks, k = made.state.landmarks, made.state.reference.k
    near, _ = nearest_landmarks(new, landmarks.vectors, k)
    medians = np.median(landmarks.points[near], axis=1).astype(np.float32)
    strange = placed.is_provisional
    np.testing.assert_array_equal(placed.points[strange], medians[strange])
    frozen = made.projector.project(new)
    np.testing.assert_array_equal(placed.points[~strange], frozen[~strange])
    apart = np.linalg.norm(frozen - medians, axis=1) / diagonal(landmarks.points)
    assert np.median(apart[:50]) > 3 * np.median(apart[50:])


def test_a_place_depends_on_nothing_but_the_series(world):
    """Whatever comes along with it, in whatever order: the same bits."""
    of, _, _ = world
    new = delta(40, of=of)
    alone = np.concatenate([seen(world, new[row : row + 1]).points for row in range(40)])
    assert seen(world, new).points.tobytes() == alone.tobytes()
    assert seen(world, new[::-1].copy()).points[::-1].tobytes() == alone.tobytes()


def test_no_new_points_have_no_places(world):
    placed = seen(world, np.empty((0, 1024), np.float32))
    assert placed.points.shape == (0, 2)
    assert (placed.drift.n, placed.drift.n_far, placed.drift.preserved_sum) == (0, 0, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_has_no_place(world, bad):
    new = delta(3)
    new[1, 7] = bad
    with pytest.raises(InvalidInputError, match="not finite"):
        seen(world, new)


def test_a_map_that_was_never_fitted_knows_no_strangers():
    new = delta(10)
    projector = bootstrap_projector(1024, ENCODER)
    placed = place(new, projector, None)
    np.testing.assert_array_equal(placed.points, projector.project(new))
    assert not placed.is_provisional.any()
    assert placed.drift is None


def test_a_purge_that_leaves_too_few_landmarks_leaves_a_map_that_places_as_before(world):
    of, _, made = world
    keys = made.state.landmarks.keys
    bare = made.state.without(set(keys[5:]))
    placed = place(delta(10, of=of), made.projector, bare)
    np.testing.assert_array_equal(placed.points, made.projector.project(delta(10, of=of)))
    assert placed.drift is None


def test_the_nearest_landmarks_are_those_of_the_definition():
    random = np.random.default_rng(0)
    x, y = random.normal(size=(20, 6)), random.normal(size=(50, 6))
    near, third = nearest_landmarks(x.astype(np.float32), y.astype(np.float32), 7)
    apart = np.linalg.norm(x[:, None] - y[None], axis=2)
    for row in range(20):
        assert set(near[row]) == set(np.argsort(apart[row])[:7])
    np.testing.assert_allclose(third, np.sort(apart, axis=1)[:, FAR_RANK - 1], rtol=1e-5)
    assert preserved(near, near).tolist() == [1.0] * 20


def grown_of(world, unseen=1.0, rule=None, **others):
    """The map after a delta, which is in the archive by then."""
    of, x, made = world
    new = delta(90, of=of, unseen=unseen)
    placed = seen(world, new)
    old = archive_of(x, made.projector.project(x), version="1.0")
    both = joined(old, new, placed.points, placed.is_provisional)
    found = grow_archive(
        both,
        made.projector,
        made.state,
        None,
        0,
        FineTuneRecipe(few_passes=40),
        rule or GateRule(max_drift=1, max_old_loss=1, min_new_share=0),
        seed=0,
        **others,
    )
    return both, found


def test_a_map_that_has_learnt_has_landmarks_among_the_new_and_keeps_the_old_anchors(world):
    _, x, made = world
    both, found = grown_of(world)
    assert isinstance(found, MadeMap)
    before = dict(zip(made.state.landmarks.keys, made.state.landmarks.anchors, strict=True))
    landmarks = found.state.landmarks
    n_new = 0
    for key, anchor, point in zip(landmarks.keys, landmarks.anchors, landmarks.points, strict=True):
        if int(key[1:]) >= len(x):
            n_new += 1
            assert anchor.tolist() == point.tolist()
        else:
            assert anchor.tolist() == before[key].tolist()
    assert n_new > 10
    assert len(landmarks) <= 2000
    assert found.state.version == found.projector.version == "1.1"
    assert found.state.n_points == len(both)
    # Its new series are no strangers to it any more.
    again = place(both.vectors[len(x) :], found.projector, found.state)
    assert again.is_provisional.mean() < 0.05
    fresh = archive(100, seed=77, of=world[0], clusters=[UNSEEN[0]])
    assert place(fresh, found.projector, found.state).is_provisional.mean() <= 0.05


def test_a_map_that_may_not_be_published_says_why(world):
    _, found = grown_of(world, rule=GateRule(max_drift=0))
    assert "oldPointsMoved" in [reason.value for reason in found.reasons]


def test_landmarks_whose_series_have_gone_or_changed_hold_nothing(world):
    _, x, made = world
    gone, other = made.state.landmarks.keys[:2]
    stays = np.array([row != int(gone[1:]) for row in range(len(x))])
    both, _ = grown_of(world)
    rows = np.flatnonzero(np.concatenate([stays, np.ones(90, bool)]))
    vectors = both.vectors.copy()
    vectors[int(other[1:])] = vectors[5][::-1]
    less = Archive(
        manifest=both.manifest,
        keys=both.keys[rows],
        write_ids=both.write_ids[rows],
        vectors=vectors[rows],
        points=both.points[rows],
        is_provisional=both.is_provisional[rows],
    )
    found = grow_archive(
        less,
        made.projector,
        made.state,
        None,
        30,
        FineTuneRecipe(few_passes=2),
        GateRule(max_drift=1, max_old_loss=1, min_new_share=0),
        seed=0,
    )
    assert isinstance(found, MadeMap)
    assert gone not in found.state.landmarks.keys
    row = found.state.landmarks.keys.index(other) if other in found.state.landmarks.keys else None
    if row is not None:
        np.testing.assert_array_equal(found.state.landmarks.vectors[row], vectors[5][::-1])


def test_many_equal_series_do_not_make_strangers_usual():
    x = archive(1000)
    equal = np.repeat(archive(1, seed=99, clusters=[UNSEEN[1]]), 60, axis=0)
    alone = fit_archive(archive_of(x), RECIPE, seed=0, lays_over=False).state.reference
    made = fit_archive(archive_of(np.concatenate([x, equal])), RECIPE, seed=0, lays_over=False)
    assert made.state.reference.tau < 1.1 * alone.tau
    new = archive(50, seed=5, clusters=[UNSEEN[0]])
    assert place(new, made.projector, made.state).is_provisional.mean() > 0.9
