"""The persisted cache of text vectors."""

from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core import text_cache
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.testing.memory import MemoryBlobs, SequentialIds
from indexer_core.text_cache import (
    MAX_FILES,
    CachedTextEncoder,
    TextVectorCache,
    text_hash,
)

DIMENSION = 8


def forget_texts(cache, texts):
    return cache.forget({text_hash(text) for text in texts})


class HashEncoder:
    """A deterministic encoder without a model, which records what it was asked."""

    encoder_id = "hash/1"
    dimension = DIMENSION

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked.extend(texts)
        rows = [np.frombuffer(sha256(t.encode()).digest(), dtype=np.uint8)[:8] for t in texts]
        vectors = np.array(rows, dtype=np.float32).reshape(len(texts), DIMENSION) + 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Unavailable:
    """A store that cannot answer."""

    def __init__(self, *, reads=True):
        self._reads = reads

    def list(self, prefix=""):
        if not self._reads:
            raise UnavailableError("down")
        return iter(())

    def put_if_absent(self, name, data):
        raise UnavailableError("down")


def cache_on(blobs, ids=None, **options):
    return TextVectorCache(
        blobs, ids or SequentialIds(), encoder_id="hash/1", dimension=DIMENSION, **options
    )


@pytest.fixture
def blobs():
    return MemoryBlobs()


@pytest.fixture
def ids():
    return SequentialIds()


def names(blobs):
    return [entry.name for entry in blobs.list()]


def stored_bytes(blobs):
    return b"".join(blobs.get(name).data for name in names(blobs))


def test_each_distinct_text_is_embedded_once_and_the_order_is_kept(blobs):
    inner = HashEncoder()
    encoder = CachedTextEncoder(inner, cache_on(blobs))
    texts = ["b", "a", "b", "c", "a", "b"]
    vectors = encoder.encode(texts)
    assert inner.asked == ["b", "a", "c"]
    assert np.array_equal(vectors, HashEncoder().encode(texts))
    assert vectors.flags.c_contiguous
    encoder.encode(["a", "d"])
    assert inner.asked == ["b", "a", "c", "d"]
    counters = encoder.counters
    assert (counters.n_texts, counters.n_distinct, counters.n_encoded) == (8, 5, 4)


def test_no_texts_give_no_rows_and_write_nothing(blobs):
    assert CachedTextEncoder(HashEncoder(), cache_on(blobs)).encode([]).shape == (0, DIMENSION)
    assert names(blobs) == []


def test_vectors_survive_a_restart_bit_for_bit(blobs, ids):
    first = CachedTextEncoder(HashEncoder(), cache_on(blobs, ids)).encode(["x", "y"])
    inner = HashEncoder()
    again = CachedTextEncoder(inner, cache_on(blobs, ids)).encode(["y", "x"])
    assert inner.asked == []
    assert np.array_equal(again, first[::-1])


def test_texts_themselves_are_never_stored(blobs):
    CachedTextEncoder(HashEncoder(), cache_on(blobs)).encode(["planted free text"])
    assert b"planted" not in stored_bytes(blobs)
    assert text_hash("planted free text") in stored_bytes(blobs)


def test_vectors_of_another_encoder_are_never_returned(blobs, ids):
    CachedTextEncoder(HashEncoder(), cache_on(blobs, ids)).encode(["x"])
    other = TextVectorCache(blobs, ids, encoder_id="hash/2", dimension=DIMENSION)
    assert other.get([text_hash("x")]) == {}
    with pytest.raises(InvalidInputError):
        CachedTextEncoder(HashEncoder(), other)


@pytest.mark.parametrize("damage", [lambda d: d[:-5], lambda d: b"", lambda d: b"x" + d[1:]])
def test_a_damaged_file_is_dropped_counted_and_made_good(blobs, ids, damage):
    encoder = CachedTextEncoder(HashEncoder(), cache_on(blobs, ids))
    encoder.encode(["x"])
    (name,) = names(blobs)
    blobs.overwrite(name, damage(blobs.get(name).data))
    cache, inner = cache_on(blobs, ids), HashEncoder()
    CachedTextEncoder(inner, cache).encode(["x"])
    assert inner.asked == ["x"]
    assert cache.counters.n_corrupt_files == 1
    assert name not in names(blobs)
    assert len(names(blobs)) == 1


def test_forgotten_texts_leave_every_file_and_the_others_stay(blobs, ids):
    encoder = CachedTextEncoder(HashEncoder(), cache_on(blobs, ids))
    encoder.encode(["keep", "drop"])
    encoder.encode(["drop too"])
    cache = cache_on(blobs, ids)
    assert forget_texts(cache, ["drop", "drop too", "never seen"]) == 2
    assert text_hash("drop") not in stored_bytes(blobs)
    assert text_hash("drop too") not in stored_bytes(blobs)
    assert set(cache_on(blobs, ids).get([text_hash("keep"), text_hash("drop")])) == {
        text_hash("keep")
    }
    assert forget_texts(cache, ["drop"]) == 0


def test_forgotten_texts_leave_the_memory_too(blobs):
    cache = cache_on(blobs)
    CachedTextEncoder(HashEncoder(), cache).encode(["drop"])
    forget_texts(cache, ["drop"])
    assert cache.get([text_hash("drop")]) == {}


def test_an_erasure_also_removes_files_that_cannot_be_read(blobs, ids):
    cache = cache_on(blobs, ids)
    CachedTextEncoder(HashEncoder(), cache).encode(["drop"])
    (name,) = names(blobs)
    blobs.overwrite(name, blobs.get(name).data[:-1])
    assert forget_texts(cache, ["drop"]) == 1
    assert names(blobs) == []


def test_an_erasure_does_not_pass_over_a_store_that_is_down():
    with pytest.raises(UnavailableError):
        cache_on(Unavailable(reads=False)).forget([text_hash("x")])


def test_encoding_goes_on_without_a_store_and_counts_it():
    cache = cache_on(Unavailable(reads=False))
    vectors = CachedTextEncoder(HashEncoder(), cache).encode(["x"])
    assert np.array_equal(vectors, HashEncoder().encode(["x"]))
    assert cache.counters.n_store_failures == 2


def test_memory_is_bounded_and_the_newest_vectors_are_loaded(blobs, ids):
    encoder = CachedTextEncoder(HashEncoder(), cache_on(blobs, ids, max_vectors=3))
    for text in "abcde":
        encoder.encode([text])
    cache = cache_on(blobs, ids, max_vectors=3)
    known = cache.get([text_hash(text) for text in "abcde"])
    assert set(known) == {text_hash(text) for text in "cde"}


def test_a_batch_larger_than_the_memory_is_still_complete(blobs):
    encoder = CachedTextEncoder(HashEncoder(), cache_on(blobs, max_vectors=2))
    texts = list("abcdef")
    assert np.array_equal(encoder.encode(texts), HashEncoder().encode(texts))


def many_files(blobs, ids):
    encoder = CachedTextEncoder(HashEncoder(), cache_on(blobs, ids))
    texts = [f"text {i}" for i in range(MAX_FILES + 1)]
    for text in texts:
        encoder.encode([text])
    return texts


def test_many_small_files_are_joined_into_one_at_the_next_start(blobs, ids):
    texts = many_files(blobs, ids)
    inner = HashEncoder()
    CachedTextEncoder(inner, cache_on(blobs, ids)).encode(texts)
    assert inner.asked == []
    assert len(names(blobs)) == 1
    CachedTextEncoder(inner, cache_on(blobs, ids)).encode(texts)
    assert inner.asked == []


def test_joining_never_brings_back_what_an_erasure_removed_meanwhile(blobs, ids):
    many_files(blobs, ids)
    eraser = cache_on(blobs, ids)

    class ErasesBeforeTheJoinedFileIsWritten:
        """The joining process's view of the store: somebody erases just before its write."""

        def __getattr__(self, name):
            return getattr(blobs, name)

        def put_if_absent(self, name, data):
            forget_texts(eraser, ["text 7"])
            return blobs.put_if_absent(name, data)

    joiner = cache_on(ErasesBeforeTheJoinedFileIsWritten(), SequentialIds(series=1))
    joiner.get([])
    assert text_hash("text 7") not in stored_bytes(blobs)


@given(
    st.lists(st.tuples(st.booleans(), st.lists(st.sampled_from("abcdef"), max_size=4)), max_size=12)
)
def test_after_any_history_the_files_hold_exactly_what_was_encoded_and_not_erased(history):
    blobs, ids = MemoryBlobs(), SequentialIds()
    expected = set()
    for erase, texts in history:
        cache = cache_on(blobs, ids)
        if erase:
            forget_texts(cache, texts)
            expected -= set(texts)
        else:
            vectors = CachedTextEncoder(HashEncoder(), cache).encode(texts)
            assert np.array_equal(vectors, HashEncoder().encode(texts))
            expected |= set(texts)
    known = cache_on(blobs, ids).get([text_hash(text) for text in "abcdef"])
    assert set(known) == {text_hash(text) for text in expected}


def test_the_names_of_files_say_nothing_of_texts(blobs):
    CachedTextEncoder(HashEncoder(), cache_on(blobs)).encode(["planted"])
    (name,) = names(blobs)
    assert name.startswith(text_cache.PREFIX)
    assert text_hash("planted").hex()[:8] not in name
