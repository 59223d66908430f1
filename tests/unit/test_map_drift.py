"""The drift trigger."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_worker.projection.drift import calibrate, look_at, summarise
from gpu_worker.projection.recipe import FitRecipe
from gpu_worker.projection.watching import Alarm, DriftRule, DriftWatch, watch
from indexer_core.map_state import DriftReference
from indexer_core.placing import BatchDrift
from tests.support.maps import UNSEEN, archive, delta, fitted

N_BATCHES = 20
REFERENCE = DriftReference(k=15, tau=1.0, preservation=0.4)
RULE = DriftRule()


@pytest.fixture(scope="module", params=[0, 1], ids=["archive 0", "archive 1"])
def world(request):
    x = archive(2000, of=request.param)
    found = fitted(x, FitRecipe(min_steps=200, passes=1))
    trained = x[found.trained_rows]
    return request.param, found, trained, found.projector.project(trained)


def seen_in(world, batch):
    _, found, trained, places = world
    return summarise(*look_at(batch, found.projector, trained, places, 15), found.reference)


def test_usual_batches_raise_no_alarm(world):
    of, found, _, _ = world
    state, alarms = DriftWatch(), []
    for number in range(N_BATCHES):
        batch = seen_in(world, archive(100, seed=100 + number, of=of))
        state, alarm = watch(state, batch, found.reference, RULE)
        alarms.append(alarm)
    assert alarms == [None] * N_BATCHES


def test_every_batch_with_a_quarter_of_an_unseen_kind_raises_one(world):
    of, found, _, _ = world
    for number in range(N_BATCHES):
        new = np.concatenate(
            [
                archive(25, seed=200 + number, of=of, clusters=[UNSEEN[number % 4]]),
                archive(75, seed=300 + number, of=of),
            ]
        )
        _, alarm = watch(DriftWatch(), seen_in(world, new), found.reference, RULE)
        assert alarm is not None
        assert alarm.far_share > 0.2


def test_the_map_keeps_fewer_neighbours_of_an_unseen_kind(world):
    of, found, _, _ = world
    unseen = seen_in(world, delta(100, of=of, unseen=1, kind=UNSEEN[1]))
    assert unseen.preserved_sum / unseen.n < 0.6 * found.reference.preservation
    usual = seen_in(world, archive(100, seed=9, of=of))
    assert usual.preserved_sum / usual.n > 0.8 * found.reference.preservation


def test_an_unseen_kind_among_known_ones_is_noticed_by_what_the_map_tears_apart():
    torn = BatchDrift(n=60, n_far=0, preserved_sum=60 * 0.2)
    _, alarm = watch(DriftWatch(), torn, REFERENCE, RULE)
    assert alarm == Alarm(far_share=0.0, preservation=pytest.approx(0.2))


@pytest.mark.parametrize(
    ("batch", "alarms"),
    [
        (BatchDrift(n=100, n_far=5, preserved_sum=40), False),  # as usual as can be borne
        (BatchDrift(n=100, n_far=6, preserved_sum=40), True),
        (BatchDrift(n=99, n_far=99, preserved_sum=40), False),  # the window is not full
        (BatchDrift(n=49, n_far=0, preserved_sum=0), False),  # too few to say
        (BatchDrift(n=50, n_far=0, preserved_sum=0.24 * 50 - 0.1), True),
        (BatchDrift(n=50, n_far=0, preserved_sum=0.24 * 50 + 0.1), False),
        (BatchDrift(n=0, n_far=0, preserved_sum=0), False),
    ],
)
def test_the_trigger_at_its_limits(batch, alarms):
    assert (watch(DriftWatch(), batch, REFERENCE, RULE)[1] is not None) == alarms


def test_small_batches_add_up_in_the_window():
    state, alarm = DriftWatch(), None
    for _ in range(10):
        assert alarm is None
        batch = BatchDrift(n=10, n_far=1, preserved_sum=4)
        state, alarm = watch(state, batch, REFERENCE, RULE)
    assert alarm == Alarm(far_share=pytest.approx(0.1), preservation=pytest.approx(0.4))


def test_old_batches_leave_the_window():
    state, _ = watch(DriftWatch(), BatchDrift(n=40, n_far=40, preserved_sum=16), REFERENCE, RULE)
    for _ in range(5):
        batch = BatchDrift(n=100, n_far=0, preserved_sum=40)
        state, alarm = watch(state, batch, REFERENCE, RULE)
        assert state.batches == (batch,)
        assert alarm is None


def test_after_an_alarm_there_is_silence_until_enough_points_came():
    loud = BatchDrift(n=100, n_far=50, preserved_sum=10)
    state, alarm = watch(DriftWatch(), loud, REFERENCE, RULE)
    assert alarm is not None
    sounded = []
    for _ in range(6):
        state, alarm = watch(state, loud, REFERENCE, RULE)
        sounded.append(alarm is not None)
    assert sounded == [False, False, False, False, True, False]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 80), st.floats(0, 1), st.floats(0, 1)), max_size=25))
def test_the_window_never_holds_more_than_it_needs_and_alarms_keep_their_distance(batches):
    state, since = DriftWatch(), RULE.cooldown
    for n, far, kept in batches:
        batch = BatchDrift(n=n, n_far=round(n * far), preserved_sum=n * kept)
        state, alarm = watch(state, batch, REFERENCE, RULE)
        since += n
        assert sum(each.n for each in state.batches[1:]) < RULE.window
        if alarm is not None:
            assert since >= RULE.cooldown
            since = 0


def test_one_point_in_a_hundred_of_those_it_is_calibrated_on_is_far():
    distances = np.linspace(0, 1, 1000, dtype=np.float32)
    found = calibrate(15, distances, np.full(1000, 0.25))
    assert summarise(distances, np.full(1000, 0.25), found).n_far == 10
    assert found.preservation == 0.25
