"""The series record: its public keys, its normalised values, its way through JSON."""

import json
from typing import Any

import pytest

from indexer_core.facts import SeriesFacts
from indexer_core.records import (
    SeriesRecord,
    build_record,
    iso_date,
    record_from_dict,
    record_to_dict,
    to_public_json,
)
from indexer_core.rules import classify, load_rules
from indexer_core.templates import load_templates, render_templates

RULES = load_rules()
TEMPLATES = load_templates()
PUBLIC_KEYS = [
    "seriesKey",
    "scope",
    "seriesInstanceUid",
    "studyInstanceUid",
    "revision",
    "modality",
    "headerModality",
    "bodyRegion",
    "bodyPart",
    "plane",
    "sequence",
    "contrast",
    "instances",
    "frames",
    "hasPixels",
    "sliceThicknessMm",
    "fieldStrengthT",
    "manufacturer",
    "model",
    "ageYears",
    "sex",
    "studyDate",
    "patientKey",
    "descriptions",
    "texts",
    "flags",
    "evidence",
    "x",
    "y",
    "projectionVersion",
]


def record(planes: dict[str, int] | None = None, gaps: int = 0, **attributes: Any) -> SeriesRecord:
    facts = SeriesFacts(
        scope="s",
        series_instance_uid="1.2",
        study_instance_uid="1.1",
        instances=3,
        frames=3,
        has_pixels=True,
        attributes={keyword: ((value, 3),) for keyword, value in attributes.items()},
        planes=planes or {},
        patient_keys=("p",),
        n_slice_gaps=gaps,
        flags=("duplicateInstances",),
    )
    said = classify(facts, RULES)
    texts = render_templates(facts, said, TEMPLATES)
    return build_record("key", 2, facts, said, texts, blobs=("a", "b"), flags=("provisional",))


def test_public_keys_are_those_of_the_contract_in_their_order() -> None:
    public = to_public_json(record(Modality="CT", SeriesDescription="head"))
    assert list(public) == PUBLIC_KEYS
    with_blobs = to_public_json(record(Modality="CT"), include_blobs=True)
    assert list(with_blobs) == [*PUBLIC_KEYS, "blobs"]
    assert with_blobs["blobs"] == ["a", "b"]


def test_record_survives_json_unchanged() -> None:
    made = record(
        {"axial": 3},
        Modality="MR",
        SeriesDescription="t1_mprage HEAD +C",
        BodyPartExamined="BRAIN",
        AgeYears=44.5,
        Manufacturer="SIEMENS",
    )
    assert record_from_dict(json.loads(json.dumps(record_to_dict(made)))) == made


def test_a_record_of_a_newer_version_is_refused() -> None:
    stored = record_to_dict(record(Modality="CT")) | {"format_version": 99}
    with pytest.raises(ValueError, match="newer"):
        record_from_dict(stored)


def test_ages_over_89_are_90() -> None:
    assert record(AgeYears=97).age_years == 90
    assert record(PatientAge="095Y").age_years == 90
    assert record(PatientAge="089Y").age_years == 89
    assert record(PatientAge="006M").age_years == 0.5
    assert record(PatientAge="old").age_years is None


@pytest.mark.parametrize(
    ("written", "tesla"), [(15000, 1.5), (3, 3.0), (2.8936, 2.894), (0.35, 0.35), (0, None)]
)
def test_field_strength_is_in_tesla(written: float, tesla: float | None) -> None:
    assert record(MagneticFieldStrength=written).field_strength_t == tesla


@pytest.mark.parametrize(
    ("written", "date"),
    [("20190312", "2019-03-12"), ("1997.04.24", "1997-04-24"), ("2019", ""), ("20191399", "")],
)
def test_study_date_is_iso(written: str, date: str) -> None:
    assert iso_date(written) == date


@pytest.mark.parametrize(("planes", "source"), [({"axial": 3}, "geometry"), ({}, "InstanceNumber")])
def test_slice_gaps_are_counted_beside_their_flag(planes: dict[str, int], source: str) -> None:
    made = record(planes, gaps=4, Modality="CT")
    assert "sliceGap" in made.flags
    gaps = to_public_json(made)["evidence"]["sliceGap"]
    assert gaps == {"value": 4, "source": source, "confidence": 1.0, "votes": []}
    assert record_from_dict(json.loads(json.dumps(record_to_dict(made)))) == made
    assert "sliceGap" not in record(planes, Modality="CT").evidence


def test_flags_of_facts_rules_and_caller_come_together() -> None:
    made = record(
        {"axial": 2, "sagittal": 1},
        gaps=1,
        SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1",
        Modality="OT",
        SeriesDescription="QA phantom",
    )
    assert set(made.flags) == {
        "burnedInRisk",
        "duplicateInstances",
        "headerModalityMismatch",
        "mixedOrientation",
        "phantom",
        "provisional",
        "sliceGap",
    }


@pytest.mark.parametrize(
    ("attributes", "risk"),
    [
        ({"Modality": "US"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, False),
        ({"Modality": "CT", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, False),
        ({"Modality": "CT", "BurnedInAnnotation": "YES"}, True),
        ({"Modality": "NM", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"Modality": "SM", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.6"}, False),
    ],
)
def test_pictures_that_devices_write_into_are_a_risk(
    attributes: dict[str, Any], risk: bool
) -> None:
    assert ("burnedInRisk" in record(**attributes).flags) == risk


def test_descriptions_hold_no_dates_or_long_numbers() -> None:
    made = record(Modality="CT", SeriesDescription="Head 12/03/2019", StudyDescription="A 7654321")
    assert made.descriptions == ("A", "Head")


def test_unknown_values_are_null_in_public() -> None:
    public = to_public_json(record(Modality="CT"))
    for name in ("bodyPart", "sliceThicknessMm", "manufacturer", "studyDate", "x"):
        assert public[name] is None
    assert public["bodyRegion"] == "unknown"
