"""Where the one-machine program keeps its state: a data directory, or an Azure storage account."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.ports import BlobProperties
from indexer_core.reconcile import Listed, Listing, Page
from indexer_core.sources import Sources
from indexer_core.stores import ROW_TABLES, Stores
from local_host.roots import LocalSource

_EMIT = 500
_PAGE = 1_000


class Home(Protocol):
    """Stores, and what only this kind of store can do for one process."""

    @property
    def stores(self) -> Stores:
        """The ports."""

    def listings(self) -> list[Listing]:
        """Everything that the sources hold."""

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue, many at once."""

    def reclaim(self) -> None:
        """Take back what a killed run had received, where nobody else can be receiving."""

    def forget_checks(self) -> None:
        """Drop checks that are stale for sure, where nobody else sends any."""

    def sweep_temporary(self) -> None:
        """Remove what killed writers left half written."""

    def close(self) -> None:
        """Let go of files and connections."""


class LocalHome:
    """A data directory: SQLite and a folder."""

    def __init__(self, data: Path) -> None:
        state = data / "state.sqlite"
        clock, ids = SystemClock(), RandomIds()
        self._tables = {name: SqliteRows(state, name) for name in (*ROW_TABLES, "roots")}
        names = ("blob-events", "series-check", "series-ready", "poison")
        self._queues = {name: SqliteQueue(state, name, clock, ids) for name in names}
        self._index = FolderBlobs(data / "index")
        self._clock = clock
        # Read when it is first asked, so that searching opens no state database.
        self.source = LocalSource(self._tables["roots"])
        self._stores = Stores(
            index=self._index,
            blobs=self._tables["blobs"],
            instances=self._tables["instances"],
            open_series=self._tables["open_series"],
            reject_rows=self._tables["rejects"],
            jobs=self._tables["jobs"],
            blob_events=self._queues["blob-events"],
            series_checks=self._queues["series-check"],
            series_ready=self._queues["series-ready"],
            poison=self._queues["poison"],
            sources=Sources([self.source]),
            clock=clock,
            ids=ids,
        )

    @property
    def stores(self) -> Stores:
        """The ports."""
        return self._stores

    def listings(self) -> list[Listing]:
        """The indexed folders."""
        return [FolderListing(source=self.source)]

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue, 500 in a transaction."""
        remaining = iter(events)
        while batch := list(islice(remaining, _EMIT)):
            self._queues["blob-events"].send_many(batch)

    def reclaim(self) -> None:
        """Take back what a killed run had received; safe because of the writer lock."""
        for name in ("blob-events", "series-check", "series-ready"):
            self._queues[name].reclaim()

    def forget_checks(self) -> None:
        """Drop all checks; for when no series is open."""
        self._queues["series-check"].clear()

    def sweep_temporary(self) -> None:
        """Remove what killed writers left; nobody else writes while the lock is held."""
        self._index.sweep_temporary(self._clock.now_s())

    def close(self) -> None:
        """Close the database files."""
        for table in self._tables.values():
            table.close()
        for queue in self._queues.values():
            queue.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderListing:
    """The files of the indexed folders; the cursor is the last path of a page."""

    source: LocalSource

    @property
    def name(self) -> str:
        """There is one for all folders."""
        return "folders"

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Pages of 1,000 files in path order."""
        files = (path for path in self._files() if cursor is None or str(path) > cursor)
        while batch := list(islice(files, _PAGE)):
            blobs = [listed for path in batch if (listed := self._listed(path)) is not None]
            yield Page(blobs=blobs, cursor=str(batch[-1]))

    def _files(self) -> Iterator[Path]:
        for root in sorted(self.source.paths):
            yield from [root] if root.is_file() else sorted(p for p in root.rglob("*"))

    def _listed(self, path: Path) -> Listed | None:
        from indexer_core.adapters.local_files import url_of

        located = self.source.locate(url_of(path))
        if located is None or not path.is_file():
            return None
        properties: BlobProperties | None = located.store.properties(located.name)
        return None if properties is None else Listed(url=located.url, properties=properties)
