"""Cohorts as DICOM JSON and as lists of UIDs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from indexer_core.cohorts.exports import dicom_json, parse_uids, uid_manifest
from indexer_core.uids import valid_uid
from tests.support.cohorts import filled, uid_of

RECORD = {
    "seriesInstanceUid": "1.2.3",
    "studyInstanceUid": "1.2",
    "headerModality": "MR",
    "modality": "MR",
    "bodyPart": {"term": "knee"},
    "instances": 24,
    "manufacturer": "ACME",
    "model": "One",
    "ageYears": 43.0,
    "sex": "F",
    "studyDate": "2020-02-03",
    "sliceThicknessMm": 2.5,
    "fieldStrengthT": 3.0,
}


def test_a_record_is_an_object_that_pydicom_reads():
    found = Dataset.from_json(dicom_json(RECORD))
    assert found.SeriesInstanceUID == "1.2.3"
    assert found.StudyInstanceUID == "1.2"
    assert (found.Modality, found.BodyPartExamined) == ("MR", "KNEE")
    assert (found.NumberOfSeriesRelatedInstances, found.SliceThickness) == (24, 2.5)
    assert (found.PatientAge, found.PatientSex, found.StudyDate) == ("043Y", "F", "20200203")
    assert list(dicom_json(RECORD)) == sorted(dicom_json(RECORD))
    assert found.MagneticFieldStrength == 3.0


def test_values_that_an_attribute_cannot_hold_are_left_out():
    odd = {
        "seriesInstanceUid": "not a uid",
        "headerModality": "mr\n",
        "manufacturer": "a\\b",
        "model": "m" * 65,
        "sex": "female",
        "bodyPart": {"term": "upper extremity, left"},
    }
    assert dicom_json(odd) == {}


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "seriesInstanceUid": st.text(max_size=10),
            "headerModality": st.none() | st.text(max_size=20),
            "manufacturer": st.none() | st.text(max_size=80),
            "sex": st.none() | st.text(max_size=2),
            "ageYears": st.none() | st.floats(0, 90),
            "instances": st.none() | st.integers(0, 10**6),
            "bodyPart": st.none() | st.just({"term": None}) | st.just({"term": "lung"}),
        },
    )
)
def test_whatever_a_record_says_the_object_can_be_read(record):
    found = Dataset.from_json(dicom_json(record))
    assert len(found) == len(dicom_json(record))
    for element in found:
        assert str(element.value)


def test_a_list_of_uids_says_what_it_is_and_is_read_again():
    house = filled()
    saved = house.save()
    said = [{"seriesInstanceUid": uid_of(key)} for key in ("s2", "s1")]
    text = uid_manifest(replace(saved, n_erased=4), said)
    lines = text.splitlines()
    assert lines[0].startswith("# cohort ct@1, saved 20")
    assert lines[1:4] == [
        f"# manifest {saved.manifest}",
        f"# digest sha256:{saved.digest}",
        "# 2 Series Instance UIDs; 1 left out as deleted now, 4 as erased",
    ]
    assert saved.question.text not in text
    assert parse_uids(text) == ["1.2.1", "1.2.2"]
    assert all(map(valid_uid, parse_uids(text)))


@pytest.mark.parametrize("text", ["", "# only\n\n  # comments\n"])
def test_a_list_without_uids_is_empty(text):
    assert parse_uids(text) == []
