"""Where a closed series goes: to the GPU worker, or straight into the index.

Series without pixels, and deletions, need no GPU: the check commits them itself, so that a deleted
blob stops being searchable although no worker runs.
"""

from collections.abc import Callable
from dataclasses import dataclass

from indexer_core.assembly import AssembledSeries, SeriesReady, dump_ready
from indexer_core.indexing import Indexer
from indexer_core.ports import WorkQueue


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The `Hand` of the assembly.

    `indexer` opens the index writer when it is first needed; None means that this program has no
    text encoder, and everything goes to the worker.
    """

    ready: WorkQueue
    indexer: Callable[[], Indexer] | None

    def __call__(self, ready: SeriesReady, assembled: AssembledSeries) -> int | None:
        """Hand on; see `indexer_core.assembly.Hand`."""
        needs_pixels = any(instance.facts.has_pixels for instance in assembled.instances)
        if needs_pixels or self.indexer is None:
            self.ready.send(dump_ready(ready))
            return None
        return commit_directly(self.indexer(), ready, assembled)


def commit_directly(indexer: Indexer, ready: SeriesReady, assembled: AssembledSeries) -> int | None:
    """Commit a series that needs no pixels; the revision already taken by other content, if any."""
    due = indexer.due(ready)
    if due.action == "taken":
        return due.taken
    if due.action == "index":
        reason = "index" if assembled.instances else "remove"
        indexer.write([indexer.entry(ready, assembled, image=None)], reason)
    return None
