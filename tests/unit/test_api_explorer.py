"""What a page needs beside searches: pictures of series, the viewer, what lies between cohorts."""

import pytest
from jsonschema import Draft202012Validator

from indexer_core import __version__
from indexer_core.errors import InvalidInputError
from indexer_core.facts import to_json
from indexer_core.index.updates import Suppress
from indexer_core.thumbnails import thumbnail_name
from indexer_core.viewer import read_viewer
from tests.support.api import Api, problem_of, record
from tests.support.facts import series_facts

KEY = "c" * 64
CT = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT"}
PICTURE = b"RIFF....WEBP"
OHIF = "https://viewer.example/viewer?StudyInstanceUIDs={study}&SeriesInstanceUIDs={series}"


def pictured(*, revision=1, scope="a", attributes=CT, **said) -> Api:
    """A service that knows a series of two revisions, each with a thumbnail in the store."""
    api = Api({})
    for number in (1, 2):
        name = thumbnail_name(KEY, number, f"{KEY}{number}")
        api.stores.index.put_if_absent(name, PICTURE + bytes([number]))
    known = {KEY: record(KEY, seriesInstanceUid="1.2", scope=scope, revision=revision, **said)}
    api.add(known, revision=revision, facts=to_json(series_facts(**attributes)))
    return api


def asked(api: Api, name: str = KEY):
    return api.ask("GET", f"/api/series/{name}/thumbnail")


@pytest.mark.parametrize("name", [KEY, KEY[:16], "1.2"])
def test_a_thumbnail_comes_as_it_is_kept(name):
    api = pictured()
    response = asked(api, name)
    assert (response.status, response.body) == (200, PICTURE + b"\1")
    assert response.headers["content-type"] == "image/webp"
    assert response.headers["x-manifest"] == str(api.manifests.newest().number)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["cache-control"] == "no-store"
    (said,) = api.audited()
    assert (said.operation, said.returned) == ("thumbnail", 1)
    document = api.told("GET", "/api/openapi.json")["paths"]["/api/series/{uid}/thumbnail"]
    assert set(document["get"]["responses"]["200"]["content"]) == {"image/webp"}


def test_it_is_that_of_the_newest_revision():
    api = pictured()
    said = {KEY: record(KEY, seriesInstanceUid="1.2", revision=2)}
    api.add(said, revision=2, facts=to_json(series_facts(**CT)))
    assert asked(api).body == PICTURE + b"\2"
    api.stores.index.delete(thumbnail_name(KEY, 2, f"{KEY}2"))
    assert (asked(api).status, asked(api).body) == (204, b"")  # not the one before


def test_of_a_deleted_series_there_is_none_until_it_is_restored():
    api = pictured()
    api.commit(Suppress(series_keys=frozenset({KEY})))
    assert (asked(api).status, problem_of(asked(api))) == (404, "notFound")
    assert api.stores.index.get(thumbnail_name(KEY, 1, f"{KEY}1")) is not None


def test_of_a_series_whose_files_are_gone_there_is_none():
    api = pictured()
    api.add({KEY: record(KEY)}, revision=2, alive=False)
    assert problem_of(asked(api)) == "notFound"


def test_of_a_series_of_another_scope_there_is_none():
    api = pictured(scope="b")
    api.scopes = frozenset({"a"})
    for name in (KEY, KEY[:16], "1.2"):
        assert problem_of(asked(api, name)) == "notFound"
    api.scopes = frozenset({"b"})
    assert asked(api).status == 200


@pytest.mark.parametrize(
    "said",
    [
        {"flags": ["burnedInRisk"]},
        {"modality": "US"},
        {"headerModality": "SC"},
        {"attributes": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}},
        {"attributes": {**CT, "ImageType": ("DERIVED", "LABEL")}},
    ],
)
def test_one_that_was_kept_before_more_was_known_is_not_shown(said):
    found = asked(pictured(**said))
    assert (found.status, found.body) == (204, b"")


def test_of_a_series_without_pixels_there_is_nothing_and_an_unknown_one_is_not_found():
    api = Api({})
    api.add({"1.2": record("1.2")}, facts=to_json(series_facts()))
    assert (asked(api, "1.2").status, asked(api, "1.2").body) == (204, b"")
    assert api.audited()[-1].returned == 0
    assert problem_of(asked(api, "unknown")) == "notFound"


def test_a_page_is_told_the_viewer_and_the_version():
    for viewer in (None, OHIF):
        api = Api({}, viewer=viewer)
        told = api.told("GET", "/api/explorer")
        assert told == {"viewer": viewer, "version": __version__}
    content = api.told("GET", "/api/openapi.json")["paths"]["/api/explorer"]["get"]["responses"]
    Draft202012Validator(content["200"]["content"]["application/json"]["schema"]).validate(told)


@pytest.mark.parametrize(
    "address", [OHIF, "http://127.0.0.1:3000/{study}", "HTTPS://pacs.example/#/series/{series}"]
)
def test_an_address_with_a_place_for_uids_is_a_viewer(address):
    assert read_viewer({"V": address}, "V") == address


@pytest.mark.parametrize("environment", [{}, {"V": ""}])
def test_without_an_address_there_is_no_viewer(environment):
    assert read_viewer(environment, "V") is None


@pytest.mark.parametrize(
    "address",
    [
        "viewer.example/{study}",
        "javascript:alert('{study}')",
        "//viewer.example/{study}",
        "https:///{study}",
        "https://{study}.example/",
        "https://[viewer/{study}",
        "https://viewer.example/a b/{study}",
        "https://viewer.example/",
        "https://viewer.example/{uid}",
    ],
)
def test_any_other_address_is_refused_without_being_repeated(address):
    with pytest.raises(InvalidInputError, match=r"\AINDEXER_VIEWER ") as refused:
        read_viewer({"INDEXER_VIEWER": address}, "INDEXER_VIEWER")
    assert address not in str(refused.value)


@pytest.fixture
def cohorts():
    """Cohort "all" of two series, then a third series, one changed and one deleted; "now"."""
    api = Api({key: record(key, modality="MR") for key in ("1.1", "1.2", "1.3")})
    api.told("POST", "/api/cohorts", body={"name": "then", "filters": ["modality=MR"]})
    api.add({"1.4": record("1.4", modality="MR")})
    api.add({"1.2": record("1.2", modality="MR", plane="coronal", revision=2)}, revision=2)
    api.commit(Suppress(series_keys=frozenset({"1.3"})))
    api.told("POST", "/api/cohorts", body={"name": "now", "filters": ["modality=MR"]})
    api.told("POST", "/api/cohorts", body={"name": "now", "uids": ["1.2"]})
    return api


def difference(api, name, *query):
    return api.told("GET", f"/api/cohorts/{name}/difference", query=query)


def test_what_lies_between_two_cohorts_is_told(cohorts):
    told = difference(cohorts, "then", ("with", "now"), ("withVersion", "1"))
    changes = {each["seriesKey"]: each["change"] for each in told["series"]}
    assert changes == {"1.2": "changed", "1.4": "added"}
    assert told["counts"] == {"added": 1, "changed": 1, "removed": 0, "deleted": 1, "erased": 0}
    assert told["before"] < told["after"]
    content = cohorts.told("GET", "/api/openapi.json")["paths"]["/api/cohorts/{name}/difference"]
    schema = content["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    Draft202012Validator(schema).validate(told)
    newest = difference(cohorts, "then", ("with", "now"))
    assert {(each["seriesKey"], each["change"], each["why"]) for each in newest["series"]} == {
        ("1.1", "removed", "no longer meets"),
        ("1.2", "changed", ""),
    }
    versions = difference(cohorts, "now", ("version", "1"), ("with", "now"), ("withVersion", "2"))
    assert [each["seriesKey"] for each in versions["series"]] == ["1.1", "1.4"]
    assert difference(cohorts, "now", ("with", "now"))["series"] == []


def test_both_cohorts_have_to_be_there_and_open_to_the_caller(cohorts):
    path = "/api/cohorts/then/difference"
    assert problem_of(cohorts.ask("GET", path)) == "invalidInput"
    for query in ((("with", "nothing"),), (("with", "now"), ("withVersion", "9"))):
        assert problem_of(cohorts.ask("GET", path, query=query)) == "notFound"
    cohorts.scopes = frozenset({"a"})
    cohorts.told("POST", "/api/cohorts", body={"name": "ours", "filters": ["modality=MR"]})
    for name, other in (("ours", "then"), ("then", "ours")):
        response = cohorts.ask("GET", f"/api/cohorts/{name}/difference", query=(("with", other),))
        assert problem_of(response) == "notFound"
    assert difference(cohorts, "ours", ("with", "ours"))["series"] == []
