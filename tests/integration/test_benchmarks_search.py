"""The benchmark of searching: a server, a writer beside it, and several clients."""

import math

from benchmarks import run_search, search_load
from benchmarks.search_load import Sizes, measure

SMALL = Sizes(series=120, questions=8, clients=3, each=2, warm_up=1, every_s=0.05, delta=2)


def test_a_small_run_answers_everything_from_several_manifests(tmp_path, exported):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "encoders").symlink_to(exported)
    found = measure(tmp_path, SMALL)
    assert found["errors"] == 0
    assert found["manifests_seen"] > 1
    assert (found["alone"]["n"], found["writing"]["n"], found["together"]["n"]) == (8, 8, 6)
    assert 0 < found["alone"]["median_ms"] <= found["alone"]["p95_ms"]
    assert found["server_mib"] > 10
    machine = {"machine": {"Date": "2026-11-26"}, "found": found}
    page = run_search.page({"load": machine})
    assert "120 series: one client" in page
    assert "of 22 questions, not answered | 0 | none | met |" in page


def test_a_slow_or_broken_service_misses_its_bars():
    slow = {"n": 1, "median_ms": 1.0, "p95_ms": 151.0, "most_ms": 200.0}
    found = {
        "series": 1,
        "clients": 50,
        "alone": slow,
        "writing": slow,
        "together": slow,
        "errors": 1,
        "manifests_seen": 1,
        "server_mib": math.nan,
    }
    met = [line.met for line in search_load.lines(found) if line.met is not None]
    assert met == [False, False, False]


def test_no_question_is_asked_twice():
    asked = list(search_load.questions())
    assert len(set(asked)) == len(asked) > 700
