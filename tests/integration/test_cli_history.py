"""The command line about history: what was there at an earlier manifest, and what came since."""

import json
import shutil
from types import SimpleNamespace

import pytest

from tests.support.cli import Cli, uid_of
from tests.support.dicom import dicom_object
from tests.support.system import index_folder


@pytest.fixture(scope="module")
def past(tmp_path_factory, exported) -> SimpleNamespace:
    """Series a alone; then b; then a changed; then b gone. Numbers of the manifests in `at`."""
    root = tmp_path_factory.mktemp("past")
    data, folder = root / "data", root / "in"
    folder.mkdir()
    data.mkdir()
    (data / "encoders").symlink_to(exported)
    at = {}

    def index(name: str) -> None:
        system = index_folder(data, folder)
        at[name] = system.reader().snapshot.manifest.number
        system.close()

    a, b = folder / "a.dcm", folder / "b.dcm"
    a.write_bytes(dicom_object(series="a"))
    index("a")
    b.write_bytes(dicom_object(series="b"))
    index("b")
    a.write_bytes(dicom_object(series="a", value=7, SeriesDescription="Chest"))
    index("changed")
    b.unlink()
    index("gone")
    return SimpleNamespace(data=data, at=at)


@pytest.fixture
def history(run, past) -> Cli:
    """A copy of `past`, so that each test has its own."""
    shutil.rmtree(run.data)
    shutil.copytree(past.data, run.data, symlinks=True)
    run.at = past.at
    return run


def difference(run: Cli, *arguments: object) -> dict[str, str]:
    found = json.loads(run.run("diff", *arguments, "--format", "json"))
    assert sum(found[kind] for kind in ("added", "removed", "changed")) == len(found["series"])
    return {one["seriesInstanceUid"]: one["change"] for one in found["series"]}


def hits(run: Cli, *arguments: object) -> list[str]:
    return [
        hit["seriesInstanceUid"] for hit in run.search("ct of the abdomen", *arguments)["value"]
    ]


def test_search_and_export_at_a_manifest_show_what_was_there_then(history):
    at = history.at
    assert set(hits(history)) == {uid_of("a")}
    assert hits(history, "--at", at["a"]) == [uid_of("a")]
    assert set(hits(history, "--at", at["changed"])) == {uid_of("a"), uid_of("b")}
    then = history.records("--at", at["b"])
    assert {key: record["revision"] for key, record in then.items()} == {
        uid_of("a"): 1,
        uid_of("b"): 1,
    }
    assert then[uid_of("a")]["descriptions"] == ["Abdomen axial"]
    assert history.records()[uid_of("a")]["revision"] == 2


def test_answer_at_a_manifest_is_the_same_later(history):
    before = history.search("ct of the abdomen", "--at", history.at["b"])
    assert before["manifest"] == history.at["b"]
    history.put("c/1.dcm", series="c")
    history.index()
    assert history.search("ct of the abdomen", "--at", history.at["b"]) == before


def test_a_deleted_series_is_masked_at_every_manifest(history):
    history.run("delete", uid_of("b"))
    assert hits(history, "--at", history.at["changed"]) == [uid_of("a")]
    assert uid_of("b") not in history.run("diff", history.at["a"], history.at["b"])
    told = json.loads(history.run("diff", history.at["a"], history.at["b"], "--format", "json"))
    assert (told["series"], told["deletedNow"]) == ([], 1)


def test_diff_tells_what_was_added_removed_and_changed(history):
    at = history.at
    assert difference(history, at["a"], at["b"]) == {uid_of("b"): "added"}
    assert difference(history, at["b"], at["changed"]) == {uid_of("a"): "changed"}
    assert difference(history, at["changed"], at["gone"]) == {uid_of("b"): "removed"}
    assert difference(history, at["a"]) == {uid_of("a"): "changed"}
    assert difference(history, at["gone"]) == {}
    table = history.run("diff", at["b"], at["changed"]).splitlines()
    assert table[1].split() == ["changed", "1", "->", "2", "CT", "chest", uid_of("a")]
    assert table[-1].endswith("0 added, 0 removed, 1 changed")
    lines = history.run("diff", at["a"], at["b"], "--format", "csv").splitlines()
    assert lines[0].startswith("change,seriesInstanceUid")
    assert lines[1].startswith(f"added,{uid_of('b')}")


def test_pin_is_a_name_that_search_export_diff_status_and_log_know(history):
    at = history.at
    assert f"manifest {at['b']}" in history.run("pin", "paper", "--at", at["b"])
    assert set(history.records("--at", "paper")) == {uid_of("a"), uid_of("b")}
    assert difference(history, "paper", at["changed"]) == {uid_of("a"): "changed"}
    assert json.loads(history.run("status", "--format", "json"))["pins"] == {"paper": at["b"]}
    assert "paper" in history.run("status")
    lines = [json.loads(line) for line in history.run("log", "--format", "json").splitlines()]
    assert {line["manifest"]: line["pinned"] for line in lines if line["pinned"]} == {
        at["b"]: ["paper"]
    }
    assert "unpinned" in history.run("unpin", "paper")
    history.run("export", "--at", "paper", status=1)
    assert "neither the number" in history.error


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "ct", "--at", "99"),
        ("export", "--at", "99"),
        ("diff", "99"),
        ("pin", "x", "--at", "99"),
        ("pin", "7"),
        ("unpin", "nobody"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(history, arguments):
    history.run(*arguments, status=1)
    assert history.error.count("\n") == 1
    assert any(words in history.error for words in ("99", "pin"))


def test_log_tells_what_made_every_manifest(history):
    lines = [json.loads(line) for line in history.run("log", "--format", "json").splitlines()]
    newest = lines[0]
    assert newest["manifest"] == history.at["gone"] == newest["parent"] + 1
    assert newest["reason"] == "remove"
    assert newest["counts"] == {"series": 0, "tombstones": 1}
    for line in lines:
        assert line["software"].startswith("dicom-indexer ")
        assert line["textEncoder"] == line["spaces"]["text"]
        assert line["imageEncoder"] == line["spaces"]["image"]
        assert all(line[name] for name in ("rules", "templates", "projection"))
    assert newest["rows"] == 4
    table = history.run("log").splitlines()
    assert table[0].split()[:2] == ["manifest", "created"]
    assert len(table) == len(lines) + 1
