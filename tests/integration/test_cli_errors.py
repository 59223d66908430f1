"""Every mistake ends in one line that says what to do, never in a traceback."""

import ctypes
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from indexer_core.adapters.faiss_vectors import bulk
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from local_host import cli
from tests.support.dicom import dicom_object
from tests.support.system import index_folder

WAIT_S = 300.0
_PR_CAPBSET_DROP, _DAC_OVERRIDE, _DAC_READ_SEARCH = 24, 1, 2


def without_root_powers() -> None:
    """Let permissions count for root, too: run in the child before the program starts."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        for capability in (_DAC_OVERRIDE, _DAC_READ_SEARCH):
            if libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0):
                raise OSError(ctypes.get_errno(), "a capability cannot be dropped")


def start(*arguments: object, env: dict[str, str] | None = None, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "local_host.cli", *map(str, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env={**os.environ, **(env or {})}, **{**streams, **options})


def fails(*arguments: object, status: int = 1, **options) -> str:
    """The one line of a command that fails."""
    with start(*arguments, **options) as process:
        out, error = process.communicate(timeout=WAIT_S)
    assert process.returncode == status, error
    assert out in ("", None)
    assert error.startswith("dicom-indexer: ")
    assert error.count("\n") == 1, error
    return error.removeprefix("dicom-indexer: ").rstrip()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """A folder with an index of it in `data`."""
    root = tmp_path_factory.mktemp("cli")
    (root / "in").mkdir()
    (root / "in" / "1.dcm").write_bytes(dicom_object())
    index_folder(root / "data", root / "in").close()
    return root


@pytest.fixture
def root(pristine, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DICOM_INDEXER_PATIENT_KEY_FILE", str(pristine / "patient.key"))
    monkeypatch.chdir(Path(__file__).parents[2])
    shutil.copytree(pristine, tmp_path / "root")
    return tmp_path / "root"


@pytest.mark.parametrize(
    "command", ["status", "export", "verify", "log", "rejects", "replay", "reprocess"]
)
def test_without_an_index_every_command_says_how_to_make_one(command, tmp_path, capsys):
    assert cli.main([command, "--data", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert "run dicom-indexer index FOLDER" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(bulk.n_gpus() > 0, reason="there is a GPU")
def test_verify_gpu_needs_no_index_and_says_where_there_is_no_gpu(tmp_path, capsys):
    assert cli.main(["verify", "--gpu", "--data", str(tmp_path / "data")]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("dicom-indexer: FAISS finds no GPU: install dicom-indexer[gpu]")
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "data").exists()


def test_usage_errors_end_with_status_2():
    assert "COMMAND" in fails(status=2)
    assert "--help" in fails("search", status=2)
    assert "nan" in fails("search", "x", "--top", "nan", status=2)


def test_missing_path_makes_no_data_directory(tmp_path):
    said = fails("index", tmp_path / "nothing", "--data", tmp_path / "data")
    assert said == f"no such file or folder: {tmp_path / 'nothing'}"
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((" ",), "say what to look for"),
        (("x", "--top", "0"), "top is a number from 1 to 1000"),
        (("x", "--top", "1000000"), "top is a number from 1 to 1000"),
        (("x", "--filter", "nothing=1"), "use one of scope"),
        (("x", "--filter", "ageYears>=nan"), "ageYears is a number"),
        (("x", "--filter", "modality"), "modality=MR"),
        (("x\udcff",), "not valid UTF-8"),
    ],
)
def test_wrong_searches_say_what_is_right(root, arguments, said, capsys):
    assert cli.main(["search", *arguments, "--data", str(root / "data")]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_search_that_cannot_be_answered_loads_no_index(tmp_path, capsys):
    assert cli.main(["search", "x", "--top", "0", "--data", str(tmp_path / "nothing")]) == 1
    assert "top is a number" in capsys.readouterr().err


def test_setting_that_is_no_number_is_named():
    assert "DICOM_INDEXER_QUIET_S" in fails("status", env={"DICOM_INDEXER_QUIET_S": "soon"})


@pytest.mark.parametrize("damage", ["rows", "text", "manifests"])
def test_flipped_byte_is_found_by_search_and_verify(root, damage):
    for path in (root / "data" / "index").rglob("*"):
        if path.is_file() and (f".{damage}." in path.name or path.parent.name == damage):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            path.write_bytes(content)
    said = fails("search", "ct", "--data", root / "data")
    assert "index again" in said
    with start("verify", "--data", root / "data") as process:
        _, error = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert "Traceback" not in error


def test_damaged_and_newer_state_are_told_apart(root):
    state = root / "data" / "state.sqlite"
    with sqlite3.connect(state) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    assert "newer dicom-indexer" in fails("status", "--data", root / "data")
    state.write_bytes(os.urandom(8192))
    assert "state database is damaged" in fails("status", "--data", root / "data")
    assert cli.main(["export", "--data", str(root / "data")]) == 0


def test_second_writer_is_told_who_is_writing(root):
    with start("watch", root / "in", "--data", root / "data") as first:
        assert wait_for(first, "watching")
        said = fails("index", root / "in", "--data", root / "data")
        assert f"pid {first.pid}" in said
        assert cli.main(["status", "--data", str(root / "data")]) == 0
        first.terminate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_watch_follows_the_folder_and_stops_cleanly(root, number):
    quick = {"DICOM_INDEXER_QUIET_S": "0"}
    with start("watch", root / "in", "--data", root / "data", env=quick) as process:
        assert wait_for(process, "watching")
        (root / "in" / "2.dcm").write_bytes(dicom_object(series="late"))
        assert wait_for(process, "brought up to date", stream="stdout")
        (root / "in" / "2.dcm").unlink()
        assert wait_for(process, "brought up to date", stream="stdout")
        process.send_signal(number)
        _, error = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert error == "stopped watching\n"


def wait_for(process: subprocess.Popen, words: str, stream: str = "stderr") -> bool:
    """Whether the program says so before it ends; it is killed when it stays silent."""
    timer = threading.Timer(WAIT_S, process.kill)
    timer.start()
    try:
        return any(words in line for line in iter(getattr(process, stream).readline, ""))
    finally:
        timer.cancel()


def test_reader_that_goes_away_is_no_error(root):
    read, write = os.pipe()
    os.close(read)
    with start("export", "--data", root / "data", stdout=write) as process:
        os.close(write)
        _, error = process.communicate(timeout=WAIT_S)
    assert (process.returncode, error) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_under_the_output_is_told(root):
    with Path("/dev/full").open("w") as full:
        assert "No space left" in fails("export", "--data", root / "data", stdout=full)


def test_folders_and_files_without_permission_are_told_and_the_rest_goes_on(root):
    for name in ("closed/1.dcm", "open/1.dcm", "open/secret.dcm"):
        (root / "in" / name).parent.mkdir(exist_ok=True)
        (root / "in" / name).write_bytes(dicom_object(series=name))
    (root / "in" / "closed").chmod(0)
    (root / "in" / "open" / "secret.dcm").chmod(0)
    command = ("index", root / "in", "--data", root / "data")
    with start(*command, preexec_fn=without_root_powers) as process:
        out, error = process.communicate(timeout=WAIT_S)
    (root / "in" / "closed").chmod(0o700)
    assert process.returncode == 1
    assert "2 indexed, 0 unchanged" in out
    assert "permission denied" in error
    assert f"{root / 'in' / 'closed'}: permission denied" in error


def test_read_only_data_directory_can_be_searched_but_not_written(root):
    data = root / "data"
    places = [data, *data.rglob("*")]
    for place in places:
        place.chmod(0o555 if place.is_dir() else 0o444)
    limits = {"preexec_fn": without_root_powers}
    try:
        with start("search", "ct", "--data", data, **limits) as process:
            out, error = process.communicate(timeout=WAIT_S)
        said = fails("index", root / "in", "--data", data, **limits)
    finally:
        for place in places:
            place.chmod(0o755)
    assert (process.returncode, error) == (0, "")
    assert "CT" in out
    assert "choose another by --data" in said


def test_bug_ends_in_one_line_and_verbose_shows_places_but_no_values(root, monkeypatch, capsys):
    def bug(*_):
        raise RuntimeError("Plantedname^Gundula")

    monkeypatch.setattr(OnnxTextEncoder, "encode", bug)
    command = ["search", "ct", "--data", str(root / "data")]
    assert cli.main(command) == 1
    quiet = capsys.readouterr().err
    assert quiet.count("\n") == 1
    assert "--verbose" in quiet
    assert cli.main([*command, "--verbose"]) == 1
    verbose = capsys.readouterr().err
    assert "in run_search" in verbose
    assert "RuntimeError" in verbose
    assert "Plantedname" not in verbose + quiet


def test_status_loads_neither_models_nor_dicom(root):
    program = (
        "import sys; from local_host.cli import main; main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--data", str(root / "data")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    heavy = {"torch", "onnxruntime", "faiss", "pydicom", "yaml", "rich", "watchdog"}
    assert heavy.isdisjoint(done.stderr.split())
