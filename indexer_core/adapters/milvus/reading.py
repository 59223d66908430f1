"""One state of the collections, as it is read."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import MAX_PER_REQUEST, count, every, translated
from indexer_core.adapters.milvus.expressions import (
    EVERYTHING,
    NOTHING,
    all_of,
    in_state,
    with_values,
    without_keys,
)
from indexer_core.adapters.milvus.fetching import (
    SHOWN,
    FetchedRows,
    columns_of,
    fetched_when_needed,
    stored_as,
)
from indexer_core.adapters.milvus.position import FollowedSpace
from indexer_core.adapters.milvus.schema import KEY, NUMBER, SERIES, VECTOR, Names
from indexer_core.adapters.milvus.searching import NearSeries, Vector, nearest_series
from indexer_core.errors import InvalidInputError
from indexer_core.index.loaded import LiveSegment
from indexer_core.search import Hit, check_dimension

MAX_FETCHED = 1_000_000
"""Series of which one answer fetches something, at most: about a kilobyte of memory each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateReader:
    """What there is to be asked of one state; safe for several threads.

    Parameters
    ----------
    number
        Of the manifest whose state it is.
    spaces, projection_version, n_series
        As of `indexer_core.adapters.milvus.position.Position`.
    hidden
        Keys of series that are there still and must not be found.
    approximate
        Spaces whose collection was given an index that does not compare all vectors.
    most
        Series that `keys` and `columns` fetch for one answer.
    """

    client: MilvusClient
    names: Names
    number: int
    spaces: Mapping[str, FollowedSpace]
    projection_version: str | None
    n_series: int
    hidden: frozenset[str] = frozenset()
    approximate: frozenset[str] = frozenset()
    most: int = MAX_FETCHED

    def counted(self) -> "StateReader":
        """The same with the number of its series as it is."""
        return replace(self, n_series=count(self.client, self._series, self._seen(EVERYTHING)))

    def count(self, where: str) -> int:
        """How many series of the state an expression holds of."""
        if where in (EVERYTHING, NOTHING):
            return self.n_series if where == EVERYTHING else 0
        return count(self.client, self._series, self._seen(where))

    def has(self, where: str) -> bool:
        """Whether it holds of any: on a large index much faster than counting."""
        with translated():
            found = self.client.query(
                self._series, filter=self._seen(where), output_fields=[KEY], limit=1
            )
        return bool(found)

    def keys(self, where: str) -> list[str]:
        """Keys of the series that an expression holds of, in order.

        Raises
        ------
        InvalidInputError
            They are more than `most`.
        """
        self._check_number(where)
        return sorted(each[KEY] for each in self._every(where, [KEY]))

    def first_keys(self, where: str, top: int) -> list[str]:
        """The first of these keys, 1 or more, however many there are.

        Milvus goes through entities by id, and ids begin with keys: what comes later has a lesser
        key only where that is how a key begins that was told.
        """
        found: set[str] = set()
        batch = min(top, MAX_PER_REQUEST)
        with closing(every(self.client, self._series, self._seen(where), [KEY], batch)) as batches:
            for some in batches:
                found.update(each[KEY] for each in some)
                if len(found) >= top:
                    last = sorted(found)[top - 1]
                    shorter = with_values(KEY, [last[:n] for n in range(1, len(last))])
                    found.update(each[KEY] for each in self._every(all_of([where, shorter]), [KEY]))
                    break
        return sorted(found)[:top]

    def columns(self, where: str, fields: Sequence[str]) -> FetchedRows:
        """Some fields of every series that an expression holds of: all of them are fetched.

        Raises
        ------
        InvalidInputError
            They are more than `most`.
        """
        self._check_number(where)
        stored = dict.fromkeys((KEY, *(name for each in fields for name in stored_as(each))))
        found = list(self._every(where, list(stored)))
        return self.rows([columns_of(found, fields)])

    def rows(self, segments: Sequence[LiveSegment]) -> FetchedRows:
        """Series that were fetched, as rows of this state."""
        return FetchedRows(segments=tuple(segments), projection_version=self.projection_version)

    def hits(self, found: Sequence[NearSeries]) -> list[Hit]:
        """Series that were found as hits; what they are is fetched when it is first looked at."""
        numbered = iter(found)
        return [
            Hit(segment=segment, row=row, score=near.score, text=near.number, similarity=near.score)
            for segment in fetched_when_needed([near.key for near in found], self._shown)
            for row, near in zip(range(segment.n_live), numbered, strict=False)
        ]

    def listed(self, keys: Sequence[str]) -> Iterator[Hit]:
        """Series of these keys, in this order, without scores; fetched as they are looked at."""
        for segment in fetched_when_needed(keys, self._shown):
            for row in range(segment.n_live):
                yield Hit(segment=segment, row=row, score=0.0, text=None)

    def nearest(self, space: str, query: Vector, where: str, top: int) -> list[Hit]:
        """The `top` series that are nearest in a space; none where the index has no such space.

        Raises
        ------
        InvalidInputError
            The query is of another encoder, or as of `nearest_series`.
        """
        followed = self.spaces.get(space)
        if followed is None:
            return []
        check_dimension(query, followed.dimension)
        collection = self.names.collection(space)
        return self.hits(nearest_series(self.client, collection, query, self._seen(where), top))

    def vectors(self, space: str, keys: Sequence[str]) -> list[Vector]:
        """Vectors of some series in a space, float32 (dimension,), by key and number."""
        if space not in self.spaces or not keys:
            return []
        collection, where = self.names.collection(space), self._seen(with_values(KEY, keys))
        batches = every(self.client, collection, where, [KEY, NUMBER, VECTOR])
        found = [each for batch in batches for each in batch]
        found.sort(key=lambda each: (each[KEY], each[NUMBER]))
        return [np.array(each[VECTOR], dtype=np.float32) for each in found]

    @property
    def _series(self) -> str:
        return self.names.collection(SERIES)

    def _seen(self, where: str) -> str:
        return all_of([in_state(self.number), without_keys(self.hidden), where])

    def _check_number(self, where: str) -> None:
        n_series = self.count(where)
        if n_series > self.most:
            raise InvalidInputError(
                f"this would fetch something of {n_series:,} series from Milvus, and {self.most:,} "
                "are the most: add filters"
            )

    def _every(self, where: str, fields: Sequence[str]) -> Iterator[Mapping[str, Any]]:
        found = every(self.client, self._series, self._seen(where), fields, MAX_PER_REQUEST)
        return (each for batch in found for each in batch)

    def _shown(self, keys: Sequence[str]) -> list[Mapping[str, Any]]:
        with translated():
            found = self.client.query(
                self._series, filter=self._seen(with_values(KEY, keys)), output_fields=list(SHOWN)
            )
        return list(found)
