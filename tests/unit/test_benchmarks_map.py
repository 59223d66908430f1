"""The benchmarks of the map, small: what they compare, and a page that admits what is missed."""

import json

import pytest

from benchmarks import map_growth, run_map
from benchmarks.parts import lines_of
from gpu_worker.projection.recipe import FineTuneRecipe
from tests.support.maps import HASTY

FAITHFUL = {"trust": 0.99, "recall": 0.5, "new_trust": 0.99, "new_recall": 0.4}
COMPARED = {
    "knn_s": 1.0,
    "umap_graph_given_s": 10.0,
    "umap": FAITHFUL | {"fit_s": 12.0},
    "full": FAITHFUL | {"fit_s": 21.0},
    "small": FAITHFUL | {"fit_s": 9.0},
    "inverse distance": FAITHFUL,
    "components": FAITHFUL,
    "ms_per_point": {"umap": 10.0, "full": 0.05, "small": 0.02},
    "single_ms": 0.2,
    "peak_mib": 900.0,
}
LARGE = {"fit_s": 60.0, "project_s": 9.0, "finite": True, "peak_mib": 2000.0, **FAITHFUL}
FIT = {"compared": {"3000": COMPARED}, "large": {"120000": LARGE}}


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_growth, "SMALL_MAP", HASTY)
        patch.setattr(map_growth, "UNSEEN", {1: 36})
        patch.setattr(map_growth, "FineTuneRecipe", lambda: FineTuneRecipe(few_passes=40))
        return map_growth.measure(tmp_path_factory.mktemp("bench"), 700, 3, (0,))


def test_the_chain_meets_the_unseen_kind_and_measures_it_beside_a_refit(grown):
    (unseen,) = grown["0"]["unseen"]
    assert unseen["alarm"]
    assert unseen["encodes_per_point"] >= 80
    assert unseen["of_refit"] == pytest.approx(unseen["new_trust"] / unseen["refit_trust"])
    assert grown["0"]["usual_deltas"] == 2
    assert unseen["refit_moves_p95"] > grown["0"]["moved_since_major"]["p95"]


def kept(fit, growth):
    parts = {"fit": fit, "growth": growth}
    return json.loads(
        json.dumps({name: {"found": each, "machine": {}} for name, each in parts.items()})
    )


def test_the_page_has_a_row_for_every_line_and_all_methods_side_by_side(grown):
    page = run_map.page(kept(FIT, grown))
    assert page.count("\n| 3,000 |") == 5
    assert all(f"| {line.what} |" in page for line in lines_of(run_map.PARTS, kept(FIT, grown)))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"full": COMPARED["full"] | {"trust": 0.98}}, "trust of the fit"),
        ({"full": COMPARED["full"] | {"new_trust": 0.97}}, "trust of new points"),
        ({"full": COMPARED["full"] | {"fit_s": 32.0}}, "CPU time of a fit"),
        ({"ms_per_point": {"umap": 4.0, "full": 0.05, "small": 0.02}}, "umap.transform"),
        ({"single_ms": 2.5}, "one point"),
    ],
)
def test_a_bar_that_is_missed_is_said_to_be(grown, change, what):
    fit = FIT | {"compared": {"3000": COMPARED | change}}
    missed = [line for line in run_map.PARTS["fit"].lines(fit) if line.met is False]
    assert len(missed) == 1
    assert what in missed[0].what


def test_deltas_that_moved_the_map_or_were_learnt_badly_are_missed_bars(grown):
    (found,) = grown.values()
    good = found["unseen"][0] | {"published": True, "of_refit": 0.99, "alarm": True}
    usual = {"unseen": [good] * 3, "false_alarms": 0, "moved_since_major": {"median": 0, "p95": 0}}
    usual |= {"usual_deltas": 17}

    def met(**change):
        return [line.met for line in map_growth.lines({"0": usual | change})]

    assert met() == [True, True, True]
    assert met(unseen=[good, good, good | {"of_refit": 0.9}]) == [False, True, True]
    assert met(unseen=[good, good, good | {"published": False, "of_refit": 0.9}]) == [True] * 3
    assert met(unseen=[good, good, good | {"alarm": False}]) == [True, False, True]
    assert met(false_alarms=1) == [True, False, True]
    assert met(moved_since_major={"median": 0.0, "p95": 0.06}) == [True, True, False]
