"""What a service on Milvus answers: how far it is, what it cannot, with which encoder."""

import json
import subprocess
import sys

import pytest

from function_app.homes import MilvusAnswers
from function_app.milvus_home import milvus_home
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import InvalidInputError, ManifestExpiredError, UnavailableError
from indexer_core.index.commit import Manifests
from indexer_core.index.filling import text_vectors
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.updates import Restore, Suppress
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.conftest import ROOT
from tests.support.api import Api, Encoder, problem_of, record
from tests.support.encoders import NEW, OLD, SwitchingIndex
from tests.support.followed import FollowedSnapshots

SETTING = "SOME_MILVUS_URI"
RECORDS = {key: record(key) for key in ("1.2.1", "1.2.2", "1.2.3")}
NAMED = {"name": "some", "text": "head"}
SEGMENTS_ONLY = [
    ("GET", "/api/map", {}),
    ("GET", "/api/map/points", {}),
    ("GET", "/api/map/points", {"query": (("since", "1"),)}),
    ("POST", "/api/map/matches", {"body": {"filters": ["modality=MR"]}}),
    ("GET", "/api/trace/1.2.1", {}),
    ("GET", "/api/series/1.2.1/thumbnail", {}),
    ("POST", "/api/cohorts", {"body": NAMED}),
]


class Followed:
    """The API over records that a home follows as far as it is told."""

    def __init__(self, records=RECORDS) -> None:
        self.api = Api(records, home=self._home)

    def _home(self, stores, _reader):
        self.home = FollowedSnapshots(stores.index)
        return MilvusAnswers(
            self.home,
            Manifests(stores.index),
            find=lambda _: Encoder(),
            setting=SETTING,
        )

    def follow(self) -> None:
        self.home.applied = self.api.manifests.newest().number


@pytest.fixture
def followed() -> Followed:
    made = Followed()
    made.follow()
    return made


def test_the_status_says_who_answers_and_how_far_behind(followed):
    api = followed.api
    told = api.told("GET", "/api/status")
    newest = api.manifests.newest().number
    assert (told["home"], told["manifest"], told["newest"]) == ("milvus", newest, newest)
    assert (told["lag"], told["series"]) == (0, 3)
    api.add({"1.2.4": record("1.2.4")})
    told = api.told("GET", "/api/status")
    assert (told["manifest"], told["newest"], told["lag"]) == (newest, newest + 1, 1)
    assert told["series"] == 3
    followed.follow()
    told = api.told("GET", "/api/status")
    assert (told["lag"], told["series"]) == (0, 4)
    assert Api(RECORDS).told("GET", "/api/status")["home"] == "segments"


@pytest.mark.parametrize(("method", "path", "asked"), SEGMENTS_ONLY)
def test_what_takes_segments_is_refused_in_words_that_help(followed, method, path, asked):
    response = followed.api.ask(method, path, **asked)
    assert (response.status, problem_of(response)) == (501, "notOnThisHome")
    assert SETTING in json.loads(response.body)["detail"]
    document = followed.api.told("GET", "/api/openapi.json")
    template = path.replace("1.2.1", "{uid}")
    assert (
        "notOnThisHome"
        in document["paths"][template][method.lower()]["responses"]["501"]["description"]
    )


def test_a_saved_cohort_is_listed_but_not_drawn(followed):
    other = Api(RECORDS)
    other.told("POST", "/api/cohorts", body=NAMED)
    for blob in list(other.stores.index.list("cohorts/")):
        followed.api.stores.index.put_if_absent(blob.name, other.stores.index.get(blob.name).data)
    (listed,) = followed.api.told("GET", "/api/cohorts")["value"]
    assert listed["name"] == "some"
    for path in ("some", "some/series", "some/news", "some/difference"):
        query = (("with", "some"),) if path.endswith("difference") else ()
        response = followed.api.ask("GET", f"/api/cohorts/{path}", query=query)
        assert (response.status, problem_of(response)) == (501, "notOnThisHome")


def test_a_page_goes_on_in_its_manifest_until_that_is_swept(followed):
    api = followed.api
    body = {"text": "head", "top": 1}
    page = api.told("POST", "/api/search", body=body)
    api.add({"1.2.4": record("1.2.4")})
    followed.follow()
    token = page["nextLink"].partition("token=")[2]
    second = api.told("POST", "/api/search", body={**body, "token": token})
    assert second["manifest"] == page["manifest"]
    followed.home.floor = page["manifest"] + 1
    response = api.ask("POST", "/api/search", body={**body, "token": token})
    assert (response.status, problem_of(response)) == (410, "manifestExpired")


def test_a_hit_whose_record_was_shortened_has_no_text_and_is_told(followed, monkeypatch):
    whole = SnapshotIndex.record
    monkeypatch.setattr(SnapshotIndex, "record", lambda *asked: {**whole(*asked), "texts": []})
    told = followed.api.told("POST", "/api/search", body={"text": "head"})
    assert told["count"] == 3
    assert {hit["why"]["text"] for hit in told["value"]} == {None}


@pytest.mark.parametrize("path", ["/api/series/1.2.1", "/api/series/9.9"])
def test_a_series_is_not_missing_where_its_state_was_given_up(followed, monkeypatch, path):
    def given_up(_index):
        raise ManifestExpiredError("given up meanwhile")

    monkeypatch.setattr(SnapshotIndex, "confirm", given_up)
    response = followed.api.ask("GET", path)
    assert (response.status, problem_of(response)) == (410, "manifestExpired")


def test_before_anything_is_followed_it_is_asked_again_later():
    followed = Followed()
    response = followed.api.ask("POST", "/api/search", body={"text": "head"})
    assert (response.status, problem_of(response)) == (503, "unavailable")
    followed.follow()
    assert followed.api.told("POST", "/api/search", body={"text": "head"})["count"] == 3
    newest = followed.api.manifests.newest().number
    later = followed.api.ask(
        "POST", "/api/facets", body={"facets": ["sex"], "manifest": newest + 1}
    )
    assert (later.status, problem_of(later)) == (503, "unavailable")


def test_where_nothing_is_indexed_nothing_is_found():
    followed = Followed({})
    response = followed.api.ask("POST", "/api/search", body={"text": "head"})
    assert problem_of(response) == "unavailable"  # opened, and not followed


def test_without_milvus_client_one_line_says_what_to_install(monkeypatch):
    for name in [each for each in sys.modules if each.split(".")[0] == "pymilvus"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    monkeypatch.delitem(sys.modules, "indexer_core.adapters.milvus.home", raising=False)
    monkeypatch.delitem(sys.modules, "indexer_core.adapters.milvus.client", raising=False)
    settings = MilvusSettings(uri="http://127.0.0.1:1")
    with pytest.raises(InvalidInputError, match=r"dicom-indexer\[milvus\]"):
        milvus_home(settings, MemoryBlobs(ManualClock()))


def test_only_who_asks_for_milvus_loads_its_client():
    script = """
import sys
import function_app.program, function_app.milvus_home, local_host.settings, local_host.answering
sys.exit("pymilvus" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, cwd=ROOT).returncode == 0


def switch(index: SwitchingIndex) -> None:
    switcher = index.switcher()
    switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
    switcher.switch(TEXT_SPACE, NEW.encoder_id, text_vectors(NEW))


@pytest.fixture
def switched():
    """An index that is switched, a home that has followed, encoders, and what answers."""
    index = SwitchingIndex()
    index.add({"a": 1, "b": 1})
    home, encoders = FollowedSnapshots(index.blobs), {OLD.encoder_id: OLD}
    home.applied = index.manifest.number
    answers = MilvusAnswers(home, Manifests(index.blobs), find=encoders.get, setting=SETTING)
    before = answers.searchable(None)
    assert before.encoder is OLD
    switch(index)
    home.applied = index.manifest.number
    return index, home, encoders, answers


def test_until_an_encoder_is_loaded_the_last_state_before_it_answers(switched):
    index, home, encoders, answers = switched
    behind = answers.searchable(None)
    assert behind.encoder is OLD
    assert behind.index.state.text_encoder == OLD.encoder_id
    assert behind.newest == index.manifest.number > behind.index.state.number
    assert answers.searchable(behind.index.state.number).index is behind.index
    encoders[NEW.encoder_id] = NEW
    after = answers.searchable(None)
    assert after.encoder is NEW
    assert after.index.state.number == home.applied == after.newest


def test_a_state_that_cannot_know_what_was_hidden_since_does_not_answer(switched):
    index, home, encoders, answers = switched
    index.commit(Suppress(series_keys=frozenset({"a"})))
    with pytest.raises(UnavailableError, match="not here"):
        answers.searchable(None)
    index.commit(Restore(series_keys=frozenset({"a"})))
    assert answers.searchable(None).encoder is OLD
    index.commit(Suppress(series_keys=frozenset({"a"})))
    home.applied = index.manifest.number
    encoders[NEW.encoder_id] = NEW
    assert answers.searchable(None).index.state.n_series == 1


def test_without_any_encoder_there_is_no_answer(switched):
    index, home, _, _ = switched
    answers = MilvusAnswers(home, Manifests(index.blobs), find=lambda _: None, setting=SETTING)
    with pytest.raises(UnavailableError, match=f"text encoder {NEW.encoder_id}"):
        answers.searchable(None)
