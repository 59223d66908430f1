"""An index in an Azure storage account, worked on from one machine (or Azurite's, for a demo)."""

from collections.abc import Iterable

from function_app.program import list_sources
from function_app.wiring import Settings
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.stores import azure_stores
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.reconcile import Listing
from indexer_core.stores import Stores


class AzureHome:
    """Implements `local_host.homes.Home`. Others may work on the same account at any time."""

    def __init__(self, settings: Settings) -> None:
        self._storage = AzureStorage(settings.storage)
        self._listings = list_sources(settings)
        sources = [listing.source for listing in self._listings]
        self._stores = azure_stores(self._storage, sources, SystemClock(), RandomIds())

    @property
    def stores(self) -> Stores:
        """The ports."""
        return self._stores

    def listings(self) -> list[Listing]:
        """The configured containers."""
        return list(self._listings)

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue."""
        for event in events:
            self._stores.blob_events.send(event)

    def reclaim(self) -> None:
        """Nothing: another program may hold the messages; they come back by themselves."""

    def forget_checks(self) -> None:
        """Nothing: others send checks, too; stale ones are dropped when they are received."""

    def sweep_temporary(self) -> None:
        """Nothing: an interrupted upload leaves no blob."""

    def close(self) -> None:
        """Close the connections."""
        self._storage.close()
