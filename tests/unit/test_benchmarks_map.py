"""The benchmarks of the map, small: what they compare, and a page that admits what is missed."""

import json

import pytest

from benchmarks import map_growth, map_size, run_map
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
        patch.setattr(map_growth, "FIT", HASTY)
        patch.setattr(map_growth, "UNSEEN", {1: 36})
        patch.setattr(map_growth, "FINE_TUNE", FineTuneRecipe(few_passes=40))
        return map_growth.measure(tmp_path_factory.mktemp("bench"), 700, 3, (0,), 5)


def test_the_chain_meets_the_unseen_kind_and_measures_it_beside_a_refit(grown):
    (unseen,) = grown["0"]["unseen"]
    assert unseen["alarm"]
    assert unseen["provisional"] > 0.5
    assert unseen["encodes"] / unseen["learnt"] >= 80
    assert unseen["of_refit"] == pytest.approx(unseen["newTrust"] / unseen["refit_trust"])
    assert grown["0"]["usual_deltas"] == 2 + 5
    assert unseen["refit_moves_p95"] > grown["0"]["moved_since_major"]["p95"]


@pytest.fixture(scope="module")
def sized():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_size, "FIT", HASTY)
        patch.setattr(map_size, "FINE_TUNE", FineTuneRecipe(few_passes=40))
        return {"1500": map_size.grown_at(1500, 0) | {"peak_mib": 100.0}}


def test_a_large_map_is_fitted_alarmed_and_taught(sized):
    (found,) = sized.values()
    assert found["alarm"]
    assert found["provisional"] > 0.9
    assert found["finite"]
    assert found["encodes_per_point"] >= 80
    assert found["place_us"] > 0


def test_bars_of_size_that_are_missed_are_said_to_be(sized):
    (found,) = sized.values()
    good = found | {
        "encodes_per_point": 1000.0,
        "movedMedian": 0.002,
        "movedP95": 0.01,
        "oldTrustBefore": 0.99,
        "oldTrust": 0.99,
        "newTrust": 0.98,
    }

    def missed(**change):
        lines = map_size.lines({"1500": good | change})
        return [line.what.partition(": ")[2][:12] for line in lines if line.met is False]

    assert missed() == []
    assert missed(alarm=False) == ["a delta of 1"]
    assert missed(encodes_per_point=1300.0) == ["encodes for "]
    assert missed(movedP95=0.03) == missed(oldTrust=0.98) == ["old series m"]
    assert missed(newTrust=0.9) == ["trust of the"]


def kept(fit, growth, size=None):
    parts = {"fit": fit, "growth": growth, **({} if size is None else {"size": size})}
    return json.loads(
        json.dumps({name: {"found": each, "machine": {}} for name, each in parts.items()})
    )


def test_the_page_has_a_row_for_every_line_and_all_methods_side_by_side(grown, sized):
    found = kept(FIT, grown, sized)
    page = run_map.page(found)
    assert page.count("\n| 3,000 |") == 5
    assert all(f"| {line.what} |" in page for line in lines_of(run_map.PARTS, found))


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
