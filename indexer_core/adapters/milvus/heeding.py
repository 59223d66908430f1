"""During a long step, series that are suppressed meanwhile go from all collections.

And which were suppressed at some time, so that more may be gone than two states say.
"""

from collections.abc import Iterable, Sequence

from indexer_core.adapters.milvus.contents import Contents
from indexer_core.adapters.milvus.ledger import Ledger
from indexer_core.adapters.milvus.settling import Settler, Told
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Snapshot
from indexer_core.ports import Clock

_MOST_READ = 256
"""Manifests between two states that are read, at most."""


class Heeding:
    """Looks between two batches whether other series are suppressed by now.

    Parameters
    ----------
    newest
        The manifest that is followed.
    contents
        What it is in Milvus: as if what is found to be suppressed were so in it.
    settlers
        Of the collections that are made equal to it, first; and of all others that may be asked.
    every_s
        How often it is looked whether there are others.
    told
        Is told how far the step is.
    """

    def __init__(
        self,
        manifests: Manifests,
        newest: Manifest,
        contents: Contents,
        settlers: Sequence[Settler],
        *,
        ledger: Ledger,
        clock: Clock,
        every_s: float,
        told: Told,
    ) -> None:
        self._manifests = manifests
        self._newest = newest
        self._contents = contents
        self._settled, *self._others = settlers
        self._ledger = ledger
        self._clock = clock
        self._every_s = every_s
        self._told = told
        self._looked_s = clock.now_s()

    def erase(self, keys: frozenset[str]) -> None:
        """Delete series that were suppressed at some time since.

        What the manifest shows again stays where it is searched: it is settled with the rest.
        """
        self._settled.erase(keys & self._contents.suppressed)
        for each in self._others:
            each.erase(keys)

    def telling(self, done: int, total: int) -> None:
        """Told between two batches how far the step is; now and then it looks."""
        self._told(done, total)
        if self._clock.now_s() - self._looked_s < self._every_s:
            return
        hidden = self._newest.suppressed
        self._newest = self._manifests.newest(self._newest)
        self._looked_s = self._clock.now_s()
        if self._newest.suppressed - hidden:
            self._hide(self._newest.suppressed - hidden)

    def _hide(self, keys: frozenset[str]) -> None:
        """Delete what the newest manifest is the first to hide, as far as is known."""
        entry = self._ledger.entry
        noted = dict.fromkeys((*entry.following.attempts, self._newest.number))
        self._ledger.write(entry.noted(attempts=tuple(noted)))
        self._contents.hide(keys)
        self.erase(keys)


def erased_by(
    manifests: Manifests, attempts: Iterable[int], before: Snapshot
) -> frozenset[str] | None:
    """Series that unfinished attempts may have deleted; None where that cannot be told."""
    found: set[str] = set()
    for number in attempts:
        manifest = manifests.read(number)
        if not isinstance(manifest, Manifest):
            return None
        found |= manifest.suppressed
    return frozenset(found) - before.manifest.suppressed


def suppressed_between(
    manifests: Manifests, before: Snapshot, newest: Manifest
) -> frozenset[str] | None:
    """Series that were suppressed at some time since; None where that cannot be told.

    Then a purge, which makes manifests expire, may have gone by as well.
    """
    between = range(before.manifest.number + 1, newest.number)
    if len(between) > _MOST_READ:
        return None
    return erased_by(manifests, between, before)
