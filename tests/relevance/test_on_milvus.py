"""The questions of the judged set, on both homes of the index: whole answers, series for series."""

import pytest

from function_app.search import SearchRequest, search
from function_app.similar import SimilarRequest, similar
from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.follower import APPLIED, Follower
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.selection import ANYTHING
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.templates import template_names
from tests.relevance.scoring import load_queries

QUERIES = load_queries()
TOP = 10


@pytest.fixture(scope="module")
def homes(sample_searcher, tmp_path_factory):
    """The sample files from their segments, and from Milvus."""
    system = sample_searcher.system
    settings = MilvusSettings(uri=str(tmp_path_factory.mktemp("milvus") / "m.db"))
    client = connect(settings)
    step = Follower(
        client,
        system.index,
        system.vector_files,
        prefix=settings.prefix,
        address=system.home.address,
        clock=system.clock,
        ids=system.ids,
    ).step()
    assert step.outcome == APPLIED
    home = MilvusHome(settings, system.index)
    yield SnapshotIndex(sample_searcher.snapshot), home.refresh()
    home.close()
    client.close()


def compared(homes, ask):
    """The answers of both, each hit without its scores, and these."""
    told = [ask(index) for index in homes]
    scores = [[_scores(hit) for hit in answer["value"]] for answer in told]
    for answer in told:
        answer["nextLink"] = answer["nextLink"] is not None  # it holds a score
    return told, scores


def _scores(hit):
    similarity = hit["why"].pop("similarity") if "why" in hit else None
    return [hit.pop("score"), similarity]


def assert_same(homes, ask):
    """Whole answers are equal, series for series; returned are the keys."""
    (ours, theirs), scores = compared(homes, ask)
    keys = [[hit["seriesKey"] for hit in answer["value"]] for answer in (ours, theirs)]
    assert keys[0] == keys[1]
    assert ours == theirs
    for one, other in zip(*scores, strict=True):
        assert one == pytest.approx(other, abs=1.01e-4)  # they are rounded
    return keys[0]


@pytest.mark.parametrize("query", QUERIES, ids=[query.id for query in QUERIES])
def test_every_question_has_one_answer(homes, sample_searcher, query):
    def ask(index):
        request = SearchRequest(text=query.text, top=TOP)
        return search(request, index, sample_searcher.system.encoder, template_names())

    assert_same(homes, ask)


def test_the_whole_archive_is_ranked_alike(homes, sample_searcher):
    def ask(index):
        request = SearchRequest(text="axial T1 MR of the brain", top=1000)
        return search(request, index, sample_searcher.system.encoder, template_names())

    keys = assert_same(homes, ask)
    assert len(set(keys)) == len(keys) > 50


def test_look_alikes_are_the_same(homes):
    pictured = homes[0].select(ANYTHING).with_images()
    keys = [hit.key for hit in pictured.listed()][::25]
    assert len(keys) >= 3
    for key in keys:
        found = assert_same(homes, lambda index, key=key: similar(SimilarRequest(uid=key), index))
        assert key not in found
        assert found
