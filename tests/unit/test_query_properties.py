"""What holds of every question: nothing is invented, filters can be edited, garbage is cheap."""

import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.filters import Filter, parse_filter
from indexer_core.query.negation import elements_of
from indexer_core.query.parser import understand
from indexer_core.query.scan import scan
from indexer_core.query.spelling import Speller
from indexer_core.query.tokens import tokens_of
from indexer_core.query.vocabulary import PLAIN, load_vocabulary

TODAY = date(2026, 3, 31)
VOCABULARY = load_vocabulary()
TERMS = sorted(
    ((" ".join(phrase), entry) for phrase, entry in VOCABULARY.terms if entry is not PLAIN),
    key=lambda term: term[0],
)
# One term of each of these says something of its own, so that their order is free.
INDEPENDENT = (
    ("axial", "plane=axial"), ("liver", "bodyRegion=abdomen"), ("siemens", "manufacturer=Siemens"),
    ("women", "sex=F"), ("CT", "modality=CT"), ("post-contrast", "contrast=yes"),
    ("MPRAGE", "sequence=MPRAGE"), ("1.5T", "fieldStrengthT=1.5"),
    ("since 2019", "studyDate>=2019"),
    ("thin slice", "sliceThicknessMm<=1.5"), ("children", "ageYears<18"),
)  # fmt: skip
WORDS = st.text(alphabet=string.ascii_lowercase, min_size=1, max_size=12)


def filters(text: str) -> list[Filter]:
    return list(understand(text, today=TODAY).filters)


def test_every_synonym_gives_its_filter():
    assert len(TERMS) > 1000
    missing = []
    for words, entry in TERMS:
        beside = f" {min(entry.needs).lower()}" if entry.needs else ""
        asked = filters(f"{words}{beside}")
        missing += [
            (words, str(each))
            for each in (() if entry.is_soft else entry.filters)
            if not any(
                found.field == each.field and set(each.values) <= set(found.values)
                for found in asked
            )
        ]
    assert missing == []


def test_a_negated_term_gives_the_negated_filter():
    wrong = []
    for words, entry in TERMS:
        if entry.needs or entry.unless:
            continue
        understanding = understand(f"not {words}", today=TODAY)
        if understanding.alternatives != tuple((each,) for each in entry.negated):
            wrong.append(words)
    assert wrong == []


@given(st.lists(st.sampled_from([words for words, _ in TERMS]), min_size=1, max_size=6))
def test_filters_printed_and_read_again_are_the_same(words):
    for each in filters(" ".join(words)):
        assert parse_filter(str(each)) == each


@given(st.lists(st.sampled_from(INDEPENDENT), unique=True, min_size=1).flatmap(
    lambda chosen: st.tuples(st.just(chosen), st.permutations(chosen))
))  # fmt: skip
def test_order_of_independent_terms_changes_nothing(pair):
    chosen, shuffled = pair
    asked = filters(", ".join(words for words, _ in shuffled))
    assert asked == filters(", ".join(words for words, _ in chosen))
    assert {str(each) for each in asked} == {said for _, said in chosen}


@given(st.lists(WORDS, min_size=1, max_size=8))
def test_unknown_words_make_no_filter(words):
    speller = Speller(VOCABULARY.corrections, VOCABULARY.known)
    unknown = [
        word for word in words if word not in VOCABULARY.known and speller.correct(word) is None
    ]
    understanding = understand(" ".join(unknown), today=TODAY)
    assert understanding.alternatives == ((),)
    assert understanding.rest == " ".join(unknown)


@given(st.integers(1, 80), st.integers(1, 80))
def test_ranges_are_exact(first, second):
    low, high = sorted((first, second))
    assert [str(each) for each in filters(f"aged {first}-{second}")] == [
        f"ageYears>={low}", f"ageYears<={high}"
    ]  # fmt: skip
    assert [str(each) for each in filters(f"slice thickness from {first} to {second} mm")] == [
        f"sliceThicknessMm>={low}", f"sliceThicknessMm<={high}"
    ]  # fmt: skip


@given(st.text(max_size=300))
def test_no_text_raises(text):
    understanding = understand(text, today=TODAY)
    assert understanding == understand(text, today=TODAY)
    for term in understanding.terms:
        assert 0 <= term.start < term.end <= len(text)


@given(
    st.lists(
        st.sampled_from(
            ["not", "or", "and", ",", "/", "CT", "MR", "brain", "without", "contrast", "over", "60",
             "between", "2019", "-", "non-", "excluding", "of", "x", "≥", "mm", "1.5", "neither"]
        ),
        max_size=60,
    )
)  # fmt: skip
def test_no_row_of_signals_raises(words):
    assert 1 <= len(understand(" ".join(words), today=TODAY).alternatives) <= 16


@pytest.mark.parametrize(
    "text", ["a" * 2000, "qwertz " * 285, "not " * 500, "or CT " * 333, "1-" * 1000, "( " * 1000]
)
def test_garbage_is_read_in_steps_that_grow_with_its_length(text):
    tokens = tokens_of(text)
    items = scan(tokens, TODAY, VOCABULARY)
    assert len(tokens) <= len(text)
    assert sum(item.last - item.first for item in items) == len(tokens)
    assert len(elements_of(items).elements) <= len(items)


def test_spelling_costs_no_more_than_a_few_words_of_it():
    speller = Speller(VOCABULARY.corrections, VOCABULARY.known)
    for number in range(2000):
        speller.correct("braxq" + "abcdefghij"[number % 10] * 3)
    n_steps = speller.n_steps
    speller.correct("mamography")
    assert speller.n_steps == n_steps < 2_000_000
