"""Where the one-machine program keeps its state: a data directory, or an Azure storage account."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from indexer_core.adapters.file_cache import MappedFiles
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.local_files import path_of
from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.adapters.sqlite.rows import SqliteRows
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import InvalidInputError
from indexer_core.ports import BlobProperties
from indexer_core.purge import ALONE, PurgeableStore, PurgePolicy
from indexer_core.sources import Sources
from indexer_core.stores import ROW_TABLES, Stores
from local_host.file_events import walk_events
from local_host.roots import SCOPE, LocalSource

if TYPE_CHECKING:
    # Loaded where it is first used: `status` and `rejects` need no pydicom.
    from indexer_core.reconcile import Listed, Listing, Page

_EMIT = 500
_SWEEP_AFTER_S = 3600.0
_PAGE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A source, or a folder of it. title: for people. holds: whether a URL lies in it."""

    title: str
    scope: str
    listing: "Listing"
    holds: Callable[[str], bool]


class Home(Protocol):
    """Stores, and what only this kind of store can do for one process."""

    @property
    def stores(self) -> Stores:
        """The ports."""

    @property
    def place(self) -> str:
        """Where it is, for people."""

    @property
    def address(self) -> str:
        """Where the index is, as no copy of it; holds no secret."""

    def create(self) -> None:
        """Make what is missing of the stores."""

    def parts(self, paths: Sequence[str] = ()) -> list[Part]:
        """The sources, or what of them these paths name."""

    def leave_encoder(self, folder: Path) -> None:
        """Put the exported text encoder where other programs that search look for it."""

    def leave_export(self, folder: Path, encoder_id: str) -> None:
        """Put another export there, where it is found by its id."""

    def leave_image_export(self, folder: Path, encoder_id: str) -> None:
        """The same for the export of an image encoder, for the worker."""

    def emit(self, events: Iterable[str]) -> None:
        """Put events on their queue, many at once."""

    def reclaim(self) -> None:
        """Take back what a killed run had received, where nobody else can be receiving."""

    def forget_checks(self) -> None:
        """Drop checks that are stale for sure, where nobody else sends any."""

    def sweep_temporary(self) -> None:
        """Remove what killed writers left half written."""

    @property
    def purge_policy(self) -> PurgePolicy:
        """How long a purge waits here."""

    def further_stores(self) -> Sequence[PurgeableStore]:
        """What else holds traces of series here, beside `stores`."""

    def scrub(self) -> None:
        """Make unreadable what was only let go of."""

    def close(self) -> None:
        """Let go of files and connections."""


class LocalHome:
    """A data directory: SQLite and a folder."""

    def __init__(self, data: Path) -> None:
        self._data = data
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
            audit=self._tables["audit"],
            blob_events=self._queues["blob-events"],
            series_checks=self._queues["series-check"],
            series_ready=self._queues["series-ready"],
            poison=self._queues["poison"],
            sources=Sources([self.source]),
            clock=clock,
            ids=ids,
            files=MappedFiles(self._index.path_of),
        )

    @property
    def stores(self) -> Stores:
        """The ports."""
        return self._stores

    @property
    def place(self) -> str:
        """The data directory."""
        return str(self._data)

    @property
    def address(self) -> str:
        """The folder of the index, whatever it was named by."""
        return (self._data / "index").resolve().as_uri()

    def create(self) -> None:
        """Nothing: every store makes its own file."""

    def parts(self, paths: Sequence[str] = ()) -> list[Part]:
        """The indexed folders, all of them."""
        assert not paths, "folders are walked by their events"
        return [
            Part(
                title="the indexed folders",
                scope=SCOPE,
                listing=FolderListing(source=self.source, exclude=(self._data,)),
                holds=lambda url: self.source.locate(url) is not None,
            )
        ]

    def leave_encoder(self, folder: Path) -> None:
        """Nothing: it is in the data directory."""

    def leave_export(self, folder: Path, encoder_id: str) -> None:
        """Nothing: it is in the data directory."""

    def leave_image_export(self, folder: Path, encoder_id: str) -> None:
        """Nothing: it is in the data directory."""

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
        """Remove what killed writers left.

        Not what is young: an encoder may be built beside the one writer, and holds no lock.
        """
        self._index.sweep_temporary(self._clock.now_s() - _SWEEP_AFTER_S)

    @property
    def purge_policy(self) -> PurgePolicy:
        """None: whoever purges holds the writer lock."""
        return ALONE

    def further_stores(self) -> Sequence[PurgeableStore]:
        """The files that were named to be indexed."""
        return (self.source,)

    def scrub(self) -> None:
        """Write the state database anew."""
        self._tables["roots"].compact()

    def close(self) -> None:
        """Close the database files."""
        for table in self._tables.values():
            table.close()
        for queue in self._queues.values():
            queue.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderListing:
    """The files of the indexed folders; the cursor is the URL of the last file of a page."""

    source: LocalSource
    exclude: tuple[Path, ...] = ()
    page: int = _PAGE

    @property
    def name(self) -> str:
        """There is one for all folders."""
        return "folders"

    def pages(self, cursor: str | None) -> "Iterator[Page]":
        """Pages of files, folder by folder: its files first, then the folders in it."""
        from indexer_core.reconcile import Page

        behind = None if cursor is None else _order(path_of(cursor))
        files = (url for url in self._urls() if behind is None or _order(path_of(url)) > behind)
        while batch := list(islice(files, self.page)):
            blobs = [listed for url in batch if (listed := self._listed(url)) is not None]
            yield Page(blobs=blobs, cursor=batch[-1])

    def _urls(self) -> Iterator[str]:
        roots = set(self.source.paths)
        outermost = [root for root in roots if roots.isdisjoint(root.parents)]
        # Each by itself: together they are walked in another order than that of the cursor.
        for root in sorted(outermost, key=_root_order):
            for event in walk_events([root], (), SystemClock(), exclude=self.exclude):
                yield str(json.loads(event)["data"]["url"])

    def _listed(self, url: str) -> "Listed | None":
        from indexer_core.reconcile import Listed

        located = self.source.locate(url)
        if located is None:
            return None
        try:
            properties = located.store.properties(located.name)
        except InvalidInputError:  # there, but it may not be read: a look tells why
            properties = BlobProperties(etag="", size_bytes=0, modified_s=0.0)
        return None if properties is None else Listed(url=located.url, properties=properties)


def _order(file: Path) -> list[tuple[bool, str]]:
    """Sorts files as they are walked."""
    return [*((True, folder) for folder in file.parts[:-1]), (False, file.name)]


def _root_order(root: Path) -> list[tuple[bool, str]]:
    return [*((True, folder) for folder in root.parts[:-1]), (root.is_dir(), root.name)]
