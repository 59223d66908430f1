"""What pixels say meets what headers say."""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.errors import InvalidInputError
from indexer_core.facts import Finding
from indexer_core.records import build_record, to_public_json
from indexer_core.rules import classify, load_rules
from indexer_core.rules.model import PLANES, REGIONS, UNKNOWN
from tests.support.facts import series_facts as series

RULES = load_rules()
FLAG = "headerPixelDisagreement"


def seen(value: str, confidence: float = 0.9, field: str = "bodyRegion") -> Finding:
    return Finding(
        field=field,
        value=value,
        confidence=confidence,
        source="model:m",
        scores=((value, confidence), ("neck", 0.05)),
        n_slices=3,
        n_agreeing=2,
        labels="l",
    )


def test_pixels_tell_what_the_header_does_not():
    said = classify(series(seen("head"), Modality="CT"), RULES)
    assert said.body_region == "head"
    assert said.evidence["bodyRegion"].source == "model:m"
    assert said.evidence["bodyRegion"].votes[0].rule == "2 of 3 slices"
    assert FLAG not in said.flags


def test_agreement_makes_it_surer():
    alone = classify(series(Modality="CT", SeriesDescription="Head 5mm"), RULES)
    both = classify(series(seen("head"), Modality="CT", SeriesDescription="Head 5mm"), RULES)
    assert both.body_region == alone.body_region == "head"
    assert both.evidence["bodyRegion"].confidence > alone.evidence["bodyRegion"].confidence
    assert FLAG not in both.flags


def test_the_words_of_a_series_win_over_pixels_and_the_series_is_flagged():
    said = classify(series(seen("head", 1.0), Modality="CT", SeriesDescription="Knee"), RULES)
    assert said.body_region == "lower extremity"
    assert FLAG in said.flags
    assert {vote.value for vote in said.evidence["bodyRegion"].votes} == {"lower extremity", "head"}


def test_pixels_win_over_a_body_part_that_nothing_else_confirms_and_the_series_is_flagged():
    said = classify(series(seen("head"), Modality="CT", BodyPartExamined="KNEE"), RULES)
    assert said.body_region == "head"
    assert FLAG in said.flags
    assert "headerBodyPartMismatch" in said.flags


def test_weak_pixels_do_not():
    said = classify(series(seen("head", 0.45), Modality="CT", BodyPartExamined="KNEE"), RULES)
    assert said.body_region == "lower extremity"
    assert FLAG not in said.flags


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Chest", "heart"),
        ("Lumbar spine", "abdomen"),
        ("Pelvis", "abdomen"),
        ("Whole body", "chest"),
        ("ACR phantom", "head"),
    ],
)
def test_what_may_both_be_true_is_neither_counted_nor_flagged(text, value):
    alone = classify(series(Modality="CT", SeriesDescription=text), RULES)
    both = classify(series(seen(value, 1.0), Modality="CT", SeriesDescription=text), RULES)
    assert both.body_region == alone.body_region != value
    assert both.evidence["bodyRegion"].confidence == alone.evidence["bodyRegion"].confidence
    assert value in {vote.value for vote in both.evidence["bodyRegion"].votes}
    assert FLAG not in both.flags


def test_geometry_decides_the_plane_alone_and_pixels_that_differ_are_flagged():
    found = seen("coronal", 0.95, "plane")
    said = classify(series(found, planes={"axial": 20}, Modality="CT"), RULES)
    assert said.plane == "axial"
    assert FLAG in said.flags
    oblique = classify(series(found, planes={"oblique": 20}, Modality="MR"), RULES)
    assert oblique.plane == "oblique"
    assert FLAG not in oblique.flags


def test_without_geometry_pixels_tell_the_plane():
    said = classify(series(seen("coronal", 0.95, "plane"), Modality="MR"), RULES)
    assert said.plane == "coronal"
    said = classify(
        series(seen("coronal", 0.95, "plane"), Modality="MR", SeriesDescription="sag T1"), RULES
    )
    assert said.plane == "sagittal"
    assert FLAG in said.flags


def test_a_model_that_abstained_has_no_vote_but_is_told_in_the_evidence():
    abstained = replace(seen("head", 0.4), value=UNKNOWN)
    facts = series(abstained, Modality="CT", SeriesDescription="Knee")
    said = classify(facts, RULES)
    assert said == classify(replace(facts, findings=()), RULES)
    evidence = to_public_json(build_record("k", 1, facts, said, ["t"] * 5))["evidence"]
    assert evidence["pixelBodyRegion"]["value"] == UNKNOWN
    assert evidence["pixelBodyRegion"]["confidence"] == 0.4
    assert [vote["value"] for vote in evidence["pixelBodyRegion"]["votes"]] == ["head", "neck"]


def test_a_record_without_findings_has_no_evidence_of_pixels():
    facts = series(Modality="CT")
    public = to_public_json(build_record("k", 1, facts, classify(facts, RULES), ["t"] * 5))
    assert not [name for name in public["evidence"] if name.startswith("pixel")]


findings_of_any_kind = st.lists(
    st.builds(
        seen,
        st.sampled_from([region for region in REGIONS if region != UNKNOWN]),
        st.floats(0, 1),
    )
    | st.builds(
        lambda value, confidence: seen(value, confidence, "plane"),
        st.sampled_from(["axial", "coronal", "sagittal"]),
        st.floats(0, 1),
    ),
    max_size=3,
)


@given(
    findings_of_any_kind,
    st.sampled_from(["", "Head", "Knee cor", "Chest axial", "Whole body"]),
    st.sampled_from([{}, {"axial": 9}, {"axial": 3, "coronal": 3}]),
)
def test_whatever_was_found_stays_within_the_vocabularies_and_in_the_evidence(found, text, planes):
    attributes = {"SeriesDescription": text} if text else {}
    said = classify(series(*found, planes=planes, Modality="MR", **attributes), RULES)
    assert said.body_region in REGIONS
    assert said.plane in PLANES
    for finding in found:
        votes = said.evidence[finding.field].votes
        assert any(v.value == finding.value and v.source == finding.source for v in votes)
        assert all(v.confidence <= 0.7 for v in votes if v.source == finding.source)


@given(findings_of_any_kind)
def test_a_header_that_says_nothing_contradicts_nothing(found):
    assert FLAG not in classify(series(*found, Modality="MR"), RULES).flags


def test_the_rule_can_be_changed(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        "sources: {limits: {model_cap: 0.95}}\n"
        "pixels: {alike: {bodyRegion+: [[head, lower extremity]]}}\n"
    )
    mine = load_rules((file,))
    words = series(seen("head", 1.0), Modality="CT", SeriesDescription="Chest")
    assert classify(words, mine).body_region == "head"
    knee = series(seen("head", 1.0), Modality="CT", SeriesDescription="Knee")
    assert FLAG not in classify(knee, mine).flags
    assert mine.digest != RULES.digest


@pytest.mark.parametrize(
    "change",
    ["sure: 2", "alike: {bodyRegion: [[head]]}", "alike: {plane: [[up, down]]}", "alike: {x: []}"],
)
def test_mistakes_in_the_rule_are_told(tmp_path, change):
    (tmp_path / "mine.yaml").write_text(f"pixels: {{{change}}}\n")
    with pytest.raises(InvalidInputError, match=r"mine\.yaml: pixels"):
        load_rules((tmp_path / "mine.yaml",))


def test_pairs_that_are_alike_name_values_that_exist():
    known = {"bodyRegion": {*REGIONS, "*"}, "plane": {*PLANES, "*"}}
    for field, pairs in RULES.tables["pixels"]["alike"].items():
        assert {value for pair in pairs for value in pair} <= known[field]
        assert len({frozenset(pair) for pair in pairs}) == len(pairs)
        assert all(first != second for first, second in pairs)
    clear = product(["head"], ["chest", "abdomen", "pelvis", "lower extremity"])
    assert not {frozenset(p) for p in clear} & {
        frozenset(p) for p in RULES.tables["pixels"]["alike"]["bodyRegion"]
    }
