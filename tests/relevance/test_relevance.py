"""Search and classification on the judged series; fails when a figure drops."""

import sys

import pytest

from benchmarks.relevance import baselines, fits, measure
from tests.relevance.scoring import SPLITS, Report, load_judged, load_queries
from tests.support.system import Searcher

# What the tree reached, rounded down: raise these when a change does better.
FLOORS = {
    "tune": {"plain": 0.96, "negated": 0.99, "all": 0.97},
    "test": {"plain": 0.90, "negated": 0.89, "all": 0.90},
}
ACCURACY_FLOORS = {
    "tune": {"modality": 0.96, "bodyRegion": 0.96, "plane": 1.0, "sequence": 0.96, "contrast": 1.0},
    "test": {
        "modality": 1.0,
        "bodyRegion": 0.83,
        "plane": 0.96,
        "sequence": 0.92,
        "contrast": 0.98,
    },
}


def reports(searcher: Searcher) -> dict[str, Report]:
    """Reports of both splits."""
    return measure(searcher, {"ours": searcher.rank})["ours"]


@pytest.fixture(scope="module")
def scored(sample_searcher):
    return reports(sample_searcher)


def test_the_set_is_as_large_as_promised():
    queries = load_queries()
    assert len(load_judged()) >= 60
    assert len(queries) >= 40
    assert sum(query.kind == "negated" for query in queries) >= 10
    assert sum(query.kind == "none" for query in queries) >= 10


@pytest.mark.parametrize("split", SPLITS)
def test_average_precision_does_not_drop(scored, split, capsys):
    report = scored[split]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(report.lines()) + "\n")
    for kind, floor in FLOORS[split].items():
        assert report.average_precision[kind] >= floor, report.per_query


@pytest.mark.parametrize("split", SPLITS)
def test_understanding_is_better_than_every_baseline(scored, sample_searcher, split):
    ours = scored[split].average_precision["all"]
    compared = measure(sample_searcher, baselines(sample_searcher))
    for name, by_split in compared.items():
        assert by_split[split].average_precision["all"] < ours, name


def test_nothing_fits_is_said_where_nothing_answers_and_nowhere_else(sample_searcher):
    told = fits(sample_searcher)["tune"]
    assert told["none"][0] == told["none"][1]
    assert told["plain"][0] == told["negated"][0] == 0
    assert sample_searcher.answer("purple elephants dancing")["fit"] == "none"


@pytest.mark.parametrize("split", SPLITS)
def test_classification_accuracy_does_not_drop(scored, split):
    report = scored[split]
    for field, floor in ACCURACY_FLOORS[split].items():
        assert report.accuracy[field] >= floor, "\n".join(report.wrong[field])
