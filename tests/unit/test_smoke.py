"""`smoke` tells a deployment that works from one that does not, and leaves no file behind."""

import http.server
import io
import json
import threading
from contextlib import contextmanager

import pytest
from pydicom import dcmread

from indexer_core.errors import (
    ConflictError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.testing.faults import FaultPlan, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from local_host.smoke import Answered, SmokeTest, made_up_sample
from local_host.smoke_command import source_of
from local_host.smoke_service import HttpService

NOT_FOUND = Answered(status=404, body={}, code="notFound")
LIMIT_S = 60.0


class Deployment:
    """An app that shows an upload, and a deletion, some time later."""

    def __init__(self, *, shows_s=20.0, hides_s=10.0) -> None:
        self.clock = ManualClock()
        self.inbox = MemoryBlobs(self.clock)
        self.sample = made_up_sample("folder/")
        self.shows_s, self.hides_s = shows_s, hides_s
        self.instead: dict[str, Answered] = {}
        self.asked: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.most_files = 0
        self._there = False
        self._since_s = self.clock.now_s()

    def ask(self, method, path, body=None):
        self.asked.append((method, path))
        for start, answer in self.instead.items():
            if path.startswith(start):
                return answer
        if path == "/api/health":
            return Answered(status=200, body={"status": "ok"})
        if not self._is_shown():
            return NOT_FOUND
        uid = self.sample.series_instance_uid
        return Answered(status=200, body={"value": [{"seriesInstanceUid": uid}]})

    def _is_shown(self) -> bool:
        n_files = len(list(self.inbox.list()))
        self.most_files = max(self.most_files, n_files)
        if (n_files > 0) != self._there:
            self._there, self._since_s = n_files > 0, self.clock.now_s()
        waited_s = self.clock.now_s() - self._since_s
        return (
            waited_s >= self.shows_s
            if self._there
            else self.most_files > 0 and waited_s < self.hides_s
        )

    def test(self, **changes) -> SmokeTest:
        return SmokeTest(
            **{
                "service": self,
                "inbox": self.inbox,
                "sample": self.sample,
                "clock": self.clock,
                "pause": self.clock.advance,
                "tell": self.told.append,
                "limit_s": LIMIT_S,
                **changes,
            }
        )

    @property
    def files(self) -> list[str]:
        return [entry.name for entry in self.inbox.list()]


def test_a_deployment_that_works_passes_and_is_left_as_it_was():
    house = Deployment()
    done = house.test().run()
    assert done.series_instance_uid == house.sample.series_instance_uid
    assert 20 <= done.searchable_s <= 24
    assert 10 <= done.gone_s <= 14
    assert (house.most_files, house.files) == (1, [])
    assert len(house.told) == 5


def test_a_file_that_never_shows_is_an_error_and_is_deleted():
    house = Deployment(shows_s=LIMIT_S * 2)
    with pytest.raises(UnavailableError, match=r"not searchable within 60 s.*404 notFound"):
        house.test().run()
    assert (house.most_files, house.files) == (1, [])


def test_a_deletion_that_never_shows_is_an_error():
    house = Deployment(hides_s=float("inf"))
    with pytest.raises(UnavailableError, match="not gone within 60 s"):
        house.test().run()
    assert house.files == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/health", 401),
        ("/api/health", 403),
        ("/api/series/", 401),
        ("/api/series/", 403),
        ("/api/series/", 302),
    ],
)
def test_a_caller_who_is_refused_is_told_before_anything_is_uploaded(path, status):
    house = Deployment()
    house.instead[path] = Answered(status=status, body={}, code="")
    with pytest.raises(InvalidInputError, match="DICOM_INDEXER_KEY"):
        house.test().run()
    assert (house.most_files, house.files) == (0, [])


@pytest.mark.parametrize(
    "answer",
    [
        Answered(status=200, body={}, code="without JSON"),
        Answered(status=302, body={}, code="without JSON"),
        Answered(status=404, body={}, code="without JSON"),
    ],
)
def test_another_site_is_told_apart(answer):
    house = Deployment()
    house.instead["/api/health"] = answer
    with pytest.raises(InvalidInputError, match="not that of dicom-indexer"):
        house.test().run()


@pytest.mark.parametrize("status", [0, 503])
def test_an_app_that_does_not_answer_is_waited_for_so_long_and_no_longer(status):
    house = Deployment()
    house.instead["/api/health"] = Answered(status=status, body={}, code="nobody")
    started_s = house.clock.now_s()
    with pytest.raises(UnavailableError, match="within 60 s"):
        house.test().run()
    assert LIMIT_S <= house.clock.now_s() - started_s < LIMIT_S + 5


def test_trouble_in_between_is_waited_out():
    house = Deployment()
    trouble = iter([Answered(status=500, body={}), Answered(status=0, body={}, code="lost")])

    class Shaky:
        def ask(self, method, path, body=None):
            answer = house.ask(method, path, body)
            return next(trouble, answer) if path.startswith("/api/series") else answer

    house.test(service=Shaky()).run()
    assert list(trouble) == []


@pytest.mark.parametrize("status", [0, 408, 429, 503])
def test_a_search_is_waited_for_so_long_and_no_longer(status):
    trouble = [Answered(status=status, body={}, code="later")] * 3

    class Shaky(Deployment):
        def ask(self, method, path, body=None):
            answer = super().ask(method, path, body)
            return trouble.pop() if path == "/api/search" and trouble else answer

    house = Shaky()
    assert 6 <= house.test().run().search_s < LIMIT_S
    trouble = [Answered(status=status, body={}, code="later")] * 1000
    late = Shaky()
    with pytest.raises(UnavailableError, match=r"a search gave .*later"):
        late.test().run()
    n_searches = sum(path == "/api/search" for _, path in late.asked)
    assert n_searches == LIMIT_S / 2 + 1
    assert late.files == []


@pytest.mark.parametrize(
    "answer",
    [
        Answered(status=501, body={}, code="notImplemented"),
        Answered(status=200, body={}),
        Answered(status=200, body={"value": None}),
        Answered(status=200, body={"value": 1}),
        Answered(status=200, body={"value": [None]}),
        Answered(status=200, body={"value": []}),
        Answered(status=200, body={"value": [{"seriesInstanceUid": "1.2"}]}),
    ],
)
def test_a_search_that_does_not_find_it_is_an_error_and_the_file_is_deleted(answer):
    house = Deployment()
    house.instead["/api/search"] = answer
    with pytest.raises(UnavailableError, match="the series is there, but"):
        house.test().run()
    assert house.files == []


def test_who_interrupts_it_leaves_no_file():
    house = Deployment()

    def interrupt(_seconds):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        house.test(pause=interrupt).run()
    assert (house.most_files, house.files) == (1, [])


def test_an_inbox_that_does_not_take_it_is_told():
    house = Deployment()
    house.inbox.put_if_absent(house.sample.name, b"")
    with pytest.raises(ConflictError):
        house.test().run()
    assert house.files == [house.sample.name]  # it is not ours


def test_an_upload_whose_answer_is_lost_is_deleted():
    house = Deployment()
    plan = FaultPlan(at=1, fault=WriteFault.LOST_RESPONSE)
    with pytest.raises(UnknownOutcomeError):
        house.test(inbox=WrappedBlobs(house.inbox, plan)).run()
    assert plan.operations == ["blobs.put_if_absent", "blobs.delete"]
    assert house.files == []


def test_a_file_that_cannot_be_deleted_is_named():
    house = Deployment()
    plan = FaultPlan(at=2)
    with pytest.raises(UnavailableError, match=f"delete {house.sample.name} in the inbox"):
        house.test(inbox=WrappedBlobs(house.inbox, plan)).run()


def test_the_sample_is_new_each_time_and_nobodys():
    one, other = made_up_sample("in/"), made_up_sample()
    assert one.series_instance_uid != other.series_instance_uid
    assert one.name.startswith("in/dicom-indexer-smoke-")
    assert "/" not in other.name
    header = dcmread(io.BytesIO(one.data))
    assert header.SeriesInstanceUID == one.series_instance_uid
    assert header.pixel_array.shape == (64, 64)
    assert {element.tag.group for element in header} <= {0x8, 0x10, 0x18, 0x20, 0x28, 0x7FE0}
    assert [str(element.keyword) for element in header.group_dataset(0x10)] == ["PatientID"]


def test_the_container_is_named_or_the_first_of_the_settings():
    named = source_of("files/inbox/a/b", {})
    assert (named.account, named.container, named.prefix) == ("files", "inbox", "a/b")
    sources = [{"scope": "s", "account": "acc", "container": "c", "prefix": "p"}]
    found = source_of(None, {"INDEXER_SOURCES": json.dumps(sources)})
    assert (found.account, found.container, found.prefix) == ("acc", "c", "p")


@pytest.mark.parametrize("inbox", ["", "files", "files/", "/inbox"])
def test_half_a_container_is_refused(inbox):
    with pytest.raises(InvalidInputError, match="ACCOUNT/CONTAINER"):
        source_of(inbox, {})


def test_no_container_at_all_is_refused():
    with pytest.raises(InvalidInputError, match="--inbox names"):
        source_of(None, {})


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "app",
        "http://app.azurewebsites.net",
        "ftp://app.azurewebsites.net",
        "https://user:secret@app.azurewebsites.net",
        "https://app.azurewebsites.net/api?code=secret",
        "https://app.azurewebsites.net/explorer",
        "https://[::1",
        "https://app:port",
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(endpoint):
    with pytest.raises(InvalidInputError, match="--endpoint") as refused:
        HttpService(endpoint)
    assert "secret" not in str(refused.value)


@contextmanager
def served(answers):
    """A server on this machine that gives what is told by path, and keeps what it was sent."""
    sent = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            length = int(self.headers.get("content-length") or 0)
            sent.append((self.path, dict(self.headers.items()), self.rfile.read(length)))
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 - the name that is called

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", sent
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_answers_are_read_and_no_redirect_is_followed():
    answers = {
        "/api/health": (200, {}, b'{"status": "ok"}'),
        "/api/series/1": (404, {}, b'{"code": "notFound"}'),
        "/api/series/2": (302, {"location": "/elsewhere"}, b""),
        "/api/series/3": (200, {}, b"<html>"),
        "/api/search": (200, {}, b"[]"),
    }
    with served(answers) as (address, sent):
        service = HttpService(f"{address}/api/", key="a key", token="a token")
        assert service.ask("GET", "/api/health") == Answered(status=200, body={"status": "ok"})
        assert service.ask("GET", "/api/series/1").code == "notFound"
        assert service.ask("GET", "/api/series/2").status == 302
        assert service.ask("GET", "/api/series/3").code == "without JSON"
        assert service.ask("POST", "/api/search", {"text": "t"}).code == "without JSON"
    assert [path for path, *_ in sent] == list(answers)
    headers = {name.lower(): value for name, value in sent[-1][1].items()}
    assert headers["x-functions-key"] == "a key"
    assert headers["authorization"] == "Bearer a token"
    assert json.loads(sent[-1][2]) == {"text": "t"}


def test_nobody_there_is_an_answer():
    with served({}) as (address, _):
        pass
    answer = HttpService(address).ask("GET", "/api/health")
    assert (answer.status, answer.code) == (0, "no answer (ConnectionRefusedError)")
