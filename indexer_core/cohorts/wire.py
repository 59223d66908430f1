"""Cohorts as the API answers them; the command line prints the same values.

With `least`, counts from 1 to `least` - 1 are null (see `indexer_core.cohorts.balance`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from indexer_core.cohorts.balance import (
    RECORD_FIELDS,
    Card,
    Cell,
    card_of,
    mean_differences,
    shown_counts,
)
from indexer_core.cohorts.comparing import CohortDifference, MemberChange
from indexer_core.cohorts.drawing import columns_of, hits_of, shown
from indexer_core.cohorts.model import Cohort
from indexer_core.cohorts.pinned import pin_name
from indexer_core.index.reader import Snapshot
from indexer_core.search import Hit, record_of


def records_of(
    cohort: Cohort, then: Snapshot, scopes: frozenset[str] | None = None
) -> list[tuple[Hit, dict[str, Any]]]:
    """The records of a cohort as its manifest had them, in the order of series keys.

    Those of deleted and of erased series are not among them.

    Parameters
    ----------
    then
        A snapshot of the cohort's manifest.
    scopes
        Only those of these scopes.
    """
    return [(hit, record_of(hit, then)) for hit in hits_of(then, cohort, scopes)]


def balance_of(
    cohort: Cohort, then: Snapshot, *, least: int = 0, scopes: frozenset[str] | None = None
) -> Card:
    """The balance card of what a cohort shows."""
    return card_of(columns_of(then, shown(then, cohort, scopes), RECORD_FIELDS), least)


def summary(cohort: Cohort) -> dict[str, Any]:
    """What a list of cohorts says of one."""
    question = cohort.question
    created = datetime.fromtimestamp(cohort.created_s, UTC)
    return {
        "name": cohort.name,
        "version": cohort.version,
        "kind": str(cohort.kind),
        "created": created.isoformat(timespec="seconds"),
        "createdBy": cohort.created_by,
        "purpose": cohort.purpose,
        "text": question.text,
        "rest": question.rest,
        "filters": list(question.filters),
        "alternatives": [list(branch) for branch in question.alternatives],
        "withUnknown": list(question.with_unknown),
        "scopes": None if question.scopes is None else list(question.scopes),
        "manifest": cohort.manifest,
        "pin": pin_name(cohort.name, cohort.version),
        "series": len(cohort.members),
        "erased": cohort.n_erased,
        "digest": f"sha256:{cohort.digest}",
        "asSaved": cohort.is_as_saved,
    }


def whole(
    cohort: Cohort, then: Snapshot, *, least: int = 0, scopes: frozenset[str] | None = None
) -> dict[str, Any]:
    """A summary, the attrition table and the balance card.

    `series` are those that it had when it was saved, less the erased ones; `deleted` those of them
    that are not shown: deleted now, or of other scopes.
    """
    n_shown = shown(then, cohort, scopes).n_passed
    saved, _ = shown_counts([len(cohort.members), n_shown], least)
    deleted, erased = (_few(n, least) for n in (len(cohort.members) - n_shown, cohort.n_erased))
    steps = cohort.attrition
    counts = shown_counts([step.n_left for step in steps], least)
    return {
        **summary(cohort),
        "series": saved,
        "deleted": deleted,
        "erased": erased,
        "attrition": [
            {"label": step.label, "series": n, "unknown": _few(step.n_unknown, least)}
            for step, n in zip(steps, counts, strict=True)
        ],
        "card": card(balance_of(cohort, then, least=least, scopes=scopes)),
    }


def card(found: Card) -> dict[str, Any]:
    """A balance card."""
    return {
        "series": found.n_series,
        "patients": found.n_patients,
        "studies": found.n_studies,
        # Null: any of it would tell too much.
        "fields": {
            field: None if cells is None else [_cell(cell) for cell in cells]
            for field, cells in found.fields.items()
        },
    }


def beside(one: Card, other: Card) -> dict[str, Any]:
    """Two cards, and the standardised mean difference of every value."""
    return {"cards": [card(one), card(other)], "differences": mean_differences(one, other)}


def difference(found: CohortDifference) -> dict[str, Any]:
    """What lies between two answers."""
    return {
        "before": found.before,
        "after": found.after,
        "counts": {**found.counts(), "deleted": found.n_deleted, "erased": found.n_erased},
        "series": [change(one) for one in found.changes],
    }


def change(one: MemberChange) -> dict[str, Any]:
    """One series that differs."""
    return {
        "change": one.kind,
        "seriesInstanceUid": one.member.series_instance_uid,
        "studyInstanceUid": one.member.study_instance_uid,
        "seriesKey": one.member.series_key,
        "why": one.why,
        "fields": list(one.fields),
    }


def _cell(cell: Cell) -> Mapping[str, Any]:
    share = None if cell.share is None else round(cell.share, 4)
    return {
        "value": cell.value,
        "series": cell.n_series,
        "patients": cell.n_patients,
        "share": share,
    }


def _few(n: int, least: int) -> int | None:
    return None if 0 < n < least else n
