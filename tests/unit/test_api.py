"""The router: what is let through, what it becomes, and that the document says the same."""

import json
import threading
import time
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from function_app.api.gate import Gate
from function_app.api.messages import API_VERSIONS, CODES, ApiError, Request
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from tests.support.api import Api, problem_of, record

RECORDS = {
    "1.2.3": record("1.2.3", modality="MR"),
    "1.2.4": record("1.2.4", modality="CT", plane="coronal"),
    "other": record("other", seriesInstanceUid="1.2.3", studyInstanceUid="9", scope="b"),
}


@pytest.fixture(scope="module")
def api():
    return Api(RECORDS)


@pytest.fixture(scope="module")
def document(api):
    return api.told("GET", "/api/openapi.json")


def schema_of(document, path, method):
    content = document["paths"][path][method]["responses"]["200"]["content"]
    return Draft202012Validator(content["application/json"]["schema"])


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/api/search", {"body": {"text": "x", "filters": ["plane=axial"], "top": 2.0}}),
        ("GET", "/api/search", {"query": (("q", "x"), ("filter", "plane=axial;modality=MR"))}),
        ("GET", "/api/series/{uid}", {"path": "/api/series/1.2.3"}),
        ("GET", "/api/trace/{uid}", {"path": "/api/trace/1.2.3"}),
        ("GET", "/api/status", {}),
        ("GET", "/api/manifest", {}),
        ("GET", "/api/manifests", {}),
        ("GET", "/api/health", {}),
        ("GET", "/api/openapi.json", {}),
    ],
)
def test_answers_are_what_the_document_says(api, document, method, path, asked):
    asked = dict(asked)
    told = api.told(method, asked.pop("path", path), **asked)
    schema_of(document, path, method.lower()).validate(told)


def test_links_and_bodies_ask_the_same(api):
    linked = api.told(
        "GET",
        "/api/search",
        query=(("q", "x"), ("filter", "plane=axial"), ("filter", "modality=MR")),
    )
    posted = api.told(
        "POST", "/api/search", body={"text": "x", "filters": ["plane=axial;modality=MR"]}
    )
    assert linked == posted
    assert linked["count"] == 2


def test_a_uid_finds_every_series_that_has_it_and_a_key_one(api):
    by_uid = api.told("GET", "/api/series/1.2.3")["value"]
    assert [found["seriesKey"] for found in by_uid] == ["1.2.3", "other"]
    assert all("texts" in found and "evidence" in found for found in by_uid)
    assert not any("blobs" in found for found in by_uid)
    by_key = api.told("GET", "/api/series/other")["value"]
    assert [found["seriesKey"] for found in by_key] == ["other"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"body": b"{"}, "invalidInput"),
        ({"body": b"\xff"}, "invalidInput"),
        ({"body": b"[" * 60_000}, "invalidInput"),
        ({"body": b"[]"}, "invalidInput"),
        ({"body": b""}, "invalidInput"),
        ({"body": b'{"text": "x", "top": NaN}'}, "invalidInput"),
        ({"body": b'{"text": "x", "top": 1e999}'}, "invalidInput"),
        ({"body": b'{"text": "x", "top": ' + b"9" * 5000 + b"}"}, "invalidInput"),
        ({"body": b'{"text": "\\ud800"}'}, "invalidInput"),
        ({"body": b'{"text": "x", "filters": ["modality=\\ud800"]}'}, "invalidInput"),
        ({"body": {"text": "x", "top": True}}, "invalidInput"),
        ({"body": {"text": "x", "top": 1001}}, "invalidInput"),
        ({"body": {"text": "x", "more": 1}}, "invalidInput"),
        ({"body": {"text": " "}}, "invalidInput"),
        ({"body": {"text": "x" * 2001}}, "invalidInput"),
        ({"body": {"text": "x", "filters": ["ageYears>nan"]}}, "invalidInput"),
        ({"body": {"text": "x", "filters": ["ageYears=inf"]}}, "invalidInput"),
        ({"body": {"text": "x", "filters": ["plane=1' OR '1'='1"]}}, "invalidInput"),
        ({"body": {"text": "x", "filters": ["plane=axial"] * 65}}, "invalidInput"),
        ({"body": b"x" * ((8 << 20) + 1)}, "tooLarge"),
        (
            {"body": {"text": "x"}, "headers": {"content-type": "text/plain"}},
            "unsupportedMediaType",
        ),
        ({"body": {"text": "x"}, "query": (("api-version", "1"),)}, "unsupportedApiVersion"),
        ({"body": {"text": "x"}, "query": (("top", "1"),)}, "invalidInput"),
        ({"body": {"text": "x"}, "headers": {"x-purpose": "a\nb"}}, "invalidInput"),
    ],
)
def test_bad_bodies_are_refused_by_code(api, asked, code):
    assert problem_of(api.ask("POST", "/api/search", **asked)) == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ((), "invalidInput"),
        ((("q", ""),), "invalidInput"),
        ((("q", "x"), ("q", "y")), "invalidInput"),
        ((("q", "x"), ("top", "0")), "invalidInput"),
        ((("q", "x"), ("top", "\u0661")), "invalidInput"),
        ((("q", "x"), ("top", "9" * 10_000)), "invalidInput"),
        ((("q", "x"), ("other", "y")), "invalidInput"),
        ((("q", "x"), ("filter", "../../etc/passwd")), "invalidInput"),
        ((("q", "x" * 20_000),), "queryTooLong"),
    ],
)
def test_bad_links_are_refused_by_code(api, query, code):
    assert problem_of(api.ask("GET", "/api/search", query=query)) == code


@pytest.mark.parametrize(
    "path",
    ["/", "", "/api", "/api/trace", "/api/series/a/b", "/api/../api/health", "/API/health", "//"],
)
def test_other_paths_are_not_found(api, path):
    assert problem_of(api.ask("GET", path)) == "notFound"


@pytest.mark.parametrize("uid", ["..", "%2e", "a b", "1" * 65, "'; DROP TABLE rows; --", "\x00"])
def test_what_is_no_uid_finds_nothing(api, uid):
    assert api.ask("GET", f"/api/series/{uid}").status in (400, 404)
    assert api.ask("GET", f"/api/trace/{uid}").status in (400, 404)


def test_other_methods_are_told_which_are_taken(api):
    response = api.ask("PUT", "/api/search")
    assert problem_of(response) == "methodNotAllowed"
    assert response.headers["allow"] == "GET, POST"


def test_every_answer_names_its_version_and_is_kept_by_nobody(api):
    for response in (api.ask("GET", "/api/health"), api.ask("GET", "/api/nothing")):
        assert response.headers["api-version"] == API_VERSIONS[-1]
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
    newest = (("api-version", API_VERSIONS[-1]),)
    assert api.ask("GET", "/api/status", query=newest).status == 200


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFoundError("Planted"), 404),
        (ConflictError("Planted"), 409),
        (UnavailableError("Planted"), 503),
        (UnknownOutcomeError("Planted"), 503),
        (CorruptIndexError("Planted"), 500),
        (ValueError("Planted"), 500),
    ],
)
def test_what_goes_wrong_inside_is_told_by_its_code_only(error, status, caplog):
    api = Api(RECORDS)

    def fail(_: Request):
        raise error

    api.router._authenticate = fail
    response = api.ask("GET", "/api/status")
    assert response.status == status
    problem_of(response)
    assert b"Planted" not in response.body
    assert "Planted" not in caplog.text


def test_nothing_indexed_is_not_found():
    assert problem_of(Api({}).ask("GET", "/api/series/1")) == "notFound"


def test_requests_beyond_those_that_run_are_turned_away_and_health_is_not():
    entered, leave = threading.Semaphore(0), threading.Event()

    def wait():
        entered.release()
        leave.wait(60)

    gate = Gate(2, limit_s=60.0)
    api = Api(RECORDS, gate=gate)
    waiting = [threading.Thread(target=gate.run, args=(wait,)) for _ in range(2)]
    for thread in waiting:
        thread.start()
    for _ in waiting:
        assert entered.acquire(timeout=60)
    response = api.ask("GET", "/api/status")
    assert problem_of(response) == "busy"
    assert response.headers["retry-after"]
    assert api.ask("GET", "/api/health").status == 200
    leave.set()
    for thread in waiting:
        thread.join()
    gate.close()
    assert problem_of(api.ask("GET", "/api/status")) == "unavailable"


def test_what_takes_too_long_is_answered_and_keeps_its_place_until_it_ends():
    leave = threading.Event()
    gate = Gate(1, limit_s=0.01)
    with pytest.raises(ApiError) as late:
        gate.run(lambda: leave.wait(60))
    assert late.value.code == "timeLimit"
    with pytest.raises(ApiError) as refused:
        gate.run(lambda: None)
    assert refused.value.code == "busy"
    leave.set()
    gate.close()


def test_who_has_waited_longest_is_next():
    gate, leave, order = Gate(1, limit_s=60.0, wait_s=60.0), threading.Event(), []
    first = threading.Thread(target=gate.run, args=(lambda: leave.wait(60),))
    first.start()
    waiting = []
    for number in range(5):
        waiting.append(threading.Thread(target=gate.run, args=(partial(order.append, number),)))
        while len(gate._places._waiting) < number:
            time.sleep(0.001)
        waiting[-1].start()
    while len(gate._places._waiting) < len(waiting):
        time.sleep(0.001)
    leave.set()
    for thread in (first, *waiting):
        thread.join()
    assert order == [0, 1, 2, 3, 4]
    gate.close()


def test_an_answer_comes_from_one_manifest_whatever_is_committed_meanwhile(monkeypatch):
    api = Api({f"{number}": record(f"{number}") for number in range(3)})
    before = api.manifests.newest().number
    import function_app.api.answers as answers

    real = answers.search

    def late(*arguments):
        api.add({"new": record("new")})
        return real(*arguments)

    monkeypatch.setattr(answers, "search", late)
    found = api.told("POST", "/api/search", body={"text": "x"})
    assert (found["manifest"], found["count"], len(found["value"])) == (before, 3, 3)
    monkeypatch.undo()
    found = api.told("POST", "/api/search", body={"text": "x"})
    assert (found["manifest"], found["count"], len(found["value"])) == (before + 1, 4, 4)


def test_the_document_names_every_operation_and_only_known_codes(api, document):
    declared = {(each.path, each.method.lower()) for each in api.router.operations}
    told = {(path, method) for path, each in document["paths"].items() for method in each}
    assert declared == told
    names = [each.name for each in api.router.operations]
    assert len(set(names)) == len(names)
    for code in CODES.values():
        assert 400 <= code.status < 600
    json.dumps(document)


PATHS = [
    *("/api/search", "/api/series/1.2.3", "/api/series/1.2.3/similar", "/api/trace/1.2.3"),
    *("/api/status", "/api/facets", "/api/map", "/api/cohorts", "/api/cohorts/a", "/api/similar"),
    *(
        "/api/cohorts/a/series",
        "/api/cohorts/a/news",
        "/api/openapi.json",
        "/api/manifest",
        "/api/manifests",
    ),
]
NAMES = ["q", "top", "filter", "facets", "manifest", "token", "level", "version", "least", "x"]
VALUES = st.text(max_size=8) | st.sampled_from(["1", "0", "modality", "plane=axial", "study"])
BODIES = st.binary(max_size=64) | st.dictionaries(
    st.sampled_from(["text", "top", "filters", "facets", "name", "uids", "manifest"]),
    st.text(max_size=8) | st.integers() | st.lists(st.text(max_size=8), max_size=2) | st.none(),
).map(lambda said: json.dumps(said).encode())


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD", "", "\x00"]),
    path=st.builds(str.__add__, st.sampled_from(PATHS), st.just("") | st.text(max_size=8)),
    query=st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=4),
    headers=st.dictionaries(
        st.sampled_from(["content-type", "x-purpose"]),
        st.text(max_size=8) | st.just("application/json") | st.just("image/png"),
    ),
    body=BODIES,
)
def test_whatever_comes_is_answered_and_is_no_fault_of_the_service(
    method, path, query, headers, body
):
    request = Request(method=method, path=path, query=tuple(query), headers=headers, body=body)
    response = SHARED.router.handle(request)
    assert response.status < 500 or problem_of(response) == "imageEncoderUnavailable"
    assert b"Traceback" not in response.body
    if response.status >= 400:
        problem_of(response)


SHARED = Api(RECORDS)
