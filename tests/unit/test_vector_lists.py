"""Lists for approximate search: what they find is measured, and they fit what they hold."""

import struct
import zlib

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors, layout, lists
from indexer_core.adapters.faiss_vectors.lists import FEWEST
from indexer_core.errors import CorruptIndexError

FLAT = FlatFp16Vectors()
LISTED = FlatFp16Vectors(lists_from=1000)
DIMENSION = 32


def clustered(n: int, seed: int, n_centres: int = 60) -> np.ndarray:
    """Vectors around centres, as texts of one kind lie; another seed, other centres."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((n_centres, DIMENSION))
    noise = 0.35 * random.standard_normal((n, DIMENSION))
    vectors = (centres[random.integers(0, n_centres, n)] + noise).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float16).astype(np.float32)


@pytest.fixture(scope="module")
def vectors():
    return clustered(8000, seed=1)


@pytest.fixture(scope="module")
def stored(vectors):
    return LISTED.build(vectors)


def search_of(stored: bytes) -> layout.ListSearch:
    return layout.parse(stored, verified=True).search


def recall(reader, queries: np.ndarray, k: int, rows: np.ndarray | None = None) -> float:
    selection = reader.select(np.ones(reader.n_vectors, np.bool_) if rows is None else rows)
    _, exact = reader.search(queries, k, selection)
    _, found = reader.search(queries, k, selection, exact=False)
    pairs = zip(exact.tolist(), found.tolist(), strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in pairs]))


def test_few_vectors_have_no_lists(vectors):
    reader = LISTED.open(LISTED.build(vectors[:999]))
    assert reader.lists is None
    assert reader.recall is None


def test_recall_is_measured_and_holds_for_vectors_that_were_never_stored(stored):
    reader = LISTED.open(stored)
    assert reader.recall is not None
    assert reader.recall >= 0.99
    assert search_of(stored).recalls[1] >= 0.98
    # More of the same centres, in another order.
    fresh = clustered(10_000, seed=1)[8000:8300]
    assert recall(reader, fresh, 10) >= 0.98
    assert recall(reader, fresh, 100) >= 0.98


def test_measured_recall_is_that_of_a_search(vectors, stored):
    """The search finds what the measurement counted, with the number of probes in the header."""
    reader = LISTED.open(stored)
    assert abs(recall(reader, vectors[::20], 10) - reader.recall) < 0.01
    # With one list the recall would be far from that: the measurement can fail.
    reader._n_probes = 1
    assert recall(reader, vectors[::20], 10) < reader.recall - 0.02


def test_an_approximate_search_reads_a_small_part(stored):
    contents = layout.parse(stored, verified=True)
    sizes = np.diff(contents.lists.starts)
    assert np.sort(sizes)[-contents.search.n_probes :].sum() < 0.25 * len(contents.codes)


def test_vectors_lie_in_lists_of_centroids_near_to_them(stored):
    contents = layout.parse(stored, verified=True)
    centroids = contents.lists.centroids.view(np.float16).astype(np.float32)
    codes = contents.codes.view(np.float16).astype(np.float32)
    lists = np.searchsorted(contents.lists.starts, np.arange(len(codes)), side="right") - 1
    scores = codes @ contents.lists.axes @ centroids.T
    own = np.take_along_axis(scores, lists[:, None], axis=1)
    assert np.mean(np.sum(scores > own + 1e-5, axis=1) < 3) > 0.95
    sizes = np.diff(contents.lists.starts)
    assert sizes.min() > 0
    assert 16 < sizes.mean() < 32


@pytest.mark.parametrize("n", [FEWEST, 50, 700])
def test_many_vectors_are_divided_twice_and_few_once(n, monkeypatch):
    monkeypatch.setattr(lists, "_GROUP", 200)
    vectors = clustered(n, seed=4)
    reader = FlatFp16Vectors(lists_from=1).open(FlatFp16Vectors(lists_from=1).build(vectors))
    assert reader.lists.starts[-1] == n
    assert np.array_equal(reader.reconstruct(), vectors)


def test_vectors_that_no_centroid_tells_apart_are_divided_all_the_same(monkeypatch):
    monkeypatch.setattr(lists, "_GROUP", 50)
    vectors = np.zeros((400, 4), np.float32)
    vectors[:, 0] = np.linspace(1, 2, 400)  # one direction
    stored = FlatFp16Vectors(lists_from=1).build(vectors.astype(np.float16).astype(np.float32))
    assert layout.parse(stored, verified=True).lists.starts[-1] == 400


def test_centroids_are_kept_along_the_axes_that_tell_them_apart():
    flat = clustered(3000, seed=6)
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((200, DIMENSION)))[0]
    wide = (flat @ turn.T).astype(np.float32)  # the same, in a space of 200 dimensions
    lists_of = [
        layout.parse(LISTED.build(vectors), verified=True).lists for vectors in (flat, wide)
    ]
    assert [each.axes.shape for each in lists_of] == [(DIMENSION, 32), (200, 32)]
    assert np.allclose(lists_of[1].axes.T @ lists_of[1].axes, np.eye(32), atol=1e-5)
    assert LISTED.open(LISTED.build(wide)).recall >= 0.99


def test_exact_search_is_the_same_with_and_without_lists(vectors, stored):
    flat, listed = FLAT.open(FLAT.build(vectors)), LISTED.open(stored)
    rows = np.arange(len(vectors)) % 3 > 0
    for k in (1, 30):
        expected = flat.search(vectors[:5], k, flat.select(rows))
        found = listed.search(vectors[:5], k, listed.select(rows))
        assert np.array_equal(found[0], expected[0])
        assert np.array_equal(found[1], expected[1])


def test_same_vectors_give_the_same_bytes_lists_included(vectors, stored):
    assert LISTED.build(vectors) == stored


@pytest.mark.parametrize("share", [0.7, 0.3, 0.05, 0.002])
def test_filtered_search_reads_more_lists_so_that_it_misses_no_more(vectors, stored, share):
    rows = np.random.default_rng(3).random(len(vectors)) < share
    assert recall(LISTED.open(stored), vectors[:200], 10, rows) >= 0.98


def test_more_neighbours_than_were_measured_are_looked_for_in_more_lists(vectors, stored):
    assert recall(LISTED.open(stored), vectors[:50], 600) >= 0.97


def test_lists_that_do_not_pay_are_not_used():
    # In so many dimensions, vectors without any structure are all about equally near.
    vectors = np.random.default_rng(0).standard_normal((2000, 256)).astype(np.float32)
    reader = LISTED.open(LISTED.build(vectors))
    assert reader.recall is None
    assert recall(reader, vectors[:20], 10) == 1.0


# Joining


def test_a_collection_that_drifted_keeps_its_recall(vectors, stored):
    others = clustered(8000, seed=99, n_centres=5)
    drifted = FLAT.open(FLAT.build(others))
    joined = LISTED.concatenate(
        [(LISTED.open(stored), np.arange(8000)), (drifted, np.arange(8000))]
    )
    merged = LISTED.open(joined)
    assert merged.recall >= 0.99
    assert recall(merged, vectors[:200], 10) >= 0.99
    assert recall(merged, others[:200], 10) >= 0.99
    # Lists of the first half would not do: the second would be crowded into few of them.
    first = layout.parse(stored, verified=True).lists
    centroids = first.centroids.view(np.float16).astype(np.float32)
    crowded = np.bincount((others @ first.axes @ centroids.T).argmax(axis=1))
    assert crowded.max() > 3 * np.diff(merged.lists.starts).max()


def test_joining_listed_files_keeps_every_bit(vectors, stored):
    reader = LISTED.open(stored)
    numbers = np.random.default_rng(2).permutation(8000)[:5000]
    joined = LISTED.open(LISTED.concatenate([(reader, numbers), (reader, numbers[:10])]))
    assert np.array_equal(joined.reconstruct(), vectors[np.append(numbers, numbers[:10])])


def test_joining_few_vectors_of_a_listed_file_gives_none(vectors, stored):
    joined = LISTED.concatenate([(LISTED.open(stored), np.arange(500))])
    assert joined == FLAT.build(vectors[:500])


# Damage under right checksums


def with_section(stored: bytes, section: int, data: bytes) -> bytes:
    parsed = layout.parse(stored, verified=True)
    shape = layout.Shape(
        dimension=parsed.dimension,
        n_vectors=parsed.n_vectors,
        n_stored=len(parsed.codes),
        has_places=True,
        n_lists=len(parsed.lists),
        n_axes=parsed.lists.n_axes,
    )
    changed = bytearray(stored)
    start = shape.sections()[section].start
    changed[start : start + len(data)] = data
    changed[44:48] = struct.pack("<I", zlib.crc32(changed[layout.HEADER_BYTES :]))
    end = layout.HEADER_BYTES - 4
    changed[end : end + 4] = struct.pack("<I", zlib.crc32(changed[:end]))
    return bytes(changed)


@pytest.mark.parametrize("starts", [[1], [0, 9000], [0, 5, 3], [-1]])
def test_lists_that_lie_under_a_right_checksum_are_refused(stored, starts):
    packed = struct.pack(f"<{len(starts)}q", *starts)
    intact = layout.parse(stored, verified=True).lists.starts[: len(starts)].tobytes()
    assert LISTED.open(with_section(stored, 1, intact)).recall is not None
    with pytest.raises(CorruptIndexError, match="lists"):
        LISTED.open(with_section(stored, 1, packed))
