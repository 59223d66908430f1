"""`dicom-indexer milvus`: as users run it, and two at once that are killed while others commit."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.milvus.checking import verify
from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.settings import MilvusSettings
from local_host import cli
from tests.conftest import ROOT
from tests.support.following import Followed, milvus

PATIENCE_S = 300.0
N_COMMITS = 30


def wait_until(what: Callable[[], bool]) -> None:
    """Against hangs only: nothing depends on how long it takes."""
    end_s = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < end_s, "waited in vain"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[str]:
    """A Milvus for several processes, on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    program = "import sys; from milvus_lite.cmdline import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "server", "--data-dir", str(folder / "lite")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log
        )
        try:
            wait_until(lambda: process.poll() is not None or _answers(port))
            assert process.poll() is None, (folder / "log").read_text()
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


class Processes:
    """Followers of one index, as a service manager would start them."""

    def __init__(self, data: Path, uri: str, prefix: str) -> None:
        self._command = [sys.executable, "-m", "local_host.cli", "--data", str(data), "milvus"]
        self._environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "DICOM_INDEXER_MILVUS_URI": uri,
            "DICOM_INDEXER_MILVUS_PREFIX": prefix,
            # A claim lasts four times as long: whoever was killed lets go of it soon.
            "DICOM_INDEXER_MILVUS_TIMEOUT_S": "2",
        }
        self.running: list[subprocess.Popen[bytes]] = []
        self._log = (data / "log").open("wb")
        self._path = data / "log"

    @property
    def log(self) -> str:
        """What all of them said."""
        return self._path.read_text()

    def start(self) -> None:
        self.running.append(
            subprocess.Popen(
                [*self._command, "follow"],
                env=self._environment,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
            )
        )

    def kill(self, which: int) -> None:
        process = self.running.pop(which)
        assert process.poll() is None, "it ended by itself"
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> list[int]:
        """Exit codes of all of them, as a service manager ends them."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        codes = [process.wait() for process in self.running]
        self._log.close()
        return codes


def test_two_at_once_that_are_killed_now_and_then_end_with_the_newest_manifest(tmp_path, server):
    client = connect(MilvusSettings(uri=server))
    followed = Followed(client, FolderBlobs(tmp_path / "data" / "index"))
    processes = Processes(tmp_path / "data", server, followed.prefix)
    chance = random.Random(5)
    followed.add(s1=1, s2=1)
    try:
        processes.start()
        processes.start()
        wait_until(lambda: followed.position.applied > 0)
        for number in range(2, N_COMMITS):
            _commit(followed, number, chance)
            if number % 7 == 0:
                processes.kill(chance.randrange(2))
                processes.start()
            if number % 5 == 0:
                wait_until(followed.is_followed)
        wait_until(followed.is_followed)
    finally:
        processes.end()
    followed.assert_equal()
    proof = verify(client, followed.blobs, followed.files, prefix=followed.prefix, look_into=500)
    assert proof.is_equal
    client.close()


def test_one_that_is_told_to_end_lets_go_of_its_claim(tmp_path, server):
    client = connect(MilvusSettings(uri=server))
    followed = Followed(client, FolderBlobs(tmp_path / "data" / "index"))
    processes = Processes(tmp_path / "data", server, followed.prefix)
    followed.add(s1=1)
    processes.start()
    wait_until(lambda: "can be searched" in processes.log)
    assert processes.end() == [0], processes.log
    assert "stopped following" in processes.log
    assert not followed.following.owner
    followed.assert_equal()
    client.close()


def _commit(followed: Followed, number: int, chance: random.Random) -> None:
    keys = [f"s{each}" for each in range(1, 9)]
    rows = {key: chance.choice((1, 1, 1, -1)) * number for key in chance.sample(keys, 3)}
    hidden = followed.newest.suppressed
    followed.add(**{key: n for key, n in rows.items() if key not in hidden} or {"s0": number})
    match number % 6:
        case 1:
            followed.suppress(chance.choice(keys))
        case 3:
            followed.restore(*keys)
        case 5:
            followed.compact()


class Commands:
    """The command in this process, over a data directory and a Milvus in a folder."""

    def __init__(self, data: Path, capsys) -> None:
        self.data = data
        self._captured = capsys
        self.error = ""

    def run(self, *arguments: str, status: int = 0) -> str:
        self._captured.readouterr()
        found = cli.main(["--data", str(self.data), "milvus", *arguments])
        out, self.error = self._captured.readouterr()
        assert found == status, self.error
        return out


@pytest.fixture
def commands(tmp_path, capsys, monkeypatch) -> Commands:
    monkeypatch.setenv("DICOM_INDEXER_MILVUS_URI", str(tmp_path / "milvus.db"))
    return Commands(tmp_path / "data", capsys)


@pytest.fixture
def followed(commands, tmp_path, monkeypatch) -> Followed:
    """Its client is none: the commands open the folder themselves, which one process may."""
    found = Followed(None, FolderBlobs(commands.data / "index"))
    monkeypatch.setenv("DICOM_INDEXER_MILVUS_PREFIX", found.prefix)
    found.add(s1=1, s2=1)
    return found


def test_status_follow_verify_and_rebuild(commands, followed, tmp_path):
    newest = followed.newest.number
    assert f"nothing was followed yet; the index is at manifest {newest}" in commands.run("status")
    assert commands.run("verify", status=1) == ""
    assert "dicom-indexer milvus follow" in commands.error
    commands.run("follow", "--once")
    assert f"manifest {newest} can be searched" in commands.error
    told = commands.run("status")
    assert f"manifest {newest} can be searched, the newest there is" in told
    assert "text: 10 entities, 0 more of earlier manifests" in told
    followed.add(s1=2)
    status = json.loads(commands.run("status", "--format", "json"))
    assert (status["applied"], status["n_behind"]) == (newest, 1)
    generation = status["generation"]
    commands.run("rebuild")
    status = json.loads(commands.run("status", "--format", "json"))
    assert (status["applied"], status["n_behind"]) == (newest + 1, 0)
    assert status["generation"] != generation
    assert json.loads(commands.run("verify", "--format", "json"))["isEqual"]
    with milvus(tmp_path) as client:
        followed.client = client
        followed.assert_equal()
        client.delete(followed.collection("text"), filter='seriesKey == "s1"')
    told = commands.run("verify", status=1)
    assert "text: 5 entities as manifest" in told
    assert "5 missing" in told
    assert "rebuild" in commands.error


def test_a_copied_data_directory_is_followed_into_collections_of_its_own(
    commands, followed, tmp_path, monkeypatch
):
    def generation() -> str:
        return json.loads(commands.run("status", "--format", "json"))["generation"]

    commands.run("follow", "--once")
    before = generation()
    monkeypatch.chdir(tmp_path)
    kept, commands.data = commands.data, Path("copy")
    shutil.copytree(kept, commands.data)
    commands.run("follow", "--once")
    assert generation() != before
    commands.data = Path(kept.name)  # the same by another name
    commands.run("follow", "--once")
    assert generation() == before
    assert json.loads(commands.run("verify", "--format", "json"))["isEqual"]


def test_without_a_milvus_it_is_said_what_to_set(commands, followed, monkeypatch):
    monkeypatch.delenv("DICOM_INDEXER_MILVUS_URI")
    commands.run("status", status=1)
    assert "DICOM_INDEXER_MILVUS_URI" in commands.error


def test_a_milvus_that_is_not_there_is_told_in_one_line(commands, followed, monkeypatch):
    monkeypatch.setenv("DICOM_INDEXER_MILVUS_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("DICOM_INDEXER_MILVUS_TIMEOUT_S", "1")
    commands.run("status", status=1)
    assert commands.error.startswith("dicom-indexer: cannot reach Milvus")
    assert len(commands.error.splitlines()) == 1


def test_without_pymilvus_it_is_said_how_to_install_it(commands, followed, monkeypatch):
    for name in [each for each in sys.modules if each.split(".")[0] == "pymilvus"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "indexer_core.adapters.milvus.client", raising=False)
    commands.run("status", status=1)
    assert "pip install 'dicom-indexer[milvus]'" in commands.error
