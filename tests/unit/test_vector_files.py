"""The bytes of vector files: what is stored, what is refused, and files of earlier versions."""

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors, layout, scan, version1
from indexer_core.adapters.faiss_vectors.distinct import digests_of, numbered
from indexer_core.errors import CorruptIndexError, InvalidInputError
from tests.conftest import ROOT

FILES = FlatFp16Vectors()
VERSION_1 = (ROOT / "tests" / "samples" / "vectors" / "version-1.vectors").read_bytes()
VERSION_1_VECTORS = np.array(
    [
        [0.75, 0.25, 0.0, -0.5, -0.5],
        [-1.0, -1.0, -1.0, -0.75, 0.75],
        [0.25, 1.0, 0.0, 0.25, 1.0],
        [0.5, 0.25, 0.0, 0.25, 1.0],
        [-1.0, -1.0, -1.0, -0.75, 0.75],
        [0.75, 0.0, -1.0, 0.5, 0.5],
    ],
    np.float32,
)


def unit_vectors(n: int, dimension: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


# What is stored


def test_equal_vectors_are_stored_once():
    vectors = unit_vectors(100, 64)
    repeated = FILES.build(np.concatenate([vectors] * 5))
    reader = FILES.open(repeated)
    assert (reader.n_vectors, reader.n_stored) == (500, 100)
    once = FILES.build(vectors)
    assert len(repeated) - len(once) <= 500 * 4 + 64


def test_codes_lie_where_a_mapped_file_is_searched_fastest():
    for n in (1, 7, 33):
        vectors = np.repeat(unit_vectors(n, 5), 2, axis=0)
        codes = layout.parse(FILES.build(vectors), verified=False).codes
        start = len(FILES.build(vectors)) - codes.size
        assert start % 64 == 0


def test_opening_copies_nothing():
    stored = FILES.build(unit_vectors(50, 8))
    codes = layout.parse(stored, verified=False).codes
    assert np.shares_memory(codes, np.frombuffer(stored, np.uint8))
    assert not codes.flags.writeable


def test_reader_keeps_its_buffer_alive():
    vectors = unit_vectors(50, 8).astype(np.float16).astype(np.float32)
    reader = FILES.open(bytearray(FILES.build(vectors)))
    np.random.default_rng(0).bytes(1 << 20)  # memory that a freed buffer would be given to
    assert np.array_equal(reader.reconstruct(), vectors)


@given(
    rows=hnp.arrays(np.uint8, st.tuples(st.integers(0, 60), st.just(2)), elements=st.integers(0, 3))
)
def test_distinct_rows_are_numbered_in_the_order_of_their_first_occurrence(rows):
    first, places = numbered(digests_of(rows))
    expected: dict[bytes, int] = {}
    assert places.tolist() == [expected.setdefault(row.tobytes(), len(expected)) for row in rows]
    assert first.tolist() == [places.tolist().index(place) for place in range(len(expected))]


def test_half_precision_keeps_normalised_vectors_to_three_digits():
    vectors = unit_vectors(200, 64, seed=3)
    restored = FILES.open(FILES.build(vectors)).reconstruct()
    assert np.abs(restored - vectors).max() < 2**-11


# What is found


def test_many_equal_vectors_beyond_the_heap_are_ranked_by_number():
    vectors = np.ones((5000, 8), np.float32)
    vectors[4000] *= 2
    reader = FILES.open(FILES.build(vectors))
    rows = np.ones(5000, np.bool_)
    rows[::2] = False
    rows[4000] = True
    _, found = reader.search(vectors[:2], 120, reader.select(rows))
    assert found.tolist() == [[4000, *range(1, 239, 2)]] * 2


def test_many_equal_scores_of_different_vectors_are_ranked_by_number():
    vectors = np.eye(300, dtype=np.float32)  # all but one score 0
    reader = FILES.open(FILES.build(vectors))
    _, found = reader.search(vectors[7:8], 5, reader.select(np.ones(300, np.bool_)))
    assert found.tolist() == [[7, 0, 1, 2, 3]]


@pytest.fixture(scope="module")
def large():
    """A file that several threads share, with repeated vectors among it."""
    vectors = unit_vectors(24_000, 128, seed=5)
    vectors[9_000:12_000] = vectors[:3_000]
    return vectors.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("n_queries", [1, 5, 70])
def test_answers_do_not_depend_on_the_number_of_threads(large, n_queries):
    stored = FILES.build(large)
    for rows in (np.ones(len(large), np.bool_), np.arange(len(large)) % 3 > 0):
        answers = []
        for threads in (1, 2, 5):
            reader = FlatFp16Vectors(threads=threads).open(stored)
            answers.append(reader.search(large[:n_queries], 20, reader.select(rows)))
        for scores, found in answers[1:]:
            assert np.array_equal(scores, answers[0][0])
            assert np.array_equal(found, answers[0][1])


def test_searches_run_at_the_same_time(large):
    reader = FILES.open(FILES.build(large))
    selections = [reader.select(np.arange(len(large)) % 7 != rest) for rest in range(6)]

    def search(turn: int) -> list[int]:
        selection = selections[turn % 6]
        return reader.search(large[turn : turn + 1], 5, selection)[1][0].tolist()

    alone = [search(turn) for turn in range(36)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(search, range(36))) == alone


def test_numbers_of_places_are_made_once_for_files_of_all_sizes():
    # A search of a large file beside small ones, or of lists beside their centroids, goes back
    # and forth between sizes; making them anew took as long as the search.
    sizes = (5, 3_000, 100_000)
    first = [scan._numbers(size) for size in sizes]
    for size, numbers in zip(sizes, first, strict=True):
        assert np.array_equal(numbers, np.arange(size))
        assert np.shares_memory(numbers, scan._numbers(size))


def test_a_mask_changed_after_it_was_selected_changes_nothing():
    vectors = unit_vectors(40, 8)
    reader = FILES.open(FILES.build(np.concatenate([vectors, vectors])))
    rows = np.arange(80) < 50
    selection = reader.select(rows)
    rows[:] = False
    _, found = reader.search(vectors[:1], 50, selection)
    assert sorted(found[0].tolist()) == list(range(50))


def test_only_readers_of_this_kind_are_joined():
    class Other:
        n_vectors, dimension = 1, 4

    with pytest.raises(InvalidInputError, match="of this kind"):
        FILES.concatenate([(Other(), np.arange(1))])
    with pytest.raises(InvalidInputError, match="not in its file"):
        FILES.concatenate([(FILES.open(FILES.build(unit_vectors(3, 4))), np.array([3]))])
    three = (FILES.open(FILES.build(unit_vectors(3, 4))), np.arange(3))
    for order in ([0, 1], [0, 1, 1], [0, 1, 3]):
        with pytest.raises(InvalidInputError):
            FILES.concatenate([three], np.array(order))


# What is refused


def with_header(stored: bytes, **changes: int) -> bytes:
    """The file under a header that lies, with right checksums."""
    names = (
        *("magic", "version", "dimension", "n_vectors", "n_stored", "flags", "size", "crc"),
        *("n_lists", "n_axes", "n_probes", "recall_10", "recall_100"),
    )
    fields = dict(zip(names, layout._HEADER.unpack_from(stored), strict=True)) | changes
    payload = stored[layout.HEADER_BYTES :]
    header = layout._HEADER.pack(*fields.values()).ljust(layout.HEADER_BYTES - 4, b"\0")
    return header + struct.pack("<I", zlib.crc32(header)) + payload


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 3},
        {"dimension": 3},
        {"dimension": 0},
        {"dimension": 2**31},
        {"n_vectors": 5},
        {"n_vectors": 2**62},
        {"n_stored": 3},
        {"n_stored": 5},
        {"n_stored": 2**63},
        {"flags": 0},
        {"flags": 2**31 + 1},
        {"size": 2**63},
        {"n_lists": 1},
        {"n_axes": 1},
        {"n_lists": 1, "n_axes": 1},
        {"n_lists": 1, "n_axes": 5},
        {"n_probes": 1},
    ],
)
def test_header_that_lies_under_a_right_checksum_is_refused(changes):
    vectors = unit_vectors(4, 4)
    stored = FILES.build(np.concatenate([vectors, vectors[:2]]))
    assert FILES.open(with_header(stored)).n_vectors == 6
    with pytest.raises(CorruptIndexError):
        FILES.open(with_header(stored, **changes))


@pytest.mark.parametrize("place", [-1, 2, 4, 2**31 - 1])
def test_places_that_lie_under_a_right_checksum_are_refused(place):
    # 4 is no place of four; with -1, 2 or the last one, a stored vector has no vector.
    vectors = unit_vectors(4, 4)
    stored = bytearray(FILES.build(np.concatenate([vectors, vectors[:2]])))
    struct.pack_into("<i", stored, layout.HEADER_BYTES + 4 * 3, place)
    crc = zlib.crc32(stored[layout.HEADER_BYTES :])
    with pytest.raises(CorruptIndexError, match="places"):
        FILES.open(with_header(bytes(stored), crc=crc))


def test_a_verified_file_is_trusted_except_for_its_header():
    stored = bytearray(FILES.build(unit_vectors(20, 4)))
    stored[-1] ^= 1
    assert FILES.open(stored, verified=True).n_vectors == 20
    stored[20] ^= 1
    with pytest.raises(CorruptIndexError):
        FILES.open(stored, verified=True)


# Version 1


def test_files_of_version_1_are_read():
    reader = FILES.open(VERSION_1)
    assert np.array_equal(reader.reconstruct(), VERSION_1_VECTORS)
    rows = np.ones(6, np.bool_)
    scores, found = reader.search(VERSION_1_VECTORS[1:2], 3, reader.select(rows))
    assert found.tolist() == [[1, 4, 5]]
    assert scores.tolist() == (VERSION_1_VECTORS[1:2] @ VERSION_1_VECTORS[[1, 4, 5]].T).tolist()


def test_joining_files_of_both_versions_gives_the_newer():
    old, new = FILES.open(VERSION_1), FILES.open(FILES.build(VERSION_1_VECTORS))
    joined = FILES.concatenate([(old, np.arange(6)), (new, np.arange(6))])
    assert joined == FILES.build(np.concatenate([VERSION_1_VECTORS] * 2))


def _version_1(payload: bytes, **changes: int) -> bytes:
    fields = {
        "version": version1.FORMAT_VERSION,
        "dimension": 5,
        "n_vectors": 6,
        "size_bytes": len(payload),
    } | changes
    header = version1._HEADER.pack(layout.MAGIC, *fields.values(), zlib.crc32(payload))
    return header + version1._HEADER_CRC.pack(zlib.crc32(header)) + payload


PAYLOAD_1 = VERSION_1[version1._HEADER.size + version1._HEADER_CRC.size :]


@pytest.mark.parametrize(
    "changes",
    [
        {"n_vectors": 5},
        {"n_vectors": 2**62},
        {"dimension": 3},
        {"dimension": 0},
        {"dimension": 2**31},
        {"version": 2},
        {"size_bytes": 2**63},
    ],
)
def test_header_of_version_1_that_lies_is_refused(changes):
    assert FILES.open(_version_1(PAYLOAD_1)).n_vectors == 6
    with pytest.raises(CorruptIndexError):
        FILES.open(_version_1(PAYLOAD_1, **changes))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, b"IxFI"),
        (0, b"none"),
        (4, b"\xff\xff\xff\x7f"),
        (4, b"\x06\x00\x00\x00"),
        (8, b"\xff" * 7 + b"\x7f"),
        (8, b"\x02" + b"\x00" * 7),
        (32, b"\x00"),
        (33, b"\x01"),
        (37, b"\x00"),
        (-68, b"\xff" * 6),
    ],
)
def test_payload_of_version_1_that_lies_is_refused(place, value):
    payload = bytearray(PAYLOAD_1)
    place %= len(payload)
    payload[place : place + len(value)] = value
    with pytest.raises(CorruptIndexError):
        FILES.open(_version_1(bytes(payload)))


def test_garbage_of_version_1_is_refused():
    random = np.random.default_rng(0)
    for size_bytes in (24, 25, 60, 105, 2000):
        with pytest.raises(CorruptIndexError):
            FILES.open(_version_1(random.bytes(size_bytes)))


@pytest.mark.parametrize("place", range(0, len(VERSION_1), 3))
def test_damaged_file_of_version_1_is_refused(place):
    damaged = bytearray(VERSION_1)
    damaged[place] ^= 0x10
    with pytest.raises(CorruptIndexError):
        FILES.open(damaged)
