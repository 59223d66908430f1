"""What the operations answer from: one index, followed for all requests."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Protocol

from function_app.homes import Home, Searchable
from function_app.manifests import KeptManifests
from function_app.trace import trace_series
from indexer_core.access import Caller
from indexer_core.cohorts.store import Cohorts
from indexer_core.errors import NotFoundError
from indexer_core.image_texts import text_tower
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import IndexRow
from indexer_core.ports import ImageTextEncoder, TextEncoder
from indexer_core.stores import Stores
from indexer_core.templates import template_names
from indexer_core.thumbnails import thumbnail_of
from indexer_core.uploads import UploadReader

FindImageTexts = Callable[[str, TextEncoder], ImageTextEncoder | None]


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
    home
        Where answers come from.
    tracing
        A reader of its own, for `trace`: that asks tables for minutes where much is on its way,
        and must keep no search waiting.
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
        home: Home,
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
        self._home = home
        self.home_name = home.name
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
            return self._home.searchable(manifest)

    def manifest(self) -> Manifest:
        """The newest manifest that the home knows."""
        with self._lock:
            return self._home.manifest()

    def snapshot(self, manifest: int | None = None) -> Snapshot:
        """The state with its segments, for what is told of all its rows.

        Raises
        ------
        NotFoundError, ManifestExpiredError
            As `searchable`.
        NotOnThisHomeError
            No segments are opened here.
        """
        with self._lock:
            return self._home.snapshot(manifest)

    def compared(self, manifest: int | None, since: int) -> tuple[Snapshot, Snapshot | None]:
        """One state of the index, and manifest `since` as it was; None where it is not kept.

        The other one is to be compared with, and never to be shown: it may hold what has been
        suppressed since.

        Raises
        ------
        NotFoundError, ManifestExpiredError, NotOnThisHomeError
            As `snapshot`.
        """
        with self._lock:
            return self._home.compared(manifest, since)

    def image_texts(self, ready: Searchable) -> ImageTextEncoder | None:
        """What puts words into the image space of a state; None where nothing here does."""
        return self._image_texts(ready.index.state.image_encoder, ready.encoder)

    def thumbnail(self, row: IndexRow) -> bytes | None:
        """The small picture of a row as a WebP file; None where there is none to be shown.

        Raises
        ------
        NotOnThisHomeError
            Rows of this home do not tell whether it may be.
        """
        self._home.refuse()
        return thumbnail_of(self._stores.index, row)

    def trace(self, uid: str, caller: Caller) -> tuple[int, list[dict[str, Any]]]:
        """The stages of each series of this UID or key that the caller may see.

        Before them the manifest that they are told of.

        Raises
        ------
        NotOnThisHomeError
            No segments are opened here.
        """
        self._home.refuse()
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
