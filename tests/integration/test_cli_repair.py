"""`dicom-indexer verify --repair` over a data directory."""

import json
import shutil
from pathlib import Path

import pytest

from local_host import cli
from tests.support.dicom import dicom_object
from tests.support.system import index_folder

N_SERIES = 3


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A folder with an index of it in `data`."""
    root = tmp_path_factory.mktemp("repair")
    (root / "in").mkdir()
    for number in range(N_SERIES):
        slices = dicom_object(series=f"series {number}", value=number)
        (root / "in" / f"{number}.dcm").write_bytes(slices)
    index_folder(root / "data", root / "in").close()
    return root


@pytest.fixture
def run(pristine, tmp_path, monkeypatch, capsys):
    """Runs a command over a copy of the data directory."""
    monkeypatch.setenv("DICOM_INDEXER_PATIENT_KEY_FILE", str(pristine / "patient.key"))
    data = tmp_path / "data"
    shutil.copytree(pristine / "data", data)

    def run(*arguments: str) -> tuple[int, str, str]:
        status = cli.main([*arguments, "--data", str(data)])
        said = capsys.readouterr()
        return status, said.out, said.err

    run.data = data
    return run


def damage(data: Path, part: str) -> str:
    """Flip a bit of a file; its name in the store."""
    (path,) = (p for p in (data / "index").rglob("*") if p.is_file() and part in str(p))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    return path.relative_to(data / "index").as_posix()


def exported(run) -> list[dict]:
    status, out, _ = run("export")
    assert status == 0
    records = [json.loads(line) for line in out.splitlines()]
    return sorted(
        ({**record, "revision": None} for record in records), key=lambda r: r["seriesKey"]
    )


@pytest.mark.parametrize("part", [".rows.", ".text.", ".image.", ".points.", ".projector"])
def test_repair_brings_the_index_back(run, part):
    before = exported(run)
    name = damage(run.data, part)
    status, _, error = run("verify")
    assert (status, error.strip()) == (1, f"{name}: checksum does not fit its content")
    status, out, _ = run("verify", "--repair")
    assert status == 0, out
    assert "every checksum fits" in out
    assert exported(run) == before or part == ".points."
    assert len(exported(run)) == N_SERIES
    assert run("verify", "--repair")[1].startswith("nothing to repair")


def test_repair_says_what_is_lost_and_what_it_does_about_it(run):
    damage(run.data, ".rows.")
    status, out, _ = run("verify", "--repair")
    assert status == 0
    assert "lost: the 3 rows of segment" in out
    assert "indexed again from their files" in out
    assert "3 series are indexed again" in out
    assert "damaged files are kept in quarantine/" in out


def test_repair_names_what_it_cannot_index_again(run, pristine):
    damage(run.data, ".rows.")
    (pristine / "in" / "2.dcm").rename(pristine / "away.dcm")
    try:
        status, out, _ = run("verify", "--repair", "--format", "json")
    finally:
        (pristine / "away.dcm").rename(pristine / "in" / "2.dcm")
    assert status == 0
    told = json.loads(out)
    assert told["repair"]["n_rearmed"] == N_SERIES
    assert told["verify"]["n_series"] == N_SERIES - 1


def test_search_on_a_damaged_index_says_how_to_mend_it(run):
    damage(run.data, ".text.")
    status, out, error = run("search", "abdomen")
    assert (status, out) == (1, "")
    assert "verify --repair" in error


def test_index_of_newer_software_is_left_alone(run):
    (newest,) = sorted((run.data / "index" / "manifests").iterdir())[-1:]
    from indexer_core.index.manifest import FORMAT_VERSION
    from indexer_core.sealed import seal, unseal

    body = unseal(newest.read_bytes(), newest.name, FORMAT_VERSION)
    newest.write_bytes(seal({**body, "format_version": FORMAT_VERSION + 1}))
    status, _, error = run("verify", "--repair")
    assert status == 1
    assert "upgrade dicom-indexer" in error
    assert error.count("\n") == 1


def test_repair_needs_an_index(tmp_path, capsys):
    assert cli.main(["verify", "--repair", "--data", str(tmp_path / "data")]) == 1
    assert "run dicom-indexer index FOLDER" in capsys.readouterr().err
