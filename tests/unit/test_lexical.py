"""Exact words beside similarity."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.lexical import WEIGHT, combine, matched_words, query_words, words_of


def test_function_words_do_not_count():
    assert query_words("Find all CT scans of the HEAD, without contrast") == {
        "ct",
        "head",
        "contrast",
    }


def test_words_match_in_any_text_and_any_case():
    words = query_words("T1 MPRAGE brain")
    assert matched_words(words, ["Sagittal MPRAGE.", "MRI of the Brain"]) == ("brain", "mprage")


@given(
    query=st.text(alphabet="aé1_- ²Σ", max_size=8),
    texts=st.lists(st.text(alphabet="aé1_- ²ΣA\n", max_size=12), max_size=3),
)
def test_words_are_those_that_taking_all_texts_apart_would_give(query, texts):
    words = words_of(query)
    apart = frozenset().union(*map(words_of, texts))
    assert matched_words(words, texts) == tuple(sorted(words & apart))


@pytest.mark.parametrize("query", ["", "of the"])
def test_a_query_of_nothing_leaves_the_similarity(query):
    assert combine(0.4, query_words(query), ()) == 0.4


def test_a_score_never_exceeds_one_and_rises_with_every_word():
    query = query_words("axial ct head")
    scores = [combine(0.5, query, words) for words in ((), ("ct",), ("ct", "head"))]
    assert scores == sorted(scores)
    assert len(set(scores)) == 3
    assert combine(1.0, query, ("axial", "ct", "head")) == pytest.approx(1.0)
    assert combine(0.0, query, ("axial", "ct", "head")) == pytest.approx(WEIGHT / (1 + WEIGHT))
