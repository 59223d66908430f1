"""Drawing a cohort: which series of a snapshot answer a question, and where the others were lost.

The attrition table has one line per condition, in the order in which they were given. A series that
is left out only because a field is unknown is counted in the line that asks for that field first.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from indexer_core.cohorts.model import Cohort, Draft, Kind, Member, Question, Step, question_of
from indexer_core.errors import NotFoundError
from indexer_core.filters import Filter
from indexer_core.index.reader import Snapshot
from indexer_core.named import Names
from indexer_core.search import Hit, listing
from indexer_core.selection import Conditions, Selection, select

EVERYTHING = "series in the index"
IN_SCOPES = "series in these scopes"
NAMED = "named one by one"
STILL_THERE = "still there"


def draw(snapshot: Snapshot, question: Question) -> Draft:
    """The series that meet the conditions of a question.

    Raises
    ------
    InvalidInputError
        A filter is not one that this software knows.
    """
    conditions = question.conditions()
    return Draft(
        kind=Kind.COMPLETE,
        question=question,
        manifest=snapshot.manifest.number,
        members=_members(listing(snapshot, select(snapshot, conditions))),
        attrition=tuple(_attrition(snapshot, conditions)),
    )


def draw_named(
    snapshot: Snapshot,
    names: Collection[str],
    *,
    text: str = "",
    scopes: frozenset[str] | None = None,
) -> Draft:
    """The series that have these Series Instance UIDs, or have them as their keys or short keys.

    Names of series that are not there are counted and not kept.

    Raises
    ------
    NotFoundError
        None of them is there.
    InvalidInputError
        The text is too long.
    """
    allowed = select(snapshot, Conditions(scopes=scopes))
    named = Conditions(scopes=scopes, series=Names.of(names))
    found = tuple(listing(snapshot, select(snapshot, named)))
    if not found:
        raise NotFoundError("no indexed series has one of these UIDs")
    return Draft(
        kind=Kind.UIDS,
        question=question_of(Conditions(scopes=scopes), text),
        manifest=snapshot.manifest.number,
        members=_members(found),
        attrition=(
            Step(label=_first(scopes), n_left=allowed.n_passed),
            Step(label=f"{NAMED}, by {len(set(names)):,} names", n_left=len(found)),
        ),
    )


def draw_again(snapshot: Snapshot, cohort: Cohort) -> Draft:
    """The answer to the same question at another manifest.

    Of a cohort whose series were named one by one: those that are still there.
    """
    if cohort.kind is Kind.COMPLETE:
        return draw(snapshot, cohort.question)
    members = _members(hits_of(snapshot, cohort))
    return Draft(
        kind=cohort.kind,
        question=cohort.question,
        manifest=snapshot.manifest.number,
        members=members,
        attrition=(
            Step(label=NAMED, n_left=len(cohort.members)),
            Step(label=STILL_THERE, n_left=len(members)),
        ),
    )


def hits_of(
    snapshot: Snapshot, drawn: Draft, scopes: frozenset[str] | None = None
) -> Iterator[Hit]:
    """The series of a cohort that a snapshot shows, in the order of their keys.

    A snapshot of the cohort's own manifest lacks those that are deleted now.

    Parameters
    ----------
    scopes
        Only those of these scopes, whatever the cohort holds.
    """
    return listing(snapshot, shown(snapshot, drawn, scopes))


def shown(snapshot: Snapshot, drawn: Draft, scopes: frozenset[str] | None = None) -> Selection:
    """The same series as a selection of rows."""
    allowed = select(snapshot, Conditions(scopes=scopes))
    keys = pa.array([member.series_key for member in drawn.members], pa.string())
    return _of_keys(snapshot, allowed, keys)


def columns_of(
    snapshot: Snapshot, selection: Selection, fields: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Some fields of the records of a selection, in no order, without unpacking any record.

    Parameters
    ----------
    fields
        Such as filters know.
    """
    for segment, mask in zip(snapshot.segments, selection.rows, strict=True):
        rows = segment.loaded.rows.table.select(fields).filter(pa.array(mask))
        yield from rows.to_pylist()


def _attrition(snapshot: Snapshot, conditions: Conditions) -> Iterator[Step]:
    step = Conditions(with_unknown=conditions.with_unknown, scopes=conditions.scopes)
    yield Step(label=_first(step.scopes), n_left=select(snapshot, step).n_passed)
    seen: set[str] = set()
    for condition in conditions.filters:
        step = replace(step, filters=(*step.filters, condition))
        yield _step(snapshot, step, str(condition), {condition.field} - seen)
        seen.add(condition.field)
    if conditions.alternatives:
        step = replace(step, alternatives=conditions.alternatives)
        fields = {each.field for branch in conditions.alternatives for each in branch}
        yield _step(snapshot, step, _told(conditions.alternatives), fields - seen)


def _step(snapshot: Snapshot, step: Conditions, label: str, fields: Collection[str]) -> Step:
    n_left = select(snapshot, step).n_passed
    lenient = replace(step, with_unknown=step.with_unknown | frozenset(fields))
    n_unknown = select(snapshot, lenient).n_passed - n_left
    return Step(label=label, n_left=n_left, n_unknown=n_unknown)


def _told(alternatives: Sequence[Sequence[Filter]]) -> str:
    return " or ".join(" and ".join(map(str, branch)) for branch in alternatives)


def _first(scopes: frozenset[str] | None) -> str:
    return EVERYTHING if scopes is None else IN_SCOPES


def _of_keys(snapshot: Snapshot, allowed: Selection, wanted: pa.Array) -> Selection:
    """Those of the allowed rows that have one of the wanted keys."""
    rows = []
    for segment, mask in zip(snapshot.segments, allowed.rows, strict=True):
        keys = segment.loaded.rows.column("seriesKey").cast(pa.string())
        rows.append(mask & pc.is_in(keys, value_set=wanted).to_numpy(zero_copy_only=False))
    n_passed = sum(int(np.count_nonzero(mask)) for mask in rows)
    return Selection(rows=tuple(rows), n_passed=n_passed, unknown={})


def _members(hits: "Sequence[Hit] | Iterator[Hit]") -> tuple[Member, ...]:
    return tuple(
        Member(
            series_key=hit.key,
            series_instance_uid=_text(hit, "seriesInstanceUid"),
            study_instance_uid=_text(hit, "studyInstanceUid"),
        )
        for hit in hits
    )


def _text(hit: Hit, column: str) -> str:
    return str(hit.segment.loaded.rows.column(column)[hit.row].as_py() or "")
