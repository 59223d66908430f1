"""The drift trigger: what the newest points say of a map, and when that is an alarm."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.projection.drift import calibrate
from gpu_worker.projection.watching import (
    Alarm,
    DriftRule,
    DriftWatch,
    alarm_over,
    is_cool,
    newest_batches,
    watch,
)
from indexer_core.index.manifest import FileRef, Projection
from indexer_core.map_state import DriftReference
from indexer_core.placing import BatchDrift

REFERENCE = DriftReference(k=15, tau=1.0, preservation=0.4)
RULE = DriftRule()
FILE = FileRef(name="projections/x", sha256="", size_bytes=0)
FITTED = Projection(version="1.0", encoder_id="e", file=FILE)
GROWN = replace(FITTED, version="1.1", major=FILE)
KEPT = replace(FITTED, refused=("oldPointsMoved",), refused_at=7)


def after(projection, *batches):
    """The map after commits of so many points, strangers and neighbours kept."""
    for n, n_far, kept in batches:
        projection = projection.with_news(n, n_far, round(kept * 1000))
    return projection


def alarm_of(projection):
    return alarm_over(newest_batches(projection, RULE), REFERENCE, RULE)


def test_an_unseen_kind_among_known_ones_is_noticed_by_what_the_map_tears_apart():
    torn = after(FITTED, (60, 0, 60 * 0.2))
    assert alarm_of(torn) == Alarm(far_share=0.0, preservation=pytest.approx(0.2))


@pytest.mark.parametrize(
    ("batch", "alarms"),
    [
        ((100, 5, 40), False),  # as usual as can be borne
        ((100, 6, 40), True),
        ((99, 99, 40), False),  # the window is not full
        ((49, 0, 0), False),  # too few to say
        ((50, 0, 0.24 * 50 - 0.1), True),
        ((50, 0, 0.24 * 50 + 0.1), False),
        ((0, 0, 0), False),
    ],
)
def test_the_trigger_at_its_limits(batch, alarms):
    assert (alarm_of(after(FITTED, batch)) is not None) == alarms


def test_small_batches_add_up_in_the_window():
    projection = FITTED
    for _ in range(10):
        assert alarm_of(projection) is None
        projection = after(projection, (10, 1, 4))
    alarm = Alarm(far_share=pytest.approx(0.1), preservation=pytest.approx(0.4))
    assert alarm_of(projection) == alarm


def test_old_batches_leave_the_window():
    projection = after(FITTED, (40, 40, 16))
    for _ in range(5):
        projection = after(projection, (100, 0, 40))
        assert newest_batches(projection, RULE) == (BatchDrift(n=100, n_far=0, preserved_sum=40),)
        assert alarm_of(projection) is None


@given(st.lists(st.tuples(st.integers(0, 80), st.floats(0, 1), st.floats(0, 1)), max_size=25))
def test_the_window_holds_the_newest_and_no_more_than_it_needs(batches):
    counts = [(n, round(n * far), n * kept) for n, far, kept in batches]
    found = newest_batches(after(FITTED, *counts), RULE)
    told = [(batch.n, batch.n_far, batch.preserved_sum) for batch in found]
    assert told == [
        (n, far, pytest.approx(kept, abs=1e-3))
        for n, far, kept in counts[len(counts) - len(told) :]
    ]
    assert sum(batch.n for batch in found[1:]) < RULE.window
    assert len(found) == len(batches) or sum(batch.n for batch in found) >= RULE.window


def test_a_map_that_learnt_or_was_asked_in_vain_is_left_alone_for_a_while():
    assert is_cool(FITTED, RULE)
    for projection in (GROWN, KEPT):
        assert not is_cool(after(projection, (RULE.cooldown - 1, 0, 0)), RULE)
        assert is_cool(after(projection, (RULE.cooldown - 1, 0, 0), (1, 0, 0)), RULE)


def test_without_manifests_there_is_silence_after_an_alarm_too():
    loud = BatchDrift(n=100, n_far=50, preserved_sum=10)
    state, alarm = watch(DriftWatch(), loud, REFERENCE, RULE)
    assert alarm is not None
    sounded = []
    for _ in range(6):
        state, alarm = watch(state, loud, REFERENCE, RULE)
        sounded.append(alarm is not None)
    assert sounded == [False, False, False, False, True, False]


def test_one_point_in_a_hundred_of_those_it_is_calibrated_on_is_far():
    distances = np.linspace(0, 1, 1000, dtype=np.float32)
    found = calibrate(15, distances, np.full(1000, 0.25))
    assert (distances > found.tau).sum() == 10
    assert found.preservation == 0.25
