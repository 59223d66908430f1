"""Series that were found, fetched from the `series` collection as rows that the core looks at.

What the core asks of the rows of a segment, it asks of these: so what is shown, counted, grouped
and judged of a series is the same code in both homes. Rows lie in memory and have no vectors.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from indexer_core.adapters.milvus.entities import items_of, row_of
from indexer_core.adapters.milvus.schema import (
    IMAGE_COUNT,
    IS_PLACED,
    KEY,
    PLACE,
    REVISION,
    ROW,
    as_written,
)
from indexer_core.errors import UnavailableError
from indexer_core.index.loaded import LiveSegment, LoadedSegment, OpenedRows
from indexer_core.index.rows import (
    BOOL_FIELDS,
    COUNT_FIELDS,
    LIST_FIELDS,
    NUMBER_FIELDS,
    STRING_FIELDS,
    table_of_rows,
)
from indexer_core.index.segment import IMAGE_SPACE, MapPoint, Points
from indexer_core.selection import PROVISIONAL

Entity = Mapping[str, Any]

SHOWN = (KEY, ROW, "flags", IS_PLACED, PLACE)
"""Fields of an entity that a whole row is made of."""

CHUNK = 256
"""Series that are fetched at once: as many as words are looked for in, and some."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fetched:
    """What was fetched. xy: float32 (n, 2). is_placed, is_provisional: bool (n,)."""

    rows: OpenedRows
    xy: NDArray[np.float32]
    is_placed: NDArray[np.bool_]
    is_provisional: NDArray[np.bool_]


class FetchedSegment(LoadedSegment):
    """Series that are fetched when first looked at; their keys are known before.

    No file lies behind it: whoever holds one asks for rows, counts and points, and nothing else.
    """

    def __init__(self, keys: Sequence[str], fetch: Callable[[], Fetched]) -> None:
        self.keys = keys
        self._fetch = fetch
        self._fetched: Fetched | None = None

    @property
    def fetched(self) -> Fetched:
        """What there is to be known of them.

        Raises
        ------
        UnavailableError
            Milvus did not answer, or one of them was removed since it was found.
        """
        if self._fetched is None:
            self._fetched = self._fetch()
        return self._fetched

    @property
    def rows(self) -> OpenedRows:
        """The rows, in the order of the keys."""
        return self.fetched.rows

    def key(self, row: int) -> str:
        """Series key of a row."""
        return self.keys[row]

    def points(self, projection: str) -> Points | None:
        """Places on the map in force."""
        counts = self.counts(IMAGE_SPACE)
        return Points(
            projection=projection,
            xy=np.repeat(self.fetched.xy, counts, axis=0),
            is_provisional=np.repeat(self.fetched.is_provisional, counts),
        )

    def point(self, projection: str, row: int) -> MapPoint | None:  # noqa: ARG002 - see `points`
        """Where a row is on the map in force, or None where it has no place."""
        fetched = self.fetched
        if not fetched.is_placed[row]:
            return None
        x, y = fetched.xy[row].tolist()
        return MapPoint(x, y, bool(fetched.is_provisional[row]))


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedRows:
    """Some series as rows that count (`indexer_core.index.loaded.LiveRows`)."""

    segments: tuple[LiveSegment, ...]
    projection_version: str | None

    @property
    def n_series(self) -> int:
        """How many they are."""
        return sum(segment.n_live for segment in self.segments)


_TYPES = {
    **dict.fromkeys((KEY, *STRING_FIELDS), pa.string()),
    **dict.fromkeys(NUMBER_FIELDS, pa.float64()),
    **dict.fromkeys((*COUNT_FIELDS, IMAGE_COUNT, REVISION), pa.int64()),
    **dict.fromkeys(BOOL_FIELDS, pa.bool_()),
    **dict.fromkeys(LIST_FIELDS, pa.list_(pa.string())),
}


def fetched_when_needed(
    keys: Sequence[str], fetch: Callable[[Sequence[str]], Iterable[Entity]]
) -> Iterator[LiveSegment]:
    """Segments of series, in the order of their keys, that are fetched piece by piece.

    Parameters
    ----------
    fetch
        Gives the entities of some keys, with the fields `SHOWN`, in any order.
    """
    for first in range(0, len(keys), CHUNK):
        yield _segment(keys[first : first + CHUNK], fetch)


def columns_of(entities: Sequence[Entity], fields: Sequence[str]) -> LiveSegment:
    """A segment that has some fields of series, to be counted or grouped by.

    entities: with the fields that `stored_as` says of these.
    """
    arrays = {field: _column(field, entities) for field in fields}
    fetched = _fetched(pa.table(arrays), entities)
    return _live(FetchedSegment([each[KEY] for each in entities], lambda: fetched))


def stored_as(field: str) -> tuple[str, ...]:
    """The fields of an entity that tell a field of a record as it is written."""
    if field == "flags":  # the map adds one to them
        return (as_written(field), field)
    return (as_written(field),) if field in (*STRING_FIELDS, *LIST_FIELDS) else (field,)


def _segment(
    keys: Sequence[str], fetch: Callable[[Sequence[str]], Iterable[Entity]]
) -> LiveSegment:
    def fetched() -> Fetched:
        found = {each[KEY]: each for each in fetch(keys)}
        if any(key not in found for key in keys):
            raise UnavailableError("a series was removed while it was looked at: ask again")
        entities = [found[key] for key in keys]
        return _fetched(table_of_rows([row_of(each) for each in entities]), entities)

    return _live(FetchedSegment(keys, fetched))


def _fetched(table: pa.Table, entities: Sequence[Entity]) -> Fetched:
    places = [each.get(PLACE, (0.0, 0.0)) for each in entities]
    strange = [PROVISIONAL in items_of(each.get("flags", "")) for each in entities]
    return Fetched(
        rows=OpenedRows(table),
        xy=np.array(places, dtype=np.float32).reshape(len(places), 2),
        is_placed=np.array([each.get(IS_PLACED, False) for each in entities], dtype=np.bool_),
        is_provisional=np.array(strange, dtype=np.bool_),
    )


def _live(segment: FetchedSegment) -> LiveSegment:
    live = np.ones(len(segment.keys), dtype=np.bool_)
    live.setflags(write=False)
    return LiveSegment(loaded=segment, live=live)


def _column(field: str, entities: Sequence[Entity]) -> pa.Array:
    values = [each[stored_as(field)[0]] for each in entities]
    if field in LIST_FIELDS:
        return pa.array(map(items_of, values), _TYPES[field])
    return pa.array(values, _TYPES[field])
