"""Rules as a whole: votes, conflicts, phantoms, user files, and text of any kind."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer_core.errors import InvalidInputError
from indexer_core.rules import Vote, classify, load_rules
from indexer_core.rules.ballot import combined, ordered, tally, winner
from indexer_core.rules.model import CONTRASTS, PLANES, REGIONS
from tests.support.facts import series_facts as series

RULES = load_rules()
TEXT_KEYWORDS = (
    "SeriesDescription",
    "ProtocolName",
    "StudyDescription",
    "BodyPartExamined",
    "SequenceName",
    "ContrastBolusAgent",
    "Manufacturer",
    "Modality",
    "ImageType",
    "ROIName",
)


def test_description_beats_a_header_body_part_that_contradicts_it() -> None:
    said = classify(
        series(Modality="CR", SeriesDescription="Knee AP", BodyPartExamined="SKULL"), RULES
    )
    assert said.body_region == "lower extremity"
    assert "headerBodyPartMismatch" in said.flags


def test_header_body_part_is_believed_where_nothing_contradicts_it() -> None:
    said = classify(series(Modality="CT", BodyPartExamined="CSPINE"), RULES)
    assert said.body_region == "spine"
    assert said.body_part is not None
    assert (said.body_part.code, said.body_part.scheme) == ("122494005", "SCT")


def test_series_text_beats_the_texts_of_the_examination() -> None:
    said = classify(
        series(
            Modality="CT",
            SeriesDescription="abdomen 5mm",
            StudyDescription="CT Chest",
            RequestedProcedureDescription="CT Chest",
            BodyPartExamined="CHEST",
        ),
        RULES,
    )
    assert said.body_region == "abdomen"


def test_phantom_beats_every_body_part() -> None:
    said = classify(
        series(Modality="MR", StudyDescription="FMRIF^QA", BodyPartExamined="BRAIN"), RULES
    )
    assert said.body_region == "other"
    assert said.body_part is not None
    assert said.body_part.code == "706342009"
    assert "phantom" in said.flags


def test_anatomic_code_tells_the_part_without_any_words() -> None:
    said = classify(series(Modality="CT", AnatomicRegionSequence="41216001|SCT|"), RULES)
    assert said.body_part is not None
    assert said.body_part.term == "prostate"


def test_names_of_structures_tell_the_region_by_their_number() -> None:
    names = ("PTV1", "Rectum", "Bladder", "FemoralHead_L", "Prostate", "BODY")
    said = classify(series(Modality="RTSTRUCT", ROIName=names), RULES)
    assert said.body_region == "pelvis"


def test_every_classified_field_has_evidence_with_all_its_votes() -> None:
    said = classify(
        series(
            planes={"axial": 20},
            Modality="CT",
            SeriesDescription="HEAD W/O 5MM",
            BodyPartExamined="CHEST",
            Manufacturer="SIEMENS",
        ),
        RULES,
    )
    assert set(said.evidence) == {
        "modality",
        "bodyRegion",
        "bodyPart",
        "plane",
        "sequence",
        "contrast",
        "manufacturer",
    }
    regions = {(vote.value, vote.source) for vote in said.evidence["bodyRegion"].votes}
    assert regions == {("head", "SeriesDescription"), ("chest", "BodyPartExamined")}
    assert said.evidence["bodyRegion"].source == "SeriesDescription"
    assert 0 < said.evidence["bodyRegion"].confidence < 1


def test_evidence_never_repeats_the_text_it_comes_from() -> None:
    said = classify(series(Modality="CT", SeriesDescription="Zyxwvut head unenhanced"), RULES)
    assert "zyxwvut" not in str(said.evidence).lower()


def test_pixel_model_fills_what_the_header_does_not_tell() -> None:
    vote = Vote("bodyRegion", "chest", "model:m", 0.8)
    said = classify(series(Modality="DX"), RULES, (vote,))
    assert said.body_region == "chest"
    assert "headerPixelDisagreement" not in said.flags


def test_pixel_model_that_contradicts_the_header_is_flagged() -> None:
    vote = Vote("bodyRegion", "chest", "model:m", 0.8)
    said = classify(series(Modality="DX", SeriesDescription="Knee AP"), RULES, (vote,))
    assert "headerPixelDisagreement" in said.flags


def test_header_modality_stays_as_written_beside_what_the_object_is() -> None:
    said = classify(series(SOPClassUID="1.2.840.10008.5.1.4.1.1.77.1.6", Modality="xc"), RULES)
    assert (said.modality, said.header_modality) == ("SM", "XC")
    assert "headerModalityMismatch" in said.flags


texts = st.text(max_size=60)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(TEXT_KEYWORDS), texts, max_size=8),
    st.sampled_from(["CT", "MR", "US", "DX", ""]),
)
def test_any_text_is_classified_within_the_vocabularies(
    attributes: dict[str, str], modality: str
) -> None:
    facts = series(**{"Modality": modality, **attributes})
    said = classify(facts, RULES)
    assert said.body_region in REGIONS
    assert said.plane in PLANES
    assert said.contrast in CONTRASTS
    assert set(said.sequence) <= set(RULES.labels)
    assert said == classify(facts, RULES)


VOTES = [
    Vote("bodyRegion", region, source, confidence)
    for region, source, confidence in (
        ("head", "model:a", 0.31),
        ("head", "model:b", 0.77),
        ("chest", "model:c", 0.6),
        ("chest", "model:a", 0.4),
        ("abdomen", "model:d", 0.1),
    )
]


@given(st.permutations(VOTES))
def test_order_of_votes_is_of_no_consequence(votes: list[Vote]) -> None:
    assert winner(tally(votes)) == winner(tally(VOTES))
    assert ordered(votes) == ordered(VOTES)
    facts = series(SeriesDescription="neck")
    assert classify(facts, RULES, votes) == classify(facts, RULES, VOTES)


@given(st.lists(st.floats(0, 1), max_size=6))
def test_combined_confidence_stays_a_probability(confidences: list[float]) -> None:
    votes = [Vote("f", "v", f"s{i}", c) for i, c in enumerate(confidences)]
    assert 0 <= combined(votes) <= 1


def test_same_source_said_twice_counts_once() -> None:
    once = Vote("f", "v", "s", 0.5)
    assert combined([once, once]) == combined([once])


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_user_file_adds_words_and_changes_the_digest(tmp_path: Path) -> None:
    path = write(tmp_path, "body_parts: {parts: {knee: {words+: [gonarthro*]}}}\n")
    rules = load_rules([path])
    facts = series(Modality="CR", SeriesDescription="Gonarthrose")
    assert classify(facts, rules).body_region == "lower extremity"
    assert classify(facts, RULES).body_region == "unknown"
    assert rules.digest != RULES.digest
    assert load_rules().digest == RULES.digest


def test_user_file_removes_an_entry_with_null(tmp_path: Path) -> None:
    path = write(tmp_path, "sequences: {labels: {HASTE: null}}\n")
    assert "HASTE" not in load_rules([path]).labels


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("body_parts: {parts: {knee: {region: leg}}}", "mine.yaml: part knee: region"),
        ("body_parts: {parts: {x: {region: head}}}", "mine.yaml: part x: needs a term"),
        ("body_parts: {parts: {knee: {concept: Nowhere}}}", "mine.yaml: part knee: concept"),
        ("body_parts: {parts: {knee: {words: [no]}}}", "mine.yaml: part knee: words"),
        ("body_parts: {parts: {head: {within: brain}}}", "lies within itself"),
        ("sequences: {labels: {T1: {patterns: ['(']}}}", "mine.yaml: sequence T1: '('"),
        ("sequences: {physics: {echo_planar: {confidence: 7}}}", "confidence"),
        (
            "modality: {rules: {mine: {value: CT, confidence: 1, when: {KVP: often}}}}",
            "test of KVP",
        ),
        ("colours: {}", "mine.yaml: the top level"),
        ("a: [", "mine.yaml: not YAML"),
        ("body_parts: {parts+: [a]}", "only a list"),
        ("sources: {texts: {SeriesDescription: {body: 3}}}", "weights are numbers"),
    ],
)
def test_a_wrong_user_file_is_told_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_rules([write(tmp_path, text)])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_user_file_is_told_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"absent\.yaml: cannot be read"):
        load_rules([tmp_path / "absent.yaml"])


def test_shipped_rules_pass_their_own_validation(tmp_path: Path) -> None:
    assert load_rules([write(tmp_path, "")]).digest == RULES.digest
