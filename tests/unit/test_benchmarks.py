"""The bars that a shared machine can hold: counts, and one ratio of runs that take turns."""

import math

import pytest

from benchmarks import header_ingest
from benchmarks.run import lines, page


@pytest.fixture(scope="module")
def figures(samples):
    return header_ingest.run(samples)


def test_classic_files_take_one_request(figures):
    assert figures["classic_files"] > 600
    assert figures["classic_in_one_request"] >= 0.98


def test_few_requests_and_bytes_are_spent_on_any_file(figures):
    assert figures["most_requests"] <= 6  # the steps that a header is read in
    assert figures["requests_per_file"] < 1.1
    assert figures["bytes_per_file"] < 64 * 1024


def test_headers_take_far_fewer_calls_than_by_pydicom(figures):
    # What the bar on time in `make bench` comes from, by a measure that no load changes. The time
    # itself cannot be tested here: of the two, coverage traces ours alone.
    assert figures["files_compared"] > 700
    assert figures["calls_of_pydicom"] >= 1.8


def made_up(**changes: float) -> dict[str, dict[str, float]]:
    class Figures(dict):
        def __missing__(self, name: str) -> float:
            return changes.get(name, 1.0)

    names = ("header", "help", "index", "cold", "warm")
    return {**{name: Figures() for name in names}, "machine": {"Python": "3"}}


def test_the_page_says_which_bars_are_missed():
    slow = made_up(times_faster=2.0, times_pydicom=0.5, p50_s=0.7, classic_in_one_request=0.9)
    assert [line.met for line in lines(slow) if line.met is not None] == [False] * 4
    assert page(slow).count("**missed**") == 4


def test_the_page_says_which_bars_are_met():
    fast = made_up(times_faster=5.0, times_pydicom=1.0, p50_s=0.1, classic_in_one_request=0.98)
    assert [line.met for line in lines(fast) if line.met is not None] == [True] * 4
    assert "**missed**" not in page(fast)


def test_a_figure_that_is_no_number_meets_no_bar():
    broken = made_up(times_faster=math.nan, times_pydicom=math.nan, classic_in_one_request=math.nan)
    assert [line.met for line in lines(broken) if line.met is not None][:3] == [False] * 3
