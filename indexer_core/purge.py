"""Purging: erasing series from every store, so that a kill at any write is made good by a rerun.

Three steps. The series are hidden at once, for every reader at every manifest, and closed for good:
nothing that is looked at, assembled or written from then on keeps anything of them. Then a grace
passes, in which what began before comes to its end. Then every store erases what it holds, over and
over until a whole pass finds nothing. The receipt lies beside the index.

Whatever holds traces of series registers by being one of the `PurgeableStore` of a `Purger`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from typing import Protocol

from indexer_core.errors import ConflictError
from indexer_core.ports import BlobStore, Clock, Ids
from indexer_core.purge_receipts import Purge, Purges, Remaining, State

log = logging.getLogger(__name__)

_PASSES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is to be erased, and by what other names the stores know it.

    Parameters
    ----------
    series
        Series keys.
    urls
        Where blobs of the series lie or lay.
    uids
        Their Series and SOP Instance UIDs; not those of studies, which other series share.
    texts
        Hashes of their texts (`indexer_core.text_cache.text_hash`).
    """

    series: frozenset[str] = frozenset()
    urls: frozenset[str] = frozenset()
    uids: frozenset[str] = frozenset()
    texts: frozenset[bytes] = frozenset()

    def __or__(self, other: "Subject") -> "Subject":
        """Both together."""
        return Subject(
            series=self.series | other.series,
            urls=self.urls | other.urls,
            uids=self.uids | other.uids,
            texts=self.texts | other.texts,
        )

    def is_named_in(self, text: str) -> bool:
        """Whether a text holds a key, a URL or a UID of it."""
        return any(name in text for name in (*self.series, *self.urls, *self.uids))


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What a store has erased, by kind, and what it cannot reach yet.

    incidental: kinds that others leave behind all the time. Having found some of these does not
    mean that anything of the series was left.
    """

    counts: Mapping[str, int]
    remaining: tuple[Remaining, ...] = ()
    incidental: frozenset[str] = frozenset()

    @property
    def found_some(self) -> bool:
        """Whether there was something of the series; then another pass must find nothing."""
        return any(count for kind, count in self.counts.items() if kind not in self.incidental)


class PurgeableStore(Protocol):
    """Something that may hold traces of series.

    Both methods are safe to repeat. `erase` may be killed at any write; the next one ends the work.
    """

    def find(self, series: frozenset[str]) -> Subject:
        """By what names others may know these series, as far as this store can tell."""

    def erase(self, subject: Subject) -> Erased:
        """Erase what is here of it; counts of 0 when nothing is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PurgePolicy:
    """How long to wait between hiding and erasing.

    Parameters
    ----------
    grace_s
        What was begun before is over after this long; 0 where only one program writes.
    clock_margin_s
        By how much the clocks of writers may differ.
    """

    grace_s: float = 3600.0
    clock_margin_s: float = 60.0


ALONE = PurgePolicy(grace_s=0.0, clock_margin_s=0.0)
"""For a data directory, which has one writer at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hiding:
    """How series are hidden and closed, before anything is erased.

    Parameters
    ----------
    hide
        Masks series for every reader at every manifest, durably.
    close
        Sees to it that nothing is assembled of a series any more.
    hidden
        The series that are hidden now: one that was restored meanwhile is not erased.
    """

    hide: Callable[[frozenset[str]], object]
    close: Callable[[str], None]
    hidden: Callable[[], frozenset[str]]


class Purger:
    """Carries purges out.

    Parameters
    ----------
    blobs
        Where the receipts lie.
    stores
        Makes the stores for one run. A store that others learn names from comes after them. The
        argument is a time (seconds since the epoch): what was written earlier is nobody's work in
        progress any more.
    scrub
        Makes unreadable what the stores have only let go of.
    """

    def __init__(
        self,
        blobs: BlobStore,
        *,
        hiding: Hiding,
        stores: Callable[[float], Sequence[PurgeableStore]],
        scrub: Callable[[], None],
        clock: Clock,
        ids: Ids,
        policy: PurgePolicy,
    ) -> None:
        self._purges = Purges(blobs)
        self._hiding = hiding
        self._stores = stores
        self._scrub = scrub
        self._clock = clock
        self._ids = ids
        self._policy = policy

    def request(self, series: frozenset[str], asked: str) -> Purge:
        """Hide series and have them erased when the grace is over.

        Parameters
        ----------
        asked
            What they were asked for by: ``series`` or ``patient``.
        """
        purge = Purge(
            id=self._ids.new_id(),
            asked=asked,
            series=tuple(sorted(series)),
            requested_s=self._clock.now_s(),
        )
        # Written down first: whatever happens from here on, the next run carries on.
        self._purges.put(purge)
        return self._hide(purge)

    def carry_on(self) -> list[Purge]:
        """Carry on with everything that is not done; what was pending, as it is now.

        Raises
        ------
        ConflictError
            Somebody else works on one of them, or keeps writing what is to be erased.
        """
        return [self._carry_on(purge) for purge in list(self._purges.pending())]

    def _carry_on(self, purge: Purge) -> Purge:
        if purge.state is State.REQUESTED:
            purge = self._hide(purge)
        if self._clock.now_s() < purge.due_s:
            return purge
        return self._erase(purge)

    def _hide(self, purge: Purge) -> Purge:
        self._hiding.hide(frozenset(purge.series))
        for key in purge.series:
            self._hiding.close(key)
        due_s = self._clock.now_s() + self._policy.grace_s
        hidden = replace(purge, state=State.HIDDEN, due_s=due_s)
        self._purges.put(hidden)
        return hidden

    def _erase(self, purge: Purge) -> Purge:
        was_interrupted = purge.state is State.ERASING
        purge = replace(
            purge,
            state=State.ERASING,
            started_s=purge.started_s or self._clock.now_s(),
            n_interrupted=purge.n_interrupted + was_interrupted,
        )
        stored_s = self._purges.put(purge)
        # By the store's clock where that is behind: one that is wrong here must not make work in
        # progress look old.
        behind_s = min(self._clock.now_s(), stored_s) - self._policy.clock_margin_s
        series = frozenset(purge.series) & self._hiding.hidden()
        stores = self._stores(behind_s) if series else ()
        subject = reduce(or_, (store.find(series) for store in stores), Subject(series=series))
        purge = replace(purge, n_files=max(purge.n_files, len(subject.urls)))
        purge = self._erase_everywhere(purge, stores, subject)
        self._scrub()
        done = purge.finished(self._clock.now_s(), n_restored=len(purge.series) - len(series))
        self._purges.put(done)
        log.info("purge series=%d erased=%d", len(series), sum(done.erased.values()))
        return done

    def _erase_everywhere(
        self, purge: Purge, stores: Sequence[PurgeableStore], subject: Subject
    ) -> Purge:
        """Pass over the stores until a whole pass finds nothing; counts are kept as they come."""
        for _ in range(_PASSES):
            found = False
            remaining: list[Remaining] = []
            for store in stores:
                erased = store.erase(subject)
                remaining += erased.remaining
                total = {
                    kind: purge.erased.get(kind, 0) + count for kind, count in erased.counts.items()
                }
                purge = replace(purge, erased={**purge.erased, **total})
                found |= erased.found_some
                if any(erased.counts.values()):
                    self._purges.put(purge)
            if not found:
                return replace(purge, remaining=tuple(remaining))
        raise ConflictError("others keep writing what is to be purged; run it again later")
