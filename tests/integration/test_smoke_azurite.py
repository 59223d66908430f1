"""`smoke` against what it is for: an account, an app that answers over HTTP, and a worker.

The account is Azurite's, which sends no events: a thread lists the container and writes them, as
Event Grid would. The app is `serve`, the functions and the worker are `watch`, each a process.
"""

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.events import look_message
from tests.support.azurite import missing, running_azurite
from tests.support.command_line import exported_encoder
from tests.support.dicom import dicom_object
from tests.support.served import Served

pytestmark = [pytest.mark.azurite, pytest.mark.slow]

TIMEOUT_S = 300.0
TOKEN = "a token of sixteen characters"


class Events:
    """Tells of every blob that has come to a container or gone from it since."""

    def __init__(self, storage: AzureStorage, container: str) -> None:
        self._container = storage.container(container)
        self._source = AzureContainerSource(self._container, scope="clinic")
        self._queue = AzureQueue(storage.queue("blob-events"))
        self._known = self._names()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _names(self) -> set[str]:
        return {blob.name for blob in self._container.list_blobs()}

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            names = self._names()
            for name in names ^ self._known:
                self._queue.send(look_message(self._source.url_of(name)))
            self._known = names


class House:
    """The processes, and the environment that they share."""

    def __init__(self, connection: str, folder: Path, encoder: Path) -> None:
        self.data = folder / "data"
        (self.data / "encoders").mkdir(parents=True)
        (self.data / "encoders" / encoder.name).symlink_to(encoder)
        self.storage = AzureStorage(connection)
        self.inbox = self.storage.create_container("inbox")
        source = {"scope": "clinic", "account": connection, "container": "inbox", "prefix": "in"}
        self.environment = {
            "IndexerStorage": connection,
            "INDEXER_SOURCES": json.dumps([source]),
            "INDEXER_PATIENT_KEY": base64.b64encode(b"a secret of the patient hash").decode(),
            "INDEXER_QUIET_S": "1",
            "DICOM_INDEXER_TOKEN": TOKEN,
        }

    def start(self, *arguments: str, **changes: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "local_host.cli", "--data", str(self.data)]
        return subprocess.Popen(
            [*command, "--store", "azure", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment, **changes},
        )

    def run(self, *arguments: str, status: int = 0, **changes: str) -> tuple[str, str]:
        process = self.start(*arguments, **changes)
        out, error = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == status, error
        return out, error


@pytest.fixture(scope="module")
def house(tmp_path_factory, pytestconfig):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    encoder = exported_encoder(pytestconfig)
    folder = tmp_path_factory.mktemp("smoke")
    with running_azurite(folder / "azurite") as azurite:
        house = House(azurite.connection_string, folder, encoder)
        house.inbox.upload_blob("in/first.dcm", dicom_object())
        house.run("backfill")
        yield house
        house.storage.close()


@pytest.fixture(scope="module")
def server(house):
    served = Served(house.data, "--store", "azure", env=house.environment)
    yield served
    assert served.stop()[0] == 0


def names(house) -> list[str]:
    return [blob.name for blob in house.inbox.list_blobs()]


def test_a_file_comes_is_found_goes_and_is_found_no_more(house, server):
    watch = house.start("watch")
    try:
        with Events(house.storage, "inbox"):
            out, error = house.run("smoke", "--endpoint", server.url, "--wait", "200")
            steps = out.splitlines()
            assert [step.split()[0] for step in steps] == [
                "the",
                "uploaded",
                "searchable",
                "found",
                "deleted,",
            ]
            assert steps[1].startswith("uploaded in/dicom-indexer-smoke-")
            assert not error
            out, error = house.run("smoke", "--endpoint", server.url, "--format", "json")
            done = json.loads(out)
            assert done["searchable_s"] >= 1
            assert len(error.splitlines()) == len(steps)
    finally:
        watch.send_signal(signal.SIGINT)
        watch.communicate(timeout=TIMEOUT_S)
    assert names(house) == ["in/first.dcm"]
    answer = server.ask(
        "GET",
        f"/api/series/{done['series_instance_uid']}",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    assert answer.status == 404


def test_where_nobody_indexes_it_says_so_in_one_line_and_deletes_the_file(house, server):
    _, error = house.run("smoke", "--endpoint", server.url, "--wait", "1", status=1)
    (line,) = error.splitlines()
    assert "not searchable within 1 s" in line
    assert names(house) == ["in/first.dcm"]


def test_a_wrong_token_is_told_in_one_line_without_it(house, server):
    wrong = "another token of many characters"
    _, error = house.run("smoke", "--endpoint", server.url, status=1, DICOM_INDEXER_TOKEN=wrong)
    (line,) = error.splitlines()
    assert "DICOM_INDEXER_TOKEN" in line
    assert wrong not in line


def test_a_container_that_is_not_there_is_told_in_one_line_without_the_key(house, server):
    (source,) = json.loads(house.environment["INDEXER_SOURCES"])
    sources = json.dumps([{**source, "container": "nowhere"}])
    _, error = house.run("smoke", "--endpoint", server.url, status=1, INDEXER_SOURCES=sources)
    (line,) = error.splitlines()
    assert line.startswith("dicom-indexer: ")
    assert "unexpected" not in line
    assert "AccountKey" not in line
