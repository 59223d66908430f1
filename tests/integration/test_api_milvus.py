"""The same API over the same index from both homes: segments, and a Milvus that follows them."""

from contextlib import closing
from dataclasses import replace

import pytest

from function_app.homes import MilvusAnswers
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.commit import Manifests
from indexer_core.index.segment import PREFIX as SEGMENTS
from indexer_core.index.updates import Restore, Suppress
from tests.support.api import Api, Encoder, problem_of, record

pytest.importorskip("milvus_lite")

from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.follower import CURRENT, Follower
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.settings import MilvusSettings

PREFIX = "api"
MODALITIES, PLANES = ("MR", "CT", "US"), ("axial", "coronal", None)
RECORDS = {
    f"1.2.{n}": record(
        f"1.2.{n}",
        scope="ab"[n % 2],
        studyInstanceUid=f"1.{n // 3}",
        patientKey=f"p{n // 6}" if n % 5 else None,
        modality=MODALITIES[n % 3],
        plane=PLANES[n % 3 if n % 4 else 0],
        ageYears=None if n % 7 == 0 else 20.0 + n,
        studyDate=f"20{10 + n % 12}-01-02" if n % 6 else None,
        sequence=["T1", "MPRAGE"] if n % 2 else [],
        texts=[f"series {n} text {number}" for number in range(5)],
    )
    for n in range(30)
}
SEARCHES = [
    {"text": "series 7"},
    {"text": "axial MR of the head", "top": 30},
    {"text": "no CT", "filters": ["ageYears>=25"], "top": 20},
    {"text": "CT or MR since 2015", "top": 30},
    {"text": "text", "interpret": False, "filters": ["plane!=axial", "sequence=T1"]},
    {"text": "text", "filters": ["plane=coronal"], "withUnknown": ["plane"], "top": 30},
    {"text": "a study", "level": "study", "top": 4},
    {"text": "a patient", "level": "patient", "filters": ["modality~r"], "top": 3},
    {"text": "x", "series": ["1.2.3", "1.2.4", "nothing"], "facets": ["modality"]},
    {"text": "text", "facets": ["modality", "plane", "ageYears", "sequence"], "top": 1},
]
FACETS = [
    {"facets": ["modality", "bodyRegion", "plane", "sequence", "ageYears", "flags", "studyDate"]},
    {"facets": ["modality", "plane"], "filters": ["modality=MR"], "excludeOwn": True},
    {"facets": ["scope", "sex", "hasPixels"], "most": 2, "least": 3},
]


class Recording:
    """A blob store that knows what was read."""

    def __init__(self, inner) -> None:
        self._inner = inner
        self.names = []

    def __getattr__(self, name):
        call = getattr(self._inner, name)

        def noted(*args, **kwargs):
            self.names += [arg for arg in args if isinstance(arg, str)]
            return call(*args, **kwargs)

        return noted


class Both:
    """An index that is asked in both homes."""

    def __init__(self, settings, client) -> None:
        self.segments = Api(RECORDS)
        self.read = Recording(self.segments.stores.index)
        self.home = MilvusHome(settings, self.read)
        self.milvus = self.segments.beside(
            lambda stores, _: MilvusAnswers(
                self.home,
                Manifests(stores.index),
                find=lambda _: Encoder(),
                setting="MILVUS_URI",
            ),
            replace(self.segments.stores, index=self.read),
        )
        stores = self.segments.stores
        self._follower = Follower(
            client,
            stores.index,
            FlatFp16Vectors(),
            prefix=PREFIX,
            address="memory",
            clock=stores.clock,
            ids=stores.ids,
        )
        self.follow()

    def follow(self) -> None:
        while self._follower.step().outcome != CURRENT:
            pass

    def scopes(self, scopes) -> None:
        self.segments.scopes = scopes

    def same(self, method, path, **asked):
        """The answer, the same from both."""
        wanted = self.segments.told(method, path, **asked)
        found = self.milvus.told(method, path, **asked)
        assert comparable(found) == comparable(wanted)
        return found


def comparable(value):
    """An answer, numbers as both homes tell them: segments hold vectors as halves of a float."""
    match value:
        case dict():
            return {name: comparable(each) for name, each in value.items() if name != "nextLink"}
        case list():
            return [comparable(each) for each in value]
        case float():
            return pytest.approx(value, abs=2e-3)
    return value


@pytest.fixture(scope="module")
def milvus(tmp_path_factory):
    uri = str(tmp_path_factory.mktemp("milvus") / "api.db")
    settings = MilvusSettings(uri=uri, prefix=PREFIX)
    with closing(connect(settings)) as client:
        yield settings, client


@pytest.fixture
def both(milvus):
    settings, client = milvus
    for name in client.list_collections():
        client.drop_collection(name)
    made = Both(settings, client)
    yield made
    made.home.close()


def test_both_homes_answer_alike(both):
    for body in SEARCHES:
        both.same("POST", "/api/search", body=body)
    for body in FACETS:
        both.same("POST", "/api/facets", body=body)
    both.same("GET", "/api/series/1.2.3")
    both.same("GET", "/api/series/1.2.3/similar", query=(("top", "30"),))
    both.same("GET", "/api/series/1.2.3/similar", query=(("filter", "modality=CT"),))
    both.same("GET", "/api/manifest")
    both.same("GET", "/api/manifests")
    for sort in ("-studyDate", "ageYears", "modality", "seriesKey"):
        told = both.same("POST", "/api/series", body={"sort": sort, "top": 7})
        assert told["count"] == len(RECORDS)
    status = both.milvus.told("GET", "/api/status")
    wanted = both.segments.told("GET", "/api/status")
    assert (status.pop("home"), wanted.pop("home")) == ("milvus", "segments")
    assert status == wanted
    assert [name for name in both.read.names if name.startswith(SEGMENTS)] == []


def test_callers_see_their_scopes_alone_in_both_homes(both):
    both.segments.scopes = both.milvus.scopes = frozenset({"a"})
    for body in SEARCHES[:8]:
        for hit in both.same("POST", "/api/search", body=body)["value"]:
            assert hit["scope"] == "a"
    both.same("POST", "/api/facets", body=FACETS[0])
    assert both.milvus.ask("GET", "/api/series/1.2.3").status == 404
    assert both.milvus.ask("GET", "/api/series/1.2.3/similar").status == 404


@pytest.mark.parametrize("body", [{"text": "text", "top": 7}, {"text": "MR", "level": "study"}])
def test_pages_go_on_in_their_state_whatever_is_committed_between(both, body):
    told, wanted, page, token = [], [], None, None
    body = {**body, "top": 7}
    state = both.segments.manifests.newest().number
    while True:
        asked = {**body, **({} if token is None else {"token": token})}
        page = both.same("POST", "/api/search", body=asked)
        told += [hit["seriesKey"] for hit in page["value"]]
        assert page["manifest"] == state
        if page["nextLink"] is None:
            break
        token = page["nextLink"].partition("token=")[2]
        late = f"late{len(told)}"
        both.segments.add({late: record(late)})
        both.follow()
    assert len(told) == len(set(told))
    whole = both.segments.told("POST", "/api/search", body={**body, "top": 100, "manifest": state})
    wanted = [hit["seriesKey"] for hit in whole["value"]]
    assert told == wanted


def test_what_is_hidden_is_found_no_more_and_what_is_replaced_only_as_it_is(both):
    both.segments.commit(Suppress(series_keys=frozenset({"1.2.3"})))
    both.segments.add({"1.2.4": record("1.2.4", modality="XA")}, revision=2)
    both.follow()
    found = both.same("POST", "/api/search", body={"text": "text", "top": 100})
    keys = {hit["seriesKey"]: hit["modality"] for hit in found["value"]}
    assert set(keys) == RECORDS.keys() - {"1.2.3"}
    assert keys["1.2.4"] == "XA"
    assert problem_of(both.milvus.ask("GET", "/api/series/1.2.3")) == "notFound"


def test_what_is_hidden_is_found_no_more_before_a_follower_has_seen_it(both):
    number = both.segments.manifests.newest().number
    both.segments.commit(Suppress(series_keys=frozenset({"1.2.3", "1.2.4"})))
    status = both.milvus.told("GET", "/api/status")
    assert (status["manifest"], status["lag"], status["series"]) == (number, 1, len(RECORDS) - 2)
    both.segments.add({"late": record("late")})
    body = {"text": "text", "top": 100, "facets": ["modality", "scope"]}
    found = both.milvus.told("POST", "/api/search", body=body)
    assert {hit["seriesKey"] for hit in found["value"]} == RECORDS.keys() - {"1.2.3", "1.2.4"}
    wanted = both.segments.told("POST", "/api/search", body={**body, "manifest": number})
    assert (found["count"], found["facets"]) == (wanted["count"], wanted["facets"])
    assert both.milvus.ask("GET", "/api/series/1.2.3").status == 404
    assert both.milvus.ask("GET", "/api/series/1.2.3/similar").status == 404
    both.segments.commit(Restore(series_keys=frozenset({"1.2.3", "1.2.4"})))
    assert both.milvus.told("GET", "/api/status")["series"] == len(RECORDS)
    both.follow()
    assert both.same("POST", "/api/search", body=body)["count"] == len(RECORDS) + 1


def test_what_is_hidden_is_known_although_the_manifest_that_was_followed_has_expired(both):
    manifests = both.segments.manifests
    both.segments.commit(Suppress(series_keys=frozenset({"1.2.5"})))
    both.follow()
    followed = manifests.newest().number
    both.segments.commit(Suppress(series_keys=frozenset({"1.2.3"})))
    assert manifests.expire(followed)
    found = both.milvus.told("POST", "/api/search", body={"text": "text", "top": 100})
    assert {hit["seriesKey"] for hit in found["value"]} == RECORDS.keys() - {"1.2.3", "1.2.5"}


def test_a_state_that_milvus_never_had_has_expired(both):
    body = {"facets": ["modality"], "manifest": 1}
    response = both.milvus.ask("POST", "/api/facets", body=body)
    assert (response.status, problem_of(response)) == (410, "manifestExpired")
