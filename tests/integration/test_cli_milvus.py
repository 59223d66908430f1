"""The command line on Milvus: once the index is followed, the same tables as from the segments."""

import json

import pytest

from local_host.settings import MILVUS
from tests.support.cli import Cli, uid_of

pytest.importorskip("milvus_lite")

MR = "1.2.840.10008.5.1.4.1.1.4"
URI = f"{MILVUS}URI"
COMMANDS = [
    ("search", "axial ct of the abdomen"),
    ("search", "not an MR", "--filter", "ageYears>=30", "--top", "3"),
    ("search", "head", "--format", "csv", "--with-unknown", "sex"),
    ("facets", "modality", "ageYears", "manufacturer"),
    ("facets", "modality", "--filter", "modality=MR", "--exclude-own", "--format", "json"),
    ("similar", uid_of("ct1")),
    ("similar", f"…{uid_of('ct1')[-8:]}", "--filter", "modality=CT", "--level", "patient"),
]


@pytest.fixture
def indexed(run) -> Cli:
    for number in range(5):
        age = f"0{20 + 5 * number}Y"
        run.put(f"{number}.dcm", series=f"ct{number}", PatientAge=age, value=number)
    run.put("mr.dcm", series="mr", Modality="MR", Manufacturer="ACME", SOPClassUID=MR, value=9)
    run.index()
    return run


@pytest.fixture
def on_milvus(indexed, tmp_path, monkeypatch):
    """Turns the setting on or off, and follows."""

    def turn(is_on: bool) -> None:
        if is_on:
            monkeypatch.setenv(URI, str(tmp_path / "milvus.db"))
        else:
            monkeypatch.delenv(URI, raising=False)

    return turn


def test_the_same_commands_print_the_same(indexed, on_milvus):
    wanted = [indexed.run(*command) for command in COMMANDS]
    on_milvus(True)
    indexed.run("milvus", "follow", "--once")
    for command, printed in zip(COMMANDS, wanted, strict=True):
        assert indexed.run(*command) == printed, command
    assert indexed.run("export") == (on_milvus(False), indexed.run("export"))[1]


def test_what_is_not_followed_yet_is_not_found_and_what_is_kept_is(indexed, on_milvus):
    on_milvus(True)
    indexed.run("search", "ct", status=1)
    assert "milvus follow" in indexed.error
    assert indexed.error.count("\n") == 1
    indexed.run("milvus", "follow", "--once")
    before, first = indexed.newest(), indexed.search("ct")
    indexed.put("late.dcm", series="late", value=11)
    indexed.index()
    assert indexed.search("ct") == first
    assert first["manifest"] == before
    indexed.run("search", "ct", "--at", indexed.newest(), status=1)
    assert indexed.error.count("\n") == 1
    indexed.run("milvus", "follow", "--once")
    assert indexed.search("ct")["count"] == first["count"] + 1
    assert indexed.search("ct", "--at", before) == first
    on_milvus(False)
    assert indexed.search("ct", "--at", before)["count"] == first["count"]
    on_milvus(True)
    indexed.run("facets", "modality", "--at", "1", status=1)
    assert "not" in indexed.error
    assert indexed.error.count("\n") == 1


def test_cohorts_and_records_come_from_segments_whatever_is_set(indexed, on_milvus):
    on_milvus(True)
    assert len(indexed.records()) == 6
    said = json.loads(indexed.run("status", "--format", "json"))
    assert said["series"] == 6
