"""What the operations answer from: one index, followed for all requests."""

from threading import Lock
from typing import Any

from function_app.trace import trace_series
from indexer_core.access import Caller
from indexer_core.errors import NotFoundError
from indexer_core.index.adoption import QueryReader, Searchable
from indexer_core.index.reader import Reader
from indexer_core.stores import Stores


class Service:
    """An index that is followed; safe for several threads.

    Parameters
    ----------
    reader
        The one that `queries` follows the index with.
    exact
        Whether searches are exact (True) or may be approximate (False); None: by size.
    """

    def __init__(
        self, stores: Stores, reader: Reader, queries: QueryReader, *, exact: bool | None
    ) -> None:
        self.exact = exact
        self._stores = stores
        self._reader = reader
        self._queries = queries
        self._lock = Lock()

    def searchable(self) -> Searchable:
        """The newest manifest whose text encoder is loaded: all of an answer comes from it.

        Raises
        ------
        NotFoundError
            Nothing is indexed yet.
        """
        with self._lock:  # the reader follows the manifests for one request at a time
            ready = self._queries.refresh()
        if ready is None:
            raise NotFoundError("nothing is indexed yet")
        return ready

    def trace(self, uid: str, caller: Caller) -> tuple[int, list[dict[str, Any]]]:
        """The stages of each series of this UID or key that the caller may see.

        Beside them the manifest that they are told of.
        """
        self.searchable()
        with self._lock:
            stages = list(trace_series(self._stores, self._reader, uid, scopes=caller.scopes))
            return self._reader.snapshot.manifest.number, stages

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
