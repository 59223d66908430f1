"""The bench of both homes, small: what it asks is answered alike, and the page says what it saw.

Times are not looked at here; `make bench-milvus` does that.
"""

import json

import pytest

from benchmarks import both_homes, milvus
from benchmarks.both_homes import FIRST, SECOND, Sizes

SIZES = Sizes(
    series=300, segment=100, delta=20, deltas=2, queries=3, rounds=1, text_dimension=32, seconds=1e6
)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def measured():
    pytest.importorskip("milvus_lite")
    found, on = milvus.run(None, "", SIZES)
    return json.loads(json.dumps(found, default=float)), on


@pytest.fixture
def found(measured):
    return measured[0]


def test_every_question_was_asked_of_both_homes_and_answered_alike(found):
    # Other answers would have failed an assertion of the bench itself.
    assert len(found["runs"]) == 1 + 2 * 9 + 3
    for runs in found["runs"].values():
        assert len(runs[FIRST]) == len(runs[SECOND]) == 3
    assert all(0 < share <= 1 for share in found["shares"].values())
    assert found["shares"]["all"] == 1
    assert len(found["delta_ms"][FIRST]) == len(found["delta_ms"][SECOND]) == 2


def test_filters_are_of_each_kind_and_about_as_narrow_as_they_are_called(found):
    for name in found["filters"]:
        if name != "all":
            share = float(name.partition(", ")[2].rstrip("%")) / 100
            assert share / 3 < found["shares"][name] < share * 3
    assert {said[0].partition("=")[0] for said in found["filters"].values() if said} >= {
        "sequence",
        "ageYears>",
    }


def test_the_page_has_a_row_for_everything_and_says_where_milvus_wins(measured):
    found, on = measured
    page = milvus.page(found, on)
    assert page.count("| first home |") + page.count("| **Milvus** |") >= len(found["runs"])
    assert "milvus-lite is one process in Python" in page
    quick = json.loads(json.dumps(found))
    quick["runs"]["facets"] = {FIRST: [3.0, 2.0, 4.0], SECOND: [1.0, 1.5, 9.0]}
    assert "| facets | 3 | 3.0 ms | 1.5 ms | 0.50x | **Milvus** |" in milvus.page(quick, on)


def test_another_milvus_is_told_without_its_memory(measured):
    found, on = measured
    elsewhere = {**found, "uri": "elsewhere"}
    for name in ("memory_before_mib", "memory_mib", "disk_mib"):
        elsewhere[name] = {**found[name], SECOND: None}
    page = milvus.page(elsewhere, on)
    assert "one that runs elsewhere" in page
    assert "milvus-lite is one process" not in page
    assert page.count("| - |") == 3


def test_homes_take_turns_in_going_first():
    order = []

    def ask(home):
        order.append(home)

    taken = {FIRST: [], SECOND: []}
    for _ in range(2):
        both_homes._turn(taken, "turns", {FIRST: 1, SECOND: 2}, ask, bool)
    assert order == [1, 2, 2, 1]
    assert len(taken[FIRST]) == len(taken[SECOND]) == 2


def test_homes_that_answer_differently_end_the_bench():
    states = {FIRST: 1, SECOND: 2}
    with pytest.raises(AssertionError, match="answer differently: number"):
        both_homes._turn({FIRST: [], SECOND: []}, "number", states, lambda home: home, int)
