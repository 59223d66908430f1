"""Words and pictures: two rankings as one, and answers that say by what a series was found."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from function_app.api.messages import problem_response
from function_app.api.router import api_error
from function_app.pages import PageRequest
from function_app.pixels_search import PixelsSearchRequest, pixels_search
from indexer_core.errors import EncoderUnavailableError, InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.fusion import DEPTH, fused
from indexer_core.image_texts import text_tower
from indexer_core.index.reader import Reader
from indexer_core.index.updates import Suppress
from indexer_core.paging import PastSnapshots
from indexer_core.search import Hit, search_images, search_words
from indexer_core.selection import Conditions, select
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.many_series import add_series, shelf_of
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    TEXT,
    TEXT_DIMENSION,
    unit_vectors,
)

N = 20
NAMES = ("protocol", "anatomy", "acquisition", "cohort", "expanded")


class Words:
    """Follows from the text, in the space of texts or of pictures."""

    def __init__(self, encoder_id, dimension):
        self.encoder_id, self.dimension = encoder_id, dimension

    def encode(self, texts):
        return np.concatenate([unit_vectors(text, 1, self.dimension) for text in texts])


TEXTS, TOWER = Words(TEXT, TEXT_DIMENSION), Words(IMAGE, IMAGE_DIMENSION)


@pytest.fixture(scope="module")
def snapshot():
    shelf = shelf_of([{"modality": "CT" if n % 2 else "MR"} for n in range(N)], 3)
    return Reader(shelf.blobs, shelf.files).refresh()


def asked(snapshot, **changes):
    request = PixelsSearchRequest(text="a brain", **changes)
    return pixels_search(request, SnapshotIndex(snapshot), TOWER, TEXTS, NAMES)


def test_words_alone_find_the_nearest_pictures(snapshot):
    conditions = Conditions(filters=(parse_filter("modality=CT"),))
    found = asked(snapshot, with_texts=False, conditions=conditions, page=PageRequest(top=5))
    query = TOWER.encode(["a brain"])[0]
    expected = search_images(snapshot, query, select(snapshot, conditions), 5)
    assert [hit["seriesInstanceUid"] for hit in found["value"]] == [hit.key for hit in expected]
    assert found["value"][0]["why"]["foundBy"] == ["pixels"]
    assert found["interpretation"]["text"] == "a brain"
    assert found["interpretation"]["filters"] == [
        {"field": "modality", "operator": "=", "values": ["CT"]}
    ]


def test_both_rankings_are_one_and_a_hit_says_which_found_it(snapshot):
    found = asked(snapshot, page=PageRequest(top=N))["value"]
    selection = select(snapshot)
    texts = search_words(snapshot, "a brain", TEXTS.encode(["a brain"])[0], selection, N)
    pixels = search_images(snapshot, TOWER.encode(["a brain"])[0], selection, N)
    places = [{hit.key: place for place, hit in enumerate(hits, 1)} for hits in (texts, pixels)]
    scores = {key: sum(1 / (60 + one[key]) for one in places) for key in places[0]}
    assert [hit["seriesInstanceUid"] for hit in found] == sorted(
        scores, key=lambda key: (-scores[key], key)
    )
    similar = {hit.key: hit for hit in texts}
    seen = {hit.key: hit for hit in pixels}
    for hit in found:
        why, key = hit["why"], hit["seriesInstanceUid"]
        assert why["foundBy"] == ["text", "pixels"]
        assert why["similarity"] == round(similar[key].similarity, 4)
        assert why["pixelSimilarity"] == round(seen[key].similarity, 4)
        assert why["template"] == NAMES[similar[key].text]
        assert why["text"] == "abcde"[similar[key].text]


def test_what_only_one_ranking_has_is_found_by_that(snapshot, monkeypatch):
    monkeypatch.setattr("function_app.pixels_search.DEPTH", 4)
    found = asked(snapshot, page=PageRequest(top=N))["value"]
    by = {tuple(hit["why"]["foundBy"]) for hit in found}
    assert by >= {("text",), ("pixels",)}
    for hit in found:
        assert (hit["why"]["similarity"] is None) == ("text" not in hit["why"]["foundBy"])
        assert (hit["why"]["pixelSimilarity"] is None) == ("pixels" not in hit["why"]["foundBy"])


@settings(max_examples=30)
@given(st.lists(st.integers(1, 4), min_size=10, max_size=10), st.booleans(), st.integers(0, 9))
def test_pages_of_a_fusion_are_one_answer_and_tell_nothing_erased(sizes, erases, place):
    shelf = shelf_of([{}] * 10)
    reader = Reader(shelf.blobs, shelf.files)
    past = PastSnapshots(reader)
    snapshot = reader.refresh()
    everything = asked(snapshot, page=PageRequest(top=10))["value"]
    whole = [hit["seriesInstanceUid"] for hit in everything]
    told, token = [], None
    for size in sizes:
        found = asked(snapshot, page=PageRequest(top=size, token=token))
        told.append([hit["seriesInstanceUid"] for hit in found["value"]])
        token = found["nextLink"]
        if token is None:
            break
        add_series(shelf, {"s000": {}}, revision=5)
        if erases:
            shelf.commit(Suppress(series_keys=frozenset({whole[place]})))
        reader.refresh()
        snapshot = past.at(found["manifest"])
    if erases:
        assert all(whole[place] not in page for page in told[1:])
    else:
        assert [key for page in told for key in page] == whole


class Row:
    def __init__(self, key):
        self._key = key

    @property
    def loaded(self):
        return self

    @property
    def rows(self):
        return self

    def key(self, row):
        return self._key


def hit_of(key, score):
    return Hit(segment=Row(key), row=0, score=score, text=None, similarity=score)


@given(st.lists(st.permutations("abcdefgh"), min_size=1, max_size=3))
def test_a_fusion_adds_what_each_place_gives(orders):
    rankings = {
        str(n): [hit_of(key, -place) for place, key in enumerate(order)]
        for n, order in enumerate(orders)
    }
    found = fused(rankings)
    scores = {key: sum(1 / (61 + order.index(key)) for order in orders) for key in "abcdefgh"}
    assert [hit.key for hit in found.hits] == sorted(scores, key=lambda k: (-scores[k], k))
    assert {hit.key: hit.score for hit in found.hits} == pytest.approx(scores)


def test_what_is_too_far_down_does_not_count():
    found = fused({"a": [hit_of(f"{n:04}", -n) for n in range(DEPTH + 50)]})
    assert len(found.hits) == DEPTH


@pytest.mark.parametrize("tower", [None, Words("another", IMAGE_DIMENSION)])
def test_without_a_text_tower_of_the_image_space_it_is_not_possible(snapshot, tower):
    request = PixelsSearchRequest(text="a brain")
    with pytest.raises(EncoderUnavailableError) as lacking:
        pixels_search(request, SnapshotIndex(snapshot), tower, TEXTS, NAMES)
    response = problem_response(api_error(lacking.value))
    assert response.status == 501
    assert b"imageEncoderUnavailable" in response.body


def test_without_a_text_encoder_only_pictures_can_be_asked(snapshot):
    with pytest.raises(InvalidInputError, match="leave them out"):
        pixels_search(PixelsSearchRequest(text="a"), SnapshotIndex(snapshot), TOWER, None, NAMES)
    alone = PixelsSearchRequest(text="a", with_texts=False)
    assert pixels_search(alone, SnapshotIndex(snapshot), TOWER, None, ())["value"]


@pytest.mark.parametrize("text", ["", "  ", "a" * 3000, "\udcff"])
def test_a_wrong_request_is_refused(snapshot, text):
    with pytest.raises(InvalidInputError):
        pixels_search(PixelsSearchRequest(text=text), SnapshotIndex(snapshot), TOWER, TEXTS, NAMES)


def test_towers_of_one_model_belong_together():
    clip = Words("biomedclip/0123456789ab/tokens256-cls-l2", 4)
    image = "biomedclip-image/0123456789ab/224x224-l2/px2-1"
    tower = text_tower(image, clip)
    assert tower is not None
    assert tower.encoder_id == image
    np.testing.assert_array_equal(tower.encode(["a"]), clip.encode(["a"]))
    for other in (
        "biomedclip-image/ba9876543210/224x224-l2/px2-1",
        "image-descriptor/1/px2-1",
        "medimageinsight/0123456789ab",
        "",
    ):
        assert text_tower(other, clip) is None
