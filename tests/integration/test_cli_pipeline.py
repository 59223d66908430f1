"""The command line over a small folder: what each command does to files, rows and searches."""

import json
import logging
import os
import re
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from indexer_core.index.commit import Manifests
from indexer_core.index.rows import rows_of, table_of
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.indexing import Indexer
from local_host import cli
from local_host.wiring import LocalSystem
from tests.support.cli import Cli, uid_of
from tests.support.dicom import dicom_object
from tests.support.system import settings_for

PLANTED = {
    "PatientName": "Plantedname^Gundula",
    "PatientID": "planted-patient-id-4711",
    "AccessionNumber": "PLANTEDACC99",
    "ReferringPhysicianName": "Plantedphysician^Otto",
    "PatientBirthDate": "19310417",
}


@pytest.fixture
def two_series(run) -> Cli:
    for series in ("a", "b"):
        for instance in (1, 2):
            run.put(f"{series}/{instance}.dcm", series=series, instance=instance)
    assert run.index()["files"] == {"indexed": 4, "unchanged": 0, "removed": 0, "rejected": 0}
    return run


def test_second_index_reads_no_header_and_commits_nothing(two_series, monkeypatch):
    manifest = two_series.newest()
    opened = []
    monkeypatch.setattr("indexer_core.look.read_header", lambda *_: opened.append(1))
    counts = two_series.index()
    assert counts["files"] == {"indexed": 0, "unchanged": 4, "removed": 0, "rejected": 0}
    assert (opened, two_series.newest()) == ([], manifest)


def test_changed_file_raises_the_revision_by_one_and_swaps_the_rows_in_one_commit(two_series):
    manifest = two_series.newest()
    two_series.put("a/1.dcm", series="a", instance=1, value=9, SeriesDescription="Chest")
    assert two_series.index()["files"]["indexed"] == 1
    records = two_series.records()
    assert {key: record["revision"] for key, record in records.items()} == {
        uid_of("a"): 2,
        uid_of("b"): 1,
    }
    assert two_series.newest() == manifest + 1
    assert "Chest" in " ".join(records[uid_of("a")]["descriptions"])


def test_removed_file_drops_out_of_its_series(two_series):
    (two_series.folder / "a" / "1.dcm").unlink()
    assert two_series.index()["files"] == {
        "indexed": 0, "unchanged": 3, "removed": 1, "rejected": 0,
    }  # fmt: skip
    assert two_series.records()[uid_of("a")]["instances"] == 1


def test_series_whose_last_file_went_is_gone_without_the_worker(two_series, monkeypatch):
    def never(*_):
        raise AssertionError("the worker was called")

    shutil.rmtree(two_series.folder / "a")
    monkeypatch.setattr("gpu_worker.loop.work_once", never)
    assert two_series.index()["files"]["removed"] == 2
    assert set(two_series.records()) == {uid_of("b")}
    hits = two_series.search("ct of the abdomen")["value"]
    assert [hit["seriesInstanceUid"] for hit in hits] == [uid_of("b")]


def test_overwrite_that_moves_a_file_to_another_series_mends_both(two_series):
    two_series.put("a/1.dcm", series="b", instance=3)
    two_series.index()
    records = two_series.records()
    assert {key: r["instances"] for key, r in records.items()} == {uid_of("a"): 1, uid_of("b"): 3}
    assert {record["revision"] for record in records.values()} == {2}


def test_rejected_file_heals_when_it_is_replaced(two_series):
    (two_series.folder / "a" / "3.dcm").write_bytes(b"junk")
    counts = two_series.index()
    assert counts["files"] == {"indexed": 0, "unchanged": 4, "removed": 0, "rejected": 1}
    assert counts["reasons"] == {"not a DICOM file": 1}
    assert str(two_series.folder / "a" / "3.dcm") in two_series.run("rejects")
    two_series.put("a/3.dcm", series="a", instance=3)
    assert two_series.index()["reasons"] == {}
    assert two_series.run("rejects") == "nothing is rejected\n"
    assert two_series.records()[uid_of("a")]["instances"] == 3


def test_data_directory_may_be_named_before_or_after_the_command(two_series, capsysbinary):
    after = two_series.run("status")
    capsysbinary.readouterr()
    assert cli.main(["--data", str(two_series.data), "status"]) == 0
    assert capsysbinary.readouterr().out.decode() == after


def test_deleted_series_is_hidden_until_it_is_restored(two_series):
    two_series.run("delete", uid_of("a"))
    assert set(two_series.records()) == {uid_of("b")}
    assert two_series.index()["files"]["unchanged"] == 4
    trace = json.loads(two_series.run("trace", uid_of("a")))
    assert trace["index"]["suppressed"]
    assert not trace["index"]["searchable"]
    two_series.put("a/3.dcm", series="a", instance=3)
    two_series.index()
    assert set(two_series.records()) == {uid_of("b")}
    two_series.run("restore", uid_of("a"))
    assert two_series.records()[uid_of("a")]["instances"] == 3


def test_trace_shows_paths_only_on_request_and_finds_series_by_key(two_series):
    key = two_series.records()[uid_of("a")]["seriesKey"]
    trace = two_series.run("trace", key)
    assert str(two_series.folder) not in trace
    assert json.loads(trace)["files"]["live"] == 2
    assert str(two_series.folder) in two_series.run("trace", uid_of("a"), "--include-blobs")


def test_trace_still_finds_a_series_that_has_gone(two_series):
    shutil.rmtree(two_series.folder / "a")
    two_series.index()
    trace = json.loads(two_series.run("trace", uid_of("a")))
    assert trace["files"]["live"] == 0
    assert trace["index"]["alive"] is False


def test_delete_parses_no_record_to_find_a_series(two_series, monkeypatch):
    def never(*_):
        raise AssertionError("every row was parsed")

    monkeypatch.setattr("indexer_core.index.rows.rows_of", never)
    two_series.run("delete", uid_of("a"))


def test_verify_and_log_tell_of_every_commit(two_series):
    assert "every checksum fits" in two_series.run("verify")
    lines = [json.loads(line) for line in two_series.run("log", "--format", "json").splitlines()]
    system = LocalSystem(settings_for(two_series.data))
    assert [line["manifest"] for line in lines] == [
        manifest.number for manifest in reversed(list(Manifests(system.index).history()))
    ]


def test_replay_leaves_a_message_for_a_queue_of_a_newer_version(two_series):
    system = LocalSystem(settings_for(two_series.data))
    system.rejects.message("series-of-tomorrow", "{}", "this version cannot read it")
    system.close()
    told = two_series.run("replay")
    assert "replayed 0\n1 stay: messages that this version cannot read\n" in told
    assert "series-of-tomorrow" in two_series.run("rejects")


def test_reprocess_changes_texts_and_recipe_but_neither_vectors_nor_places(
    two_series, tmp_path, monkeypatch
):
    before, vectors = two_series.records(), image_vectors(two_series.data)
    use_own_templates(tmp_path, monkeypatch)
    monkeypatch.setattr("local_host.commands._REPROCESS_BATCH", 1)
    with monkeypatch.context() as interrupted:
        one_batch_only(interrupted)
        two_series.run("reprocess", status=1)
    assert two_series.run("reprocess") == "reprocessed 1 series\n"
    assert two_series.run("reprocess") == "reprocessed 0 series\n"
    after = two_series.records()
    assert all(record["texts"][3] == "My own words." for record in after.values())
    for key, record in after.items():
        for name in ("x", "y", "projectionVersion", "revision", "seriesKey"):
            assert record[name] == before[key][name]
    assert image_vectors(two_series.data) == vectors
    assert json.loads(two_series.run("status", "--format", "json"))["recipe"] == 2


def use_own_templates(folder: Path, monkeypatch) -> None:
    mine = folder / "templates.yaml"
    mine.write_text('templates: {cohort: {text: "My own words."}}\n')
    monkeypatch.setenv("DICOM_INDEXER_TEMPLATES", str(mine))


def one_batch_only(monkeypatch) -> None:
    """The second batch is interrupted, as by Ctrl-C."""
    done, reprocess = [], Indexer.reprocess

    def once(self, rows):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return reprocess(self, rows)

    monkeypatch.setattr(Indexer, "reprocess", once)


def image_vectors(data: Path) -> list[bytes]:
    """The image vectors of all live series, as stored, in no particular order."""
    reader = LocalSystem(settings_for(data)).reader()
    (space,) = (s for s in reader.snapshot.manifest.spaces if s.name == IMAGE_SPACE)
    places = [reader.winner(key) for key in reader.series_keys()]
    return sorted(reader.image_of(place, space.live)[0].tobytes() for place in places)


def test_nothing_that_identifies_a_patient_leaves_the_header(run, caplog):
    caplog.set_level(logging.DEBUG)
    for instance in (1, 2):
        run.put(
            f"s/{instance}.dcm",
            instance=instance,
            **PLANTED,
            SeriesDescription="Abdomen Gundula Plantedname planted-patient-id-4711 PLANTEDACC99",
        )
    run.put("odd/1.dcm", series="odd", **PLANTED, InstanceNumber=1, SliceThickness="1")
    run.put("sr", series="sr", pixels=False, **PLANTED)
    whole = run.put("cut.dcm", series="cut", **PLANTED).read_bytes()
    (run.folder / "cut.dcm").write_bytes(whole[: len(whole) // 3])
    said = [run.run("index", run.folder, "--verbose"), run.error]
    for arguments in (
        ("search", "abdomen"),
        ("search", "abdomen", "--format", "json"),
        ("search", "Plantedname", "--format", "csv"),
        ("export",), ("export", "--format", "csv"),
        ("log", "--format", "json"), ("status",), ("rejects", "--format", "json"),
        ("trace", uid_of("series")), ("verify",), ("replay",),
    ):  # fmt: skip
        said += [run.run(*arguments, "--verbose"), run.error]
    said = [text.replace("Plantedname", "", 1) if '"text": "Plantedname"' in text else text
            for text in said]  # fmt: skip
    with sqlite3.connect(run.data / "state.sqlite") as state:
        said += state.iterdump()
    said += [record.getMessage() for record in caplog.records]
    said += [
        path.read_bytes().decode("latin-1")
        for path in run.data.rglob("*")
        if path.is_file() and "encoders" not in path.parts
    ]
    said += json.dumps(table_of_rows(run.data)).splitlines()
    needles = ("plantedname", "gundula", "patient-id", "plantedacc", "plantedphysician", "19310417",
               "1931-04-17")  # fmt: skip
    found = {needle for text in said for needle in needles if needle in text.lower()}
    assert not found
    # Among random names and checksums, these four digits turn up by chance.
    alone = re.compile(r"(?<![0-9a-z.])4711(?![0-9a-z])", re.IGNORECASE)
    assert not [text for text in said if alone.search(text)]


def table_of_rows(data: Path) -> list:
    """Every value of every row, packed texts and their dictionaries included."""
    paths = sorted(data.rglob("*.rows.arrow"))
    tables = [table_of(path.read_bytes(), path.name) for path in paths]
    assert tables
    packed = [[asdict(row) for row in rows_of(table)] for table in tables]
    columns = [table.drop_columns(["record", "facts", "blobs"]).to_pylist() for table in tables]
    return [*packed, *columns]


def test_names_with_any_character_come_out_as_they_went_in(run):
    names = [b"new\nline", b"sp ace", "ümläut脳".encode(), b"#%?&", b"\xff\xfe"]
    for index, name in enumerate(names):
        (run.folder / os.fsdecode(name)).write_bytes(dicom_object(instance=index))
    assert run.index()["files"]["indexed"] == len(names)
    assert run.index()["files"]["unchanged"] == len(names)
    (run.folder / os.fsdecode(names[-1])).write_bytes(b"junk")
    run.run("index", run.folder)
    assert "\\udcff\\udcfe" in run.run("rejects")


def test_own_data_directory_inside_the_folder_is_not_indexed(run):
    run.put("1.dcm")
    run.data = run.folder / "data"
    run.data.mkdir()
    (run.data / "encoders").symlink_to((run.folder.parent / "data" / "encoders").resolve())
    for _ in range(2):
        assert sum(run.index()["files"].values()) == 1


def test_export_has_the_keys_of_the_contract_in_order_and_paths_on_request(two_series, tmp_path):
    import pyarrow.parquet as pq

    from indexer_core.record_files import COLUMNS

    keys = list(COLUMNS)
    (record, *_) = two_series.records().values()
    assert list(record) == keys[:-1]
    (record, *_) = two_series.records("--include-blobs").values()
    assert list(record) == keys
    assert record["blobs"][0].startswith("file:///")
    for arguments, expected in (((), keys[:-1]), (("--include-blobs",), keys)):
        csv = two_series.run("export", "--format", "csv", *arguments)
        assert csv.splitlines()[0].split(",") == expected
        target = tmp_path / "out.parquet"
        two_series.run("export", "--format", "parquet", "--output", target, *arguments)
        assert pq.read_table(target).column_names == expected
    empty = two_series.run("export", "--format", "csv", "--filter", "modality=MR")
    assert empty.splitlines() == [",".join(keys[:-1])]
