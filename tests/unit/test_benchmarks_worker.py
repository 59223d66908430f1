"""The benchmark of the worker, small: what it compares is the same work."""

import pytest

from benchmarks import worker
from tests.support.pipeline import HashTextEncoder

N_SERIES = 7


@pytest.fixture(scope="module")
def found():
    texts = HashTextEncoder()
    house = worker.waiting_house(texts, N_SERIES, size=32)
    scenes = worker.scenes(texts, worker.Distant(0.0, 0.0))
    return worker.measure(house, scenes, batch=3, rounds=1)


def test_all_ways_write_the_same_rows(found):
    runs = [run for ways in found.values() for of_way in ways.values() for run in of_way]
    assert len(runs) == 9
    assert {run.n_indexed for run in runs} == {N_SERIES}
    assert all(run.contents == runs[0].contents for run in runs)
    assert len(runs[0].contents) == N_SERIES


def test_only_models_on_a_gpu_have_seconds_there(found):
    for scene, ways in found.items():
        for [run] in ways.values():
            assert (run.gpu_s > 0) == (scene == worker.GPU)
            assert run.seconds["decode"] > 0
            assert run.seconds["texts"] > 0


def made_up(times):
    def run(elapsed_s):
        seconds = dict.fromkeys(worker.STAGES, 1.0)
        return worker.Measured(
            elapsed_s=elapsed_s, seconds=seconds, gpu_s=0.0, n_indexed=10, contents={}
        )

    ways = {way.name: [run(times)] * 3 for way in worker.WAYS}
    ways[worker.NOW.name] = [run(1.0)] * 3
    return dict.fromkeys((worker.AT_HAND, worker.FAR, worker.GPU), ways)


@pytest.mark.parametrize(("times", "n_missed"), [(3.0, 0), (1.3, 2), (0.5, 4)])
def test_the_page_says_which_bars_are_missed(times, n_missed):
    text = worker.page(made_up(times), {"Python": "3"})
    assert text.count("**missed**") == n_missed
    assert text.count(f"{times:.2f}x") == 4
    assert "| overlapped | 100.0 | 100.0 |" in text
