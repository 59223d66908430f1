"""Where a closed series goes: to the GPU worker, or straight into the index.

Series without pixels, and deletions, need no GPU: the check commits them itself, so that a deleted
blob stops being searchable although no worker runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer_core.indexing import Entry, Indexer
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady, dump_ready
from indexer_core.ports import WorkQueue

_Closed = tuple[SeriesReady, AssembledSeries]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The `Hand` of the assembly.

    `indexer` opens the index writer when it is first needed; None means that this program has no
    text encoder, and everything goes to the worker.
    """

    ready: WorkQueue
    indexer: Callable[[], Indexer] | None

    def __call__(self, closed: Sequence[_Closed]) -> Sequence[int | None]:
        """Hand on; see `indexer_core.assembly.Hand`."""
        direct: list[_Closed] = []
        for ready, assembled in closed:
            if self.indexer is None or _has_pixels(assembled):
                self.ready.send(dump_ready(ready))
            else:
                direct.append((ready, assembled))
        if not direct or self.indexer is None:
            return [None] * len(closed)
        taken = commit_directly(self.indexer(), direct)
        return [taken.get(ready) for ready, _ in closed]


def commit_directly(indexer: Indexer, closed: Sequence[_Closed]) -> dict[SeriesReady, int | None]:
    """Commit series that need no pixels as one segment; what revisions were taken already."""
    taken: dict[SeriesReady, int | None] = {}
    entries: dict[SeriesReady, Entry] = {}
    for ready, assembled in closed:
        due = indexer.due(ready)
        if due.action == "taken":
            taken[ready] = due.taken
        elif due.action == "index":
            entries[ready] = indexer.entry(ready, assembled, image=None)
    if entries:
        reason = "index" if any(entry.alive for entry in entries.values()) else "remove"
        indexer.write(list(entries.values()), reason)
    return taken


def _has_pixels(assembled: AssembledSeries) -> bool:
    return any(instance.facts.has_pixels for instance in assembled.instances)
