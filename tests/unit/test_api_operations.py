"""Facets, maps, look-alikes, cohorts and files: each as its schema says, from one manifest."""

import csv
import io
import json
from contextlib import contextmanager
from urllib.parse import parse_qsl

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from indexer_core.errors import ConflictError
from tests.support.api import Api, problem_of, record
from tests.support.segments import IMAGE, IMAGE_DIMENSION, unit_vectors

RECORDS = {
    f"1.2.{number}": record(
        f"1.2.{number}", modality="MR" if number % 2 else "CT", ageYears=float(20 * number)
    )
    for number in range(5)
}
TRIAL = {"name": "trial", "filters": ["modality=MR"], "text": "of the head", "purpose": "study 7"}


@pytest.fixture
def api():
    return Api(RECORDS)


def check_schema(api: Api, told, path: str, method: str = "get") -> None:
    document = api.told("GET", "/api/openapi.json")
    content = document["paths"][path][method]["responses"]["200"]["content"]
    Draft202012Validator(content["application/json"]["schema"]).validate(told)


@pytest.mark.parametrize(
    ("path", "declared", "query"),
    [
        ("/api/facets", "/api/facets", (("facets", "modality"), ("facets", "ageYears"))),
        ("/api/facets", "/api/facets", (("facets", "modality"), ("least", "4"))),
        ("/api/map", "/api/map", (("filter", "modality=MR"),)),
        ("/api/series/1.2.1/similar", "/api/series/{uid}/similar", (("level", "study"),)),
        ("/api/series/1.2.1/similar", "/api/series/{uid}/similar", (("top", "2"),)),
    ],
)
def test_answers_are_what_the_document_says(api, path, declared, query):
    told = api.told("GET", path, query=query)
    check_schema(api, told, declared)
    assert told["manifest"] == api.manifests.newest().number


def test_a_page_its_facets_and_its_reasons_come_in_one_answer():
    api = Api(RECORDS)
    asked = {"text": "MRI", "facets": ["modality", "plane"], "withUnknown": ["plane"]}
    told = api.told("POST", "/api/search", body=asked)
    check_schema(api, told, "/api/search", "post")
    assert told["facets"]["modality"]["values"] == [{"value": "MR", "count": 2}]
    assert told["count"] == 2
    fits = [hit for hit in told["value"] if hit["why"]["unmet"] == []]
    assert [hit["modality"] for hit in fits] == ["MR", "MR"]
    plain = api.told("POST", "/api/search", body={**asked, "interpret": False})
    assert plain["count"] == len(RECORDS)


def test_facets_of_a_page_come_from_its_manifest(api):
    page = api.told("POST", "/api/search", body={"text": "x", "filters": ["modality=MR"]})
    api.add({"new": record("new")})
    asked = {"facets": ["modality"], "filters": ["modality=MR"], "manifest": page["manifest"]}
    told = api.told("POST", "/api/facets", body=asked)
    check_schema(api, told, "/api/facets", "post")
    assert (told["manifest"], told["count"]) == (page["manifest"], page["count"]) == (2, 2)
    again = api.told("GET", "/api/search", query=(("q", "x"), ("manifest", str(page["manifest"]))))
    assert (again["manifest"], again["count"]) == (page["manifest"], len(RECORDS))
    newest = api.told("GET", "/api/facets", query=(("facets", "modality"),))
    assert newest["count"] == len(RECORDS) + 1


@pytest.mark.parametrize("path", ["/api/facets?facets=sex", "/api/map?", "/api/search?q=x"])
def test_a_manifest_that_is_not_kept_has_expired(api, path):
    path, _, text = path.partition("?")
    query = tuple(tuple(part.split("=")) for part in text.split("&") if part)
    response = api.ask("GET", path, query=(*query, ("manifest", "9999")))
    assert (response.status, problem_of(response)) == (410, "manifestExpired")


def test_links_lead_through_all_look_alikes_whatever_is_committed_meanwhile(api):
    path, query, found = "/api/series/1.2.0/similar", (("top", "2"),), []
    while True:
        page = api.told("GET", path, query=query)
        found += [hit["seriesKey"] for hit in page["value"]]
        if page["nextLink"] is None:
            break
        path, _, text = page["nextLink"].partition("?")
        query = tuple(tuple(part.split("=")) for part in text.split("&"))
        api.add({f"late{len(found)}": record(f"late{len(found)}")})
    assert sorted(found) == sorted(RECORDS.keys() - {"1.2.0"})
    assert page["manifest"] < api.manifests.newest().number
    altered = (("top", "2"), ("filter", "modality=MR"), query[-1])
    assert problem_of(api.ask("GET", "/api/series/1.2.0/similar", query=altered)) == "invalidInput"


def test_where_nothing_sees_pictures_uploads_are_told_so(api):
    sent = {"body": b"\x89PNG", "headers": {"content-type": "image/png"}}
    response = api.ask("POST", "/api/similar", **sent)
    assert (response.status, problem_of(response)) == (501, "imageEncoderUnavailable")
    other = api.ask("POST", "/api/similar", body={"not": "a picture"})
    assert problem_of(other) == "unsupportedMediaType"


class Tower:
    encoder_id, dimension = IMAGE, IMAGE_DIMENSION

    def encode(self, texts):
        return unit_vectors(texts[0], 1, IMAGE_DIMENSION)


def test_words_find_pictures_where_one_model_knows_both(api):
    query = (("q", "a broken wrist"), ("top", "2"))
    response = api.ask("GET", "/api/similar", query=query)
    assert (response.status, problem_of(response)) == (501, "imageEncoderUnavailable")
    assert api.told("GET", "/api/search", query=query)["rankedBy"] == ["text"]
    seeing = Api(RECORDS, image_texts=lambda *_: Tower())
    for with_texts in ("true", "false"):
        told = seeing.told("GET", "/api/similar", query=(*query, ("withTexts", with_texts)))
        check_schema(seeing, told, "/api/similar")
        assert len(told["value"]) == 2
        assert told["nextLink"].startswith("/api/similar?q=a+broken+wrist&top=2&withTexts=")
    told = seeing.told("GET", "/api/search", query=query)
    check_schema(seeing, told, "/api/search")
    assert told["rankedBy"] == ["text", "pixels"]
    assert told["value"][0]["why"]["foundBy"]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("csv", "text/csv; charset=utf-8"),
        ("ndjson", "application/x-ndjson"),
        ("parquet", "application/vnd.apache.parquet"),
    ],
)
def test_what_a_search_finds_comes_as_a_file(api, form, kind):
    response = api.ask("GET", "/api/search", query=(("q", "x"), ("top", "3"), ("format", form)))
    assert response.headers["content-type"] == kind
    assert response.headers["x-manifest"] == str(api.manifests.newest().number)
    match form:
        case "csv":
            rows = list(csv.DictReader(io.StringIO(response.body.decode())))
        case "ndjson":
            rows = [json.loads(line) for line in response.body.splitlines()]
        case _:
            rows = pq.read_table(pa.BufferReader(response.body)).to_pylist()
    told = api.told("GET", "/api/search", query=(("q", "x"), ("top", "3")))["value"]
    assert [row["seriesKey"] for row in rows] == [hit["seriesKey"] for hit in told]


def test_the_map_comes_as_arrow(api):
    response = api.ask("GET", "/api/map", query=(("format", "arrow"),))
    table = pa.ipc.open_stream(response.body).read_all()
    told = api.told("GET", "/api/map")
    assert table.column("key").to_pylist() == told["keys"]
    assert sorted(told["keys"]) == sorted(RECORDS)


def test_a_cohort_is_saved_shown_listed_exported_and_followed(api):
    saved = api.told("POST", "/api/cohorts", body=TRIAL)
    check_schema(api, saved, "/api/cohorts", "post")
    assert (saved["version"], saved["series"], saved["createdBy"]) == (1, 2, "somebody")
    shown = api.told("GET", "/api/cohorts/trial")
    assert shown == saved
    listed = api.told("GET", "/api/cohorts")
    check_schema(api, listed, "/api/cohorts")
    assert [each["name"] for each in listed["value"]] == ["trial"]
    series = api.told("GET", "/api/cohorts/trial/series")
    check_schema(api, series, "/api/cohorts/{name}/series")
    assert [each["seriesKey"] for each in series["value"]] == ["1.2.1", "1.2.3"]
    assert series["manifest"] == saved["manifest"]
    uids = api.ask("GET", "/api/cohorts/trial/series", query=(("format", "uids"),)).body.decode()
    assert [line for line in uids.splitlines() if line[0] != "#"] == ["1.2.1", "1.2.3"]
    objects = api.ask("GET", "/api/cohorts/trial/series", query=(("format", "dicom-json"),))
    assert len(json.loads(objects.body)) == 2
    api.add({"new": record("new")})
    told = api.told("GET", "/api/cohorts/trial/news")
    check_schema(api, told, "/api/cohorts/{name}/news")
    assert told["counts"]["added"] == 1
    asked = api.told(
        "POST", "/api/cohorts", body={"name": "words", "text": "MRI of people over 30"}
    )
    assert (asked["series"], asked["filters"]) == (1, ["modality=MR", "ageYears>30"])
    again = api.told("POST", "/api/cohorts", body={"name": "named", "uids": ["new", "x"]})
    assert (again["kind"], again["series"]) == ("uids", 1)


def test_cohorts_of_other_scopes_are_not_there(api):
    api.told("POST", "/api/cohorts", body=TRIAL)
    api.scopes = frozenset({"a"})
    for part in ("", "/series", "/news"):
        assert problem_of(api.ask("GET", f"/api/cohorts/trial{part}")) == "notFound"
    assert api.told("GET", "/api/cohorts")["value"] == []
    # Nobody puts a version of their own above those of other projects.
    assert problem_of(api.ask("POST", "/api/cohorts", body=TRIAL)) == "conflict"
    ours = {**TRIAL, "name": "ours"}
    assert api.told("POST", "/api/cohorts", body=ours)["version"] == 1
    assert api.told("POST", "/api/cohorts", body=ours)["version"] == 2
    api.scopes = frozenset({"b"})
    assert problem_of(api.ask("GET", "/api/cohorts/ours")) == "notFound"
    api.scopes = frozenset({"a", "b"})
    assert api.told("GET", "/api/cohorts/ours")["version"] == 2


def test_a_damaged_cohort_keeps_no_other_from_being_listed(api):
    for name in ("first", "second"):
        api.told("POST", "/api/cohorts", body={**TRIAL, "name": name})
    (entry,) = api.stores.index.list("cohorts/first/")
    api.stores.index.overwrite(entry.name, b"{")
    assert [each["name"] for each in api.told("GET", "/api/cohorts")["value"]] == ["second"]


def test_filters_are_counted_however_they_are_written(api):
    many = ";".join(f"ageYears>{number}" for number in range(40))
    response = api.ask("POST", "/api/search", body={"text": "x", "filters": [many, many]})
    assert (response.status, problem_of(response)) == (400, "invalidInput")
    assert api.told("POST", "/api/search", body={"text": "x", "filters": [many]})["count"] >= 0


def test_what_may_have_been_saved_is_not_called_unavailable(api, monkeypatch):
    def lost(_):
        raise ConnectionError

    monkeypatch.setattr("indexer_core.audit.AuditRows.append", lambda self, record: lost(record))
    assert problem_of(api.ask("POST", "/api/cohorts", body=TRIAL)) == "unknownOutcome"
    assert problem_of(api.ask("GET", "/api/search", query=(("q", "x"),))) == "unavailable"


def test_the_audit_counts_all_that_was_told(api):
    api.told("GET", "/api/map", query=())
    (shown,) = api.audited()
    response = api.ask("GET", "/api/map", query=(("format", "arrow"),))
    assert response.status == 200
    api.told("POST", "/api/search", body={"text": "x", "level": "study"})
    shown, whole, grouped = api.audited()
    assert shown.returned == whole.returned == len(RECORDS)
    assert grouped.returned == len(RECORDS)  # one study, all of whose series are told


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x"},
        {"name": "x", "text": "words alone"},
        {"name": "x", "text": "MRI", "interpret": False},
        {"name": "x", "filters": ["modality=MR"], "uids": ["1.2.1"]},
        {"name": "../x", "filters": ["modality=MR"]},
        {"name": "x", "filters": ["nothing=MR"]},
        {"name": "x", "uids": []},
        {"name": "x", "uids": ["1.2.1; DROP"]},
    ],
)
def test_what_is_no_cohort_is_refused(api, body):
    assert problem_of(api.ask("POST", "/api/cohorts", body=body)) == "invalidInput"
    assert api.told("GET", "/api/cohorts")["value"] == []


def test_where_another_program_writes_nothing_is_saved():
    @contextmanager
    def refused():
        raise ConflictError("another one writes")
        yield

    api = Api(RECORDS, writing=refused)
    response = api.ask("POST", "/api/cohorts", body=TRIAL)
    assert (response.status, problem_of(response)) == (409, "conflict")
    assert api.told("GET", "/api/cohorts")["value"] == []


def test_the_audit_knows_which_fields_were_asked_about_and_no_name_of_a_cohort(api):
    api.told("POST", "/api/cohorts", body={**TRIAL, "name": "Planted", "purpose": "Planted"})
    api.told("GET", "/api/facets", query=(("facets", "sex"), ("filter", "ageYears>=10")))
    kept = api.audited()
    assert [each.operation for each in kept] == ["saveCohort", "facets"]
    assert [each.fields for each in kept] == [("bodyRegion", "modality"), ("ageYears",)]
    assert "Planted" not in str(list(api.stores.audit.scan()))


@pytest.mark.parametrize("level", ["series", "study", "patient"])
def test_links_lead_through_all_that_a_search_finds_whatever_is_committed_meanwhile(level):
    api = Api(
        {
            f"1.2.{number}": record(
                f"1.2.{number}",
                modality="MR" if number % 3 else "CT",
                ageYears=float(20 + 10 * number),
                studyInstanceUid=f"1.{number // 2}",
                patientKey=f"patient {number // 3}" if number < 9 else None,
            )
            for number in range(12)
        }
    )
    asked = {"text": "MRI of people over 30", "top": 2, "level": level, "withUnknown": ["sex"]}
    whole = api.told("POST", "/api/search", body={**asked, "top": 1000})
    page, found = api.told("POST", "/api/search", body=asked), []
    while True:
        check_schema(api, page, "/api/search", "get")
        assert (page["fit"], page["count"]) == (whole["fit"], whole["count"])
        found += page["value"]
        if page["nextLink"] is None:
            break
        path, _, text = page["nextLink"].partition("?")
        assert [name for name, _ in parse_qsl(text)] == ["token"]  # no word of the question
        api.add({f"late{len(found)}": record(f"late{len(found)}", modality="MR", ageYears=40.0)})
        page = api.told("POST", path, query=tuple(parse_qsl(text)), body=asked)
    assert found == whole["value"]
    assert page["manifest"] == whole["manifest"] < api.manifests.newest().number
    matches = [hit["match"] for hit in found]
    assert matches == sorted(matches)  # "fits" before "near"
    assert matches[0] == "fits"
    altered = {**asked, "token": dict(parse_qsl(text))["token"], "interpret": False}
    response = api.ask("POST", "/api/search", body=altered)
    assert problem_of(response) == "invalidInput"
