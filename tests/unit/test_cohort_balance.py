"""Balance cards: counts by value, and small ones that nobody can work out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.cohorts.balance import (
    AGE,
    FIELDS,
    MANUFACTURER,
    MODALITY,
    SEX,
    age_band,
    card_of,
    mean_differences,
    shown_counts,
)
from indexer_core.cohorts.wire import balance_of, records_of, whole
from tests.support.cohorts import filled


def records(**counts: int) -> list[dict]:
    """Series by sex, each of a patient of its own."""
    return [
        {"sex": sex, "patientKey": f"{sex}{n}", "studyInstanceUid": f"{sex}{n // 2}"}
        for sex, count in counts.items()
        for n in range(count)
    ]


def shown(card, field=SEX) -> dict[str, int | None]:
    return {cell.value: cell.n_series for cell in card.fields[field]}


def test_series_patients_and_studies_are_counted_with_the_unknown_last():
    said = [
        {"sex": None, "modality": "CT", "ageYears": 8.0, "patientKey": None},
        {"sex": "", "modality": "CT", "ageYears": 71.0, "patientKey": "a"},
        {"sex": "F", "modality": "CT", "ageYears": None, "patientKey": "a"},
    ]
    card = card_of(said)
    assert (card.n_series, card.n_patients, card.n_studies) == (3, 1, 1)
    assert list(shown(card).items()) == [("F", 1), ("unknown", 2)]
    assert list(shown(card, AGE)) == ["0-9", "70-79", "unknown"]
    assert shown(card, MODALITY) == {"CT": 3}
    (cell,) = card.fields[MODALITY]
    assert (cell.share, cell.n_patients) == (1.0, 1)
    assert set(card.fields) == set(FIELDS)


def test_the_card_of_a_cohort_is_that_of_its_records():
    house = filled()
    house.add(s7={"manufacturer": "ACME", "patientKey": "p", "bodyRegion": "head"})
    saved = house.save()
    then = house.at(saved.manifest)
    for scopes in (None, frozenset({"inbox"}), frozenset()):
        said = [record for _, record in records_of(saved, then, scopes)]
        assert balance_of(saved, then, scopes=scopes) == card_of(said)
    house.delete("s1")
    found = whole(saved, house.at(saved.manifest))
    assert (found["series"], found["deleted"], found["card"]["series"]) == (4, 1, 3)


def test_an_empty_cohort_has_an_empty_card():
    card = card_of([], least=5)
    assert (card.n_series, card.fields[SEX]) == (0, ())


@pytest.mark.parametrize(
    ("age", "band"),
    [(None, "unknown"), (0.5, "0-9"), (39.9, "30-39"), (40, "40-49"), (90, "90+"), (102, "90+")],
)
def test_ages_are_told_in_bands(age, band):
    assert age_band(age) == band


def test_spellings_that_a_filter_takes_for_one_are_one():
    said = [{"manufacturer": name} for name in ("ACME", "Acme", "ACME", "Other")]
    assert shown(card_of(said), MANUFACTURER) == {"ACME": 3, "Other": 1}


def test_a_small_count_is_hidden_and_another_so_that_it_cannot_be_worked_out():
    assert shown(card_of(records(F=20, M=9, O=2), least=5)) == {"F": 20, "M": None, "O": None}
    assert shown(card_of(records(F=20, M=9, O=2))) == {"F": 20, "M": 9, "O": 2}
    # Two small ones that are one each: their sum would tell.
    assert shown(card_of(records(F=20, M=1, O=1), least=5)) == {"F": None, "M": None, "O": None}


def test_few_patients_are_hidden_however_many_series_they_have():
    of_one = [{"sex": "F", "patientKey": "a"}] * 30
    card = card_of([*of_one, *records(M=30, O=30)], least=5)
    assert shown(card) == {"F": None, "M": None, "O": 30}
    assert card.n_series == 90
    alone = card_of(of_one, least=5)
    assert (alone.n_series, alone.n_patients, alone.fields[SEX]) == (None, None, None)


@given(
    counts=st.dictionaries(st.sampled_from("ABCDEF"), st.integers(1, 12), min_size=1),
    least=st.integers(0, 8),
)
def test_what_is_shown_is_true_and_nothing_small_is(counts, least):
    card = card_of(records(**counts), least)
    if card.fields[SEX] is None:
        return
    cells = shown(card)
    assert set(cells) == set(counts)
    assert all(n in (None, counts[value]) for value, n in cells.items())
    assert all(n >= least for n in cells.values() if n is not None)
    hidden = [counts[value] for value, n in cells.items() if n is None]
    assert not hidden or sum(hidden) - len(hidden) + 1 >= least
    assert len(hidden) != 1


def test_counts_that_fall_by_little_do_not_tell_how_little():
    assert shown_counts([100, 98, 60, 3, 0], 5) == [100, None, 60, None, 0]
    assert shown_counts([100, 98, 60, 3, 0], 0) == [100, 98, 60, 3, 0]


def test_mean_differences_are_those_of_shares():
    one, other = card_of(records(F=30, M=10)), card_of(records(F=10, M=30))
    found = mean_differences(one, other)[SEX]
    assert found["F"] == pytest.approx(0.5 / (0.1875**0.5))
    assert found["M"] == -found["F"]
    assert mean_differences(one, one)[SEX] == {"F": 0.0, "M": 0.0}
    assert mean_differences(card_of(records(F=3)), card_of(records(M=3)))[SEX] == {
        "F": None,
        "M": None,
    }
    hidden = mean_differences(one, card_of(records(F=10, M=2), least=5))
    assert hidden[SEX] == {"F": None, "M": None}
    assert mean_differences(one, card_of(records(F=2), least=5))[SEX] == {"F": None, "M": None}


def test_values_of_two_cards_are_told_in_the_order_of_one():
    one, other = (card_of([{"ageYears": age} for age in ages]) for ages in ((41, None), (5, 41)))
    assert list(mean_differences(one, other)[AGE]) == ["0-9", "40-49", "unknown"]
