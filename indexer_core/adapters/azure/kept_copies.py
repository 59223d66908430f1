"""Copies of deleted blobs that a storage account keeps by itself: a purge can only tell of them."""

from collections.abc import Iterator

from azure.storage.blob import ContainerClient

from indexer_core.adapters.azure.clients import READING, AzureStorage
from indexer_core.adapters.azure.errors import Service, translated
from indexer_core.adapters.azure.stores import INDEX_CONTAINER
from indexer_core.errors import IndexerError
from indexer_core.ports import Clock
from indexer_core.purge import Erased, Subject
from indexer_core.purge_receipts import PREFIX, Remaining

_DAY_S = 86_400.0
_UNKNOWN = (
    "copies of deleted blobs, if the storage account keeps any: its settings could not be read"
)
_CACHES = (
    "copies of segment files in the cache folders of other machines, if they have any: they go "
    "when the index is read there, or with the folder"
)
_VERSIONS = (
    "earlier versions of deleted blobs, which the storage account keeps: delete them by a rule of "
    "its lifecycle management"
)


class KeptCopies:
    """Implements `indexer_core.purge.PurgeableStore`; erases nothing."""

    def __init__(self, storage: AzureStorage, clock: Clock) -> None:
        self._storage = storage
        self._clock = clock

    def find(self, series: frozenset[str]) -> Subject:
        """Nothing: the account does not know what its blobs are of."""
        del series
        return Subject()

    def erase(self, subject: Subject) -> Erased:
        """Tell what is kept, and for how long."""
        del subject
        return Erased(counts={}, remaining=tuple(self._kept()))

    def _kept(self) -> Iterator[Remaining]:
        yield Remaining(what=_CACHES)
        try:
            days = self._storage.soft_delete_days()
            has_versions = _has_versions(self._storage.container(INDEX_CONTAINER))
        except IndexerError:  # nobody may have given this program the right to ask
            yield Remaining(what=_UNKNOWN)
            return
        if days:
            until_s = self._clock.now_s() + days * _DAY_S
            yield Remaining(what="deleted blobs, which the storage account keeps", until_s=until_s)
        if has_versions:
            yield Remaining(what=_VERSIONS)


def _has_versions(container: ContainerClient) -> bool:
    """Whether the account keeps versions: by a blob that there is, the receipt of this purge."""
    with translated(Service.BLOBS):
        for blob in container.list_blobs(name_starts_with=PREFIX, **READING):
            properties = container.get_blob_client(blob.name).get_blob_properties(**READING)
            return properties.version_id is not None
    return False
