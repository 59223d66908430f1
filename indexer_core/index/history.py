"""Comparing manifests: which series came, went or changed between two of them.

Only the rows of segments that one of the two lacks are read whole. Of the segments that both have,
the rows of the same series count too: they decide who wins, on either side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from indexer_core.index.manifest import FileRef, Manifest

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
KINDS = (ADDED, REMOVED, CHANGED)

_ORDER = ("revision", "recipe", "writeId")
_SCHEMA = pa.schema(
    [
        ("seriesKey", pa.string()),
        ("revision", pa.int64()),
        ("recipe", pa.int64()),
        ("writeId", pa.string()),
        ("digest", pa.string()),
        ("alive", pa.bool_()),
        ("seriesInstanceUid", pa.string()),
        ("studyInstanceUid", pa.string()),
        ("modality", pa.string()),
        ("bodyRegion", pa.string()),
    ]
)
_SAME = ("revision", "recipe", "digest")

ReadRows = Callable[[FileRef], pa.Table]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The row of a series that wins: its revision, and the recipe that described it."""

    revision: int
    recipe: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesChange:
    """One series that differs; `before` is None for an added one, `after` for a removed one."""

    kind: str
    series_key: str
    before: Version | None
    after: Version | None
    series_instance_uid: str
    study_instance_uid: str
    modality: str
    body_region: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What lies between two manifests.

    Parameters
    ----------
    before, after
        Their numbers.
    series
        The series that differ, in key order.
    n_hidden
        Series that differ and are not told, because they are deleted now.
    settings
        What else changed: ``"text encoder"`` or ``"map"`` -> (before, after).
    """

    before: int
    after: int
    series: tuple[SeriesChange, ...]
    n_hidden: int
    settings: dict[str, tuple[str, str]]

    def counts(self) -> dict[str, int]:
        """Number of series of each kind."""
        return {kind: sum(one.kind == kind for one in self.series) for kind in KINDS}


def compare(
    before: Manifest, after: Manifest, *, read: ReadRows, hidden: frozenset[str]
) -> Difference:
    """Compare what two manifests show.

    Parameters
    ----------
    read
        Gives the table of a rows file.
    hidden
        Series that are suppressed now: no manifest shows them any more, whenever it was made.
    """
    changes = _changes(before, after, read)
    told = tuple(change for change in changes if change.series_key not in hidden)
    return Difference(
        before=before.number,
        after=after.number,
        series=told,
        n_hidden=len(changes) - len(told),
        settings=_settings_changed(before, after),
    )


def _changes(before: Manifest, after: Manifest, read: ReadRows) -> list[SeriesChange]:
    then = {segment.rows.name: segment.rows for segment in before.segments}
    now = {segment.rows.name: segment.rows for segment in after.segments}
    gone = [_columns(read(file)) for name, file in then.items() if name not in now]
    come = [_columns(read(file)) for name, file in now.items() if name not in then]
    if not gone and not come:
        return []
    keys = pc.unique(pa.concat_tables([*gone, *come]).column("seriesKey"))
    both = [
        _columns(rows).filter(pc.is_in(rows.column("seriesKey"), keys))
        for rows in (read(file) for name, file in then.items() if name in now)
    ]
    return [_change_of(row) for row in _differing([*gone, *both], [*come, *both]).to_pylist()]


def _columns(rows: pa.Table) -> pa.Table:
    return rows.select(_SCHEMA.names).cast(_SCHEMA)


def _differing(before: Sequence[pa.Table], after: Sequence[pa.Table]) -> pa.Table:
    """Living rows of either side, side by side, where they are not the same; in key order."""
    joined = _live(before).join(
        _live(after), keys="seriesKey", join_type="full outer", right_suffix="_after"
    )
    same = [pc.equal(joined.column(name), joined.column(f"{name}_after")) for name in _SAME]
    differs = pc.invert(pc.fill_null(reduce(pc.and_, same), False))
    return joined.filter(differs).sort_by("seriesKey")


def _live(tables: Sequence[pa.Table]) -> pa.Table:
    """The winning row of every series, where it is alive."""
    order = [(name, "ascending") for name in ("seriesKey", *_ORDER)]
    rows = pa.concat_tables([_SCHEMA.empty_table(), *tables]).sort_by(order)
    keys = rows.column("seriesKey").combine_chunks()
    # Of equal keys the last is the highest; behind the very last row there is none to compare.
    last = pa.array([True] * min(len(keys), 1), pa.bool_())
    is_highest = pa.concat_arrays([pc.not_equal(keys[:-1], keys[1:]), last])
    return rows.filter(pc.and_(is_highest, rows.column("alive").combine_chunks()))


def _change_of(row: Mapping[str, Any]) -> SeriesChange:
    before, after = _version(row, ""), _version(row, "_after")
    told = "" if after is None else "_after"
    return SeriesChange(
        kind=ADDED if before is None else REMOVED if after is None else CHANGED,
        series_key=row["seriesKey"],
        before=before,
        after=after,
        series_instance_uid=row[f"seriesInstanceUid{told}"],
        study_instance_uid=row[f"studyInstanceUid{told}"],
        modality=row[f"modality{told}"],
        body_region=row[f"bodyRegion{told}"],
    )


def _version(row: Mapping[str, Any], suffix: str) -> Version | None:
    revision = row[f"revision{suffix}"]
    if revision is None:
        return None
    return Version(revision=revision, recipe=row[f"recipe{suffix}"])


def _settings_changed(before: Manifest, after: Manifest) -> dict[str, tuple[str, str]]:
    then, now = _settings(before), _settings(after)
    return {
        name: (then.get(name, ""), now.get(name, ""))
        for name in {**then, **now}
        if then.get(name, "") != now.get(name, "")
    }


def _settings(manifest: Manifest) -> dict[str, str]:
    encoders = {f"{space.name} encoder": space.live for space in manifest.spaces}
    projection = manifest.projection
    return {**encoders, "map": "" if projection is None else projection.version}
