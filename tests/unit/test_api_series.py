"""Lists of series, in pages and as files."""

import csv
import io
import json
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator

from indexer_core.cohorts.exports import parse_uids
from indexer_core.index.updates import Suppress
from tests.support.api import Api, problem_of, record

DAYS = [str(date(2020, 1, 1) + timedelta(days=number % 4)) for number in range(9)]
RECORDS = {
    f"1.2.{number}": record(
        f"1.2.{number}",
        modality="MR" if number % 2 else "CT",
        studyDate=None if number == 8 else DAYS[number],
        ageYears=None if number > 6 else 50.0 - number % 3,
        patientKey="=1+1" if number == 0 else None,
        bodyPart={"term": "brain", "code": None, "scheme": None, "meaning": None},
    )
    for number in range(9)
}
NEWEST_FIRST = ["1.2.3", "1.2.7", "1.2.2", "1.2.6", "1.2.1", "1.2.5", "1.2.0", "1.2.4", "1.2.8"]
FILES = ("csv", "ndjson", "parquet", "uids", "dicom-json")


@pytest.fixture
def api():
    return Api(RECORDS)


def pages(api, body, meanwhile=lambda: None):
    path, query = "/api/series", ()
    while True:
        page = api.told("POST", path, body=body, query=query)
        yield page
        if page["nextLink"] is None:
            return
        path, _, token = page["nextLink"].partition("?token=")
        query = (("token", token),)
        meanwhile()


def keys(page):
    return [each["seriesKey"] for each in page["value"]]


def test_all_series_are_listed_the_newest_study_first(api):
    told = api.told("POST", "/api/series", body={})
    assert keys(told) == NEWEST_FIRST
    assert (told["count"], told["nextLink"]) == (9, None)
    content = api.told("GET", "/api/openapi.json")["paths"]["/api/series"]["post"]["responses"]
    schema = content["200"]["content"]["application/json"]["schema"]
    Draft202012Validator(schema).validate(told)
    assert told["value"][0] == api.told("GET", "/api/series/1.2.3")["value"][0]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("studyDate", [0, 4, 1, 5, 2, 6, 3, 7, 8]),
        ("-ageYears", [0, 3, 6, 1, 4, 2, 5, 7, 8]),
        ("ageYears", [2, 5, 1, 4, 0, 3, 6, 7, 8]),
        ("-modality", [1, 3, 5, 7, 0, 2, 4, 6, 8]),
        ("bodyPart", list(range(9))),
        ("-seriesKey", list(range(9))[::-1]),
    ],
)
def test_they_come_in_the_order_of_any_field(api, sort, expected):
    told = api.told("POST", "/api/series", body={"sort": sort})
    assert keys(told) == [f"1.2.{number}" for number in expected]


def test_pages_are_of_one_manifest_and_tell_every_series_once(api):
    def meanwhile():
        key = f"late{api.manifests.newest().number}"
        api.add({key: record(key, studyDate="2030-01-01")})

    told = list(pages(api, {"top": 2}, meanwhile))
    assert [key for page in told for key in keys(page)] == NEWEST_FIRST
    assert {(page["manifest"], page["count"]) for page in told} == {(2, 9)}
    assert api.told("POST", "/api/series", body={"top": 1})["value"][0]["seriesKey"][:4] == "late"
    again = api.told("POST", "/api/series", body={"manifest": 2})
    assert keys(again) == NEWEST_FIRST
    token = told[0]["nextLink"].partition("token=")[2]
    inside = api.told("POST", "/api/series", body={"top": 3, "token": token})
    assert keys(inside) == NEWEST_FIRST[2:5]
    altered = api.ask("POST", "/api/series", body={"token": token, "filters": ["sex=F"]})
    assert problem_of(altered) == "invalidInput"


def test_what_is_deleted_meanwhile_is_in_no_further_page(api):
    def meanwhile():
        deleted = Suppress(series_keys=frozenset({"1.2.7", "1.2.1"}))
        api.commit(deleted)

    told = list(pages(api, {"top": 2}, meanwhile))
    expected = [key for key in NEWEST_FIRST if key != "1.2.1"]
    assert [key for page in told for key in keys(page)] == expected
    assert [page["count"] for page in told] == [9, 7, 7, 7]


def test_conditions_and_names_go_together(api):
    asked = {"filters": ["modality=CT"], "series": ["1.2.1", "1.2.2", "1.2.4", "nowhere"]}
    assert keys(api.told("POST", "/api/series", body=asked)) == ["1.2.2", "1.2.4"]
    nothing = api.told("POST", "/api/series", body={"series": []})
    assert (nothing["value"], nothing["count"], nothing["nextLink"]) == ([], 0, None)
    either = {"filters": ["ageYears>=50"], "withUnknown": ["ageYears"]}
    assert api.told("POST", "/api/series", body=either)["count"] == 5


def test_a_list_comes_as_a_file(api):
    def asked(form, **body):
        response = api.ask("POST", "/api/series", body=body, query=(("format", form),))
        assert response.status == 200, response.body
        assert response.headers["x-manifest"] == "2"
        return response.headers["content-type"], response.body

    kind, data = asked("csv")
    rows = list(csv.DictReader(io.StringIO(data.decode())))
    assert (kind, [row["seriesKey"] for row in rows]) == ("text/csv; charset=utf-8", NEWEST_FIRST)
    assert rows[6]["patientKey"] == "'=1+1"  # no formula
    assert not {"blobs"} & set(rows[0])
    kind, data = asked("ndjson", top=2)
    assert kind == "application/x-ndjson"
    lines = [json.loads(line) for line in data.splitlines()]
    assert [line["seriesKey"] for line in lines] == NEWEST_FIRST[:2]
    kind, data = asked("parquet", sort="modality")
    table = pq.read_table(pa.BufferReader(data))
    assert table.column("modality").to_pylist() == ["CT"] * 5 + ["MR"] * 4
    empty = pq.read_table(pa.BufferReader(asked("parquet", series=[])[1]))
    assert (empty.num_rows, empty.schema) == (0, table.schema)
    kind, data = asked("uids", filters=["modality=MR"])
    assert kind == "text/plain; charset=utf-8"
    assert data.startswith(b"# manifest 2\n# 4 Series Instance UIDs\n")
    assert parse_uids(data.decode()) == [f"1.2.{number}" for number in (1, 3, 5, 7)]
    kind, data = asked("dicom-json", top=1)
    assert kind == "application/dicom+json"
    assert json.loads(data)[0]["0020000E"]["Value"] == ["1.2.3"]


@pytest.mark.parametrize("form", FILES)
def test_the_audit_tells_how_many_series_a_file_tells_of(api, form):
    body = {"filters": ["modality=CT", "ageYears>=1"]}
    api.ask("POST", "/api/series", body=body, query=(("format", form),))
    (said,) = api.audited()
    assert (said.operation, said.returned, said.manifest) == ("listSeries", 4, 2)
    assert said.fields == ("ageYears", "modality")


@pytest.mark.parametrize(
    ("body", "query"),
    [
        ({"top": 501}, ()),
        ({"top": 0}, ()),
        ({"top": 100_001}, (("format", "csv"),)),
        ({"top": 1.5}, ()),
        ({"sort": "evidence"}, ()),
        ({"sort": "--modality"}, ()),
        ({"text": "x"}, ()),
        ({"token": "x"}, ()),
        ({"filters": ["modality"]}, ()),
        ({"withUnknown": ["x"]}, ()),
        ({}, (("format", "xml"),)),
        ({}, (("sort", "modality"),)),
        ([], ()),
    ],
)
def test_what_cannot_be_listed_is_refused(api, body, query):
    response = api.ask("POST", "/api/series", body=body, query=query)
    assert (response.status, problem_of(response)) == (400, "invalidInput")


def test_a_file_is_never_cut_off_silently(api, monkeypatch):
    monkeypatch.setattr("function_app.api.series_answers.MAX_LISTED", 8)
    query = (("format", "uids"),)
    response = api.ask("POST", "/api/series", body={}, query=query)
    assert problem_of(response) == "invalidInput"
    assert "these are more" in json.loads(response.body)["detail"]
    for body, n_told in (({"top": 8}, 8), ({"filters": ["modality=CT"]}, 5)):
        response = api.ask("POST", "/api/series", body=body, query=query)
        assert len(parse_uids(response.body.decode())) == n_told


def test_a_manifest_that_is_not_kept_has_expired(api):
    response = api.ask("POST", "/api/series", body={"manifest": 9999})
    assert (response.status, problem_of(response)) == (410, "manifestExpired")
