"""Hits by series, study or patient: a group ranks as its best series does.

Studies and patients of two scopes never meet, whatever they are called there. A series of which
the study or patient is not known is a group of its own.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.filters import UNKNOWN
from indexer_core.index.loaded import LiveRows, OpenedRows
from indexer_core.paging import Ranking
from indexer_core.search import Hit
from indexer_core.selection import Selection

_GROWTH = 4
_NOBODY = ("", UNKNOWN)


class Level(StrEnum):
    """What is counted, ranked and paged."""

    SERIES = "series"
    STUDY = "study"
    PATIENT = "patient"


COLUMNS = {Level.STUDY: "studyInstanceUid", Level.PATIENT: "patientKey"}
"""By level: the field that says in which group, within its scope, a series is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Series of one study or patient, or one series alone, with the best of them.

    name: scope, and Study Instance UID or patient key; None where the series stands alone.
    """

    best: Hit
    name: tuple[str, str] | None

    @property
    def score(self) -> float:
        """What it is ranked by."""
        return self.best.score

    @property
    def key(self) -> str:
        """The key of its best series."""
        return self.best.key


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A selected series of a group."""

    series_key: str
    series_instance_uid: str


def grouped(ranking: Ranking[Hit], level: Level) -> Ranking[Group]:
    """The ranking of groups that follows from one of series.

    Going on where a page ended, a group may be told again only where its best series was erased
    in between: then by its next one.
    """

    def first(n: int) -> list[Group]:
        depth = n if level is Level.SERIES else _GROWTH * n
        while True:
            hits = ranking(depth)
            groups: dict[object, Group] = {}
            for hit in hits:
                name = _name(hit, level)
                groups.setdefault(name or hit.key, Group(best=hit, name=name))
            if len(groups) >= n or len(hits) < depth:
                return list(groups.values())[:n]
            depth *= _GROWTH

    return first


def count_groups(snapshot: LiveRows, selection: Selection, level: Level) -> int:
    """How many groups the selected series are in."""
    if level is Level.SERIES:
        return selection.n_passed
    found: list[pa.Array] = []
    alone = 0
    for segment, rows in zip(snapshot.segments, selection.rows, strict=True):
        names, is_known = _names(segment.loaded.rows, level, np.flatnonzero(rows))
        found.append(names)
        alone += int(np.count_nonzero(~is_known))
    if not found:
        return 0
    return alone + int(pc.count_distinct(pa.chunked_array(found)).as_py())


def members_of(
    snapshot: LiveRows, selection: Selection, groups: Sequence[Group], level: Level
) -> list[list[Member]]:
    """Of each group its selected series, by key; of many groups in one pass.

    Its best series alone where none of it is selected.
    """
    wanted = {group.name for group in groups if group.name is not None}
    found: dict[tuple[str, str], list[Member]] = {name: [] for name in wanted}
    if level in COLUMNS and wanted:
        for segment, rows in zip(snapshot.segments, selection.rows, strict=True):
            for name, member in _named(segment.loaded.rows, level, rows, wanted):
                found[name].append(member)
    for members in found.values():
        members.sort(key=lambda member: member.series_key)
    named = [found[group.name] if group.name is not None else [] for group in groups]
    return [own or [_member(each.best)] for own, each in zip(named, groups, strict=True)]


def _name(hit: Hit, level: Level) -> tuple[str, str] | None:
    column = COLUMNS.get(level)
    if column is None:
        return None
    rows = hit.segment.loaded.rows
    name = rows.column(column)[hit.row].as_py()
    scope = rows.column("scope")[hit.row].as_py()
    return None if name is None or name in _NOBODY else (scope or "", name)


def _member(hit: Hit) -> Member:
    uid = hit.segment.loaded.rows.column("seriesInstanceUid")[hit.row].as_py()
    return Member(series_key=hit.key, series_instance_uid=uid or "")


def _names(
    opened: OpenedRows, level: Level, rows: NDArray[np.int64]
) -> tuple[pa.Array, NDArray[np.bool_]]:
    """Scope and name, as one text, of those of the rows that have one; and which do."""
    names = _texts(opened, COLUMNS[level], rows)
    is_known = np.asarray(
        pc.invert(pc.or_(pc.equal(names, _NOBODY[0]), pc.equal(names, _NOBODY[1])))
    ).astype(np.bool_)
    mask = pa.array(is_known)
    scopes = _texts(opened, "scope", rows).filter(mask)
    return pc.binary_join_element_wise(scopes, names.filter(mask), "\n"), is_known


def _named(
    opened: OpenedRows,
    level: Level,
    selected: NDArray[np.bool_],
    wanted: AbstractSet[tuple[str, str]],
) -> list[tuple[tuple[str, str], Member]]:
    """The selected rows of a segment whose group is one of those that are wanted."""
    names = pa.array([name for _, name in wanted], type=pa.string())
    is_named = pc.is_in(opened.column(COLUMNS[level]).cast(pa.string()), value_set=names)
    rows = np.flatnonzero(selected & np.asarray(is_named).astype(np.bool_))
    columns = ("scope", COLUMNS[level], "seriesKey", "seriesInstanceUid")
    values = zip(*(_texts(opened, name, rows).to_pylist() for name in columns), strict=True)
    return [
        ((scope, name), Member(series_key=key, series_instance_uid=uid))
        for scope, name, key, uid in values
        if (scope, name) in wanted
    ]


def _texts(opened: OpenedRows, name: str, rows: NDArray[np.int64]) -> pa.Array:
    """Values of some rows as texts; "" where there is none."""
    taken = opened.column(name).take(pa.array(rows, type=pa.int64()))
    return pc.fill_null(taken.cast(pa.string()), "")
