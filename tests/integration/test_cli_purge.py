"""`purge` over a data directory: afterwards no byte of it tells of the series."""

import json
import shutil
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from indexer_core.adapters.milvus.position import Position, dump_position, position_name
from indexer_core.index.commit import Manifests
from indexer_core.index.pins import Pins
from indexer_core.index.rows import rows_of, table_of
from indexer_core.purge import PurgePolicy
from local_host.wiring import LocalSystem
from tests.support.cli import Cli, uid_of
from tests.support.dicom import dicom_object, uid
from tests.support.system import index_folder, settings_for

WORD = "quokka"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, exported) -> SimpleNamespace:
    """Series a, then changed, one file of it rejected later; and series b. The first is pinned."""
    root = tmp_path_factory.mktemp("prepared")
    data, folder = root / "data", root / "in"
    for path in (data, folder / f"a-{WORD}", folder / "b"):
        path.mkdir(parents=True)
    (data / "encoders").symlink_to(exported)
    for instance in (1, 2):
        described = dicom_object(series="a", instance=instance, SeriesDescription=WORD)
        (folder / f"a-{WORD}" / f"{instance}.dcm").write_bytes(described)
    other = dicom_object(series="b", SeriesDescription="Chest", PatientID="somebody-else")
    (folder / "b" / "1.dcm").write_bytes(other)
    system = index_folder(data, folder)
    newest = system.reader().snapshot.manifest.number
    Pins(Manifests(system.index), system.clock, system.ids).pin("paper", newest)
    system.close()
    changed = dicom_object(series="a", value=3, SeriesDescription=f"{WORD} of the abdomen")
    (folder / f"a-{WORD}" / "1.dcm").write_bytes(changed)
    (folder / f"a-{WORD}" / "2.dcm").write_bytes(b"junk")
    index_folder(data, folder).close()
    return SimpleNamespace(data=data, folder=folder)


@pytest.fixture
def clinic(run, prepared) -> Cli:
    """A copy of `prepared`, so that each test has its own; the files are not changed by any."""
    shutil.rmtree(run.data)
    shutil.copytree(prepared.data, run.data, symlinks=True)
    run.folder = prepared.folder
    return run


def needles(word: str = WORD) -> list[bytes]:
    names = (word, uid_of("a"), uid(("study", "a", 1)), uid(("study", "a", 2)), f"a-{word}")
    return [name.encode() for name in names]


def bytes_of(data: Path) -> dict[str, bytes]:
    """Every file of the data directory, rows files unpacked as well; not the exported encoder."""
    found = {}
    for path in sorted(data.rglob("*")):
        if path.is_file() and "encoders" not in path.parts:
            name = str(path.relative_to(data))
            found[name] = path.read_bytes()
            if ".rows." in name:
                rows = rows_of(table_of(found[name], name))
                found[f"{name} unpacked"] = "\n".join(map(str, rows)).encode()
    return found


def holding(run: Cli, *wanted: bytes) -> set[str]:
    return {
        name
        for name, content in bytes_of(run.data).items()
        if any(needle in content for needle in wanted)
    }


def stored_vectors(run: Cli, texts: list[str]) -> list[bytes]:
    """How the vectors of these texts are stored, in the cache and in segments."""
    system = LocalSystem(settings_for(run.data))
    vectors = system.encoder.encode(texts)
    return [v.astype(kind).tobytes() for v in vectors for kind in (np.float32, np.float16)]


def test_no_byte_of_the_data_directory_tells_of_a_purged_series(clinic):
    records = clinic.records()
    kept = records[uid_of("b")]
    texts = [text for text in records[uid_of("a")]["texts"] if text not in kept["texts"]]
    vectors = stored_vectors(clinic, texts)
    for needle in (*needles(), *vectors):
        assert holding(clinic, needle), "it was never there"
    receipt = json.loads(clinic.run("purge", uid_of("a"), "--format", "json"))[0]
    assert receipt["state"] == "done"
    assert holding(clinic, *needles(), *vectors) == set()
    assert clinic.records() == {uid_of("b"): kept}
    assert set(clinic.records("--at", "paper")) == {uid_of("b")}
    assert "every checksum fits" in clinic.run("verify")
    assert "0 orphan files" in clinic.run("verify")
    assert clinic.search("chest")["value"][0]["seriesInstanceUid"] == uid_of("b")


def test_purged_series_stays_away_while_its_files_are_there_and_comes_back_when_restored(clinic):
    clinic.run("purge", uid_of("a"))
    (key,) = [line.split()[-1] for line in clinic.error.splitlines() if "hidden" in line]
    counts = clinic.index()
    # The junk is a reject as before: nobody can tell what it was.
    assert counts["files"] == {
        "indexed": 0, "unchanged": 1, "removed": 0, "rejected": 1, "purged": 1,
    }  # fmt: skip
    assert holding(clinic, uid_of("a").encode()) == set()
    assert set(clinic.records()) == {uid_of("b")}
    clinic.run("restore", uid_of("a"), status=1)
    assert "key only" in clinic.error
    assert "index its folder again" in clinic.run("restore", key)
    assert clinic.index()["files"]["indexed"] == 1
    records = clinic.records()
    assert records[uid_of("a")]["instances"] == 1
    assert records[uid_of("a")]["revision"] > 2


def test_all_series_of_a_patient_are_purged(clinic):
    key = clinic.records()[uid_of("a")]["patientKey"]
    clinic.run("purge", "--patient", key, "--scope", "elsewhere", status=1)
    assert json.loads(clinic.run("purge", "--patient", key, "--format", "json"))[0]["series"] == 1
    assert holding(clinic, key.encode(), *needles()) == set()
    assert set(clinic.records()) == {uid_of("b")}


def test_file_that_was_named_by_itself_is_forgotten(run):
    path = run.put("single.dcm", series="a")
    run.put("b/1.dcm", series="b")
    run.run("index", path)
    run.run("index", run.folder / "b")
    run.run("purge", uid_of("a"))
    assert holding(run, b"single.dcm") == set()


def test_purge_killed_half_way_is_carried_on_by_the_next(clinic, monkeypatch):
    def killed(_self):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted:
        interrupted.setattr("local_host.homes.LocalHome.scrub", killed)
        clinic.run("purge", uid_of("a"), status=1)
    assert "erasing" in clinic.run("purge", "--receipts")
    assert "1 purges" in clinic.run("status")
    receipt = json.loads(clinic.run("purge", "--format", "json"))[0]
    assert (receipt["state"], receipt["interrupted"]) == ("done", 1)
    assert holding(clinic, *needles()) == set()
    assert clinic.run("purge") == "nothing is to be purged\n"


def test_wait_waits_until_the_grace_is_over(clinic, monkeypatch):
    grace = PurgePolicy(grace_s=1.0, clock_margin_s=0.0)
    monkeypatch.setattr("local_host.homes.LocalHome.purge_policy", grace)
    assert "hidden now" in clinic.run("purge", uid_of("a"))
    assert set(clinic.records()) == {uid_of("b")}
    assert holding(clinic, *needles())
    assert json.loads(clinic.run("purge", "--wait", "--format", "json"))[0]["state"] == "done"
    assert holding(clinic, *needles()) == set()


def test_receipt_is_printed_and_kept(clinic):
    printed = clinic.run("purge", uid_of("a"))
    assert printed == clinic.run("purge", "--receipts")
    for words in ("index rows", "segment files", "instance lists", "text vectors", "blob rows"):
        assert words in printed
    assert "2 files in the sources" in printed
    assert uid_of("a") not in printed


def test_the_receipt_tells_what_milvus_still_has(clinic):
    """Whether this program answers from there or not, and though it has no client of it."""
    name = position_name("dicom")
    system = LocalSystem(settings_for(clinic.data))
    system.index.put_if_absent(name, dump_position(Position(generation="g", applied=1)))
    system.close()
    receipt = json.loads(clinic.run("purge", uid_of("a"), "--format", "json"))[0]
    told = [each["what"] for each in receipt["remaining"] if "Milvus" in each["what"]]
    newest = clinic.newest()
    assert len(told) == 1
    assert "prefix dicom, which has followed to manifest 1" in told[0]
    assert f"that manifest {newest} or a later one can be searched" in told[0]
    assert "run dicom-indexer milvus follow" in clinic.run("purge", "--receipts")


def test_reader_of_the_state_keeps_the_purge_from_ending(clinic):
    """Its view holds old pages of the write-ahead log, so they cannot be overwritten."""
    with sqlite3.connect(clinic.data / "state.sqlite") as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM rows").fetchone()
        monkey = pytest.MonkeyPatch()
        monkey.setattr("indexer_core.adapters.sqlite.file.BUSY_TIMEOUT_S", 0.05)
        try:
            clinic.run("purge", uid_of("a"), status=1)
        finally:
            monkey.undo()
        other.rollback()
    other.close()
    assert "reading the state database" in clinic.error
    assert json.loads(clinic.run("purge", "--format", "json"))[0]["state"] == "done"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("1.2.3",), "no series has that UID"),
        (("--patient", "nobody"), "no series has that patientKey"),
        (("1.2.3", "--patient", "x"), "not both"),
        (("--scope", "x"), "--scope goes with --patient"),
    ],
)
def test_what_cannot_be_purged_is_told_in_one_line(clinic, arguments, words):
    clinic.run("purge", *arguments, status=1)
    assert clinic.error.count("\n") == 1
    assert words in clinic.error
