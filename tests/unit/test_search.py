"""Searching a snapshot: brute force is the oracle."""

import pytest

from function_app.search import SearchRequest, search
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import InvalidInputError
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.reader import Reader
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment, Suppress
from indexer_core.search import keys_of, search_text, select
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.segments import LINEAGE, OPEN, TEXT_DIMENSION, row, unit_vectors, write_segment

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
        hits = search_text(snapshot, query, select(snapshot, ()), top)
        expected = brute_force(query)[:top]
        found = [hit.segment.loaded.orders[hit.row][0] for hit in hits]
        assert found == [key for key, _ in expected]
        assert [hit.score for hit in hits] == pytest.approx([s for _, s in expected], abs=2e-3)


def test_query_of_another_encoder_is_refused(index):
    snapshot = snapshot_of(index)
    with pytest.raises(InvalidInputError, match="another encoder"):
        search_text(snapshot, unit_vectors("q", 1, 3)[0], select(snapshot, ()), 1)


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
        search(request_, snapshot_of(index), None, ())
