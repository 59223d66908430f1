"""What the operations answer from: one index, followed for all requests."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

from function_app.manifests import KeptManifests
from function_app.trace import trace_series
from indexer_core.access import Caller
from indexer_core.cohorts.store import Cohorts
from indexer_core.errors import NotFoundError
from indexer_core.image_texts import text_tower
from indexer_core.index.adoption import QueryReader
from indexer_core.index.adoption import Searchable as Followed
from indexer_core.index.commit import Manifests
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.recent import RecentSnapshots
from indexer_core.index.rows import IndexRow
from indexer_core.paging import PastSnapshots
from indexer_core.ports import ImageTextEncoder, TextEncoder
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.stores import Stores
from indexer_core.templates import template_names
from indexer_core.thumbnails import thumbnail_of
from indexer_core.uploads import UploadReader
from indexer_core.vector_index import VectorIndex

FindImageTexts = Callable[[str, TextEncoder], ImageTextEncoder | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """A state of the index with the encoder of its text vectors.

    newest: the number of the newest manifest. It is higher than that of the state while nothing
    newer can be searched, and where an earlier one was asked for.
    """

    index: VectorIndex
    encoder: TextEncoder
    newest: int


class Writing(Protocol):
    """Gives the right to write, where only one program may have it at a time."""

    def __call__(self) -> AbstractContextManager[Any]:
        """Held while something is written.

        Raises
        ------
        ConflictError
            Another program has it.
        """


class Service:
    """An index that is followed; safe for several threads.

    Parameters
    ----------
    reader
        The one that `queries` follows the index with.
    tracing
        Another one, for `trace`: that asks tables for minutes where much is on its way, and must
        keep no search waiting.
    exact
        Whether searches are exact (True) or may be approximate (False); None: by size.
    uploads
        What sees uploaded pictures; None: nothing here does.
    writing
        Asked before something is saved.
    image_texts
        What puts words into the space of an image encoder, by its id; told the text encoder, which
        may be of the same model.
    viewer
        Where pages lead whoever wants to see a series; None: nowhere.
    """

    def __init__(
        self,
        stores: Stores,
        reader: Reader,
        queries: QueryReader,
        *,
        tracing: Reader,
        exact: bool | None,
        uploads: UploadReader | None = None,
        writing: Writing = nullcontext,
        image_texts: FindImageTexts = text_tower,
        viewer: str | None = None,
    ) -> None:
        self._image_texts = image_texts
        self.template_names = template_names()  # read once: they lie in a file
        self.exact = exact
        self.uploads = uploads
        self.viewer = viewer
        self.writing = writing
        self.cohorts = Cohorts(stores.index, stores.clock, stores.ids)
        self.kept = KeptManifests(Manifests(stores.index))
        self.now_s = stores.clock.now_s
        self._stores = stores
        self._reader = reader
        self._queries = queries
        self._past = PastSnapshots(reader)
        self._recent = RecentSnapshots(reader)
        self._lock = Lock()
        self._tracing = tracing
        self._tracing_lock = Lock()

    def searchable(self, manifest: int | None = None) -> Searchable:
        """One state of the index, which all of an answer comes from.

        Parameters
        ----------
        manifest
            Its number; None: the newest one whose text encoder is loaded.

        Raises
        ------
        NotFoundError
            Nothing is indexed yet.
        ManifestExpiredError
            That manifest is not kept any more.
        """
        with self._lock:
            ready = self._queries_now()
            return Searchable(
                index=SnapshotIndex(self._snapshot(ready.snapshot, manifest)),
                encoder=ready.encoder,
                newest=ready.newest,
            )

    def snapshot(self, manifest: int | None = None) -> Snapshot:
        """The same state with its segments, for what is told of all its rows.

        Raises
        ------
        NotFoundError, ManifestExpiredError
            As `searchable`.
        """
        with self._lock:
            return self._snapshot(self._queries_now().snapshot, manifest)

    def compared(self, manifest: int | None, since: int) -> tuple[Snapshot, Snapshot | None]:
        """One state of the index, and manifest `since` as it was; None where it is not kept.

        The other one is to be compared with, and never to be shown: it may hold what has been
        suppressed since.

        Raises
        ------
        NotFoundError, ManifestExpiredError
            As `searchable`.
        """
        with self._lock:
            now = self._snapshot(self._queries_now().snapshot, manifest)
            return now, self._recent.at(since)

    def _queries_now(self) -> Followed:
        """What is searched now: the reader follows the manifests for one request at a time."""
        ready = self._queries.refresh()
        if ready is None:
            raise NotFoundError("nothing is indexed yet")
        if ready.newest == ready.snapshot.manifest.number:  # others are not as they were
            self._recent.note(ready.snapshot)
        return ready

    def _snapshot(self, now: Snapshot, manifest: int | None) -> Snapshot:
        return now if manifest is None else self._past.at(manifest)

    def image_texts(self, ready: Searchable) -> ImageTextEncoder | None:
        """What puts words into the image space of a state; None where nothing here does."""
        return self._image_texts(ready.index.state.image_encoder, ready.encoder)

    def thumbnail(self, row: IndexRow) -> bytes | None:
        """The small picture of a row as a WebP file; None where there is none to be shown."""
        return thumbnail_of(self._stores.index, row)

    def trace(self, uid: str, caller: Caller) -> tuple[int, list[dict[str, Any]]]:
        """The stages of each series of this UID or key that the caller may see.

        Before them the manifest that they are told of.
        """
        with self._tracing_lock:
            number = self._tracing.refresh().manifest.number
            if number == 0:
                raise NotFoundError("nothing is indexed yet")
            return number, list(
                trace_series(self._stores, self._tracing, uid, scopes=caller.scopes)
            )

    def waiting(self) -> dict[str, Any]:
        """How much is left to do."""
        stores = self._stores
        return {
            "openSeries": sum(1 for _ in stores.open_series.scan()),
            "queues": {
                "blob-events": stores.blob_events.length(),
                "series-check": stores.series_checks.length(),
                "series-ready": stores.series_ready.length(),
                "poison": stores.poison.length(),
            },
        }
