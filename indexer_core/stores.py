"""Everything that a program keeps its state in, whatever the technology."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from indexer_core.ports import BlobStore, Clock, Ids, RowStore, VectorFiles, WorkQueue
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources

if TYPE_CHECKING:
    # Loaded where it is first used: what only handles queues and rows needs no pyarrow.
    from indexer_core.index.files import ImmutableFiles
    from indexer_core.index.reader import Reader

ROW_TABLES = ("blobs", "instances", "open_series", "rejects", "jobs", "audit")
QUEUES = ("blob-events", "series-check", "series-ready", "poison")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The ports of one index.

    index: segments, manifests, instance lists, caches. blobs, instances, open_series,
    reject_rows, jobs, audit: tables. blob_events, series_checks, series_ready, poison: queues.
    files: opens the immutable files of `index`; None: they are read into memory.
    """

    index: BlobStore
    blobs: RowStore
    instances: RowStore
    open_series: RowStore
    reject_rows: RowStore
    jobs: RowStore
    audit: RowStore
    blob_events: WorkQueue
    series_checks: WorkQueue
    series_ready: WorkQueue
    poison: WorkQueue
    sources: Sources
    clock: Clock
    ids: Ids
    files: "ImmutableFiles | None" = None

    @property
    def rejects(self) -> Rejects:
        """What was set aside."""
        return Rejects(self.reject_rows, self.clock)

    def reader(
        self,
        vector_files: VectorFiles,
        *,
        searched: Collection[str] = (),
        limit_bytes: int | None = None,
    ) -> "Reader":
        """A reader of the index; see `indexer_core.index.reader.Reader`."""
        from indexer_core.index.reader import Reader

        return Reader(
            self.index,
            vector_files,
            files=self.files,
            searched=searched,
            limit_bytes=limit_bytes,
        )
