"""What lies between two answers to a question: two versions of a cohort, or one and the present.

Series that are deleted now are counted and not named, as everywhere; erased ones are not known any
more, and counted by the versions that held them.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from indexer_core.cohorts.drawing import draw_again, hits_of
from indexer_core.cohorts.model import Cohort, Draft, Member
from indexer_core.index.history import ADDED, CHANGED, KINDS, REMOVED
from indexer_core.index.reader import Snapshot
from indexer_core.search import Hit

GONE = "gone"
"""Why a series was removed: its files are gone."""
NO_LONGER_MEETS = "no longer meets"
"""Why a series was removed: it is there, and is not in the later answer."""

# Worded anew by every change of templates and rules, without the series being another one.
_NOT_COMPARED = frozenset({"texts", "evidence", "x", "y", "projectionVersion"})


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberChange:
    """A series that differs.

    Parameters
    ----------
    kind
        ``added``, ``removed`` or ``changed``.
    why
        Of a removed one: `GONE` or `NO_LONGER_MEETS`.
    fields
        Of a changed one: the fields of its record that differ, ``revision`` among them.
    """

    kind: str
    member: Member
    why: str = ""
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortDifference:
    """What lies between two answers; `before` and `after` are the numbers of their manifests.

    Parameters
    ----------
    changes
        In the order of series keys.
    n_deleted
        Series of the earlier one that are deleted now.
    n_erased
        Series that purges have taken out of the earlier one since it was saved.
    """

    before: int
    after: int
    changes: tuple[MemberChange, ...]
    n_deleted: int
    n_erased: int

    def counts(self) -> dict[str, int]:
        """Number of series of each kind."""
        found = Counter(change.kind for change in self.changes)
        return {kind: found[kind] for kind in KINDS}

    @property
    def is_empty(self) -> bool:
        """Whether both are the same."""
        return not self.changes and not self.n_deleted


def compare(
    before: Cohort, after: Draft, *, then: Snapshot, now: Snapshot, hidden: frozenset[str]
) -> CohortDifference:
    """Compare a cohort with another one, or with what its question is answered now.

    Parameters
    ----------
    then, now
        Snapshots of the manifests that the two were drawn from.
    hidden
        Series that are suppressed now.
    """
    earlier = {member.series_key: member for member in before.members}
    later = {member.series_key: member for member in after.members}
    n_deleted = len(earlier.keys() & hidden)
    there = {hit.key for hit in hits_of(now, before)}
    shown_then = {hit.key: hit for hit in hits_of(then, before)}
    shown_now = {hit.key: hit for hit in hits_of(now, after)}
    changes = []
    for key in sorted((earlier.keys() | later.keys()) - hidden):
        if key not in later:
            why = NO_LONGER_MEETS if key in there else GONE
            changes.append(MemberChange(kind=REMOVED, member=earlier[key], why=why))
        elif key not in earlier:
            changes.append(MemberChange(kind=ADDED, member=later[key]))
        elif key in shown_then and key in shown_now:
            fields = _differing(shown_then[key], shown_now[key])
            if fields:
                changes.append(MemberChange(kind=CHANGED, member=later[key], fields=fields))
    return CohortDifference(
        before=before.manifest,
        after=after.manifest,
        changes=tuple(changes),
        n_deleted=n_deleted,
        n_erased=before.n_erased,
    )


def news(cohort: Cohort, *, then: Snapshot, now: Snapshot) -> CohortDifference:
    """What has come, gone and changed since a cohort was drawn: the standing question.

    Parameters
    ----------
    then
        A snapshot of the cohort's manifest.
    now
        The newest one.
    """
    again = draw_again(now, cohort)
    return compare(cohort, again, then=then, now=now, hidden=now.manifest.suppressed)


def _differing(then: Hit, now: Hit) -> tuple[str, ...]:
    if then.segment.loaded.segment.id == now.segment.loaded.segment.id and then.row == now.row:
        return ()
    before, after = _compared(then), _compared(now)
    return tuple(sorted(k for k in before | after if before.get(k) != after.get(k)))


def _compared(hit: Hit) -> dict[str, Any]:
    record = hit.segment.loaded.rows.texts.record(hit.row) or {}
    return {name: value for name, value in record.items() if name not in _NOT_COMPARED}
