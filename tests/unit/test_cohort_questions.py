"""From words and filters to what a cohort is drawn by."""

from datetime import date

import pytest

from indexer_core.cohorts.asking import ask
from indexer_core.cohorts.drawing import draw
from indexer_core.cohorts.model import Question
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.selection import Conditions
from tests.support.cohorts import filled, keys_of

TODAY = date(2026, 11, 26)
WOMEN = Conditions(filters=(parse_filter("sex=F"),), scopes=frozenset({"inbox"}))


def test_words_become_filters_behind_those_that_are_set():
    text = "CT of women with hydrocephalus since 2019"
    found = ask(text, WOMEN, today=TODAY)
    assert found.text == text
    assert found.rest == "hydrocephalus"
    assert found.filters == ("sex=F", "modality=CT", "studyDate>=2019")
    assert (found.alternatives, found.scopes) == ((), ("inbox",))
    assert found.conditions().filters[0] == WOMEN.filters[0]


def test_a_word_that_says_more_than_its_filter_is_told():
    assert ask("MR of the knee", today=TODAY).rest == "knee"


def test_either_or_stays_either_or():
    found = ask("CT of the abdomen or MR of the head", WOMEN, today=TODAY)
    assert found.filters == ("sex=F",)
    assert found.alternatives == (
        ("modality=CT", "bodyRegion=abdomen"),
        ("modality=MR", "bodyRegion=head"),
    )
    beside = Conditions(alternatives=((parse_filter("sex=F"),), (parse_filter("sex=M"),)))
    assert len(ask("CT", beside, today=TODAY).alternatives) == 2
    with pytest.raises(InvalidInputError, match="not from both"):
        ask("CT of the abdomen or MR of the head", beside, today=TODAY)


def test_dates_are_fixed_by_the_day_of_asking():
    found = ask("CT of the last 5 years", today=TODAY)
    assert ask("CT of the last 5 years", today=date(2030, 1, 1)) != found
    assert any(each.startswith("studyDate>=2021") for each in found.filters)


def test_words_that_choose_nothing_make_no_cohort_of_everything():
    for text, interpret in (("hydrocephalus", True), ("CT", False)):
        with pytest.raises(InvalidInputError, match="filters"):
            ask(text, today=TODAY, interpret=interpret)
    kept = ask("CT", WOMEN, today=TODAY, interpret=False)
    assert (kept.text, kept.rest, kept.filters) == ("CT", "CT", ("sex=F",))
    assert ask(" ", today=TODAY) == Question()


def test_the_series_of_a_text_are_those_of_its_filters():
    house = filled()
    assert keys_of(draw(house.snapshot(), ask("CT of women", today=TODAY))) == ["s1"]
