"""The contract of `indexer_core.ports.BlobStore`."""

from abc import ABC, abstractmethod

import pytest

from indexer_core.errors import InvalidInputError
from indexer_core.ports import BlobProperties, BlobRange, BlobStore, PreconditionFailed, Written

UNSAFE_NAMES = ("", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a\\b", "a\0b", "a\n")
NAMES_IN_ORDER = (
    "a",
    "b!/1",
    "b-c",
    "b.c",
    "b/1",
    "b/10",
    "b/2",
    "b0",
    "c d/#%+?.dcm",
    "grün/Ärzte",
    "日本",
    "\U0001f9e0",
)


def written(outcome: object) -> str:
    """The etag of a write that must have taken place."""
    assert isinstance(outcome, Written)
    return outcome.etag


class BlobStoreContract(ABC):
    """What every blob store does. Subclasses give the fixtures `store` and `twin`."""

    @pytest.fixture
    @abstractmethod
    def store(self) -> BlobStore:
        """An empty store."""

    @pytest.fixture
    @abstractmethod
    def twin(self, store: BlobStore) -> BlobStore:
        """A second handle on the same store."""

    @abstractmethod
    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        """What lies in the store, read behind the adapter's back."""

    @abstractmethod
    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        """Write or overwrite behind the adapter's back."""

    def test_absent_blob_has_no_properties_and_no_content(self, store: BlobStore) -> None:
        assert store.properties("a") is None
        assert store.get("a/b") is None
        assert store.get_range("a", 0, 10) is None
        assert store.get_range("a", 0, 10, if_match="0x1") is None
        assert list(store.list()) == []
        assert store.delete("a") is False

    def test_written_blob_is_read_back_with_its_etag(self, store: BlobStore) -> None:
        etag = written(store.put_if_absent("seg/a.bin", b"\x00content\xff"))
        assert store.get("seg/a.bin") == BlobRange(data=b"\x00content\xff", etag=etag, size_bytes=9)
        properties = store.properties("seg/a.bin")
        assert isinstance(properties, BlobProperties)
        assert (properties.etag, properties.size_bytes) == (etag, 9)
        assert properties.archived is False
        assert self.stored_bytes(store, "seg/a.bin") == b"\x00content\xff"

    def test_empty_blob_is_a_blob(self, store: BlobStore) -> None:
        etag = written(store.put_if_absent("empty", b""))
        assert store.get("empty") == BlobRange(data=b"", etag=etag, size_bytes=0)
        assert store.get_range("empty", 0, 10) == BlobRange(data=b"", etag=etag, size_bytes=0)

    def test_blob_stored_by_another_program_is_seen(self, store: BlobStore) -> None:
        self.store_bytes(store, "x/y", b"one")
        first = store.get("x/y")
        assert first is not None
        assert first.data == b"one"
        self.store_bytes(store, "x/y", b"two")
        second = store.get("x/y")
        assert second is not None
        assert second.data == b"two"
        assert second.etag != first.etag
        assert store.get_range("x/y", 0, 3, if_match=first.etag) == PreconditionFailed()
        assert store.put_if_match("x/y", b"three", first.etag) == PreconditionFailed()
        assert store.put_if_absent("x/y", b"three") == PreconditionFailed()
        assert self.stored_bytes(store, "x/y") == b"two"

    @pytest.mark.parametrize(
        ("offset", "length", "expected"),
        [
            (0, 4, b"0123"),
            (3, 4, b"3456"),
            (8, 4, b"89"),
            (0, 1 << 40, b"0123456789"),
            (10, 4, b""),
            (1000, 4, b""),
            (5, 0, b""),
        ],
    )
    def test_range_is_cut_at_the_end_of_the_blob(
        self, store: BlobStore, offset: int, length: int, expected: bytes
    ) -> None:
        etag = written(store.put_if_absent("a", b"0123456789"))
        assert store.get_range("a", offset, length, if_match=etag) == BlobRange(
            data=expected, etag=etag, size_bytes=10
        )

    def test_range_of_another_version_is_refused(self, store: BlobStore) -> None:
        first = written(store.put_if_absent("a", b"one"))
        second = written(store.put_if_match("a", b"two", first))
        assert store.get_range("a", 0, 3, if_match=first) == PreconditionFailed()
        assert store.get_range("a", 0, 3, if_match=second) == BlobRange(
            data=b"two", etag=second, size_bytes=3
        )

    def test_only_the_first_creation_takes_place(self, store: BlobStore, twin: BlobStore) -> None:
        etag = written(store.put_if_absent("manifest/1", b"first"))
        assert twin.put_if_absent("manifest/1", b"second") == PreconditionFailed()
        assert store.put_if_absent("manifest/1", b"first") == PreconditionFailed()
        found = twin.get("manifest/1")
        assert found == BlobRange(data=b"first", etag=etag, size_bytes=5)

    def test_replacing_needs_the_current_etag(self, store: BlobStore, twin: BlobStore) -> None:
        first = written(store.put_if_absent("a", b"1"))
        second = written(twin.put_if_match("a", b"2", first))
        assert second != first
        assert store.put_if_match("a", b"3", first) == PreconditionFailed()
        assert self.stored_bytes(store, "a") == b"2"

    def test_replacing_an_absent_blob_is_refused(self, store: BlobStore) -> None:
        assert store.put_if_match("a", b"1", "0x1") == PreconditionFailed()
        assert store.properties("a") is None

    def test_every_write_of_the_same_bytes_has_its_own_etag(self, store: BlobStore) -> None:
        etags = [written(store.put_if_absent("a", b"same"))]
        for _ in range(20):
            etags.append(written(store.put_if_match("a", b"same", etags[-1])))
        assert len(set(etags)) == len(etags)

    def test_blob_created_again_does_not_get_its_old_etag(self, store: BlobStore) -> None:
        etags = set()
        for _ in range(20):
            etags.add(written(store.put_if_absent("a", b"same")))
            assert store.delete("a")
        assert len(etags) == 20

    def test_deleted_blob_is_gone(self, store: BlobStore, twin: BlobStore) -> None:
        store.put_if_absent("a/b", b"1")
        assert twin.delete("a/b") is True
        assert store.get("a/b") is None
        assert store.delete("a/b") is False
        assert list(store.list()) == []

    def test_conditional_delete_spares_another_version(self, store: BlobStore) -> None:
        first = written(store.put_if_absent("a", b"1"))
        second = written(store.put_if_match("a", b"2", first))
        assert store.delete("a", if_match=first) is False
        assert self.stored_bytes(store, "a") == b"2"
        assert store.delete("a", if_match=second) is True
        assert self.stored_bytes(store, "a") is None

    def test_listing_is_in_name_order_and_complete(self, store: BlobStore) -> None:
        for name in reversed(NAMES_IN_ORDER):
            store.put_if_absent(name, name.encode())
        assert tuple(entry.name for entry in store.list()) == NAMES_IN_ORDER
        for entry in store.list():
            assert entry.properties == store.properties(entry.name)
            assert entry.properties.size_bytes == len(entry.name.encode())

    @pytest.mark.parametrize("prefix", ["b", "b/", "b/1", "b/10", "b-", "x", "grün/", "b!/1/"])
    def test_listing_keeps_to_its_prefix(self, store: BlobStore, prefix: str) -> None:
        for name in NAMES_IN_ORDER:
            store.put_if_absent(name, b"")
        expected = [name for name in NAMES_IN_ORDER if name.startswith(prefix)]
        assert [entry.name for entry in store.list(prefix)] == expected

    def test_listing_may_be_interrupted_by_writes(self, store: BlobStore) -> None:
        for i in range(10):
            store.put_if_absent(f"a/{i}", b"")
        seen = []
        for entry in store.list("a/"):
            seen.append(entry.name)
            store.delete("a/9")
            store.put_if_absent("b", b"")
        assert set(seen) - {"a/9"} == {f"a/{i}" for i in range(9)}

    @pytest.mark.parametrize("name", UNSAFE_NAMES)
    def test_unsafe_name_is_refused(self, store: BlobStore, name: str) -> None:
        with pytest.raises(InvalidInputError):
            store.put_if_absent(name, b"1")
        with pytest.raises(InvalidInputError):
            store.get(name)
        with pytest.raises(InvalidInputError):
            store.delete(name)
        assert list(store.list()) == []

    def test_large_blob_is_read_back(self, store: BlobStore) -> None:
        data = bytes(range(256)) * 20_000
        written(store.put_if_absent("large", data))
        found = store.get("large")
        assert found is not None
        assert found.data == data
