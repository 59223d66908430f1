"""The stores of an index in an Azure storage account, by their names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from azure.storage.blob import ContainerClient

from indexer_core.adapters.azure.blobs import AzureBlobs, is_folder, properties_of
from indexer_core.adapters.azure.clients import READING, AzureStorage
from indexer_core.adapters.azure.errors import Service, translated
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.sources import AzureContainerSource
from indexer_core.adapters.azure.tables import AzureRows
from indexer_core.ports import Clock, Ids
from indexer_core.reconcile import Listed, Page
from indexer_core.sources import Sources
from indexer_core.stores import QUEUES, ROW_TABLES, Stores

INDEX_CONTAINER = "index"
# Poison of the functions' own queues is named by their host: <queue>-poison.
_QUEUE_NAMES = {name: name for name in QUEUES} | {"poison": "series-ready-poison"}
HOST_QUEUES = ("blob-events-poison", "series-check-poison")
"""Where the functions' host puts what failed; a function files it at once."""
_EVERY_QUEUE = (*_QUEUE_NAMES.values(), *HOST_QUEUES)
_PAGE = 5_000


def table_name(name: str) -> str:
    """Table names take letters and digits only."""
    return "indexer" + name.replace("_", "")


def azure_stores(
    storage: AzureStorage, sources: Sequence[AzureContainerSource], clock: Clock, ids: Ids
) -> Stores:
    """The stores of the index that this account holds."""
    rows = {name: AzureRows(storage.table(table_name(name))) for name in ROW_TABLES}
    queues = {name: AzureQueue(storage.queue(_QUEUE_NAMES[name])) for name in QUEUES}
    return Stores(
        index=AzureBlobs(storage.container(INDEX_CONTAINER)),
        blobs=rows["blobs"],
        instances=rows["instances"],
        open_series=rows["open_series"],
        reject_rows=rows["rejects"],
        jobs=rows["jobs"],
        audit=rows["audit"],
        blob_events=queues["blob-events"],
        series_checks=queues["series-check"],
        series_ready=queues["series-ready"],
        poison=queues["poison"],
        sources=Sources(sources),
        clock=clock,
        ids=ids,
    )


def queues_by_name(storage: AzureStorage) -> dict[str, AzureQueue]:
    """Every queue of the account, those of what failed included, by its name there."""
    return {name: AzureQueue(storage.queue(name)) for name in _EVERY_QUEUE}


def create_stores(storage: AzureStorage) -> None:
    """Create container, tables and queues where they are missing (Bicep does it on Azure)."""
    storage.create_container(INDEX_CONTAINER)
    for name in ROW_TABLES:
        storage.create_table(table_name(name))
    for name in _EVERY_QUEUE:
        storage.create_queue(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerListing:
    """Every blob of a source, page by page; implements `indexer_core.reconcile.Listing`.

    name: names the source among the jobs. prefix: only blobs below it. page: blobs per request.
    """

    container: ContainerClient
    source: AzureContainerSource
    name: str
    prefix: str = ""
    page: int = _PAGE

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Pages of up to 5,000 blobs; the cursor is the service's continuation token."""
        with translated(Service.BLOBS):
            found = self.container.list_blobs(
                name_starts_with=self.prefix,
                include=["metadata"],
                results_per_page=self.page,
                **READING,
            )
            pages: Any = found.by_page(continuation_token=cursor)
            for page in pages:
                blobs = [
                    Listed(url=self.source.url_of(blob.name), properties=properties_of(blob))
                    for blob in page
                    if not is_folder(blob)
                ]
                yield Page(blobs=blobs, cursor=pages.continuation_token or None)
