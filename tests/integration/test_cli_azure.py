"""Every command of the command line on an Azure account (Azurite's), beside a data directory."""

import base64
import json
import logging
import shutil
import threading
import time
from argparse import _SubParsersAction
from pathlib import Path

import pytest

from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.encoders import folder_of
from local_host import cli, commands
from local_host.encoders import DEFAULT_NAME
from tests.support.azurite import Azurite, missing, running_azurite
from tests.support.bag_of_words import write_bag_of_words
from tests.support.command_line import exported_encoder
from tests.support.dicom import dicom_object
from tests.support.dicom import uid as uid_of
from tests.support.served import Served

pytestmark = pytest.mark.azurite

SECRET = b"a secret of the patient hash"
SCOPE_DEPENDENT = ("seriesKey", "scope", "revision")
N_SAMPLES = 40
TIMEOUT_S = 600.0


class Account:
    """An Azurite with a container of files, and the command line set up for it."""

    def __init__(self, azurite: Azurite, folder: Path, encoder: Path) -> None:
        self.azurite = azurite
        self.storage = AzureStorage(azurite.connection_string)
        self.folder = folder
        (folder / "data" / "encoders").mkdir(parents=True)
        (folder / "data" / "encoders" / encoder.name).symlink_to(encoder)
        shutil.copytree(folder / "data", folder / "local", symlinks=True)
        (folder / "patient.key").write_bytes(SECRET)
        self.environment = {
            "IndexerStorage": azurite.connection_string,
            "INDEXER_SOURCES": self.sources("inbox", "other"),
            "INDEXER_PATIENT_KEY": base64.b64encode(SECRET).decode(),
            "DICOM_INDEXER_PATIENT_KEY_FILE": str(folder / "patient.key"),
        }
        for name in ("inbox", "other"):
            self.storage.create_container(name)

    def sources(self, *containers: str) -> str:
        account = self.azurite.connection_string
        return json.dumps([{"scope": n, "account": account, "container": n} for n in containers])

    def put(self, name: str, data: bytes, container: str = "inbox") -> None:
        self.storage.container(container).upload_blob(name, data, overwrite=True)

    def remove(self, name: str, container: str = "inbox") -> None:
        self.storage.container(container).delete_blob(name)

    def queued(self, name: str) -> int:
        return AzureQueue(self.storage.queue(name)).length()


@pytest.fixture(scope="module")
def account(tmp_path_factory, pytestconfig, samples):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    encoder = exported_encoder(pytestconfig)
    folder = tmp_path_factory.mktemp("account")
    with running_azurite(folder / "azurite") as azurite:
        account = Account(azurite, folder, encoder)
        files = folder / "files"
        (files / "made").mkdir(parents=True)
        real = sorted(path for path in samples.rglob("*") if path.is_file())
        for number, path in enumerate(real[:: max(1, len(real) // N_SAMPLES)]):
            shutil.copyfile(path, files / f"{number:03d} größer+{path.name}")
        for instance in (1, 2, 3):
            for series in ("a", "b"):
                data = dicom_object(series=series, instance=instance)
                (files / "made" / f"{series}{instance}.dcm").write_bytes(data)
        (files / "made" / "report.dcm").write_bytes(dicom_object(series="sr", pixels=False))
        (files / "made" / "notes.txt").write_bytes(b"not DICOM")
        for path in sorted(path for path in files.rglob("*") if path.is_file()):
            account.put(path.relative_to(files).as_posix(), path.read_bytes())
        yield account
        account.storage.close()


@pytest.fixture
def program(account, monkeypatch, capsys):
    """Runs a command line in this process; what it printed, once its status is as expected."""
    logger = logging.getLogger("pydicom")
    handlers, propagate = list(logger.handlers), logger.propagate
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str, store: str = "azure", status: int = 0) -> str:
        data = account.folder / ("data" if store == "azure" else "local")
        capsys.readouterr()
        answer = cli.main(["--store", store, "--data", str(data), *arguments])
        printed = capsys.readouterr()
        assert answer == status, printed.err
        return printed.out if status == 0 else printed.err

    yield run
    logger.handlers[:], logger.propagate = handlers, propagate


@pytest.fixture
def indexed(account, program):
    """The report of a first run, made once; every test then starts from its result."""
    if not hasattr(account, "report"):
        account.report = json.loads(program("index", "inbox", "--format", "json"))
    return account.report


def records(printed: str) -> dict[str, dict]:
    found = [json.loads(line) for line in printed.splitlines()]
    return {
        record["seriesInstanceUid"] + record["studyInstanceUid"]: {
            key: value for key, value in record.items() if key not in SCOPE_DEPENDENT
        }
        for record in found
    }


def made_uid(account: Account, program, series: str) -> str:
    """Series Instance UID of a synthetic series, as `export` tells it."""
    for line in program("export", "--include-blobs").splitlines():
        record = json.loads(line)
        if any(f"/made/{series}" in url for url in record["blobs"]):
            return record["seriesInstanceUid"]
    raise AssertionError(series)


def test_account_says_of_the_same_files_what_a_data_directory_says(account, program, indexed):
    local = json.loads(
        program("index", str(account.folder / "files"), "--format", "json", store="local")
    )
    assert indexed == local
    assert indexed["files"]["indexed"] > N_SAMPLES
    assert indexed["reasons"]["not a DICOM file"] >= 1
    assert records(program("export")) == records(program("export", store="local"))
    assert len(records(program("export"))) == indexed["series"]["indexed"]


def test_second_run_finds_nothing_to_do(program, indexed):
    again = json.loads(program("index", "inbox/", "--format", "json"))
    assert again["files"]["unchanged"] == indexed["files"]["indexed"]
    assert again["files"]["indexed"] == again["series"]["indexed"] == 0


def test_part_of_a_container_is_indexed_and_what_has_gone_from_it_removed(
    account, program, indexed
):
    account.put("part/one.dcm", dicom_object(series="one"))
    account.put("partition/two.dcm", dicom_object(series="two"))
    first = json.loads(program("index", "inbox/part", "--format", "json"))
    assert first["files"] == {"indexed": 1, "unchanged": 0, "removed": 0, "rejected": 0}
    account.remove("part/one.dcm")
    account.remove("partition/two.dcm")
    then = json.loads(program("index", "inbox/part", "--format", "json"))
    assert then["files"] == {"indexed": 0, "unchanged": 0, "removed": 1, "rejected": 0}


def test_commands_that_read_tell_of_the_account(account, program, indexed):
    hits = json.loads(program("search", "abdomen axial CT", "--format", "json"))["value"]
    assert hits
    status = json.loads(program("status", "--format", "json"))
    assert status["folders"] == ["inbox", "other"]
    assert status["series"] == len(records(program("export")))
    assert account.azurite.key not in json.dumps(status)
    assert json.loads(program("log", "--format", "json").splitlines()[0])["manifest"] > 0
    uid = made_uid(account, program, "a1")
    assert json.loads(program("trace", uid))["index"]["searchable"]
    assert "notes.txt" in program("rejects")
    assert "every checksum fits" in program("verify")
    assert program("status").startswith("data")


def test_series_is_deleted_and_restored(account, program, indexed):
    uid = made_uid(account, program, "b1")
    program("delete", uid)
    assert uid not in program("export")
    program("restore", uid)
    assert uid in program("export")


def test_rejects_are_replayed_and_rules_applied_anew(program, indexed):
    assert program("replay").startswith("replayed")
    assert "notes.txt" in program("rejects")
    assert program("reprocess").startswith("reprocessed")


def test_backfill_without_work_fills_the_queue_and_watch_empties_it(
    account, program, indexed, monkeypatch
):
    for instance in range(3):
        account.put(f"{instance}.dcm", dicom_object(series="late", instance=instance), "other")
    report = json.loads(program("backfill", "--no-work", "--format", "json"))
    by_source = {source["source"]: source["enqueued"] for source in report["sources"]}
    assert by_source["other"] == 3
    assert by_source["inbox"] >= indexed["files"]["indexed"]
    assert "worked" not in report
    assert account.queued("blob-events") == sum(by_source.values())

    monkeypatch.setenv("INDEXER_QUIET_S", "0")
    monkeypatch.setattr(commands, "_POLL_S", 0.05)
    assert '"series": 1' in watch_until_news(program, monkeypatch)
    assert account.queued("blob-events") == 0
    assert made_uid(account, program, "report")
    account.storage.container("other").delete_blobs("0.dcm", "1.dcm", "2.dcm")
    program("index", "other")


def watch_until_news(program, monkeypatch) -> str:
    """What `watch` prints until it has indexed something and nothing is left to do."""
    seen = threading.Event()
    print_news = commands.output.print_news

    def told(series, *, as_json):
        print_news(series, as_json=as_json)
        if series["closed"] > 0:
            seen.set()
        elif seen.is_set():
            raise KeyboardInterrupt
        assert time.monotonic() < deadline_s

    deadline_s = time.monotonic() + TIMEOUT_S
    monkeypatch.setattr(commands.output, "print_news", told)
    return program("watch", "--format", "json")


def test_backfill_and_reconcile_work_until_idle(account, program, indexed):
    for name in ("1.dcm", "2.dcm"):
        account.put(f"behind/{name}", dicom_object(series=f"behind {name}"), "other")
    report = json.loads(program("backfill", "--format", "json"))
    assert report["worked"]["files"]["unchanged"] >= indexed["files"]["indexed"]
    assert report["worked"]["files"]["indexed"] == 2

    account.put("behind/1.dcm", dicom_object(series="behind 1.dcm", value=7), "other")
    account.put("behind/3.dcm", dicom_object(series="behind 3.dcm"), "other")
    account.remove("behind/2.dcm", "other")
    found = json.loads(program("reconcile", "--format", "json"))
    other = next(source for source in found["sources"] if source["source"] == "other")
    assert (other["new"], other["changed"], other["gone"]) == (1, 1, 1)
    assert found["worked"]["files"]["indexed"] == 2
    assert found["worked"]["files"]["removed"] == 1
    assert found["resent"] == 0

    told = program("reconcile").splitlines()
    assert all("0 new, 0 changed, 0 gone" in line for line in told if line.startswith("inbox"))
    assert any("other: 2 listed, 0 new, 0 changed, 0 gone" in line for line in told)
    account.storage.container("other").delete_blobs("behind/1.dcm", "behind/3.dcm")
    program("index", "other")


def test_data_directory_is_backfilled_and_reconciled_too(program, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.dcm").write_bytes(dicom_object(series=f"local {name}"))
    program("index", str(tmp_path), store="local")
    (tmp_path / "one.dcm").unlink()
    (tmp_path / "two.dcm").write_bytes(dicom_object(series="local two", value=5))
    (tmp_path / "three.dcm").write_bytes(dicom_object(series="local three"))
    found = json.loads(program("reconcile", "--format", "json", store="local"))
    (source,) = found["sources"]
    assert (source["new"], source["changed"], source["gone"]) == (1, 1, 1)
    assert found["worked"]["series"] == {"indexed": 3, "failed": 0}
    (tmp_path / "four.dcm").write_bytes(dicom_object(series="local four"))
    assert "looks enqueued" in (told := program("backfill", store="local"))
    assert "series: 1 written" in told
    assert "0 new, 0 changed, 0 gone" in program("reconcile", store="local")


def test_encoder_of_an_account_is_changed_and_found_by_every_machine(
    account, program, indexed, tmp_path
):
    encoders = account.folder / "data" / "encoders"
    export = tmp_path / "bag-of-words"
    encoder_id = write_bag_of_words(export, encoders / DEFAULT_NAME / "tokenizer.json")
    n_series = len(program("export").splitlines())
    program("encoder", "build", str(export))
    assert encoder_id in program("encoder", "switch")
    # Another machine has it from the account.
    shutil.rmtree(encoders / folder_of(encoder_id))
    found = json.loads(program("search", "brain", "--format", "json", "--top", "1000"))
    assert len(found["value"]) == n_series
    assert (encoders / folder_of(encoder_id) / "model.onnx").exists()
    program("verify")
    program("encoder", "build", DEFAULT_NAME)
    program("encoder", "switch")
    (text, _) = json.loads(program("encoder", "status", "--format", "json"))["spaces"]
    assert (text["hasLive"], text["building"]) == (True, None)
    assert text["live"].startswith(DEFAULT_NAME)


def test_the_map_of_an_account_is_read_and_drawn(program, tmp_path):
    status = json.loads(program("map", "status", "--format", "json"))
    assert (status["version"], status["isFitted"]) == ("0.1", False)
    assert status["placed"] > 0
    program("map", "export", str(tmp_path / "map"), "--png", str(tmp_path / "map.png"))
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "map" / "points.csv").read_text().splitlines()) == 1 + status["placed"]


def test_history_of_an_account_is_pinned_compared_and_collected(account, program, indexed):
    program("pin", "before")
    before = records(program("export"))
    account.put("history/1.dcm", dicom_object(series="history"))
    program("index", "inbox/history")
    assert len(program("diff", "before", "--format", "csv").splitlines()) == 2  # names, one series
    merged = json.loads(program("compact", "--full", "--format", "json"))
    assert merged["n_merges"] >= 1
    dry = json.loads(program("gc", "--keep-days", "0", "--dry-run", "--format", "json"))
    done = json.loads(program("gc", "--keep-days", "0", "--format", "json"))
    assert done["n_expired"] >= dry["n_expired"] > 0
    assert records(program("export", "--at", "before")) == before
    program("verify")
    program("unpin", "before")
    account.remove("history/1.dcm")
    program("index", "inbox/history")
    assert records(program("export")) == before


def test_an_index_of_an_account_is_followed_and_searched_on_milvus(
    program, indexed, tmp_path, monkeypatch
):
    before = program("search", "brain", "--format", "json")
    monkeypatch.setenv("DICOM_INDEXER_MILVUS_URI", str(tmp_path / "milvus.db"))
    program("milvus", "follow", "--once")
    assert "the newest there is" in program("milvus", "status")
    found = [json.loads(program("search", "brain", "--format", "json")), json.loads(before)]
    assert found[0]["value"] == found[1]["value"] != []
    program("milvus", "verify")


def test_cohort_of_an_account_is_kept_shown_and_let_go(account, program, indexed):
    made = made_uid(account, program, "b")
    program("cohort", "save", "ct", "--filter", "modality=CT")
    saved = json.loads(program("cohort", "show", "ct", "--format", "json"))
    assert (saved["version"], saved["asSaved"]) == (1, True)
    assert saved["pin"] in json.loads(program("status", "--format", "json"))["pins"]
    assert made in program("cohort", "export", "ct", "--format", "uids")
    program("delete", made)
    assert made not in program("cohort", "export", "ct", "--format", "uids")
    assert program("cohort", "refresh", "ct").startswith("0 new, 1 deleted now since ct@1")
    program("restore", made)
    found = json.loads(program("cohort", "diff", "ct@2", "--format", "json"))
    assert [one["change"] for one in found["series"]] == ["added"]
    assert program("cohort", "delete", "ct") == "deleted 2 versions of ct\n"
    assert saved["pin"] not in json.loads(program("status", "--format", "json"))["pins"]


def test_series_of_an_account_is_purged(account, program, indexed):
    account.put("purged/1.dcm", dicom_object(series="to be purged"))
    program("index", "inbox/purged")
    uid = uid_of("study", "to be purged")
    assert uid in program("export")
    account.remove("purged/1.dcm")
    assert "hidden" in program("purge", uid)
    assert uid not in program("export")
    assert "series" in program("purge", "--receipts")
    assert "nothing to repair" in program("verify", "--repair")


def test_an_account_is_asked_for_look_alikes_counts_and_who_asked(account, program, indexed):
    made = made_uid(account, program, "b")
    alike = json.loads(program("similar", made, "--format", "json"))
    assert alike["value"]
    assert made not in {hit["seriesInstanceUid"] for hit in alike["value"]}
    counted = json.loads(program("facets", "modality", "--format", "json"))
    n_series = len(program("export").splitlines())
    assert sum(each["count"] for each in counted["facets"]["modality"]["values"]) == n_series
    server = Served(account.folder / "data", "--store", "azure", env=account.environment)
    try:
        found = server.ask("GET", "/api/search?q=CT").json()
        assert found["count"] <= n_series
        assert found["value"]
    finally:
        assert server.stop()[0] == 0
    (row,) = map(json.loads, program("audit").splitlines())
    assert (row["operation"], row["returned"]) == ("searchByLink", len(found["value"]))


def test_every_command_is_tried_on_an_account():
    (commands_of,) = (a for a in cli._parser()._actions if isinstance(a, _SubParsersAction))
    written = Path(__file__).read_text()
    tried = {name for name in commands_of.choices if f'program("{name}"' in written}
    # The first needs a data directory, the second a process of its own that goes on until stopped;
    # the next two ask no account, the last has its own tests.
    assert commands_of.choices.keys() - tried == {"demo", "serve", "cost", "size", "smoke"}


def test_missing_settings_are_all_named_in_one_line(program, monkeypatch):
    for name in ("IndexerStorage", "INDEXER_SOURCES", "INDEXER_PATIENT_KEY"):
        monkeypatch.delenv(name)
    (line,) = program("status", status=1).splitlines()
    for name in ("IndexerStorage", "INDEXER_SOURCES", "INDEXER_PATIENT_KEY"):
        assert name in line


def test_wrong_key_is_told_in_one_line_without_it(account, program, monkeypatch):
    wrong = base64.b64encode(b"x" * 64).decode()
    text = account.azurite.connection_string.replace(account.azurite.key, wrong)
    monkeypatch.setenv("IndexerStorage", text)
    (line,) = program("status", status=1).splitlines()
    assert "refused" in line
    assert wrong not in line


def test_account_without_an_index_is_told_how_to_begin(account, program, monkeypatch):
    (line,) = program("index", "nowhere/at/all", status=1).splitlines()
    assert "inbox/" in line


@pytest.mark.parametrize("command", [("status",), ("index", "inbox"), ("search", "CT")])
def test_azurite_that_is_down_is_told_in_one_line(account, program, monkeypatch, command):
    down = account.azurite.connection_string
    for port in account.azurite.ports.values():
        down = down.replace(f":{port}/", ":9/")
    monkeypatch.setenv("IndexerStorage", down)
    monkeypatch.setenv("INDEXER_SOURCES", account.sources("inbox"))
    (line,) = program(*command, status=1).splitlines()
    assert line.startswith("dicom-indexer: ")
    assert "unexpected" not in line


@pytest.mark.parametrize(
    ("command", "told"),
    [(("demo",), "demo-azurite"), (("delete", "1.2.3"), "no indexed series")],
)
def test_what_cannot_be_done_is_told_in_one_line(program, indexed, command, told):
    (line,) = program(*command, status=1).splitlines()
    assert told in line


@pytest.mark.parametrize("command", ["backfill", "reconcile", "replay"])
def test_no_work_needs_an_account(program, command):
    (line,) = program(command, "--no-work", store="local", status=1).splitlines()
    assert "--store azure" in line
