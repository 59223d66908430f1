"""An index in an Azure storage account, worked on from one machine (or Azurite's, for a demo)."""

import shutil
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from indexer_core.adapters.azure.configured import ENCODER_PREFIX, Accounts
from indexer_core.adapters.azure.kept_copies import KeptCopies
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.settings import Settings, SourceSetting
from indexer_core.adapters.azure.sources import folder_prefix
from indexer_core.adapters.azure.stores import (
    HOST_QUEUES,
    INDEX_CONTAINER,
    azure_stores,
    create_stores,
)
from indexer_core.adapters.file_cache import cached_files
from indexer_core.adapters.onnx_text import MANIFEST_NAME
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.encoders import prefix_of
from indexer_core.errors import InvalidInputError
from indexer_core.purge import PurgeableStore, PurgePolicy
from indexer_core.purge_stores import Messages
from indexer_core.stores import Stores
from local_host.homes import Part

# A queue takes one message per request: a single thread sends some fifty a second.
_SENDERS = 8


class AzureHome:
    """Implements `local_host.homes.Home`. Others may work on the same account at any time.

    Parameters
    ----------
    copies
        Folder for copies of the index's files, unless the settings name another one.
    """

    def __init__(self, settings: Settings, copies: Path) -> None:
        self._accounts = Accounts(settings)
        self._storage = self._accounts.index
        self._settings = settings.sources
        self._senders = ThreadPoolExecutor(max_workers=_SENDERS)
        sources = [listing.source for listing in self._accounts.listings()]
        stores = azure_stores(self._storage, sources, SystemClock(), RandomIds())
        self._copies = cached_files(stores.index, settings.reading, settings.storage, copies)
        self._stores = replace(stores, files=self._copies)

    @property
    def stores(self) -> Stores:
        """The ports."""
        return self._stores

    @property
    def place(self) -> str:
        """Not its name: a connection string holds a key."""
        return "the storage account"

    @property
    def address(self) -> str:
        """The URL of the container, without what a shared access signature adds to it."""
        return self._storage.container(INDEX_CONTAINER).url.partition("?")[0]

    def create(self) -> None:
        """Make container, tables and queues where they are missing."""
        create_stores(self._storage)

    def parts(self, paths: Sequence[str] = ()) -> list[Part]:
        """The sources, or what of them CONTAINER or CONTAINER/FOLDER name.

        Raises
        ------
        InvalidInputError
            A path is in none of the sources.
        """
        if not paths:
            return [self._part(setting, setting.prefix) for setting in self._settings]
        return [part for path in dict.fromkeys(paths) for part in self._named(path)]

    def leave_encoder(self, folder: Path) -> None:
        """Put it beside the index, its manifest last: whoever finds that finds all it names."""
        index = self._stores.index
        if index.properties(ENCODER_PREFIX + MANIFEST_NAME) is None:
            for file in sorted(folder.iterdir(), key=lambda file: file.name == MANIFEST_NAME):
                index.put_if_absent(ENCODER_PREFIX + file.name, file.read_bytes())

    def leave_export(self, folder: Path, encoder_id: str) -> None:
        """Put it beside the index, in the folder of its id."""
        from gpu_worker.wiring import leave_export

        leave_export(
            self._stores.index,
            prefix_of(encoder_id),
            MANIFEST_NAME,
            lambda target: shutil.copytree(folder, target),
        )

    def leave_image_export(self, folder: Path, encoder_id: str) -> None:
        """Put it beside the index, in the folder of its id."""
        from gpu_worker.encoders.onnx_image import read_image_export
        from gpu_worker.wiring import leave_export

        leave_export(
            self._stores.index,
            prefix_of(encoder_id),
            MANIFEST_NAME,
            lambda target: shutil.copytree(folder, target),
            read=read_image_export,
        )

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue, several at a time."""
        for _ in self._senders.map(self._stores.blob_events.send, events):
            pass

    def reclaim(self) -> None:
        """Nothing: another program may hold the messages; they come back by themselves."""

    def forget_checks(self) -> None:
        """Nothing: others send checks, too; stale ones are dropped when they are received."""

    def sweep_temporary(self) -> None:
        """Nothing: an interrupted upload leaves no blob."""

    @property
    def purge_policy(self) -> PurgePolicy:
        """Long enough for what other programs are doing now to end."""
        return PurgePolicy()

    def further_stores(self) -> Sequence[PurgeableStore]:
        """Queues of the functions' host, and what the account keeps of deleted blobs."""
        queues = [
            Messages(name, AzureQueue(self._storage.queue(name)), self._stores.sources)
            for name in HOST_QUEUES
        ]
        return (*queues, KeptCopies(self._storage, self._stores.clock))

    def scrub(self) -> None:
        """Delete the copies that lie on this machine."""
        self._copies.clear()

    def close(self) -> None:
        """Close the connections."""
        self._senders.shutdown()
        self._accounts.close()

    def _named(self, path: str) -> list[Part]:
        container, _, folder = path.strip("/").partition("/")
        found = []
        for setting in self._settings:
            inside, wanted = folder_prefix(setting.prefix), folder_prefix(folder)
            if setting.container == container and wanted.startswith(inside):
                found.append(self._part(setting, wanted))
            elif setting.container == container and inside.startswith(wanted):
                found.append(self._part(setting, inside))
        if not found:
            known = ", ".join(f"{s.container}/{folder_prefix(s.prefix)}" for s in self._settings)
            raise InvalidInputError(f"{path} is in none of the sources ({known})")
        return found

    def _part(self, setting: SourceSetting, folder: str) -> Part:
        listing = self._accounts.listing(setting, folder)
        return Part(
            title=f"{setting.container}/{listing.prefix}".rstrip("/"),
            scope=setting.scope,
            listing=listing,
            holds=lambda url: listing.source.locate(url) is not None,
        )
