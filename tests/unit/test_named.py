"""Series named one by one, judged against plain Python over the same rows."""

import hashlib
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from function_app.api.asked import MAX_NAMES_BYTES
from function_app.pages import conditions_json
from indexer_core.cohorts.drawing import draw_named
from indexer_core.cohorts.model import question_of
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.fitting import fitting
from indexer_core.index.keys import short_key_index, short_numbers
from indexer_core.index.reader import Reader
from indexer_core.index.updates import Suppress
from indexer_core.named import MAX_NAMES, Names
from indexer_core.search import keys_of, listing
from indexer_core.selection import Conditions, select
from tests.support.api import Api, problem_of, record
from tests.support.many_series import add_series, live_records
from tests.support.shelf import Shelf

TWINS = tuple("0123456789abcdef" + digit * 48 for digit in "01")
"""Two keys of one short key."""
# Beside them: usual keys, one whose UID is like a short key, and names that tests use elsewhere.
KEYS = (*TWINS, *(hashlib.sha256(bytes([n])).hexdigest() for n in range(6)), "s1", "g" * 20)
UID_OF = {key: f"1.2.{number}" for number, key in enumerate(KEYS)} | {KEYS[2]: TWINS[0][:16]}
OTHERS = ("", "s", "1.2.99", "f" * 16, "0123456789ABCDEF", "g" * 16, "0" * 64, TWINS[0][:15])
NAMES = (*KEYS, *UID_OF.values(), *(key[:16] for key in KEYS if len(key) == 64), *OTHERS)
changes = st.lists(
    st.tuples(st.lists(st.sampled_from(KEYS), min_size=1, unique=True), st.booleans()),
    min_size=1,
    max_size=5,
)


def index_of(steps) -> Shelf:
    """An index of several segments in which series were replaced and removed."""
    shelf = Shelf()
    for number, (keys, is_alive) in enumerate(steps, start=1):
        said = {
            key: {
                "seriesInstanceUid": UID_OF[key],
                "scope": "here" if number % 2 else "there",
                "plane": ("axial", "coronal", "unknown")[KEYS.index(key) % 3],
            }
            for key in keys
        }
        add_series(shelf, said, revision=number, alive=is_alive)
    return shelf


def is_named(key: str, uid: str, name: str) -> bool:
    is_short = re.fullmatch("[0-9a-f]{16}", name) is not None
    return name in (key, uid) or (is_short and key.startswith(name))


@given(changes, st.frozensets(st.sampled_from(NAMES)), st.sampled_from([None, "here"]))
def test_series_that_are_named_are_those_that_a_filter_by_name_leaves(steps, names, scope):
    snapshot = Reader((shelf := index_of(steps)).blobs, shelf.files).refresh()
    scopes = None if scope is None else frozenset({scope})
    asked = {"filters": (parse_filter("plane=axial"),), "scopes": scopes}
    records = live_records(snapshot)
    named = {
        key
        for key, said in records.items()
        if any(is_named(key, said["seriesInstanceUid"], name) for name in names)
        and scope in (None, said["scope"])
    }
    conditions = Conditions(**asked, series=Names.of(names))
    selection = select(snapshot, conditions)
    expected = {key for key in named if records[key]["plane"] == "axial"}
    assert {hit.key for hit in listing(snapshot, selection)} == expected
    assert selection.n_passed == len(expected)
    assert selection.unknown["plane"] == sum(records[key]["plane"] == "unknown" for key in named)
    assert not selection.is_all
    every = select(snapshot, Conditions(scopes=scopes, series=Names.of(names)))
    assert {hit.key for hit in listing(snapshot, every)} == named
    found = fitting(snapshot, Conditions(scopes=scopes, series=Names.of(names)))
    assert sum(each.n_passed for _, each in found.degrees()) == len(named)


@given(changes, st.sampled_from(NAMES))
def test_a_name_stands_for_series_whatever_their_state(steps, name):
    shelf = index_of(steps)
    shelf.commit(Suppress(series_keys=frozenset({TWINS[0]})))
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    expected = {
        key
        for keys, is_alive in steps
        for key in keys
        if is_named(key, UID_OF[key] if is_alive else key, name)  # a tombstone has no UID
    }
    assert keys_of(snapshot, name) == expected


def test_no_names_are_no_series():
    shelf = index_of([(list(KEYS), True)])
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    assert select(snapshot, Conditions(series=Names.of([]))).n_passed == 0
    assert select(snapshot, Conditions()).n_passed == len(KEYS)


@given(st.lists(st.binary(min_size=8, max_size=32).map(bytes.hex)), st.integers(0, 3))
def test_short_keys_as_numbers(keys, n_before):
    array = pa.array(["x" * n_before, *keys]).slice(1)  # a part of a column, as files give it
    assert short_numbers(array).tolist() == [int(key[:16], 16) for key in keys]


def test_keys_shorter_than_a_short_one_have_no_place_in_its_index():
    index = short_key_index(pa.array(["a", TWINS[0], "", TWINS[1]]))
    assert sorted(index.rows.tolist()) == [1, 3]
    numbers = np.unique(index.hashes)
    assert index.find(numbers)[1].tolist() == [1, 3]


def test_tokens_know_which_series_were_named():
    one, other = Names.of(["1.2", "1.3"]), Names.of(["1.21.3"])
    assert one.digest == Names.of(["1.3", "1.2", "1.3"]).digest != other.digest
    assert conditions_json(Conditions()) != conditions_json(Conditions(series=Names.of([])))


def test_a_cohort_is_drawn_by_short_keys():
    shelf = index_of([(list(KEYS), True)])
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    assert draw_named(snapshot, [TWINS[0][:16], "s1"]).keys == {*TWINS, "s1"} | {KEYS[2]}


def test_a_question_that_a_cohort_keeps_names_no_series():
    with pytest.raises(InvalidInputError, match="not by both"):
        question_of(Conditions(series=Names.of(["s1"])))


RECORDS = {
    key: record(key, seriesInstanceUid=UID_OF[key], modality="CT" if number % 2 else "MR")
    for number, key in enumerate(KEYS)
}
SHORT = KEYS[4][:16]


@pytest.fixture
def api():
    return Api({**RECORDS, "b": record("b", scope="b")})


def test_wherever_a_series_is_named_a_short_key_will_do(api):
    for path in ("", "/similar"):
        whole, short = (api.told("GET", f"/api/series/{name}{path}") for name in (KEYS[4], SHORT))
        whole.pop("nextLink"), short.pop("nextLink")  # a token knows by what name it was asked
        assert whole == short
    assert api.told("GET", f"/api/trace/{SHORT}") == api.told("GET", f"/api/trace/{KEYS[4]}")
    found = api.told("GET", f"/api/series/{TWINS[0][:16]}")["value"]
    assert [each["seriesKey"] for each in found] == sorted([*TWINS, KEYS[2]])
    saved = api.told("POST", "/api/cohorts", body={"name": "one", "uids": [SHORT]})
    assert saved["series"] == 1
    assert api.ask("GET", f"/api/series/{SHORT[:15]}").status == 404


def test_a_series_that_is_still_open_is_traced_by_its_short_key(api):
    key = "fedcba9876543210" + "0" * 48
    values = {"scope": "a", "gone": False, "facts": '{"series_instance_uid": "9"}'}
    api.stores.open_series.insert("open", key, {})
    api.stores.instances.insert(key, "1", values)
    for name in (key[:16], "9"):
        found = api.told("GET", f"/api/trace/{name}")["value"]
        assert [each["seriesKey"] for each in found] == [key]


def test_a_search_its_counts_and_its_pages_are_of_the_series_that_are_named(api):
    series = [SHORT, KEYS[5], UID_OF[KEYS[6]], "9.9"]
    body = {"text": "x", "series": series, "top": 2, "facets": ["modality"]}
    page = api.told("POST", "/api/search", body=body)
    assert page["count"] == 3
    assert sum(each["count"] for each in page["facets"]["modality"]["values"]) == 3
    query = (("token", page["nextLink"].partition("token=")[2]),)
    last = api.told("POST", "/api/search", body={**body, "series": series[::-1]}, query=query)
    assert {hit["seriesKey"] for hit in page["value"] + last["value"]} == set(KEYS[4:7])
    other = api.ask("POST", "/api/search", body={**body, "series": series[:2]}, query=query)
    assert problem_of(other) == "invalidInput"
    without = {name: value for name, value in body.items() if name != "series"}
    assert problem_of(api.ask("POST", "/api/search", body=without, query=query)) == "invalidInput"


def test_facets_without_their_own_filters_are_still_of_the_series_that_are_named(api):
    body = {"facets": ["modality"], "filters": ["modality=CT"], "series": [*KEYS[4:7], "b"]}
    counts = [
        {each["value"]: each["count"] for each in told["facets"]["modality"]["values"]}
        for told in (
            api.told("POST", "/api/facets", body={**body, "excludeOwn": own})
            for own in (False, True)
        )
    ]
    assert counts == [{"CT": 1}, {"MR": 3, "CT": 1}]
    api.scopes = frozenset({"a"})
    told = api.told("POST", "/api/facets", body={**body, "excludeOwn": True})
    assert told["facets"]["modality"]["values"][0] == {"value": "MR", "count": 2}
    assert api.told("POST", "/api/facets", body={**body, "series": ["b"]})["count"] == 0


def test_as_many_as_can_be_named_fit_into_a_body_and_no_more_are_taken(api):
    named = [*KEYS, *(f"{number:064}" for number in range(MAX_NAMES - len(KEYS)))]
    body = {"facets": ["modality"], "series": named}
    assert api.told("POST", "/api/facets", body=body)["count"] == len(KEYS)
    assert len(str(named)) < MAX_NAMES_BYTES
    more = api.ask("POST", "/api/facets", body={**body, "series": [*named, "1.2"]})
    assert problem_of(more) == "invalidInput"


@pytest.mark.parametrize("series", ["1.2", [1], ["a b"], ["a" * 65], [None], {}])
def test_what_is_no_list_of_names_is_refused(api, series):
    for path, asked in (("search", {"text": "x"}), ("facets", {"facets": ["sex"]})):
        response = api.ask("POST", f"/api/{path}", body={**asked, "series": series})
        assert problem_of(response) == "invalidInput"


def test_the_audit_tells_equal_lists_of_series_and_says_no_name(api):
    for series in ([SHORT], [SHORT], [KEYS[5]]):
        api.told("POST", "/api/facets", body={"facets": ["sex"], "series": series})
    one, same, other = api.audited()
    assert one.asked == same.asked != other.asked
    assert SHORT not in str(one)
