"""Where the time of a batch goes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gpu_worker.timing import STAGES, Timings, stage


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def timings(clock):
    return Timings(clock)


def spent(timings):
    return {name: seconds for name, seconds in timings.seconds.items() if seconds}


def test_a_stage_within_a_stage_counts_for_itself_alone(clock, timings):
    with timings.running(), stage("write"):
        clock.now_s += 1
        with stage("texts", on_gpu=True):
            clock.now_s += 10
            with stage("decode"):
                clock.now_s += 100
        clock.now_s += 1000
        with stage("texts", on_gpu=True):
            clock.now_s += 10
    assert spent(timings) == {"write": 1001.0, "texts": 20.0, "decode": 100.0}
    assert timings.gpu_s == 20.0


def test_a_stage_that_fails_counts_too(clock, timings):
    def fail():
        with stage("write"), stage("texts"):
            clock.now_s += 5
            raise ValueError

    with timings.running(), pytest.raises(ValueError):
        fail()
    assert spent(timings) == {"texts": 5.0}


def test_what_is_done_for_nobody_is_not_counted(clock, timings):
    with timings.running():
        pass
    with stage("see"):
        clock.now_s += 1
    assert spent(timings) == {}


def test_threads_count_for_the_batch_that_each_works_for(clock, timings):
    other = Timings(clock)

    def work(mine):
        with mine.running(), stage("see"):
            clock.now_s += 1

    with ThreadPoolExecutor(1) as pool, timings.running(), stage("write"):
        pool.submit(work, other).result()
        pool.submit(work, timings).result()
        clock.now_s += 7
    assert spent(other) == {"see": 1.0}
    # The threads are no part of this stage: it waited for them.
    assert spent(timings) == {"see": 1.0, "write": 9.0}


def test_all_stages_are_told_in_order(timings):
    assert tuple(timings.seconds) == STAGES
