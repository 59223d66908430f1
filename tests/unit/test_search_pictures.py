"""A search where words reach pictures: two rankings in one, by degrees, in pages."""

from datetime import date

import pytest

from function_app.search import SearchRequest, search
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.fusion import fused
from indexer_core.index.reader import Reader
from indexer_core.search import search_images, search_words
from indexer_core.selection import select
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.many_series import shelf_of
from tests.unit.test_pixels_search import NAMES, TEXTS, TOWER, N, Words


@pytest.fixture(scope="module")
def snapshot():
    shelf = shelf_of([{"modality": "CT" if n % 2 else "MR"} for n in range(N)], 3)
    return Reader(shelf.blobs, shelf.files).refresh()


def asked(snapshot, text, tower=TOWER, **changes):
    request = SearchRequest(**{"text": text, "top": 1000, **changes})
    return search(request, SnapshotIndex(snapshot), TEXTS, NAMES, tower)


def test_what_fits_is_ranked_by_both_and_says_by_which_it_was_found(snapshot):
    found = asked(snapshot, "a brain", interpret=False)
    everything = select(snapshot)
    texts = search_words(snapshot, "a brain", TEXTS.encode(["a brain"])[0], everything, N)
    pixels = search_images(snapshot, TOWER.encode(["a brain"])[0], everything, N)
    expected = fused({"text": texts, "pixels": pixels}).hits
    assert [hit["seriesInstanceUid"] for hit in found["value"]] == [hit.key for hit in expected]
    assert found["rankedBy"] == ["text", "pixels"]
    similarity = {hit.key: hit.similarity for hit in pixels}
    for hit in found["value"]:
        assert hit["why"]["foundBy"] == ["text", "pixels"]
        assert hit["why"]["pixelSimilarity"] == round(similarity[hit["seriesInstanceUid"]], 4)
        assert hit["why"]["template"] in NAMES


def test_degrees_come_before_places(snapshot):
    found = asked(snapshot, "CT scans")
    kinds = [hit["modality"] for hit in found["value"]]
    assert kinds == ["CT"] * (N // 2) + ["MR"] * (N // 2)
    assert found["count"] == N // 2


def test_few_places_of_each_ranking_count_and_the_others_follow(snapshot, monkeypatch):
    monkeypatch.setattr("function_app.ranking.DEPTH", 3)
    monkeypatch.setattr("indexer_core.fusion.DEPTH", 3)
    whole = asked(snapshot, "a brain", interpret=False)["value"]
    assert len({hit["seriesInstanceUid"] for hit in whole}) == N
    by = [hit["why"]["foundBy"] for hit in whole]
    assert ["pixels"] in by
    for hit in whole:
        assert (hit["why"]["similarity"] is None) == (hit["why"]["foundBy"] == ["pixels"])
        assert (hit["why"]["template"] is None) == (hit["why"]["foundBy"] == ["pixels"])
    paged, token = [], None
    while True:
        page = asked(snapshot, "a brain", interpret=False, top=4, token=token)
        paged += page["value"]
        token = page["nextLink"]
        if token is None:
            break
    assert paged == whole


def test_nothing_fits_is_not_said_where_pictures_were_asked(snapshot):
    unheard = "borborygmus"
    alone = asked(snapshot, unheard, tower=None, filters=())
    assert "foundBy" not in alone["value"][0]["why"]
    if alone["fit"] == "none":
        assert asked(snapshot, unheard)["fit"] == "weak"


class Away:
    """A model that cannot be asked now."""

    encoder_id, dimension = TOWER.encoder_id, TOWER.dimension

    def encode(self, texts):
        raise UnavailableError("the endpoint is away")


@pytest.mark.parametrize("tower", [Away(), Words("another", 4), None])
def test_without_a_tower_that_answers_texts_are_searched_alone(snapshot, tower):
    found = asked(snapshot, "a brain", tower=tower)
    assert found["rankedBy"] == ["text"]
    assert found["value"] == asked(snapshot, "a brain", tower=None)["value"]


def test_pages_go_on_as_they_began(snapshot):
    texts_only = asked(snapshot, "a brain", tower=Away(), interpret=False, top=4)
    then = asked(snapshot, "a brain", interpret=False, top=4, token=texts_only["nextLink"])
    assert then["rankedBy"] == ["text"]
    whole = asked(snapshot, "a brain", tower=None, interpret=False, top=8)
    assert [*texts_only["value"], *then["value"]] == whole["value"]
    both = asked(snapshot, "a brain", interpret=False, top=4)
    for tower in (Away(), None):
        with pytest.raises(UnavailableError):
            asked(snapshot, "a brain", tower=tower, interpret=False, top=4, token=both["nextLink"])


def test_a_page_that_is_asked_for_after_midnight_goes_on_with_the_day_before(snapshot):
    evening, morning = date(2026, 11, 26), date(2026, 11, 27)
    text = "CT of the last 2 years"
    first = asked(snapshot, text, tower=None, top=4, today=evening)
    then = asked(snapshot, text, tower=None, top=1000, today=morning, token=first["nextLink"])
    assert then["interpretation"]["filters"] == first["interpretation"]["filters"]
    whole = asked(snapshot, text, tower=None, today=evening)
    assert [*first["value"], *then["value"]] == whole["value"]
    with pytest.raises(InvalidInputError):
        asked(snapshot, text, today=date(2026, 11, 29), token=first["nextLink"])
