"""The five search texts: natural, complete, and free of anything personal."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer_core.errors import InvalidInputError
from indexer_core.facts import SeriesFacts
from indexer_core.rules import classify, load_rules
from indexer_core.templates import FIELDS, load_templates, render_templates, template_names

RULES = load_rules()
TEMPLATES = load_templates()


def series(planes: dict[str, int] | None = None, **attributes: Any) -> SeriesFacts:
    return SeriesFacts(
        scope="s",
        series_instance_uid="1.2.3.4.5",
        study_instance_uid="1.1.2.3",
        instances=1,
        frames=1,
        has_pixels=True,
        attributes={keyword: ((value, 1),) for keyword, value in attributes.items()},
        planes=planes or {},
        patient_keys=("k",),
    )


def render(facts: SeriesFacts) -> tuple[str, ...]:
    return render_templates(facts, classify(facts, RULES), TEMPLATES)


BRAIN = series(
    {"axial": 24},
    Modality="MR",
    SeriesDescription="ep2d_diff_ADC",
    StudyDescription="MRI brain w/o contrast",
    PatientSex="F",
    AgeYears=64,
    SliceThickness=5.0,
    MagneticFieldStrength=15000,
    Manufacturer="SIEMENS",
    StudyDate="20190312",
)


def test_texts_read_as_sentences() -> None:
    assert render(BRAIN) == (
        "MRI 1.5 tesla axial ADC brain without contrast. MRI brain w/o contrast, ep2d diff ADC.",
        (
            "Magnetic resonance imaging, MRI, of the brain (head, cerebral, cranial), head region, "
            "axial plane."
        ),
        (
            "Magnetic resonance imaging (MR) with Siemens equipment at 1.5 tesla, axial plane, "
            "ADC, 5 mm slices, without contrast."
        ),
        "MRI of the brain of an elderly woman, 60-69 years, without contrast.",
        (
            "MR, magnetic resonance imaging, MRI, MR scan, ADC, "
            "apparent diffusion coefficient map, diffusion, "
            "brain, head, cerebral, cranial, without contrast agent, non-contrast, "
            "unenhanced, native, axial images."
        ),
    )


def test_a_series_of_which_nothing_is_known_still_has_five_texts() -> None:
    texts = render(series())
    assert len(texts) == 5
    assert all(text.strip(" .,") for text in texts)


def test_no_text_holds_a_date_an_identifier_or_an_exact_age() -> None:
    facts = series(
        Modality="CT",
        SeriesDescription="Head 12.03.2019 acc 20190312 1.2.840.113619.2.55 #A1234567 10:22:31",
        AgeYears=64,
        PatientSex="M",
        StudyDate="20190312",
    )
    joined = " ".join(render(facts))
    assert not re.search(r"2019|1\.2\.840|1234567|10:22|\b64\b", joined)
    assert "60-69 years" in joined


def test_ages_over_89_are_one_band() -> None:
    joined = " ".join(render(series(Modality="CT", AgeYears=97, PatientSex="F")))
    assert "90 years or older" in joined
    assert "97" not in joined


@pytest.mark.parametrize(
    ("age", "sex", "words"),
    [
        (0.5, "F", "a female infant, under 1 year"),
        (7, "M", "a child, boy, 0-9 years"),
        (15, "", "an adolescent, 10-19 years"),
        (25, "F", "a young woman, 20-29 years"),
        (45, "M", "a middle-aged man, 40-49 years"),
        (75, "", "an elderly adult, 70-79 years"),
    ],
)
def test_stage_of_life_is_put_in_words(age: float, sex: str, words: str) -> None:
    facts = series(Modality="CT", AgeYears=age, **({"PatientSex": sex} if sex else {}))
    assert words in render(facts)[3]


def test_contrast_that_was_not_given_is_said_explicitly() -> None:
    assert any("without contrast" in text for text in render(BRAIN))


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80), st.sampled_from(["CT", "MR", "US", "XX"]))
def test_any_description_gives_five_deterministic_texts(text: str, modality: str) -> None:
    facts = series(Modality=modality, SeriesDescription=text)
    assert render(facts) == render(facts)
    assert all(render(facts))


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_are_known_without_rules_and_whatever_a_user_changes(tmp_path: Path) -> None:
    path = write(tmp_path, "templates: {cohort: {text: '{modality_code}.'}, protocol: {text: x}}")
    for templates in (TEMPLATES, load_templates([path])):
        assert template_names() == tuple(template.name for template in templates.templates)


def test_user_template_replaces_the_one_of_its_name(tmp_path: Path) -> None:
    path = write(tmp_path, "templates: {anatomy: {text: 'Region [{region}|{anatomy}].'}}\n")
    templates = load_templates([path])
    assert render_templates(BRAIN, classify(BRAIN, RULES), templates)[1] == "Region head."
    assert templates.digest != TEMPLATES.digest


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("templates: {anatomy: {text: '{patient_name}'}}", "unknown field {patient_name}"),
        ("templates: {anatomy: {text: '[{region}'}}", "brackets"),
        ("templates: {anatomy: {text: '{region'}}", "braces"),
        ("templates: {anatomy: {text: '{region!r}'}}", "unknown field"),
        ("templates: {sixth: {text: 'x'}}", "sixth is none of"),
        ("texts: {}", "the top level"),
        ("a: [", "not YAML"),
    ],
)
def test_a_wrong_template_is_told_in_one_line(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        load_templates([write(tmp_path, text)])
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("mine.yaml: ")


def test_no_template_field_is_personal() -> None:
    assert not {name for name in FIELDS if re.search(r"name|date|uid|patient|birth", name)}
