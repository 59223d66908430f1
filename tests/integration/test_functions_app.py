"""The Functions app in Microsoft's own Python runtime, over a real Azurite, with the real worker.

The functions run in their own process under Python 3.13; the worker's loop runs here, over the same
stores. `functions.json` beside this file lists the functions that the runtime must find.
"""

import base64
import io
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from itertools import count, pairwise
from pathlib import Path
from uuid import uuid4

import pydicom
import pytest

from function_app.search import records
from function_app.wiring import build_services, read_settings
from gpu_worker.loop import WorkerSettings, work_once
from gpu_worker.wiring import build_worker, leave_text_encoder
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.configured import ENCODER_PREFIX
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.stores import azure_stores, create_stores
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.announcements import Nobody
from indexer_core.descriptor import DIMENSION, ImageDescriptor
from indexer_core.encoders import in_store, prefix_of
from indexer_core.index.filling import text_vectors
from indexer_core.index.reader import Reader
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.switching import SpaceSwitch
from indexer_core.indexing import open_index
from indexer_core.messages import parse_ready
from indexer_core.pixels.stack import slices_from_bytes
from indexer_core.rules import load_rules
from indexer_core.search import blobs_of
from indexer_core.templates import load_templates
from indexer_core.uids import series_key
from tests.support import azurite as azurites
from tests.support.bag_of_words import write_bag_of_words
from tests.support.command_line import exported_encoder
from tests.support.functions_host import (
    PYTHON,
    ROOT,
    FunctionsHost,
    HostError,
    missing,
    read_function,
    read_host_settings,
)

SCOPE = "study-a"
EXPECTED = json.loads(Path(__file__).with_name("functions.json").read_text())
GE = "neurolabusc__dcm_qa_nih/In/20180918GE"
SMALL = "pydicom__pydicom/src/pydicom/data/test_files/dicomdirtests/98892003/MR700"
REPORT = "ImagingDataCommons__highdicom/data/test_files/sr_document.dcm"
# In the names of blobs: it must turn up in no log.
PLANTED = "Planted^Name"
NOT_AN_EVENT = "this is not an event"
NOT_A_CHECK = '{"format_version": 1, "series": "none"}'

needs_runtime = pytest.mark.skipif(missing() is not None, reason=str(missing()))
needs_azurite = pytest.mark.skipif(azurites.missing() is not None, reason=str(azurites.missing()))


# -- what the app is made of; needs no Azurite


@pytest.fixture(scope="module")
def bare_host(tmp_path_factory):
    """The app without a single setting of its own."""
    host = FunctionsHost(ROOT, {}, tmp_path_factory.mktemp("bare") / "log")
    yield host
    host.close()


@needs_runtime
def test_runtime_finds_exactly_the_expected_functions_and_bindings(bare_host):
    found = {
        name: sorted(bindings, key=lambda binding: binding["direction"])
        for name, bindings in bare_host.bindings.items()
    }
    assert found == EXPECTED


@needs_runtime
def test_app_starts_under_the_version_of_python_that_azure_runs_without_torch(bare_host):
    assert bare_host.started["python"] == [3, 13]
    assert bare_host.started["heavy"] == []


@needs_runtime
def test_app_needs_only_what_is_deployed(tmp_path):
    patterns = (ROOT / ".funcignore").read_text().split()

    def ignored(folder, names):
        paths = [(Path(folder) / name).relative_to(ROOT) for name in names]
        hits = [p for p in paths if any(fnmatch(p.name, q) or fnmatch(p, q) for q in patterns)]
        return {path.name for path in hits}

    app = tmp_path / "app"
    shutil.copytree(ROOT, app, ignore=ignored)
    left = {path.name for path in app.iterdir()}
    assert {"functions_entry.py", "host.json", "function_app", "indexer_core"} <= left
    assert left.isdisjoint({".git", ".venv", ".tools", "gpu_worker", "local_host", "tests"})
    host = FunctionsHost(app, {}, tmp_path / "log")
    try:
        assert set(host.functions) == set(EXPECTED)
        assert host.started["elsewhere"] == []
    finally:
        host.close()


@needs_runtime
def test_health_is_answered_without_any_setting(bare_host):
    answer = bare_host.request("GET", "/api/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})


@needs_runtime
def test_missing_settings_are_no_fault_of_who_searches(bare_host):
    answer = bare_host.request("GET", "/api/search", query={"q": "brain"})
    assert (answer.status, answer.json()["code"]) == (503, "unavailable")
    assert "INDEXER" not in answer.body.decode()
    assert "settings are missing" in bare_host.logged()


@needs_runtime
def test_methods_and_routes_that_no_function_has_are_not_answered(bare_host):
    assert bare_host.request("DELETE", "/api/search").status == 404
    assert bare_host.request("GET", "/search").status == 404


@pytest.mark.parametrize(
    "python", [sys.executable, pytest.param(str(PYTHON), marks=needs_runtime)], ids=["here", "3.13"]
)
def test_entry_is_imported_without_torch_and_makes_no_program(python):
    asked = (
        "import sys, functions_entry, function_app.program as p; "
        "print(sorted({'torch', 'transformers', 'gpu_worker', 'local_host'} & set(sys.modules)), "
        "p._program.cache_info().currsize, functions_entry.__file__)"
    )
    done = subprocess.run(
        [python, "-c", asked],
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]", "0", str(ROOT / "functions_entry.py")]


def test_host_json_has_no_key_that_the_helper_does_not_know():
    settings = read_host_settings((ROOT / "host.json").read_text())
    assert settings.max_dequeue_count == 5
    assert settings.visibility_timeout_s == 30


@pytest.mark.parametrize(
    "changed",
    [
        {"version": "2.0", "extensions": {"queues": {"batchsize": 16}}},
        {"version": "2.0", "extensions": {"queues": {"batchSize": 33}}},
        {"version": "2.0", "extensions": {"queues": {"messageEncoding": "none"}}},
        {"version": "1.0"},
    ],
)
def test_helper_refuses_a_host_json_that_it_does_not_implement(changed):
    with pytest.raises(HostError):
        read_host_settings(json.dumps(changed))


@pytest.mark.parametrize(
    "bindings",
    [
        [{"type": "blobTrigger", "name": "b", "direction": "IN"}],
        [{"type": "queueTrigger", "name": "q", "direction": "IN", "queueName": "a", "odd": 1}],
        [{"type": "queue", "name": "q", "direction": "OUT", "queueName": "a", "connection": "c"}],
    ],
)
def test_helper_refuses_a_binding_that_it_does_not_implement(bindings):
    with pytest.raises(HostError):
        read_function("f", bindings)


# -- the whole of it


@dataclass
class House:
    """An account, the functions over it, the worker over it, and what should be in the index."""

    azurite: azurites.Azurite
    storage: AzureStorage
    host: FunctionsHost
    settings: Mapping[str, str]
    encoder: Path
    model: dict[str, str] = field(default_factory=dict)
    """Blob name -> key of the series that it belongs to, of all blobs that are there."""
    sequence: Iterator[int] = field(default_factory=count)
    received: set[tuple[str, int, str]] = field(default_factory=set)
    """(series, revision, digest) of every message that the worker was given."""

    def __post_init__(self):
        self.container = self.storage.create_container("dicom")
        settings = read_settings(self.settings)
        source = AzureContainerSource(self.container, scope=SCOPE)
        stores = azure_stores(self.storage, [source], SystemClock(), RandomIds())
        self.stores = replace(stores, series_ready=Noting(stores.series_ready, self.received))
        # An export that is kept between runs, as the worker of before would have left it: an
        # intact one stays, anything else is replaced.
        for file in self.encoder.iterdir():
            self.stores.index.put_if_absent(ENCODER_PREFIX + file.name, file.read_bytes())
        leave_text_encoder(self.stores.index, ENCODER_PREFIX, MANIFEST_NAME)
        rules = load_rules()
        indexer = open_index(
            self.stores,
            text_encoder=OnnxTextEncoder.load(
                lambda name: self.stores.index.get(ENCODER_PREFIX + name).data
            ),
            find_encoder=in_store(self.stores.index, OnnxTextEncoder.load),
            vector_files=FlatFp16Vectors(),
            image_encoder_id=ImageDescriptor().encoder_id,
            image_dimension=DIMENSION,
            rules=rules,
            templates=load_templates((), rules),
        )
        services = build_services(
            self.stores,
            indexer=lambda: indexer,
            announcer=Nobody(),
            patient_secret=settings.patient_secret,
            quiet_s=settings.quiet_s,
            max_wait_s=settings.max_wait_s,
        )
        self.worker = build_worker(
            self.stores,
            assembly=services.assembly,
            indexer=indexer,
            image_encoders=(ImageDescriptor(),),
            announcer=Nobody(),
            settings=WorkerSettings(retry_s=0.0),
            decode=slices_from_bytes,
        )

    def put(self, name, data, *, kind="PutBlob"):
        """Write a blob; the event that Event Grid would send."""
        done = self.container.get_blob_client(name).upload_blob(data, overwrite=True)
        self.model[name] = key_of(data)
        return self.event(name, "BlobCreated", kind, done["etag"], len(data))

    def remove(self, name):
        self.container.delete_blob(name)
        del self.model[name]
        return self.event(name, "BlobDeleted", "DeleteBlob")

    def event(self, name, kind, api, etag=None, size=None, container="dicom"):
        url = self.container.get_blob_client(name).url.replace("/dicom/", f"/{container}/")
        created = {"eTag": etag, "contentLength": size} if etag else {}
        return {
            "topic": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/"
            f"storageAccounts/{azurites.ACCOUNT}",
            "subject": f"/blobServices/default/containers/{container}/blobs/{name}",
            "eventType": f"Microsoft.Storage.{kind}",
            "eventTime": "2026-11-23T18:41:00.9584103Z",
            "id": str(uuid4()),
            "dataVersion": "",
            "metadataVersion": "1",
            "data": {
                "api": api,
                "clientRequestId": str(uuid4()),
                "requestId": str(uuid4()),
                **created,
                "contentType": "application/dicom",
                "blobType": "BlockBlob",
                "url": url,
                "sequencer": f"{next(self.sequence):032x}",
                "storageDiagnostics": {"batchId": str(uuid4())},
            },
        }

    def deliver(self, events):
        """Put messages on ``blob-events`` as Event Grid does: base64."""
        queue = self.storage.queue("blob-events")
        bodies = [event if isinstance(event, str) else json.dumps(event) for event in events]
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda b: queue.send_message(in_base64(b), time_to_live=-1), bodies))

    def settle(self):
        """Until the functions and the worker have nothing left to do."""
        while True:
            n_handled = self.host.run_until_idle(self.azurite.advance)
            if work_once(self.worker) is None and n_handled == 0:
                return

    def indexed(self):
        """Series key -> (record, blob names) as a reader of the index sees it."""
        snapshot = Reader(self.stores.index, FlatFp16Vectors()).refresh()
        return {
            record["seriesKey"]: (record, {self.name_of(url) for url in blobs_of(hit)})
            for hit, record in records(snapshot, ())
        }

    def name_of(self, url):
        located = self.stores.sources.locate(url)
        assert located is not None
        return located.name

    def check_index(self):
        """The index says what the model says; returns the records."""
        expected = defaultdict(set)
        for name, key in self.model.items():
            expected[key].add(name)
        found = self.indexed()
        assert {key: names for key, (_, names) in found.items()} == expected
        for key, (record, names) in found.items():
            marker = self.stores.instances.get(key, "_series").values
            assert marker["revision"] == record["revision"]
            assert record["instances"] == len(names)
        assert list(self.stores.open_series.scan()) == []
        return {key: record for key, (record, _) in found.items()}


@dataclass
class Noting:
    """A work queue that notes which series-ready messages were handed out."""

    inner: object
    seen: set

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def receive(self, max_messages, visibility_s):
        messages = self.inner.receive(max_messages, visibility_s)
        for message in messages:
            ready = parse_ready(message.body)
            self.seen.add((ready.series, ready.revision, ready.digest))
        return messages


def in_base64(text):
    return base64.b64encode(text.encode()).decode()


def key_of(data):
    header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True, force=True)
    return series_key(SCOPE, header.StudyInstanceUID, header.SeriesInstanceUID)


def edited(data, **elements):
    dataset = pydicom.dcmread(io.BytesIO(data))
    for name, value in elements.items():
        setattr(dataset, name, value)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def repeated(events, chance, share=0.2):
    """Shuffled, and a share of them twice."""
    events = [*events, *chance.sample(events, round(share * len(events)))]
    chance.shuffle(events)
    return events


@pytest.fixture(scope="module")
def house(tmp_path_factory, pytestconfig):
    folder = tmp_path_factory.mktemp("functions")
    with azurites.running_azurite(folder / "azurite") as azurite:
        storage = AzureStorage(azurite.connection_string)
        create_stores(storage)
        account = azurite.connection_string
        settings = {
            "IndexerStorage": account,
            "INDEXER_SOURCES": json.dumps(
                [
                    # Configured, and not there: what is sent for it fails at every try.
                    {"scope": SCOPE, "account": account, "container": "absent"},
                    {"scope": SCOPE, "account": account, "container": "dicom"},
                ]
            ),
            "INDEXER_PATIENT_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "INDEXER_QUIET_S": "1",
        }
        host = FunctionsHost(ROOT, settings, folder / "log")
        try:
            yield House(azurite, storage, host, settings, exported_encoder(pytestconfig))
        finally:
            host.close()
            storage.close()


@dataclass(frozen=True)
class Drive:
    """What the run with 300 slices used, for the tests that look at what came of it."""

    house: House
    records: dict
    poison: str
    moved_from: str
    moved_to: str
    removed: str
    report: str
    patients: frozenset[str]


@pytest.fixture(scope="module")
def drive(house, samples):
    chance = random.Random(20261123)
    slices = sorted((samples / GE / "mr_0004").iterdir())
    others = sorted((samples / GE / "mr_0007").iterdir())
    few = sorted((samples / SMALL).iterdir())
    files = [path for path in (*slices, *others) if path.is_file()]
    assert len(files) == 300
    contents = {
        f"ge/{path.parent.name}/{PLANTED} ü+{path.name}": path.read_bytes() for path in files
    }
    contents |= {f"small/{path.name}": path.read_bytes() for path in few}
    contents["report.dcm"] = (samples / REPORT).read_bytes()
    with ThreadPoolExecutor(4) as threads:
        events = list(threads.map(lambda item: house.put(*item), contents.items()))
    first, second = key_of(slices[0].read_bytes()), key_of(others[0].read_bytes())
    removed = house.model["small/" + few[0].name]

    # One half is looked at before anything changes; the other half is told of when it has.
    events = repeated(events, chance)
    house.deliver(events[: len(events) // 2])
    house.host.run()

    late = events[len(events) // 2 :]
    names = [name for name, key in house.model.items() if key in (first, second)]
    changed = chance.sample(names, 14)
    for name in changed[:4]:  # other content, same series
        late.append(house.put(name, edited(contents[name], ImageComments="corrected")))
    for name in changed[4:6]:  # the same bytes again: another ETag
        late.append(house.put(name, contents[name], kind="CopyBlob"))
    late += [house.remove(name) for name in changed[6:10]]
    target = next(pydicom.dcmread(path, stop_before_pixels=True) for path in slices)
    moving = next(name for name in names if house.model.get(name) == second and name not in changed)
    late.append(
        house.put(
            moving,
            edited(
                contents[moving],
                StudyInstanceUID=target.StudyInstanceUID,
                SeriesInstanceUID=target.SeriesInstanceUID,
            ),
        )
    )
    late += [house.remove(name) for name, key in [*house.model.items()] if key == removed]
    late += [house.put("brief.dcm", contents["report.dcm"]), house.remove("brief.dcm")]
    poison = json.dumps(
        house.event("x.dcm", "BlobCreated", "PutBlob", '"0x8D"', 1, container="absent")
    )
    house.deliver([*repeated(late, chance), poison, NOT_AN_EVENT])
    house.storage.queue("series-check").send_message(in_base64(NOT_A_CHECK), time_to_live=-1)
    house.settle()
    patients = {str(getattr(target, name, "")) for name in ("PatientName", "PatientID")}
    return Drive(
        house=house,
        records=house.check_index(),
        poison=poison,
        moved_from=second,
        moved_to=first,
        removed=removed,
        report=house.model["report.dcm"],
        patients=frozenset(patients - {""}),
    )


def marked(test):
    """Needs both Azurite and the runtime."""
    for mark in (needs_runtime, needs_azurite, pytest.mark.azurite):
        test = mark(test)
    return test


@marked
def test_rows_say_what_the_container_holds_after_overwrites_moves_and_deletions(drive):
    assert set(drive.records) == {drive.moved_from, drive.moved_to, drive.report}
    instances = {key: record["instances"] for key, record in drive.records.items()}
    assert sum(instances.values()) == 300 - 4 + 1
    assert drive.records[drive.moved_to]["modality"] == "MR"
    assert drive.records[drive.moved_to]["hasPixels"]
    assert drive.records[drive.report]["modality"] == "SR"
    assert not drive.records[drive.report]["hasPixels"]


@marked
def test_every_content_has_exactly_one_revision(drive):
    revisions, digests = defaultdict(dict), defaultdict(set)
    for series, revision, digest in drive.house.received:
        assert revisions[series].setdefault(revision, digest) == digest
        digests[series].add(digest)
    for series, by_number in revisions.items():
        handed_on = [by_number[number] for number in sorted(by_number)]
        assert all(one != other for one, other in pairwise(handed_on))
        # On a busy machine the series that goes slice by slice may be closed at a content that it
        # had when it came slice by slice: that is a new revision, by right.
        if series != drive.removed:
            assert len(by_number) == len(digests[series])
    for series in (drive.moved_from, drive.moved_to):
        newest = drive.house.stores.instances.get(series, "_series").values
        # Each content that was ever handed on has one list; none was handed on under two numbers.
        lists = list(drive.house.stores.index.list(f"assembly/{series}/"))
        assert sorted(revisions[series]) == list(range(1, newest["revision"] + 1))
        assert len(lists) == newest["revision"]
        assert revisions[series][newest["revision"]] == newest["digest"]


@marked
def test_functions_alone_index_reports_and_remove_series(drive):
    handed = {series for series, _, _ in drive.house.received}
    assert drive.report not in handed
    assert drive.house.stores.instances.get(drive.removed, "_series").values["revision"] >= 1
    assert drive.removed not in drive.records


@marked
def test_poison_is_kept_with_its_reason_and_leaves_the_poison_queue(drive):
    rows = {
        (row.values["queue"], row.values["body"]): row.values["reason"]
        for row in drive.house.stores.rejects.all()
        if row.partition == "queue:messages"
    }
    assert set(rows) == {
        ("blob-events", NOT_AN_EVENT),
        ("series-check", NOT_A_CHECK),
        ("blob-events", drive.poison),
    }
    assert "JSON" in rows["blob-events", NOT_AN_EVENT]
    assert "not one of this indexer's" in rows["series-check", NOT_A_CHECK]
    assert "every time" in rows["blob-events", drive.poison]
    for name in ("blob-events-poison", "series-check-poison", "series-ready-poison"):
        found = drive.house.storage.queue(name).get_queue_properties()
        assert found.approximate_message_count == 0


@marked
def test_only_what_can_never_succeed_uses_up_its_tries(drive):
    failed = defaultdict(list)
    for failure in drive.house.host.failures:
        failed[failure.body].append(failure)
    assert [f.dequeue_count for f in failed[drive.poison]] == [1, 2, 3, 4, 5]
    assert all("UnavailableError" in f.error for f in failed[drive.poison])
    assert NOT_AN_EVENT not in failed
    assert NOT_A_CHECK not in failed


@marked
def test_log_of_the_app_names_no_file_patient_or_key(drive):
    logged = drive.house.host.logged()
    assert "series_check outcome=closed" in logged
    for secret in (PLANTED, "Planted", "x.dcm", drive.house.azurite.key, *drive.patients):
        assert secret not in logged
    assert drive.house.settings["INDEXER_PATIENT_KEY"] not in logged


@marked
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_search_finds_the_right_series_first(drive, method):
    text = "axial EPI MRI of the head"
    if method == "GET":
        query = {"q": text, "top": "2", "filter": "modality=MR"}
        answer = drive.house.host.request("GET", "/api/search", query=query)
    else:
        body = json.dumps({"text": text, "top": 2, "filters": ["modality=MR"]}).encode()
        answer = drive.house.host.request("POST", "/api/search", body=body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert {hit["seriesKey"] for hit in found["value"]} == {drive.moved_from, drive.moved_to}
    assert found["count"] == 2
    report = drive.house.host.request("GET", "/api/search", query={"q": "structured report"}).json()
    assert report["value"][0]["seriesKey"] == drive.report
    assert len(report["value"]) == 3


@marked
@pytest.mark.parametrize(
    "asked",
    [
        {"query": {"q": ""}},
        {"query": {"q": "Planted^Query", "top": "0"}},
        {"query": {"q": "Planted^Query", "top": "many"}},
        {"query": {"q": "Planted^Query", "filter": "Planted^Query"}},
        {"query": {"q": "Planted^Query" * 200}},
        {"body": b"Planted^Query"},
        {"body": b"[" * 100_000},
        {"body": b'["Planted^Query"]'},
        {"body": b'{"text": 1}'},
        {"body": b'{"text": "Planted^Query", "top": true}'},
        {"body": b'{"text": "Planted^Query", "filters": [1]}'},
        {"body": b'{"text": "\\ud800"}'},
        {"body": b"\xff"},
        {"body": b""},
    ],
)
def test_bad_search_is_a_problem_document_and_is_not_logged(drive, asked):
    before = len(drive.house.host.logged())
    answer = drive.house.host.request("POST" if "body" in asked else "GET", "/api/search", **asked)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "invalidInput"
    assert answer.json()["detail"]
    assert "Traceback" not in answer.body.decode()
    logged = drive.house.host.logged()[before:]
    assert "Traceback" not in logged
    assert "Planted" not in logged


@marked
def test_searched_words_are_not_logged(drive):
    before = len(drive.house.host.logged())
    answer = drive.house.host.request("GET", "/api/search", query={"q": "Planted^Query brain"})
    assert answer.status == 200
    assert "Planted" not in drive.house.host.logged()[before:]


@marked
@pytest.mark.parametrize("schema", ["event grid", "cloud event"])
def test_pushed_event_takes_the_way_of_all_events(drive, samples, schema):
    house = drive.house
    name = f"pushed {schema}.dcm"
    event = house.put(name, edited((samples / REPORT).read_bytes(), SeriesInstanceUID="1.2.3"))
    if schema == "cloud event":
        event = {
            "specversion": "1.0",
            "source": event["topic"],
            "type": event["eventType"],
            "time": event["eventTime"],
            **{key: event[key] for key in ("id", "subject", "data")},
        }
    done = house.host.push("blob_event_push", event)
    assert done.ok, done.error
    (message,) = house.storage.queue("blob-events").peek_messages(5)
    forwarded = json.loads(base64.b64decode(message.content))
    assert forwarded["data"] == event["data"]
    assert {key: forwarded[key] for key in ("id", "subject")} == {
        key: event[key] for key in ("id", "subject")
    }
    house.settle()
    assert name in house.indexed()[house.model[name]][1]
    house.deliver([house.remove(name)])
    house.settle()
    house.check_index()


@marked
def test_sweep_finds_a_series_whose_check_was_lost(drive, samples):
    house = drive.house
    data = edited((samples / REPORT).read_bytes(), SeriesInstanceUID="1.2.4")
    house.deliver([house.put("swept.dcm", data)])
    checks = house.storage.queue("series-check")
    house.host.run("blob-events")
    checks.clear_messages()
    (opened,) = house.stores.open_series.scan()
    house.stores.open_series.merge(opened, {"noted_s": 0.0})  # instead of waiting
    assert house.host.tick("sweep").ok
    assert checks.get_queue_properties().approximate_message_count == 1
    house.settle()
    house.check_index()


@marked
def test_reconcile_repairs_what_no_event_told_although_one_source_is_missing(drive, samples):
    house = drive.house
    data = edited((samples / REPORT).read_bytes(), SeriesInstanceUID="1.2.5")
    house.put("untold.dcm", data)
    gone = next(name for name, key in house.model.items() if key == drive.moved_to)
    house.remove(gone)
    done = house.host.tick("reconcile")
    assert not done.ok  # the container that is absent
    assert "UnavailableError" in done.error
    house.settle()
    assert "untold.dcm" in house.indexed()[house.model["untold.dcm"]][1]
    house.check_index()
    before = house.host.run()
    house.host.tick("reconcile")
    assert (before, house.host.run()) == (0, 0)  # nothing is left to repair


@marked
def test_searches_and_direct_commits_go_on_while_the_index_changes_its_encoder(
    drive, samples, tmp_path
):
    house = drive.house
    index = house.stores.index

    def manifest_of_a_search():
        answer = house.host.request("GET", "/api/search", query={"q": "brain"})
        assert answer.status == 200
        assert answer.json()["value"]
        return answer.json()["manifest"]

    manifest_of_a_search()
    export = tmp_path / "export"
    encoder_id = write_bag_of_words(export, house.encoder / "tokenizer.json")
    encoder = OnnxTextEncoder.load(export)
    switcher = SpaceSwitch(
        blobs=index, vector_files=FlatFp16Vectors(), clock=SystemClock(), ids=RandomIds()
    )
    switcher.start(TEXT_SPACE, encoder_id, encoder.dimension)
    switched = switcher.switch(TEXT_SPACE, encoder_id, text_vectors(encoder)).number
    # The encoder is not beside the index yet: the app stays with what it can search.
    assert manifest_of_a_search() < switched
    leave_text_encoder(
        index, prefix_of(encoder_id), MANIFEST_NAME, lambda target: shutil.copytree(export, target)
    )
    until_s = time.monotonic() + 120.0
    while manifest_of_a_search() < switched:
        assert time.monotonic() < until_s
        time.sleep(0.2)
    data = edited((samples / REPORT).read_bytes(), SeriesInstanceUID="1.2.6")
    house.deliver([house.put("after the switch.dcm", data)])
    house.settle()
    assert "after the switch.dcm" in house.indexed()[house.model["after the switch.dcm"]][1]
    house.check_index()
