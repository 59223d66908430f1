"""While new collections are filled, series that are suppressed go from those that are searched."""

from collections.abc import Callable

from indexer_core.adapters.milvus.settling import Told
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.ports import Clock


class Heeding:
    """Hides what the newest manifest hides, and whatever is suppressed from then on.

    The collections in use are followed no more, so that nothing has to come back there.

    Parameters
    ----------
    hide
        Deletes series from the collections in use.
    every_s
        How often it is looked whether there are others.
    told
        Is told how far the filling is.
    """

    def __init__(
        self,
        manifests: Manifests,
        newest: Manifest,
        *,
        hide: Callable[[frozenset[str]], None],
        clock: Clock,
        every_s: float,
        told: Told,
    ) -> None:
        self._manifests = manifests
        self._newest = newest
        self._hide = hide
        self._clock = clock
        self._every_s = every_s
        self._told = told
        self._looked_s = clock.now_s()
        hide(newest.suppressed)

    def telling(self, done: int, total: int) -> None:
        """Told between two batches how far the filling is; now and then it looks."""
        self._told(done, total)
        if self._clock.now_s() - self._looked_s < self._every_s:
            return
        hidden = self._newest.suppressed
        self._newest = self._manifests.newest(self._newest)
        self._looked_s = self._clock.now_s()
        if self._newest.suppressed - hidden:
            self._hide(self._newest.suppressed - hidden)
