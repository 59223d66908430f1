"""A caller of some scopes is answered as from an index that holds nothing else."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.api import Api, record
from tests.support.points import parse_points

SCOPES = ("a", "b", "c")
# Keys in hexadecimal digits, which begin with their scope.
KEYS = tuple(f"{scope}{number}".ljust(64, "0") for scope in SCOPES for number in range(3))


@st.composite
def records(draw):
    found = {}
    for key in draw(st.sets(st.sampled_from(KEYS))):
        found[key] = record(
            key,
            scope=key[0],
            seriesInstanceUid=draw(st.sampled_from([key, "shared"])),
            modality=draw(st.sampled_from(["MR", "CT"])),
            plane=draw(st.sampled_from(["axial", "coronal", "unknown"])),
            manufacturer=draw(st.sampled_from(["Maker", "MAKER", None])),
            ageYears=draw(st.sampled_from([None, 30.0, 70.0])),
        )
    return found


filters = st.lists(
    st.sampled_from(
        [
            "modality=MR",
            "plane=axial",
            "plane!=axial",
            "ageYears>=60",
            "ageYears=unknown",
            "scope=b",
        ]
    ),
    max_size=2,
)


def drawn(texts: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation that tells of series in arrays."""
    columns = (*_COLUMNS, ("since", "1"))
    return [
        ("GET", "/api/map/points", {"query": _COLUMNS}),
        ("GET", "/api/map/points", {"query": columns}),
        ("POST", "/api/map/matches", {"body": {"filters": texts}}),
        ("POST", "/api/map/matches", {"body": {"text": "axial MRI", "filters": texts}}),
    ]


def requests(texts: list[str]) -> list[tuple[str, str, dict[str, Any]]]:
    """Every operation that tells of series, asked about all there are."""
    return [
        ("POST", "/api/search", {"body": {"text": "anything", "filters": texts, "top": 1000}}),
        ("GET", "/api/search", {"query": (("q", "1 2"), ("top", "2"))}),
        ("GET", "/api/search", {"query": (("q", "axial MRI, patients over 60"), *_FACETS)}),
        ("GET", "/api/search", {"query": (("q", "CT"), ("format", "ndjson"), ("top", "2"))}),
        ("GET", "/api/status", {}),
        ("GET", "/api/map", {}),
        ("GET", "/api/map", {"query": (("filter", "modality=MR"), ("most", "2"))}),
        ("GET", "/api/facets", {"query": _FACETS}),
        ("POST", "/api/facets", {"body": {"facets": ["modality"], "filters": texts, "least": 2}}),
        ("POST", "/api/series", {"body": {"filters": texts, "sort": "-ageYears", "top": 2}}),
        ("POST", "/api/series", {"body": {"series": [*KEYS, "shared"], "sort": "plane"}}),
        ("POST", "/api/facets", {"body": {"facets": ["scope"], "series": list(KEYS)}}),
        ("POST", "/api/search", {"body": {"text": "x", "series": [*KEYS[::2], "shared"]}}),
        ("GET", "/api/cohorts", {}),
        *(("GET", f"/api/series/{uid}/similar", {"query": (("top", "3"),)}) for uid in KEYS),
        *(("GET", f"/api/cohorts/{name}{part}", {}) for name in SCOPES for part in _PARTS),
        *(
            ("GET", f"/api/cohorts/{name}/difference", {"query": (("with", other),)})
            for name in SCOPES
            for other in SCOPES
        ),
        *(("GET", f"/api/series/{uid}", {}) for uid in (*KEYS, "shared")),
        *(("GET", f"/api/trace/{uid}", {}) for uid in (*KEYS, "shared")),
    ]


_PARTS = ("", "/series", "/news")
_FACETS = tuple(("facets", field) for field in ("scope", "modality", "plane", "ageYears"))
_COLUMNS = tuple(
    ("columns", field) for field in ("scope", "modality", "plane", "ageYears", "manufacturer")
)
# Of the manifest, which counts everybody's commits, or made of its number.
_OF_THE_MANIFEST = frozenset(
    ("manifest", "newest", "index", "segment", "writeId", "before", "after", "digest", "nextLink")
)


def with_cohorts(api: Api, every: dict[str, dict[str, Any]]) -> Api:
    """A cohort per scope, each drawn by who sees that scope only, where there is any series."""
    caller = api.scopes
    for scope in sorted({said["scope"] for said in every.values()}):
        api.scopes = frozenset({scope})
        saved = api.ask("POST", "/api/cohorts", body={"name": scope, "filters": ["modality=MR"]})
        assert saved.status == 200, saved.body
    api.scopes = caller
    return api


def without_manifest(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_manifest(v) for k, v in value.items() if k not in _OF_THE_MANIFEST}
    return [without_manifest(each) for each in value] if isinstance(value, list) else value


@settings(max_examples=40)
@given(records(), st.sets(st.sampled_from(SCOPES), min_size=1), filters)
def test_no_answer_depends_on_series_of_other_scopes(every, scopes, texts):
    allowed = {key: said for key, said in every.items() if said["scope"] in scopes}
    of_all = with_cohorts(Api(every, scopes=frozenset(scopes)), every)
    of_allowed = with_cohorts(Api(allowed), allowed)
    for method, path, asked in requests(texts):
        told, expected = of_all.ask(method, path, **asked), of_allowed.ask(method, path, **asked)
        assert told.status == expected.status, path
        assert (b'"nextLink": null' in told.body) == (b'"nextLink": null' in expected.body)
        if asked.get("query", ())[1:2] == (("format", "ndjson"),):
            assert told.body == expected.body
            continue
        assert without_manifest(json.loads(told.body)) == without_manifest(
            json.loads(expected.body)
        )


@settings(max_examples=40)
@given(records(), st.sets(st.sampled_from(SCOPES), min_size=1), filters)
def test_no_array_depends_on_series_of_other_scopes(every, scopes, texts):
    allowed = {key: said for key, said in every.items() if said["scope"] in scopes}
    of_all, of_allowed = Api(every, scopes=frozenset(scopes)), Api(allowed)
    for method, path, asked in drawn(texts):
        told, expected = (
            parse_points(api.ask(method, path, **asked).body) for api in (of_all, of_allowed)
        )
        assert without_manifest(told.head) == without_manifest(expected.head)
        assert {name: array.tolist() for name, array in told.sections.items()} == {
            name: array.tolist() for name, array in expected.sections.items()
        }


@settings(max_examples=40)
@given(records(), st.sets(st.sampled_from(SCOPES), min_size=1))
def test_no_answer_names_a_series_of_another_scope(every, scopes):
    api = with_cohorts(Api(every, scopes=frozenset(scopes)), every)
    others = [key for key in KEYS if key[0] not in scopes]
    for method, path, asked in requests([]):
        # What was asked for is not repeated either.
        told = api.ask(method, path, **asked).body.decode()
        assert not [key for key in others if f'"{key}' in told], path


def test_of_the_whole_index_only_who_sees_it_all_is_told():
    every = {key: record(key, scope=key[0]) for key in KEYS}
    assert Api(every).told("GET", "/api/status")["index"]["segments"] == 1
    restricted = Api(every, scopes=frozenset("a")).told("GET", "/api/status")
    assert restricted["index"] is None
    assert restricted["series"] == 3
