"""Where a closed series goes: to the GPU worker, or straight into the index.

Series without pixels, and deletions, need no GPU: the check commits them itself, so that a deleted
blob stops being searchable although no worker runs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from indexer_core.announcements import (
    Announcement,
    Announcer,
    series_indexed,
    series_removed,
)
from indexer_core.assembly import Assembly, AssemblySettings
from indexer_core.entries import Entry
from indexer_core.indexing import Indexer
from indexer_core.instance_lists import AssembledSeries
from indexer_core.messages import SeriesReady, dump_ready
from indexer_core.ports import WorkQueue
from indexer_core.stores import Stores
from indexer_core.telemetry import SILENT, Telemetry
from indexer_core.telling import Telling, parent_of_series

_Closed = tuple[SeriesReady, AssembledSeries]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """The `Hand` of the assembly.

    `indexer` gives the index writer, opened when it is first needed, or None while this program
    has no text encoder: then everything goes to the worker.
    """

    ready: WorkQueue
    indexer: Callable[[], Indexer | None]
    announcer: Announcer
    telling: Telling

    def __call__(self, closed: Sequence[_Closed]) -> Sequence[int | None]:
        """Hand on; see `indexer_core.assembly.Hand`."""
        direct = [item for item in closed if not _has_pixels(item[1])]
        indexer = self.indexer() if direct else None
        for ready, assembled in closed:
            if indexer is None or _has_pixels(assembled):
                self.ready.send(dump_ready(ready))
        if indexer is None:
            return [None] * len(closed)
        taken = commit_directly(indexer, direct, self.announcer, self.telling)
        return [taken.get(ready) for ready, _ in closed]


def build_assembly(
    stores: Stores,
    *,
    indexer: Callable[[], Indexer | None],
    announcer: Announcer,
    quiet_s: float,
    max_wait_s: float,
    telemetry: Telemetry = SILENT,
) -> Assembly:
    """The assembly protocol over any stores."""
    telling = Telling(clock=stores.clock, telemetry=telemetry)
    return Assembly(
        instances=stores.instances,
        open_series=stores.open_series,
        checks=stores.series_checks,
        lists=stores.index,
        hand=HandOver(
            ready=stores.series_ready, indexer=indexer, announcer=announcer, telling=telling
        ),
        clock=stores.clock,
        ids=stores.ids,
        settings=AssemblySettings(quiet_s=quiet_s, max_wait_s=max_wait_s),
    )


def commit_directly(
    indexer: Indexer,
    closed: Sequence[_Closed],
    announcer: Announcer,
    telling: Telling,
) -> dict[SeriesReady, int | None]:
    """Commit series that need no pixels as one segment; what revisions were taken already."""
    taken: dict[SeriesReady, int | None] = {}
    entries: dict[SeriesReady, Entry] = {}
    live: list[_Closed] = []
    for ready, assembled in closed:
        due = indexer.due(ready)
        if due.action == "taken":
            taken[ready] = due.taken
            continue
        if due.action == "index":
            entries[ready] = indexer.entry(ready, assembled, images={})
        if due.action != "suppressed":
            live.append((ready, assembled))
    if entries:
        reason = "index" if any(entry.alive for entry in entries.values()) else "remove"
        begun_s = telling.clock.now_s()
        manifest = indexer.write(list(entries.values()), reason)
        parents = [(ready, parent_of_series(ready)) for ready in entries]
        telling.committed(parents, manifest.number, begun_s)
        for entry in entries.values():
            telling.settled("indexed" if entry.alive else "removed")
    announcer.announce([_announcement(*item, indexer.manifest_number) for item in live])
    return taken


def _announcement(ready: SeriesReady, assembled: AssembledSeries, manifest: int) -> Announcement:
    if assembled.instances:
        return series_indexed(ready.series, ready.revision, ready.digest, manifest)
    return series_removed(ready.series, ready.revision, manifest)


def _has_pixels(assembled: AssembledSeries) -> bool:
    return any(instance.facts.has_pixels for instance in assembled.instances)
