"""Searching a snapshot: brute force is the oracle."""

import pytest

from function_app.search import SearchRequest, search
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import InvalidInputError
from indexer_core.filters import parse_filter
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.reader import Reader
from indexer_core.index.rows import RowTexts
from indexer_core.index.segment import TEXT_SPACE, SegmentWriter
from indexer_core.index.updates import AddSegment, Pin, Suppress
from indexer_core.search import keys_of, listing, search_text, search_words
from indexer_core.selection import Conditions, select
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import (
    LINEAGE,
    OPEN,
    TEXT,
    TEXT_DIMENSION,
    row,
    unit_vectors,
    write_segment,
)

KEYS = [f"series-{number}" for number in range(12)]


@pytest.fixture
def index():
    blobs = MemoryBlobs(ManualClock())
    writer, manifests = SegmentWriter(blobs, FlatFp16Vectors()), Manifests(blobs)
    commit(manifests, OPEN, commit_id="open", lineage=LINEAGE)
    first = write_segment(writer, "w1", [row(key, 1, "w1") for key in KEYS])
    commit(manifests, AddSegment(segment=first), commit_id="c1", lineage=LINEAGE)
    changed = [row(KEYS[0], 2, "w2"), row(KEYS[1], 2, "w2", alive=False)]
    second = write_segment(writer, "w2", changed)
    commit(manifests, AddSegment(segment=second), commit_id="c2", lineage=LINEAGE)
    return blobs, manifests


def snapshot_of(index):
    return Reader(index[0], FlatFp16Vectors()).refresh()


def brute_force(query) -> list[tuple[str, float]]:
    revisions = dict.fromkeys(KEYS, 1) | {KEYS[0]: 2}
    del revisions[KEYS[1]]
    best = {
        key: float((unit_vectors(f"t{key}/{revision}", 5, TEXT_DIMENSION) @ query).max())
        for key, revision in revisions.items()
    }
    return sorted(best.items(), key=lambda item: -item[1])


@pytest.mark.parametrize("top", [1, 5, 1000])
def test_score_of_a_series_is_the_best_of_its_texts(index, top):
    snapshot = snapshot_of(index)
    for seed in range(20):
        query = unit_vectors(f"q{seed}", 1, TEXT_DIMENSION)[0]
        hits = search_text(snapshot, query, select(snapshot), top)
        expected = brute_force(query)[:top]
        found = [hit.key for hit in hits]
        assert found == [key for key, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([s for _, s in expected], abs=2e-3)


def test_query_of_another_encoder_is_refused(index):
    snapshot = snapshot_of(index)
    with pytest.raises(InvalidInputError, match="another encoder"):
        search_text(snapshot, unit_vectors("q", 1, 3)[0], select(snapshot), 1)


def test_series_is_found_by_uid_or_key_whatever_its_state(index):
    _, manifests = index
    hidden = Suppress(series_keys=frozenset({KEYS[2]}))
    commit(manifests, hidden, commit_id="c3", lineage=LINEAGE)
    snapshot = snapshot_of(index)
    for key in KEYS[:4]:  # changed, removed, suppressed, as it was
        assert keys_of(snapshot, key) == {key}
    assert keys_of(snapshot, "nothing") == frozenset()


@pytest.mark.parametrize(
    "request_", [SearchRequest(text=" "), SearchRequest(text="a" * 3000),
                 SearchRequest(text="a", top=0), SearchRequest(text="a", top=1001),
                 SearchRequest(text="\udcff")],
)  # fmt: skip
def test_wrong_request_is_refused_before_anything_is_encoded(index, request_):
    with pytest.raises(InvalidInputError):
        search(request_, SnapshotIndex(snapshot_of(index)), None, ())


class Approximate(FlatFp16Vectors):
    """Opens files as if they had been built for approximate search with this recall."""

    def __init__(self, *recalls):
        super().__init__()
        self.recalls = list(recalls)
        self.asked_exact = []

    def open(self, data, *, verified=False):
        reader = super().open(data, verified=verified)
        reader.recall = self.recalls.pop(0)
        return reader

    def join(self, readers):
        return Asked(super().join(readers), self.asked_exact)


class Asked:
    """Remembers how it was searched."""

    def __init__(self, reader, asked):
        self._reader, self._asked = reader, asked

    def __getattr__(self, name):
        return getattr(self._reader, name)

    def search(self, *arguments, exact=True, **options):
        self._asked.append(exact)
        return self._reader.search(*arguments, exact=exact, **options)


class Words:
    encoder_id, dimension = TEXT, TEXT_DIMENSION

    def encode(self, texts):
        return unit_vectors("q", len(texts), TEXT_DIMENSION)


@pytest.mark.parametrize(
    ("recalls", "asked", "above", "exact", "recall"),
    [
        ((0.995, 0.991), None, 10**6, True, 1.0),  # small
        ((0.995, 0.991), None, 10, False, 0.991),  # large
        ((0.995, 0.991), False, 10**6, False, 0.991),  # small, but it was asked for
        ((0.995, None), None, 10, False, 0.995),  # one of the files is always searched exactly
        ((0.995, 0.991), True, 10, True, 1.0),
        ((None, None), False, 10, True, 1.0),  # no file can do otherwise
    ],
)
def test_an_answer_says_how_it_was_searched(
    index, monkeypatch, recalls, asked, above, exact, recall
):
    monkeypatch.setattr("indexer_core.search.APPROXIMATE_ABOVE", above)
    files = Approximate(*recalls)
    snapshot = Reader(index[0], files).refresh()
    answer = search(SearchRequest(text="a", exact=asked), SnapshotIndex(snapshot), Words(), "abcde")
    assert (answer["exact"], answer["recall"]) == (exact, recall)
    assert set(files.asked_exact) == {exact}


def test_words_are_looked_for_only_where_they_can_still_matter(index, monkeypatch):
    snapshot = snapshot_of(index)
    query = unit_vectors("q", 1, TEXT_DIMENSION)[0]
    selection = select(snapshot)
    everything = search_words(snapshot, "a e", query, selection, 11)
    read = []
    texts = RowTexts.texts
    monkeypatch.setattr(RowTexts, "texts", lambda self, row: read.append(row) or texts(self, row))
    for top in (1, 3, 11):
        read.clear()
        assert search_words(snapshot, "a e", query, selection, top) == everything[:top]
        assert top <= len(read) <= 11
    read.clear()
    search_words(snapshot, "a", query, selection, 1)
    assert len(read) < 11  # every text holds the word: the nearest cannot be beaten


def test_a_listing_is_in_key_order_over_all_segments(index):
    snapshot = snapshot_of(index)
    assert [hit.key for hit in listing(snapshot, select(snapshot))] == sorted(
        key for key in KEYS if key != KEYS[1]
    )


def test_what_a_search_prepares_is_used_by_the_next_snapshot(index):
    blobs, manifests = index
    reader = Reader(blobs, FlatFp16Vectors())
    before = reader.refresh()
    query = unit_vectors("q", 1, TEXT_DIMENSION)[0]
    search_text(before, query, select(before), 3)
    (prepared,) = before.parts(TEXT_SPACE, TEXT)
    commit(manifests, Suppress(series_keys=frozenset({KEYS[5]})), commit_id="c", lineage=LINEAGE)
    (after,) = reader.refresh().parts(TEXT_SPACE, TEXT)
    assert after is not prepared  # it lacks KEYS[5] ...
    assert after.vectors is prepared.vectors  # ... of the same files
    pin = Pin(number=1, name="kept")
    commit(manifests, pin, commit_id="p", lineage=LINEAGE)
    assert reader.refresh().parts(TEXT_SPACE, TEXT)[0] is after


def test_large_segments_are_searched_by_themselves_and_small_ones_as_one(index, monkeypatch):
    n_bytes = 5 * len(KEYS) * TEXT_DIMENSION * 2  # of the first segment
    monkeypatch.setattr("indexer_core.index.parts._LARGE_BYTES", n_bytes)
    query = unit_vectors("q", 1, TEXT_DIMENSION)[0]
    blobs, manifests = index
    third = write_segment(SegmentWriter(blobs, FlatFp16Vectors()), "w3", [row("new", 1, "w3")])
    commit(manifests, AddSegment(segment=third), commit_id="c3", lineage=LINEAGE)
    snapshot = snapshot_of(index)
    assert [len(part.segments) for part in snapshot.parts(TEXT_SPACE, TEXT)] == [1, 2]
    apart = search_text(snapshot, query, select(snapshot), 20)
    filters = (parse_filter("modality=CT"),)
    filtered = search_text(snapshot, query, select(snapshot, Conditions(filters=filters)), 20)
    monkeypatch.setattr("indexer_core.index.parts._LARGE_BYTES", 10**9)
    snapshot = snapshot_of(index)
    assert len(snapshot.parts(TEXT_SPACE, TEXT)) == 1
    together = search_text(snapshot, query, select(snapshot), 20)
    told = [(hit.key, hit.score, hit.text, hit.row) for hit in together]
    assert told == [(hit.key, hit.score, hit.text, hit.row) for hit in apart]
    assert len(told) == 12
    only = search_text(snapshot, query, select(snapshot, Conditions(filters=filters)), 20)
    assert [hit.key for hit in only] == [hit.key for hit in filtered]
    assert 0 < len(only) < 12
