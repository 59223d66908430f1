"""Announcements through Microsoft's own publisher client to a topic on this machine."""

import datetime as dt
import http.server
import ipaddress
import json
import ssl
import threading
from dataclasses import dataclass, field

import pytest
from azure.core.credentials import AccessToken
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from indexer_core.adapters.azure import configured
from indexer_core.adapters.azure.announcer import EventGridAnnouncer
from indexer_core.adapters.azure.settings import Settings as AzureSettings
from indexer_core.adapters.azure.settings import SourceSetting
from indexer_core.announcements import Nobody, series_indexed, series_removed
from indexer_core.errors import UnavailableError
from indexer_core.testing.memory import ManualClock
from local_host.wiring import LocalSystem
from tests.support.azurite import Connections
from tests.support.house import QUIET_S
from tests.support.pipeline import Pipeline, slice_of
from tests.support.system import settings_for

DIGEST = "d" * 64


class Token:
    """Signs in without asking anybody."""

    def get_token(self, *scopes, **_):
        assert scopes == ("https://eventgrid.azure.net/.default",)
        return AccessToken("a-token", 4_000_000_000)


@dataclass
class Topic:
    """What a topic was sent; it answers with `answers` first, and 200 after that."""

    endpoint: str = ""
    answers: list[int] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: Connections = field(default_factory=Connections)
    requests: list[tuple[dict[str, str], list[dict]]] = field(default_factory=list)

    @property
    def events(self) -> list[dict]:
        return [event for _, events in self.requests for event in events]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of this machine's loopback address, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "topic")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("topic") / "topic.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def topic(certificate, monkeypatch):
    """A topic over HTTPS, which the SDK insists on, that only this test trusts."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    topic = Topic()

    class Handler(http.server.BaseHTTPRequestHandler):
        def setup(self):
            super().setup()
            topic.connections.change(1)

        def finish(self):
            super().finish()
            topic.connections.change(-1)

        def do_POST(self):
            topic.paths.append(self.path)
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            status = topic.answers.pop(0) if topic.answers else 200
            if status == 200:
                topic.requests.append((headers, json.loads(body)))
            self.send_response(status)
            self.send_header("Location", f"{topic.endpoint}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    topic.endpoint = f"https://127.0.0.1:{server.server_address[1]}/api/events"
    yield topic
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def announcer(topic):
    announcer = EventGridAnnouncer(topic.endpoint, Token(), ManualClock())
    yield announcer
    announcer.close()


def test_announcements_travel_as_one_batch_of_cloud_events(topic, announcer, caplog):
    announcements = [series_indexed("s", 3, DIGEST, 7), series_removed("t", 2, 7)]
    announcer.announce(announcements)
    ((headers, events),) = topic.requests
    assert headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
    assert headers["authorization"] == "Bearer a-token"
    assert [event["id"] for event in events] == [one.id for one in announcements]
    assert events[0]["specversion"] == "1.0"
    assert events[0]["source"] == "/dicom-indexer"
    assert events[0]["type"] == "DicomIndexer.SeriesIndexed"
    assert events[0]["subject"] == "series/s"
    assert events[0]["data"] == {"seriesKey": "s", "revision": 3, "digest": DIGEST, "manifest": 7}
    assert events[1]["type"] == "DicomIndexer.SeriesRemoved"
    assert dt.datetime.fromisoformat(events[0]["time"]).tzinfo is not None
    assert caplog.records == []


def test_nothing_to_announce_makes_no_request(topic, announcer):
    announcer.announce([])
    assert not topic.requests


def test_topic_that_refuses_is_told_without_its_address(topic, announcer):
    topic.answers = [401]
    with pytest.raises(UnavailableError) as refused:
        announcer.announce([series_indexed("s", 1, DIGEST, 1)])
    assert "127.0.0.1" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_topic_that_sends_elsewhere_is_not_followed(topic, announcer, status):
    topic.answers = [status]
    with pytest.raises(UnavailableError):
        announcer.announce([series_indexed("s", 1, DIGEST, 1)])
    assert len(topic.paths) == 1


def test_topic_that_stays_busy_is_given_up_soon(topic, announcer):
    topic.answers = [503] * 20
    with pytest.raises(UnavailableError):
        announcer.announce([series_indexed("s", 1, DIGEST, 1)])
    assert len(topic.paths) <= 3


def test_refused_announcement_is_made_by_the_next_try_without_a_second_commit(topic, announcer):
    house = Pipeline()
    house.announcer = announcer
    house.upload("planted-folder/1", slice_of(series="a"))
    process = house.process()
    process.events()
    house.clock.advance(QUIET_S + 1)
    process.checks()
    topic.answers = [401]
    with pytest.raises(UnavailableError):
        house.process().work()
    n_commits = house.n_commits()
    house.clock.advance(61.0)
    house.process().work()
    assert house.n_commits() == n_commits
    (event,) = topic.events
    assert event["type"] == "DicomIndexer.SeriesIndexed"
    text = json.dumps(event)
    for planted in ("Plantedname", "planted-patient-id-4711", "planted-folder", "Abdomen"):
        assert planted not in text


def test_one_machine_announces_where_a_topic_is_configured(topic, tmp_path, monkeypatch):
    def azure(endpoint: str) -> AzureSettings:
        account = "AccountName=devaccount;AccountKey=bm9uZQ==;" + "".join(
            f"{kind}Endpoint=http://127.0.0.1:9/devaccount;" for kind in ("Blob", "Queue", "Table")
        )
        source = SourceSetting(scope="inbox", account=account, container="inbox")
        return AzureSettings(
            storage=account, sources=(source,), patient_secret=b"s" * 16, topic=endpoint
        )

    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Token)
    system = LocalSystem(settings_for(tmp_path / "data", azure=azure(topic.endpoint)))
    system.announcer.announce([series_indexed("s", 1, DIGEST, 1)])
    assert [event["subject"] for event in topic.events] == ["series/s"]
    assert system.services.assembly._hand.announcer is system.announcer
    system.close()
    assert topic.connections.get_closed()
    silent = LocalSystem(settings_for(tmp_path / "data", azure=azure("")))
    assert isinstance(silent.announcer, Nobody)
    silent.close()
    assert configured.announcer_of(azure(""), ManualClock()).__class__ is Nobody
