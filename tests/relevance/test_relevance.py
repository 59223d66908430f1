"""Search and classification on the judged series; fails when a figure drops."""

import sys
from urllib.parse import quote

import pytest

from tests.relevance.scoring import SPLITS, Report, load_judged, load_queries, score
from tests.support.system import Searcher

# What the tree reached, rounded down: raise these when a change does better.
FLOORS = {
    "tune": {"plain": 0.93, "negated": 0.50, "all": 0.82},
    "test": {"plain": 0.84, "negated": 0.52, "all": 0.76},
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
    anchor_of: dict[str, str] = {}
    records = {}
    for entry in load_judged():
        key = searcher.series_of[quote(entry.anchor)]
        anchor_of[key] = entry.anchor
        records[entry.anchor] = searcher.records[key]

    def rank(text: str) -> list[str]:
        return [anchor_of[key] for key in searcher.rank(text) if key in anchor_of]

    return {split: score(split, records, rank) for split in SPLITS}


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
def test_classification_accuracy_does_not_drop(scored, split):
    report = scored[split]
    for field, floor in ACCURACY_FLOORS[split].items():
        assert report.accuracy[field] >= floor, "\n".join(report.wrong[field])
