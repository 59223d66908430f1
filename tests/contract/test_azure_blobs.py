"""Azure's blobs: the contract on a live Azurite, and what only Azure has."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.storage.blob import StandardBlobTier

from indexer_core.adapters.azure.blobs import AzureBlobReader, AzureBlobs
from indexer_core.adapters.azure.errors import ArchivedBlobError
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import BlobStore, Written
from indexer_core.testing.contracts.blobs import BlobStoreContract, written
from tests.support.azurite import fresh_name

pytestmark = pytest.mark.azurite


def _stored_bytes(store: BlobStore, name: str) -> bytes | None:
    blob = store._container.get_blob_client(store._prefix + name)
    return blob.download_blob().readall() if blob.exists() else None


def _store_bytes(store: BlobStore, name: str, data: bytes) -> None:
    store._container.get_blob_client(store._prefix + name).upload_blob(data, overwrite=True)


class TestAzureBlobs(BlobStoreContract):
    @pytest.fixture
    def store(self, storage):
        return AzureBlobs(storage.create_container(fresh_name("blobs")))

    @pytest.fixture
    def twin(self, store, storage):
        return AzureBlobs(storage.container(store._container.container_name))

    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        return _stored_bytes(store, name)

    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        _store_bytes(store, name, data)

    def test_digest_is_that_of_the_content(self, store):
        store.put_if_absent("a", b"content")
        digest = "md5:" + hashlib.md5(b"content").hexdigest()
        assert store.properties("a").content_digest == digest
        (entry,) = store.list()
        assert entry.properties.content_digest == digest

    def test_archived_blob_says_so_and_heals(self, store):
        store.put_if_absent("a", b"content")
        blob = store._container.get_blob_client("a")
        blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
        assert store.properties("a").archived
        (entry,) = store.list()
        assert entry.properties.archived
        with pytest.raises(ArchivedBlobError):
            store.get("a")
        with pytest.raises(ArchivedBlobError):
            store.get_range("a", 0, 3)
        blob.set_standard_blob_tier(StandardBlobTier.HOT)
        assert not store.properties("a").archived
        assert store.get("a").data == b"content"

    def test_container_that_is_missing_is_not_an_absent_blob(self, storage):
        store = AzureBlobs(storage.container(fresh_name("none")))
        for call in (
            lambda: store.properties("a"),
            lambda: store.get("a"),
            lambda: store.get_range("a", 0, 1),
            lambda: list(store.list()),
            lambda: store.delete("a"),
            lambda: store.put_if_absent("a", b""),
            lambda: store.put_if_match("a", b"", "0x1"),
        ):
            with pytest.raises(UnavailableError, match="create it"):
                call()

    @pytest.mark.parametrize(
        "name",
        ["a//b", "a/", "a b+c%20d#e?f&g=h", "a\\b", "grün/日本", "100%", "%2e%2e/x", "~!$'()*,;:@"],
    )
    def test_blob_of_any_name_that_users_gave_is_read(self, store, name):
        blob = store._container.get_blob_client(name)
        blob.upload_blob(b"content")
        names = [found.name for found in store._container.list_blobs()]
        reader = AzureBlobReader(store._container)
        assert reader.get(names[0]).data == b"content"
        assert reader.get(name).data == b"content"

    @pytest.mark.parametrize(
        "name", ["..", "../other/x", "a/../../other/x", "./a", "a/.", "", "a\0"]
    )
    def test_name_that_would_lead_elsewhere_is_never_asked_for(self, store, name):
        with pytest.raises(InvalidInputError):
            AzureBlobReader(store._container).get(name)

    def test_directories_of_a_hierarchical_account_are_not_listed(self, store):
        store._container.upload_blob("folder", b"", metadata={"hdi_isfolder": "true"})
        store.put_if_absent("folder/a", b"1")
        assert [entry.name for entry in store.list()] == ["folder/a"]

    def test_one_of_many_threads_creates_a_blob(self, store):
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(lambda i: store.put_if_absent("a", b"%d" % i), range(12)))
        assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1

    def test_write_that_a_lease_forbids_is_no_lost_race(self, store):
        etag = written(store.put_if_absent("a", b"1"))
        lease = store._container.get_blob_client("a").acquire_lease()
        with pytest.raises(UnavailableError):
            store.put_if_match("a", b"2", etag)
        lease.release()
        written(store.put_if_match("a", b"2", store.properties("a").etag))


class TestAzureBlobsBelowAPrefix(BlobStoreContract):
    @pytest.fixture
    def store(self, storage):
        container = storage.create_container(fresh_name("blobs"))
        container.upload_blob("index", b"beside")
        container.upload_blob("index2/a", b"beside")
        return AzureBlobs(container, "index/")

    @pytest.fixture
    def twin(self, store):
        return AzureBlobs(store._container, "index")

    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        return _stored_bytes(store, name)

    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        _store_bytes(store, name, data)
