"""Everything that a program keeps its state in, whatever the technology."""

from dataclasses import dataclass

from indexer_core.ports import BlobStore, Clock, Ids, RowStore, WorkQueue
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources

ROW_TABLES = ("blobs", "instances", "open_series", "rejects", "jobs")
QUEUES = ("blob-events", "series-check", "series-ready", "poison")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The ports of one index.

    index: segments, manifests, instance lists, caches. blobs, instances, open_series,
    reject_rows, jobs: tables. blob_events, series_checks, series_ready, poison: queues.
    """

    index: BlobStore
    blobs: RowStore
    instances: RowStore
    open_series: RowStore
    reject_rows: RowStore
    jobs: RowStore
    blob_events: WorkQueue
    series_checks: WorkQueue
    series_ready: WorkQueue
    poison: WorkQueue
    sources: Sources
    clock: Clock
    ids: Ids

    @property
    def rejects(self) -> Rejects:
        """What was set aside."""
        return Rejects(self.reject_rows, self.clock)
