"""Over an Azurite: nothing planted gets out, and only those who are configured are asked."""

import base64
import json
import logging
import socket
import traceback

import pytest

from benchmarks.header_ingest import CLASSIC, NOT_OBJECTS
from function_app.handlers import ingest, sweep
from function_app.search import SearchRequest, records, search
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import IndexerError
from indexer_core.facts import InstanceFacts
from indexer_core.header import read_header
from indexer_core.index.reader import Reader
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.azure_pipeline import INBOX, SECRET, AzurePipeline, key_of
from tests.support.azurite import Fault, FaultyProxy, fresh_name, missing, running_azurite
from tests.support.dicom import dicom_object

HEADER = {
    "PatientName": "Zzplantedfamily^Zzplantedgiven",
    "PatientID": "zzplanted-id-90210",
    "AccessionNumber": "ZZACC7734",
    "PatientBirthDate": "19370213",
    "ReferringPhysicianName": "Zzplantedphysician^Ada",
}
SIGNATURE = "sv=2026-01-01&ss=b&sig=zzPlantedSignature%2Babc%3D"
QUERY = "zzplantedquery abdomen"
PLANTED = (
    "zzplantedfamily",
    "zzplantedgiven",
    "zzplanted-id-90210",
    "zzacc7734",
    "19370213",
    "zzplantedphysician",
    "zzplantedsignature",
)
QUEUES = ("blob-events", "series-check", "series-ready", "series-ready-poison")


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def opened():
    """Closes what a test opened."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in things:
        thing.close()


def planted_object(series, **changes):
    attributes = HEADER | {
        "SeriesDescription": "Abdomen axial Zzplantedfamily",
        "StudyDescription": "CT of zzplanted-id-90210 ZZACC7734",
        "ProtocolName": "for Zzplantedphysician",
    }
    return dicom_object(series=series, **attributes | changes)


class Witness:
    """Collects everything that could be overheard."""

    def __init__(self):
        self.heard = []
        self.errors = []

    def attempt(self, call):
        try:
            return call()
        except IndexerError as error:
            self.errors.append(error)
            self.heard.append("".join(traceback.format_exception(error)))
            self.heard.append(repr(error))
            return None

    def queues(self, house):
        for name in QUEUES:
            for message in house.storage.queue(name).peek_messages(32):
                body = base64.b64decode(message.content).decode()
                if SIGNATURE not in body:  # what others sent us is theirs
                    self.heard.append(f"{name}: {body}")

    def tables(self, house):
        stores = house.stores
        for table in ("instances", "open_series", "reject_rows", "jobs", "blobs"):
            for row in getattr(stores, table).scan():
                values = {k: v for k, v in row.values.items() if (table, k) != ("blobs", "url")}
                self.heard.append(f"{table}: {row.partition} {row.key} {values}")

    def index(self, house):
        self.heard += [f"{row}" for row in house.live().values()]
        for entry in house.stores.index.list():
            self.heard.append(entry.name)
            if entry.name.endswith((".json", ".list")) or "series" in entry.name:
                self.heard.append(house.stores.index.get(entry.name).data.decode(errors="replace"))

    def text(self, caplog):
        formatter = logging.Formatter("%(name)s %(message)s")
        lines = [formatter.format(record) for record in caplog.records]
        return "\n".join([*self.heard, *lines])


def work_all(house, witness):
    for _ in range(40):
        witness.queues(house)
        if not witness.attempt(house.step) and house.is_idle:
            return
    raise AssertionError("it never ends")


def everything_at_debug(caplog):
    caplog.set_level(logging.DEBUG)
    for name in ("azure", "urllib3", "indexer_core", "function_app", "gpu_worker", "local_host"):
        # The SDK's own lines are ours to answer for, should anybody turn them on.
        caplog.set_level(logging.DEBUG, logger=name)


def searched(house):
    reader = Reader(house.stores.index, FlatFp16Vectors())
    snapshot = reader.refresh()
    names = ("protocol", "anatomy", "acquisition", "cohort", "expanded")
    found = search(
        SearchRequest(text=QUERY, top=50), SnapshotIndex(snapshot), house.text_encoder, names
    )
    assert found["value"]
    public = [record for _, record in records(SnapshotIndex(snapshot), ())]
    hits = {**found, "query": None, "interpretation": None}
    return json.dumps([hits, public], default=str)


@pytest.mark.azurite
@pytest.mark.timeout(300)
def test_nothing_planted_leaves_the_files(azurite, caplog, opened):
    witness = Witness()
    proxies = [opened(FaultyProxy(azurite, service)) for service in ("blob", "table")]
    house = opened(AzurePipeline(proxies[0].connection_string)).create()
    everything_at_debug(caplog)

    # All is well.
    names = ["a", "b", "c"]
    for name in names:
        house.put(f"{name}.dcm", planted_object(name))
        house.tell(f"{name}.dcm")
    house.put("report.dcm", planted_object("report", pixels=False))
    house.tell("report.dcm")
    house.put("broken.dcm", planted_object("broken")[:700])
    house.tell("broken.dcm")
    house.stores.blob_events.send(event(house.source.url_of("a.dcm") + "?" + SIGNATURE))
    work_all(house, witness)
    assert {key_of(name) for name in [*names, "report"]} <= set(house.live())

    # Every kind of trouble.
    house.put("a.dcm", planted_object("a", value=2))
    for method in ("GET", "PUT", "HEAD"):
        proxies[0].faults += [Fault(method, status=500, code="InternalError")] * 4
    house.tell("a.dcm")
    work_all(house, witness)
    tables = opened(AzurePipeline(proxies[1].connection_string, azurite.connection_string))
    for method in ("GET", "POST", "PATCH"):
        proxies[1].faults += [Fault(method, status=500, code="InternalError")] * 5
    body = event(house.source.url_of("b.dcm"))
    for _ in range(4):
        witness.attempt(lambda: ingest(body, tables.services))
        witness.attempt(lambda: sweep(tables.services, 0.0))
    wrong = azurite.connection_string.replace(azurite.key, "enp3cm9uZ3BsYW50ZWRrZXk=")
    stranger = opened(AzurePipeline(wrong))
    for call in (
        lambda: ingest(body, stranger.services),
        stranger.step,
        stranger.live,
        lambda: stranger.tell("a.dcm"),
        stranger.create,
    ):
        witness.attempt(call)
    homeless = opened(AzurePipeline(azurite.connection_string))
    homeless.source._reader._container = homeless.inbox_storage.container(fresh_name("none"))
    witness.attempt(lambda: ingest(event(homeless.source.url_of("a.dcm")), homeless.services))
    assert len(witness.errors) >= 8
    proxies[0].faults.clear()
    work_all(house, witness)

    found = searched(house)
    witness.heard.append(found)
    witness.heard.append(repr(house.announcer.all))
    assert house.announcer.all
    witness.tables(house)
    witness.index(house)
    told = witness.text(caplog)
    assert "batch series=" in told
    for secret in (*PLANTED, "enp3cm9uZ3BsYW50ZWRrZXk="):
        assert secret.lower() not in told.lower(), f"{secret}: {_near(told, secret)}"
    assert azurite.key not in told
    assert SECRET.decode() not in told
    logged = "\n".join(record.getMessage() for record in caplog.records)
    assert "zzplantedquery" not in logged


def _near(text, secret):
    at = text.lower().index(secret.lower())
    return text[max(0, at - 200) : at + 80]


# --- Events of places that are not configured -----------------------------------------------------

ACCOUNT = "https://acc.blob.core.windows.net"
CONNECTION = (
    "DefaultEndpointsProtocol=https;AccountName=acc;AccountKey=MDEyMzQ1Njc4OWFiY2RlZg==;"
    "EndpointSuffix=core.windows.net"
)
FOREIGN = {
    "another account": f"https://other.blob.core.windows.net/{INBOX}/x.dcm",
    "another container": f"{ACCOUNT}/outbox/x.dcm",
    "our own index": f"{ACCOUNT}/index/manifests/1.json",
    "another scheme": f"http://acc.blob.core.windows.net/{INBOX}/x.dcm",
    "a file": f"file:///{INBOX}/x.dcm",
    "another host": f"https://example.org/{INBOX}/x.dcm",
    "a longer host": f"https://acc.blob.core.windows.net.example.org/{INBOX}/x.dcm",
    "an encoded host": f"https://acc%2Eblob.core.windows.net/{INBOX}/x.dcm",
    "an encoded container": f"{ACCOUNT}/%69nbox/x.dcm",
    "an encoded slash": f"{ACCOUNT}/{INBOX}%2Fx.dcm",
    "an encoded way up": f"{ACCOUNT}/{INBOX}/..%2Foutbox%2Fx.dcm",
    "a way up": f"{ACCOUNT}/{INBOX}/../outbox/x.dcm",
    "a user": f"https://user@acc.blob.core.windows.net/{INBOX}/x.dcm",
    "a host as a user": f"https://acc.blob.core.windows.net@example.org/{INBOX}/x.dcm",
    "an address": f"https://169.254.169.254/{INBOX}/x.dcm",
    "an address of six": f"https://[::1]/{INBOX}/x.dcm",
    "an address as a number": f"https://2852039166/{INBOX}/x.dcm",
    "a port": f"https://acc.blob.core.windows.net:8443/{INBOX}/x.dcm",
    "another account's lake": f"https://other.dfs.core.windows.net/{INBOX}/x.dcm",
    "another service": f"https://acc.queue.core.windows.net/{INBOX}/x.dcm",
    "a secondary": f"https://acc-secondary.blob.core.windows.net/{INBOX}/x.dcm",
    "a query": f"{ACCOUNT}/{INBOX}/x.dcm?snapshot=2026-01-01T00:00:00Z",
    "a signature": f"{ACCOUNT}/{INBOX}/x.dcm?{SIGNATURE}",
    "a fragment": f"{ACCOUNT}/{INBOX}/x.dcm#x",
    "a backslash": f"https://acc.blob.core.windows.net\\@example.org/{INBOX}/x.dcm",
    "a line break": f"{ACCOUNT}/{INBOX}/x.dcm\r\nHost: example.org",
    "nothing": f"{ACCOUNT}/",
}


def event(url, schema="EventGrid"):
    data = {"api": "PutBlob", "url": url, "eTag": "0x1", "sequencer": "0" * 32}
    kind = {"id": "1", "subject": "/blobServices/default/containers/x/blobs/x", "data": data}
    if schema == "EventGrid":
        kind |= {
            "topic": "t",
            "eventType": "Microsoft.Storage.BlobCreated",
            "eventTime": "2026-01-01T00:00:00.1234567Z",
            "dataVersion": "",
            "metadataVersion": "1",
        }
    else:
        kind |= {
            "specversion": "1.0",
            "source": "/s",
            "type": "Microsoft.Storage.BlobCreated",
            "time": "2026-01-01T00:00:00.1234567Z",
        }
    return json.dumps(kind)


@pytest.fixture
def network(monkeypatch):
    """No network, and a list of who was asked for."""
    asked = []

    def refuse(*arguments, **_):
        asked.append(arguments)
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return asked


@pytest.mark.parametrize("schema", ["EventGrid", "CloudEvents"])
@pytest.mark.parametrize("url", FOREIGN.values(), ids=FOREIGN.keys())
def test_an_event_of_any_other_place_makes_no_request(network, opened, url, schema):
    house = opened(AzurePipeline(CONNECTION))
    [looked] = ingest(event(url, schema), house.services)
    assert (looked.outcome, looked.reason) == ("foreign", "notConfigured")
    assert network == []


def test_an_event_of_the_configured_container_does_make_a_request(network, opened):
    house = opened(AzurePipeline(CONNECTION))
    with pytest.raises(IndexerError):
        ingest(event(f"{ACCOUNT}/{INBOX}/x.dcm"), house.services)
    assert network


@pytest.mark.azurite
@pytest.mark.timeout(300)
@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_an_answer_that_sends_elsewhere_is_not_followed(azurite, opened, code):
    proxy = opened(FaultyProxy(azurite, "blob"))
    elsewhere = opened(FaultyProxy(azurite, "blob"))
    house = opened(AzurePipeline(proxy.connection_string)).create()
    house.put("x.dcm", dicom_object(series=f"redirect{code}"))
    host = elsewhere.connection_string.partition("BlobEndpoint=")[2].partition(";")[0]
    headers = {"Location": f"{host}/{INBOX}/x.dcm"}
    proxy.faults += [
        Fault(method, "x.dcm", status=code, headers=headers) for method in ("HEAD", "GET") * 9
    ]
    with pytest.raises(IndexerError):
        ingest(event(house.source.url_of("x.dcm")), house.services)
    assert elsewhere.requests == []


# --- Requests per header --------------------------------------------------------------------------


@pytest.mark.azurite
@pytest.mark.timeout(300)
def test_one_range_request_reads_the_header_of_a_classic_file(azurite, opened, samples):
    """Counted where the requests arrive; over all sample files, without Azure: test_benchmarks."""
    paths = [p for p in sorted(samples.rglob("*")) if p.is_file() and p.name not in NOT_OBJECTS]
    classic = [path for path in paths if _is_classic(path)]
    chosen = classic[:: max(1, len(classic) // 30)][:30]
    assert len(chosen) == 30
    proxy = opened(FaultyProxy(azurite, "blob"))
    house = opened(AzurePipeline(proxy.connection_string)).create()
    one_request = 0
    for number, path in enumerate(chosen):
        name = f"classic/{number}.dcm"
        house.put(name, path.read_bytes())
        [looked] = ingest(event(house.source.url_of(name)), house.services)
        assert looked.outcome == "changed"
        one_request += proxy.count("GET", name) == 1
        assert proxy.count("HEAD", name) == 1
    assert one_request / len(chosen) >= 0.98


class _Bytes:
    def __init__(self, data):
        self.data = data
        self.size_bytes = len(data)

    def read(self, offset, length):
        return self.data[offset : offset + length]


def _is_classic(path):
    header = read_header(_Bytes(path.read_bytes()), b"secret")
    return isinstance(header, InstanceFacts) and header.sop_class_uid in CLASSIC
