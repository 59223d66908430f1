"""Points, matches and manifests over the API."""

import hashlib
import json

import pytest

from indexer_core.access import AccessError, Refusal
from indexer_core.index.commit import commit
from indexer_core.index.pins import COHORTS
from indexer_core.index.updates import Pin, Restore, Suppress
from tests.support.api import Api, problem_of, record
from tests.support.points import KeptMap, PointsFile, parse_points
from tests.support.segments import LINEAGE

POINTS = "/api/map/points"


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def records(*names: str, **said):
    return {key_of(name): record(key_of(name), **said) for name in names}


def short(*names: str) -> set[str]:
    return {key_of(name)[:16] for name in names}


def told(api: Api, **asked: object) -> PointsFile:
    """The file of points that is answered."""
    columns = asked.pop("columns", ())
    query = [*(("columns", each) for each in columns), *((k, str(v)) for k, v in asked.items())]
    response = api.ask("GET", POINTS, query=tuple(query))
    assert response.status == 200, response.body
    assert response.headers["content-type"] == "application/vnd.dicom-indexer.points"
    file = parse_points(response.body)
    assert response.headers["x-manifest"] == str(file.head["manifest"])
    return file


def matching(api: Api, **body: object) -> set[str]:
    response = api.ask("POST", "/api/map/matches", body=body)
    assert response.status == 200, response.body
    file = parse_points(response.body)
    assert file.head["count"] == len(file.ids)
    assert file.ids == sorted(file.ids)
    return set(file.ids)


def change(api: Api, update: object, name: str) -> None:
    commit(api.manifests, update, commit_id=name, lineage=LINEAGE)


def test_a_page_keeps_its_map_by_changes_alone():
    api, page = Api(records("a", "b")), KeptMap()
    page.take(told(api, columns=["modality"]))
    assert {key: said[3] for key, said in page.points.items()} == dict.fromkeys(
        short("a", "b"), "MR"
    )

    api.add(records("b", "c", modality="CT"))
    file = told(api, columns=["modality"], since=page.manifest)
    assert (set(file.ids), file.removed) == (short("b", "c"), [])
    assert file.head["columns"] == {"modality": ["CT"]}
    page.take(file)
    assert page.points == told(api, columns=["modality"]).points()

    nothing = told(api, since=page.manifest)
    assert (nothing.head["count"], nothing.head["total"], nothing.removed) == (0, 3, [])


def test_what_is_suppressed_goes_and_what_is_restored_comes_back():
    api, page = Api(records("a", "b")), KeptMap()
    page.take(told(api))
    change(api, Suppress(series_keys=frozenset({key_of("a")})), "hide")
    file = told(api, since=page.manifest)
    assert (file.ids, set(file.removed)) == ([], short("a"))
    page.take(file)
    change(api, Restore(series_keys=frozenset({key_of("a")})), "show")
    file = told(api, since=page.manifest)
    assert (set(file.ids), file.removed) == (short("a"), [])
    page.take(file)
    assert page.points == told(api).points()


def test_without_the_state_that_is_named_the_whole_map_is_told():
    api = Api(records("a"))
    for since in (0, 99):
        file = told(api, since=since)
        assert file.head["since"] is None
        assert "removed" not in file.sections
        assert set(file.ids) == short("a")


def test_a_past_map_is_told_without_what_is_suppressed_now():
    api = Api(records("a", "b"))
    first = told(api).head["manifest"]
    api.add(records("c"))
    assert set(told(api, manifest=first).ids) == short("a", "b")
    # And the way back is told, too.
    back = told(api, manifest=first, since=first + 1)
    assert (back.ids, set(back.removed)) == ([], short("c"))
    change(api, Suppress(series_keys=frozenset({key_of("a")})), "hide")
    assert set(told(api, manifest=first).ids) == short("b")
    assert problem_of(api.ask("GET", POINTS, query=(("manifest", "99"),))) == "manifestExpired"


def test_matches_are_all_series_that_fit():
    api = Api({**records("a", "b"), **records("c", modality="CT", plane="coronal")})
    assert matching(api) == short("a", "b", "c")
    assert matching(api, filters=["modality=CT"]) == short("c")
    assert matching(api, text="CT of the head") == short("c")
    assert matching(api, text="CT of the head", interpret=False) == short("a", "b", "c")
    assert matching(api, text="CT", filters=["plane=axial"]) == set()
    manifest = api.told("GET", "/api/manifest")["manifest"]
    api.add(records("d"))
    assert matching(api, manifest=manifest) == short("a", "b", "c")
    fields = [each.fields for each in api.audited() if each.operation == "mapMatches"]
    assert fields[:3] == [(), ("modality",), ("bodyRegion", "modality")]


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("GET", POINTS, {"query": (("columns", "patientKey"),)}),
        ("GET", POINTS, {"query": (("since", "-1"),)}),
        ("GET", POINTS, {"query": tuple(("columns", "modality") for _ in range(9))}),
        ("POST", "/api/map/matches", {"body": {"text": ""}}),
        ("POST", "/api/map/matches", {"body": {"text": " "}}),
        ("POST", "/api/map/matches", {"body": {"filters": ["nothing=1"]}}),
        ("POST", "/api/map/matches", {"body": {"top": 1}}),
    ],
)
def test_what_cannot_be_answered_is_refused(method, path, asked):
    assert problem_of(Api(records("a")).ask(method, path, **asked)) == "invalidInput"


def test_the_newest_manifest_is_told_without_a_row_in_the_audit():
    api = Api(records("a"))
    assert api.told("GET", "/api/manifest") == {"manifest": 2}
    api.add(records("b"))
    assert api.told("GET", "/api/manifest") == {"manifest": 3}
    assert api.audited() == []
    told(api)
    assert [(each.operation, each.returned) for each in api.audited()] == [("mapPoints", 2)]


def test_who_is_refused_the_newest_manifest_is_in_the_audit():
    api = Api(records("a"))

    def refuse(_):
        raise AccessError(Refusal.UNAUTHENTICATED, "sign in")

    api.router._authenticate = refuse
    assert problem_of(api.ask("GET", "/api/manifest")) == "unauthenticated"
    assert [(each.operation, each.status) for each in api.audited()] == [("manifest", 401)]


def test_the_manifests_that_are_kept_are_told_newest_first():
    api = Api(records("a"))
    api.add(records("b"))
    change(api, Pin(number=2, name="paper"), "pin")
    change(api, Pin(number=2, name=f"{COHORTS}trial:1"), "keep")
    found = api.told("GET", "/api/manifests")
    assert found["nextLink"] is None
    assert [each["manifest"] for each in found["value"]] == [5, 4, 3, 2, 1]
    pinned = found["value"][3]
    assert pinned == {
        "manifest": 2,
        "created": "1970-01-01T00:00:00+00:00",
        "reason": "test",
        "projectionVersion": "0.1",
        "pins": ["paper", f"{COHORTS}trial:1"],
        "counts": {},
    }
    api.scopes = frozenset({"a"})
    other = api.told("GET", "/api/manifests")["value"][3]
    assert (other["counts"], other["pins"]) == (None, ["paper"])

    assert api.manifests.expire(1)
    assert [each["manifest"] for each in api.told("GET", "/api/manifests")["value"]] == [5, 4, 3, 2]


def test_the_document_says_that_points_are_no_json():
    api = Api(records("a"))
    document = json.loads(api.ask("GET", "/api/openapi.json").body)
    for path, method in ((POINTS, "get"), ("/api/map/matches", "post")):
        content = document["paths"][path][method]["responses"]["200"]["content"]
        assert list(content) == ["application/vnd.dicom-indexer.points"]
