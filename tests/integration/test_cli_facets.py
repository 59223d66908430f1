"""`dicom-indexer facets`: counts for people and as JSON."""

import json

import pytest

from tests.support.cli import Cli

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def indexed(run) -> Cli:
    for number in range(5):
        run.put(f"{number}.dcm", series=f"ct{number}", PatientAge=f"0{20 + 5 * number}Y")
    run.put("mr.dcm", series="mr", Modality="MR", Manufacturer="ACME", SOPClassUID=MR)
    run.index()
    return run


def test_counts_are_printed_with_what_is_unknown(indexed):
    printed = indexed.run("facets", "modality", "ageYears", "manufacturer")
    blocks = [block.split("\n") for block in printed.strip().split("\n\n")]
    told = {
        block[0]: {line.rsplit(None, 1)[0].strip(): line.split()[-1] for line in block[2:]}
        for block in blocks[1:]
    }
    assert blocks[0] == ["6 series"]
    assert told["modality"] == {"CT": "5", "MR": "1"}
    assert told["ageYears"] == {"20-29": "2", "30-39": "2", "40-49": "1", "(unknown)": "1"}
    assert list(told["manufacturer"].values()) == ["1", "5"]


def test_filters_apply_to_all_fields_or_to_all_others(indexed):
    def counts(*arguments):
        said = json.loads(indexed.run("facets", "modality", "--format", "json", *arguments))
        return {each["value"]: each["count"] for each in said["facets"]["modality"]["values"]}

    assert counts("--filter", "modality=MR") == {"MR": 1}
    assert counts("--filter", "modality=MR", "--exclude-own") == {"CT": 5, "MR": 1}


def test_small_counts_are_not_told(indexed):
    printed = indexed.run("facets", "modality", "ageYears", "--least", "3")
    assert "CT" in printed
    assert printed.count("*") == 7
    assert "5" not in printed.replace("6 series", "")
    assert "below 3" in printed


def test_a_field_that_cannot_be_counted_is_told_in_one_line(indexed):
    indexed.run("facets", "patientKey", status=1)
    assert "cannot be counted; use one of" in indexed.error
    assert indexed.error.count("\n") == 1
