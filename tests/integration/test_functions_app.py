"""The Functions app in Microsoft's own Python runtime, over a real Azurite, with the real worker.

The functions run in their own process under Python 3.13; the worker's loop runs here, over the same
stores.
"""

import base64
import io
import json
import random
import secrets
import shutil
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import pydicom
import pytest
from PIL import Image

from gpu_worker.wiring import leave_export
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.stores import create_stores
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.onnx_text import MANIFEST_NAME, OnnxTextEncoder
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.audit import AuditRows
from indexer_core.encoders import prefix_of
from indexer_core.index.filling import text_vectors
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.switching import SpaceSwitch
from indexer_core.instance_lists import list_name
from tests.support import azurite as azurites
from tests.support.bag_of_words import write_bag_of_words
from tests.support.command_line import exported_encoder
from tests.support.dicom import dicom_object
from tests.support.functions_host import ROOT, FunctionsHost, missing
from tests.support.functions_house import SCOPE, House, edited, in_base64, key_of, repeated

GE = "neurolabusc__dcm_qa_nih/In/20180918GE"
SMALL = "pydicom__pydicom/src/pydicom/data/test_files/dicomdirtests/98892003/MR700"
REPORT = "ImagingDataCommons__highdicom/data/test_files/sr_document.dcm"
# In the names of blobs: it must turn up in no log.
PLANTED = "Planted^Name"
NOT_AN_EVENT = "this is not an event"
NOT_A_CHECK = '{"format_version": 1, "series": "none"}'

needs_runtime = pytest.mark.skipif(missing() is not None, reason=str(missing()))
needs_azurite = pytest.mark.skipif(azurites.missing() is not None, reason=str(azurites.missing()))


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
            house = House(azurite, storage, host, settings, exported_encoder(pytestconfig))
            yield house
            house.close()
        finally:
            host.close()
            storage.close()


class Outage:
    """Azurite is killed and started again while the functions are at work."""

    def __init__(self, house: House, after: int = 60) -> None:
        self.house = house
        self.after = after
        self.n_running = 0

    def __call__(self, n_handled: int) -> None:
        if n_handled >= self.after and not self.n_running:
            self.n_running = sum(len(listener.running) for listener in self.house.host.listeners)
            self.house.azurite.restart()


@dataclass(frozen=True)
class Drive:
    """What the run with 300 slices used, for the tests that look at what came of it."""

    house: House
    records: dict
    poison: str
    outage: "Outage"
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

    # One half is looked at before anything changes; the other half is told of when it has. In the
    # middle of it the account is gone for a while.
    events = repeated(events, chance)
    house.deliver(events[: len(events) // 2])
    outage = Outage(house)
    house.host.run(meanwhile=outage)

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
        outage=outage,
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
        # Each content that was ever handed on has a list; none was handed on under two numbers. A
        # check that a late slice overtook leaves a list, too, which nobody asks for.
        lists = {entry.name for entry in drive.house.stores.index.list(f"assembly/{series}/")}
        # A number may be passed over: its check lost the account before it handed anything on.
        assert max(revisions[series]) == newest["revision"]
        assert {list_name(series, digest) for digest in digests[series]} <= lists
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
def test_functions_that_lost_the_account_in_mid_run_were_tried_again_and_nothing_is_lost(drive):
    assert drive.outage.n_running > 0
    told_of = {drive.poison, NOT_AN_EVENT, NOT_A_CHECK}
    lost = [f for f in drive.house.host.failures if f.body not in told_of]
    assert lost
    assert all("UnavailableError" in f.error or "UnknownOutcomeError" in f.error for f in lost)
    assert max(f.dequeue_count for f in lost) < drive.house.host.settings.max_dequeue_count


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
        {"body": b"[" * 60_000},
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
def test_the_document_names_what_is_answered_behind_one_function(drive):
    host = drive.house.host
    document = host.request("GET", "/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    query = {"facets": "modality", "code": "a function key, which the host has read"}
    told = host.request("GET", "/api/facets", query=query).json()
    values = {each["value"]: each["count"] for each in told["facets"]["modality"]["values"]}
    assert values == {"MR": 2, "SR": 1}
    found = host.request("GET", f"/api/series/{drive.report}").json()
    assert [each["seriesKey"] for each in found["value"]] == [drive.report]
    missing = host.request("GET", "/api/nothing")
    assert (missing.status, missing.json()["code"]) == (404, "notFound")


@marked
def test_an_uploaded_file_finds_what_looks_like_it_and_a_broken_one_is_refused(drive):
    host = drive.house.host
    sent = {"body": dicom_object(), "content_type": "application/dicom"}
    told = host.request("POST", "/api/similar", **sent)
    assert told.status == 200
    assert {hit["modality"] for hit in told.json()["value"]} == {"MR"}
    picture = io.BytesIO()
    Image.new("L", (64, 64), 90).save(picture, "PNG")
    drawn = picture.getvalue()
    told = host.request("POST", "/api/similar", body=drawn, content_type="image/png")
    assert told.status == 200
    for broken in (b"x", drawn[:60]):
        told = host.request("POST", "/api/similar", body=broken, content_type="image/png")
        assert (told.status, told.json()["code"]) == (400, "invalidInput")


def principal(*claims: tuple[str, str]) -> dict[str, str]:
    said = {"claims": [{"typ": kind, "val": value} for kind, value in claims]}
    return {"x-ms-client-principal": base64.b64encode(json.dumps(said).encode()).decode()}


@marked
def test_each_request_leaves_a_row_by_the_key_that_was_checked_whatever_it_claims(drive):
    forged = principal(("oid", "somebody-else"))
    asked = {"q": "Planted^Query", "filter": "modality=MR"}
    answer = drive.house.host.request("GET", "/api/search", query=asked, headers=forged)
    assert answer.status == 200
    kept = list(AuditRows(drive.house.stores.audit, RandomIds()).all())[-1]
    assert (kept.caller, kept.operation, kept.fields) == ("key", "searchByLink", ("modality",))
    assert (kept.returned, kept.manifest) == (2, answer.json()["manifest"])
    assert "Planted" not in str([row.values for row in drive.house.stores.audit.scan()])


@marked
def test_with_easy_auth_callers_see_the_scopes_of_their_groups(drive, tmp_path):
    projects = {
        "ours": {"scopes": [SCOPE], "groups": ["g1"]},
        "other": {"scopes": ["elsewhere"], "groups": ["g2"]},
    }
    settings = {
        **drive.house.settings,
        "INDEXER_PROJECTS": json.dumps(projects),
        "WEBSITE_AUTH_ENABLED": "True",
    }
    host = FunctionsHost(ROOT, settings, tmp_path / "log")

    def count(*groups: str) -> int:
        claims = [("oid", "me"), *(("groups", group) for group in groups)]
        query = {"facets": "modality"}
        answer = host.request("GET", "/api/facets", query=query, headers=principal(*claims))
        return answer.json()["count"] if answer.status == 200 else -answer.status

    try:
        assert host.request("GET", "/api/status").json()["code"] == "unauthenticated"
        assert (count("g1"), count("g2"), count("g1", "g2"), count("g3")) == (3, 0, 3, -403)
    finally:
        host.close()


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
    leave_export(
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
