"""What docs/operations.md shows of trouble: made here on an account (Azurite's), and mended.

Each test makes a fault, follows the page, and finds the very output that the page shows.
"""

import base64
import json
import logging
import os
import re
import sys
from contextlib import redirect_stderr

import pytest

from function_app.handlers import ingest, sweep
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.descriptor import ImageDescriptor
from indexer_core.events import look_message
from indexer_core.messages import parse_check
from local_host import cli
from local_host.settings import read_settings
from local_host.wiring import LocalSystem
from tests.conftest import ROOT
from tests.support.azurite import missing, running_azurite
from tests.support.command_line import exported_encoder
from tests.support.dicom import dicom_object
from tests.support.dicom import uid as uid_of

pytestmark = pytest.mark.azurite

CONTAINER = "dicom"
INDEX = "index"


class Account:
    """An account with a container of files, and no index yet."""

    def __init__(self, connection_string, folder):
        self.connection_string = connection_string
        self.folder = folder
        self.storage = AzureStorage(connection_string)
        self.storage.create_container(CONTAINER)
        self.files = self.storage.container(CONTAINER)

    def put(self, name, data):
        self.files.upload_blob(name, data, overwrite=True)

    def length(self, queue):
        return AzureQueue(self.storage.queue(queue)).length()


@pytest.fixture
def account(tmp_path, pytestconfig):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    encoder = exported_encoder(pytestconfig)
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / encoder.name).symlink_to(encoder)
    with running_azurite(tmp_path / "azurite") as azurite:
        account = Account(azurite.connection_string, tmp_path)
        yield account
        account.storage.close()


@pytest.fixture
def say(account, monkeypatch, capsys):
    """Runs a command; what a terminal shows of it."""
    source = {"scope": "clinic", "account": account.connection_string, "container": CONTAINER}
    monkeypatch.setenv("IndexerStorage", account.connection_string)
    monkeypatch.setenv("INDEXER_SOURCES", json.dumps([source]))
    monkeypatch.setenv("INDEXER_PATIENT_KEY", base64.b64encode(b"sixteen bytes or more").decode())
    logger = logging.getLogger("pydicom")
    handlers, propagate = list(logger.handlers), logger.propagate

    def run(*arguments, status=0):
        capsys.readouterr()
        with redirect_stderr(sys.stdout):  # in one order, as on a terminal
            answer = cli.main(["--store", "azure", "--data", str(account.folder), *arguments])
        printed = capsys.readouterr().out
        assert answer == status, printed
        command = " ".join(["dicom-indexer --store azure", *arguments])
        return f"$ {command}\n{printed}"

    yield run
    logger.handlers[:], logger.propagate = handlers, propagate


@pytest.fixture
def system(account, say):
    """The parts, for what no command does by itself."""
    system = LocalSystem(read_settings(str(account.folder), os.environ, "azure"))
    yield system
    system.close()


@pytest.fixture
def healthy(account, say):
    """Two series that are indexed; the UID of one."""
    account.put("head/1.dcm", dicom_object(series="head"))
    account.put("chest/1.dcm", dicom_object(series="chest"))
    say("index", CONTAINER)
    return uid_of("study", "head")


def alike(text):
    """Without what differs from run to run: ids, times, and where Azurite listens."""
    text = re.sub(r"http://127\.0\.0\.1:\d+/\w+/", "https://ACCOUNT/", text)
    text = re.sub(r"[0-9a-f]{24,}", "ID", text)
    return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00", "TIME", text)


def assert_shown(told):
    """The page shows this, word by word."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert f"\n{alike(told)}```\n" in alike(page) or f"\n{alike(told)}$ " in alike(page), told


def test_an_account_in_good_health(account, say, healthy):
    assert_shown(say("status"))


def test_a_file_that_is_set_aside_is_told_and_heals(account, say, healthy):
    account.put("from-a-cd/AUTORUN.INF", b"[autorun]")
    account.put("scan/1.dcm", b"")
    say("index", CONTAINER)
    assert_shown(say("rejects"))
    account.files.delete_blob("from-a-cd/AUTORUN.INF")
    account.put("scan/1.dcm", dicom_object(series="scan"))
    assert_shown(say("reconcile", "--no-work"))
    say("index", CONTAINER)
    assert "nothing is rejected" in say("rejects")
    assert uid_of("study", "scan") in say("export")


def test_a_series_that_failed_every_time_is_replayed(account, say, healthy, monkeypatch):
    def fail(self, stacks):
        raise ValueError("a model that cannot bear this series")

    account.put("knee/1.dcm", dicom_object(series="knee"))
    with monkeypatch.context() as broken:
        broken.setattr(ImageDescriptor, "encode", fail)
        say("index", CONTAINER, status=1)
    assert account.length("series-ready-poison") == 1
    assert_shown(say("rejects"))
    assert_shown(say("replay", "--no-work"))
    assert (account.length("series-ready-poison"), account.length("series-ready")) == (0, 1)
    say("index", CONTAINER)
    assert uid_of("study", "knee") in say("export")
    assert "nothing is rejected" in say("rejects")


def test_a_message_that_nobody_can_read_is_not_sent_again(account, say, healthy):
    account.storage.queue("series-ready").send_message("not one of ours")
    say("index", CONTAINER, status=1)
    assert_shown(say("rejects"))
    assert account.length("series-ready-poison") == 1
    assert_shown(say("replay", "--no-work"))
    assert (account.length("series-ready-poison"), account.length("series-ready")) == (0, 0)
    assert "the message is not JSON" in say("rejects")


def test_events_that_were_lost_are_made_up_for(account, say, healthy):
    account.put("lost/1.dcm", dicom_object(series="lost"))
    assert_shown(say("reconcile", "--no-work"))
    assert account.length("blob-events") == 1
    say("index", CONTAINER)
    assert uid_of("study", "lost") in say("export")


def test_a_check_that_was_lost_is_sent_again_by_the_timer(account, say, healthy, system):
    account.put("open/1.dcm", dicom_object(series="open"))
    url = account.files.get_blob_client("open/1.dcm").url
    assert [one.outcome for one in ingest(look_message(url), system.services)] == ["changed"]
    account.storage.queue("series-check").clear_messages()
    assert "1 series to close" in say("status")
    assert sweep(system.services, older_than_s=0.0) == 1
    assert account.length("series-check") == 1
    say("index", CONTAINER)
    assert uid_of("study", "open") in say("export")


def test_a_message_that_a_killed_worker_had_in_hand_comes_back(account, say, healthy, system):
    account.put("left/1.dcm", dicom_object(series="left"))
    url = account.files.get_blob_client("left/1.dcm").url
    ingest(look_message(url), system.services)
    for series in list(system.assembly.open_keys()):
        system.assembly.force(series)
    for message in system.series_checks.receive(32, 600.0):
        system.services.assembly.check_all([parse_check(message.body)])
        system.series_checks.delete(message)
    (held,) = system.series_ready.receive(1, 600.0)  # and then it is killed
    assert "1 series to index" in say("status")
    system.series_ready.extend(held, 0.0)  # ten minutes later
    say("index", CONTAINER)
    assert uid_of("study", "left") in say("export")
    assert account.length("series-ready") == 0


def test_a_damaged_file_is_named_and_mended(account, say, healthy):
    container = account.storage.container(INDEX)
    names = [blob.name for blob in container.list_blobs(name_starts_with="segments/")]
    vectors = next(name for name in sorted(names) if name.endswith(".text.faiss"))
    container.upload_blob(vectors, b"damaged", overwrite=True)
    assert_shown(say("verify", status=1))
    assert_shown(say("verify", "--repair"))


def test_a_series_is_erased_after_an_hour(account, say, healthy):
    account.files.delete_blob("head/1.dcm")
    told = say("purge", healthy).replace(healthy, "UID")
    assert_shown(told)
    assert healthy not in say("export")
    assert "1 purges to carry on with" in say("status")
