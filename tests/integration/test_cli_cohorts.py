"""`cohort` on the command line: kept, shown, compared, exported, and erased from."""

import csv
import io
import json

import pyarrow.parquet as pq
import pytest
from pydicom import Dataset
from pydicom.uid import MRImageStorage

from indexer_core.index.commit import Manifests
from indexer_core.index.pins import Pins
from local_host.wiring import LocalSystem
from tests.support.cli import Cli, uid_of
from tests.support.system import settings_for

CT = ("--filter", "modality=CT")


@pytest.fixture
def study(run) -> Cli:
    """Two series of CT and one of MR."""
    run.put("a.dcm", series="a", PatientSex="F")
    run.put("b.dcm", series="b", PatientSex="M", PatientID="other", Manufacturer="=cmd")
    run.put("c.dcm", series="c", Modality="MR", SOPClassUID=MRImageStorage)
    run.index()
    return run


def as_json(run: Cli, *arguments: object):
    return json.loads(run.run("cohort", *arguments, "--format", "json"))


def test_a_cohort_is_saved_shown_listed_and_told_by_status(study):
    said = study.run("cohort", "save", "ct", "computed", "tomography", "of", "quokkas")
    assert said.startswith("saved ct@1: 2 series of manifest ")
    assert "choose no series: quokkas" in said
    found = as_json(study, "show", "ct")
    assert (found["text"], found["filters"]) == ("computed tomography of quokkas", ["modality=CT"])
    assert [(step["label"], step["series"]) for step in found["attrition"]] == [
        ("series in the index", 3),
        ("modality=CT", 2),
    ]
    assert found["card"]["fields"]["sex"] == [
        {"value": "F", "series": 1, "patients": 1, "share": 0.5},
        {"value": "M", "series": 1, "patients": 1, "share": 0.5},
    ]
    assert found["asSaved"]
    text = study.run("cohort", "show", "ct@1")
    assert found["digest"] in text
    assert "modality=CT" in text
    hidden = as_json(study, "show", "ct", "--least", "3")
    assert (hidden["series"], hidden["card"]["series"]) == (None, None)
    assert "*" in study.run("cohort", "show", "ct", "--least", "3")
    assert [one["name"] for one in as_json(study, "list")] == ["ct"]
    assert "modality=CT" in study.run("cohort", "list")
    assert json.loads(study.run("status", "--format", "json"))["cohorts"] == 1
    assert study.search("ct", "--at", found["pin"])["manifest"] == found["manifest"]


def test_what_is_new_is_told_and_saved_as_the_next_version(study):
    study.run("cohort", "save", "ct", *CT, "--by", "somebody")
    assert study.run("cohort", "refresh", "ct").startswith("0 new since ct@1 (manifest ")
    study.put("d.dcm", series="d")
    (study.folder / "b.dcm").unlink()
    study.index()
    found = as_json(study, "diff", "ct")
    assert {one["seriesInstanceUid"]: (one["change"], one["why"]) for one in found["series"]} == {
        uid_of("b"): ("removed", "gone"),
        uid_of("d"): ("added", ""),
    }
    assert "1 added, 1 removed" in study.run("cohort", "diff", "ct")
    rows = list(csv.DictReader(io.StringIO(study.run("cohort", "diff", "ct", "--format", "csv"))))
    assert {row["change"] for row in rows} == {"added", "removed"}
    assert study.run("cohort", "refresh", "ct").startswith("1 new, 1 removed since ct@1")
    assert as_json(study, "show", "ct")["version"] == 2
    assert as_json(study, "show", "ct@2")["createdBy"] == "somebody"
    assert as_json(study, "diff", "ct@1", "--to", "2")["counts"] == found["counts"]
    assert as_json(study, "refresh", "ct")["saved"] is None


def uids(study: Cli, *arguments: object) -> list[str]:
    lines = study.run("cohort", "export", *arguments, "--format", "uids").splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_it_is_exported_as_it_was_in_every_format_without_what_is_deleted(study, tmp_path):
    study.run("cohort", "save", "ct", *CT)
    study.put("a.dcm", series="a", value=9, SeriesDescription="Chest", PatientSex="O")
    study.index()
    lines = study.run("cohort", "export", "ct").splitlines()
    records = {record["seriesInstanceUid"]: record for record in map(json.loads, lines)}
    assert records[uid_of("a")]["sex"] == "F"
    assert "2 series of ct@1" in study.error
    parquet = tmp_path / "ct.parquet"
    study.run("cohort", "export", "ct", "--format", "parquet", "--output", parquet)
    assert set(pq.read_table(parquet)["seriesInstanceUid"].to_pylist()) == set(records)
    table = study.run("cohort", "export", "ct", "--format", "csv")
    makers = [row["manufacturer"] for row in csv.DictReader(io.StringIO(table))]
    assert "'=cmd" in makers
    objects = json.loads(study.run("cohort", "export", "ct", "--format", "dicom-json"))
    read = [Dataset.from_json(one) for one in objects]
    assert {one.SeriesInstanceUID for one in read} == set(records)
    assert {one.Modality for one in read} == {"CT"}
    assert set(uids(study, "ct")) == set(records)
    study.run("delete", uid_of("a"))
    assert uids(study, "ct") == [uid_of("b")]
    assert "1 left out as deleted now" in study.error
    assert as_json(study, "show", "ct")["deleted"] == 1
    study.run("restore", uid_of("a"))
    assert len(uids(study, "ct")) == 2


def test_a_list_of_uids_makes_a_cohort_and_comes_out_again(study, tmp_path):
    study.run("cohort", "save", "ct", *CT)
    listed = tmp_path / "list.txt"
    study.run("cohort", "export", "ct", "--format", "uids", "--output", listed)
    study.run("cohort", "save", "picked", "--uids", listed)
    assert uids(study, "picked") == uids(study, "ct")
    assert as_json(study, "show", "picked")["kind"] == "uids"
    beside = as_json(study, "card", "picked", "--beside", "ct")
    assert beside["differences"]["sex"] == {"F": 0.0, "M": 0.0}
    assert "SMD" in study.run("cohort", "card", "picked", "--beside", "ct")
    assert as_json(study, "card", "picked")["series"] == 2
    assert study.run("cohort", "card", "picked").startswith("picked@1: 2 series")


def test_a_purge_leaves_the_rest_of_a_cohort_and_no_name(study):
    study.run("cohort", "save", "ct", *CT)
    named = ("--filter", f"seriesInstanceUid={uid_of('a')}")
    study.run("cohort", "save", "one", *named)
    receipt = json.loads(study.run("purge", uid_of("a"), "--format", "json"))
    assert '"cohorts": 2' in json.dumps(receipt)
    found = as_json(study, "show", "ct")
    assert (found["series"], found["erased"], found["asSaved"]) == (1, 1, False)
    assert uids(study, "ct") == [uid_of("b")]
    assert as_json(study, "show", "one")["filters"] == ["seriesInstanceUid=erased"]
    assert "which a purge has changed" in study.run("cohort", "show", "one")
    stored = [path.read_text() for path in (study.data / "index" / "cohorts").rglob("*.json")]
    assert len(stored) == 2
    assert not any(uid_of("a") in text for text in stored)


def test_deleting_lets_the_manifest_go_and_gc_takes_off_what_was_left(study):
    study.run("cohort", "save", "ct", *CT)
    study.run("unpin", "cohort:ct:1", status=1)
    assert "cohort delete ct@1" in study.error
    assert study.run("cohort", "delete", "ct") == "deleted 1 version of ct\n"
    assert json.loads(study.run("status", "--format", "json"))["pins"] == {}
    study.run("cohort", "show", "ct", status=1)
    system = LocalSystem(settings_for(study.data))
    manifests = Manifests(system.index)
    newest = manifests.newest()
    pins = Pins(manifests, system.clock, system.ids)
    pins.keep("cohort:killed:1", newest.number, newest)
    system.close()
    study.run("gc")
    assert json.loads(study.run("status", "--format", "json"))["pins"] == {}


def test_what_cannot_be_done_is_told_in_one_line(study):
    for arguments, words in (
        (("show", "nobody"), "no cohort nobody"),
        (("delete", "nobody@3"), "no cohort nobody@3"),
        (("show", "a b"), "letters, digits"),
        (("show", "ct@x"), "a version is a number"),
        (("save", "x", "quokka"), "none of these words"),
        (("save", "x", "CT", "--no-interpret"), "add filters"),
        (("save", "x", "--uids", "/nowhere/list"), "No such file"),
        (("save", "x", "--uids", "/dev/null"), "no indexed series"),
        (("save", "x", "--uids", "/dev/null", *CT), "leave the filters out"),
        (("save", "x", "--with-unknown", "nothing"), "use one of"),
    ):
        study.run("cohort", *arguments, status=1)
        assert words in study.error
        assert study.error.count("\n") == 1


def test_without_an_index_there_is_nothing_to_save(run):
    run.run("cohort", "list", status=1)
    assert "nothing is indexed" in run.error
