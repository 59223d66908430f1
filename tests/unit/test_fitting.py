"""Searching by degrees: what fits, what may, what is near; judged against plain Python."""

from datetime import date

import pytest

from function_app.search import SearchRequest, search
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.fitting import how_well
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.reader import Reader
from indexer_core.query.parser import understand
from indexer_core.search import Hit
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import (
    LINEAGE,
    OPEN,
    TEXT,
    TEXT_DIMENSION,
    snapshot_of,
    unit_vectors,
)

NAMES = ("protocol", "anatomy", "acquisition", "cohort", "expanded")
TODAY = date(2026, 3, 31)
RECORDS = {
    f"{modality}-{region}-{age}": {"modality": modality, "bodyRegion": region, "ageYears": age}
    for modality in ("CT", "MR", "US", None)
    for region in ("head", "chest", "unknown")
    for age in (20.0, 70.0, None)
}


class Words:
    encoder_id, dimension = TEXT, TEXT_DIMENSION

    def encode(self, texts):
        return unit_vectors("q", len(texts), TEXT_DIMENSION)


@pytest.fixture(scope="module")
def snapshot():
    return snapshot_of(RECORDS, 13)


def ask(snapshot, text: str, **changes):
    request = SearchRequest(**{"text": text, "top": 1000, "today": TODAY, **changes})
    return search(request, SnapshotIndex(snapshot), Words(), NAMES)


def doubt_of(key: str, text: str) -> float | None:
    """Doubt that a series fits; None where it is left out."""
    modality, region, age = RECORDS[key].values()
    is_told = {"CT": modality == "CT", "head": region == "head", "over 60": (age or 0) > 60}
    is_unknown = {"CT": modality is None, "head": region == "unknown", "over 60": age is None}
    doubt = 0.0
    for word, told in is_told.items():
        if f"not {word}" in text:
            if told:
                return None
            doubt += 0.5 * is_unknown[word]
        elif word in text and not told:
            if word == "over 60" and not is_unknown[word]:
                return None
            doubt += 0.5 if is_unknown[word] else 1.0
    return doubt


@pytest.mark.parametrize(
    "text",
    ["CT", "CT of the head", "CT of patients over 60", "head CT of patients over 60", "not CT",
     "CT, not head", "not head", "patients over 60, not CT"],
)  # fmt: skip
def test_series_come_in_the_order_of_their_doubt(snapshot, text):
    found = ask(snapshot, text)
    doubts = {key: doubt_of(key, text) for key in RECORDS}
    expected = {key for key, doubt in doubts.items() if doubt is not None}
    order = [hit["seriesInstanceUid"] for hit in found["value"]]
    assert set(order) == expected
    assert len(order) == len(expected)
    assert [doubts[key] for key in order] == sorted(doubts[key] for key in order)
    assert found["count"] == sum(doubt == 0 for doubt in doubts.values())
    for hit in found["value"]:
        is_sure, is_near = not hit["why"]["unknown"], bool(hit["why"]["unmet"])
        assert hit["match"] == ("near" if is_near else "fits" if is_sure else "possible")
        assert (hit["match"] == "fits") == (doubts[hit["seriesInstanceUid"]] == 0)
    n_possible = sum(hit["match"] == "possible" for hit in found["value"])
    assert found["possible"] == n_possible


def test_a_page_that_what_fits_fills_holds_nothing_else(snapshot):
    found = ask(snapshot, "CT", top=9)
    assert {hit["match"] for hit in found["value"]} == {"fits"}
    assert len(found["value"]) == found["count"] == 9


@pytest.mark.parametrize("text", ["CT of the head", "brain MRI or chest CT", "something else"])
def test_a_filter_by_hand_is_taken_at_its_word(snapshot, text):
    by_hand = parse_filter("bodyRegion=head")
    found = ask(snapshot, text, filters=(by_hand,))
    assert {hit["bodyRegion"] for hit in found["value"]} == {"head"}
    assert {"field": "bodyRegion", "operator": "=", "values": ["head"], "from": "request",
            "words": []} in found["interpretation"]["filters"]  # fmt: skip
    assert all("bodyRegion=head" in hit["why"]["filters"] for hit in found["value"])


def test_unknown_counts_where_it_is_asked_for(snapshot):
    found = ask(snapshot, "CT of the head", with_unknown=frozenset({"bodyRegion"}))
    fits = {hit["bodyRegion"] for hit in found["value"] if hit["match"] == "fits"}
    assert fits == {"head", "unknown"}
    assert found["count"] == 6
    assert found["interpretation"]["withUnknown"] == ["bodyRegion"]
    with pytest.raises(InvalidInputError, match="use one of"):
        ask(snapshot, "CT", with_unknown=frozenset({"region"}))


def test_words_that_are_not_to_be_read_make_no_filter(snapshot):
    found = ask(snapshot, "not CT", interpret=False)
    assert found["count"] == len(RECORDS)
    assert found["interpretation"]["filters"] == []
    assert found["interpretation"]["rest"] == "not CT"


def test_answer_says_how_the_question_was_understood(snapshot):
    said = ask(snapshot, "haed CT or chset MRI")["interpretation"]
    assert said["corrections"] == [{"from": "chset", "to": "chest"}]
    said = ask(snapshot, "CT of women")["interpretation"]
    assert said["filters"] == [
        {"field": "modality", "operator": "=", "values": ["CT"], "from": "query", "words": ["CT"]},
        {"field": "sex", "operator": "=", "values": ["F"], "from": "query", "words": ["women"]},
    ]
    assert "alternatives" not in said
    both = ask(snapshot, "head CT or chest MRI")["interpretation"]["alternatives"]
    assert [[each["field"] for each in branch] for branch in both] == [
        ["modality", "bodyRegion"]
    ] * 2


@pytest.mark.parametrize(
    ("text", "fit"),
    [("CT of the head", "good"), ("mammogram", "none"), ("CT of the knee", "none"),
     ("CT of quokkas", "weak")],
)  # fmt: skip
def test_answer_says_whether_anything_fits(snapshot, text, fit):
    assert ask(snapshot, text, top=3)["fit"] == fit


@pytest.mark.parametrize(
    ("words", "fit"), [(("axial", "mammogram"), "weak"), (("axial",), "none"), ((), "none")]
)
def test_texts_may_speak_where_filters_do_not(snapshot, words, fit):
    hit = Hit(segment=snapshot.segments[0], row=0, score=1.0, text=0, words=words)
    understanding = understand("axial mammogram", today=TODAY)
    assert how_well(0, understanding, hit) == fit
    assert how_well(0, understanding, None) == "none"


def test_an_empty_index_has_nothing_that_fits():
    blobs = MemoryBlobs(ManualClock())
    commit(Manifests(blobs), OPEN, commit_id="open", lineage=LINEAGE)
    found = ask(Reader(blobs, FlatFp16Vectors()).refresh(), "head CT, not MR")
    assert (found["value"], found["count"], found["fit"]) == ([], 0, "none")
