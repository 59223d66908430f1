"""The second home of the index: one state of the collections, asked by expressions.

See `indexer_core.vector_index` for what it answers. Milvus finds and counts. What it finds is
fetched as rows (`indexer_core.adapters.milvus.fetching`), and what is shown, judged, grouped and
counted of rows is the core's code, as on segments.

Searching, counting and looking at a page cost what Milvus makes of them. Some things fetch from
every series that meets the conditions: to list them their keys, to sort them the field that it
goes by, to count groups scope and group, and for a facet its field. That is up to a kilobyte of
memory a series, and a second or so for every hundred thousand; for more than a million series it is
refused (`indexer_core.adapters.milvus.reading.MAX_FETCHED`). The order of keys needs no more than
the page, and the newest of too many are found by counting (`indexer_core.adapters.milvus.newest`).
A question that is too long to be judged by Milvus fetches, too, what is in question.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from indexer_core.adapters.milvus.client import MAX_PER_REQUEST
from indexer_core.adapters.milvus.doubts import in_doubt, in_question, most_halves, possible
from indexer_core.adapters.milvus.expressions import (
    MAX_NAMES,
    NOTHING,
    all_of,
    behind_key,
    left_out,
    meeting,
    named,
    open_to,
    pictured,
    with_keys,
    with_values,
    without_keys,
)
from indexer_core.adapters.milvus.fetching import FetchedRows
from indexer_core.adapters.milvus.newest import newest
from indexer_core.adapters.milvus.reading import StateReader
from indexer_core.adapters.milvus.schema import IMAGE_COUNT, KEY, as_written
from indexer_core.errors import InvalidInputError, NotFoundError, NotOnThisHomeError
from indexer_core.facets import Facet, facet
from indexer_core.filters import UNKNOWN
from indexer_core.fitting import Fitting, Verdict, fitting
from indexer_core.grouping import COLUMNS, Group, Level, Member, count_groups, members_of
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.named import Names
from indexer_core.search import CANDIDATES, Hit, Precision, ranked_by_words, record_of
from indexer_core.selection import Conditions, select
from indexer_core.similar import Pictured, nearest_to_any, pictured_by
from indexer_core.sorting import NEWEST_FIRST, Sort, first_behind, series_erased
from indexer_core.vector_index import Chosen, State, Vector

_GROUPS_AT_ONCE = 500


class ChosenSeries:
    """Series of one state that an expression holds of (`indexer_core.vector_index.Chosen`).

    Parameters
    ----------
    conditions
        That the expression is of, where it is known what they leave out as unknown.
    """

    def __init__(
        self, reader: StateReader, where: str, conditions: Conditions | None = None
    ) -> None:
        self.where = where
        self._reader = reader
        self._conditions = conditions
        self._narrowed: ChosenSeries | None = None

    @cached_property
    def n_passed(self) -> int:
        """How many series they are."""
        return self._reader.count(self.where)

    @cached_property
    def unknown(self) -> Mapping[str, int]:
        """By field: series left out because it is unknown. Each is counted for itself."""
        if self._narrowed is not None:
            return self._narrowed.unknown
        conditions = self._conditions
        if conditions is None:
            return {}
        fields = dict.fromkeys(each.field for each in conditions.distinct)
        return {field: self._reader.count(left_out(conditions, field)) for field in fields}

    def by_words(self, text: str, query: Vector, top: int, *, exact: bool) -> list[Hit]:  # noqa: ARG002 - always exact
        """The best, by their texts."""
        found = self._nearest(TEXT_SPACE, query, max(top, CANDIDATES))
        return ranked_by_words(found, text, top)

    def by_images(self, query: Vector, top: int, *, exact: bool) -> list[Hit]:  # noqa: ARG002 - always exact
        """The best, by their image vectors."""
        return [replace(hit, text=None) for hit in self._nearest(IMAGE_SPACE, query, top)]

    def like(self, vectors: Vector, top: int, *, exact: bool) -> list[Hit]:
        """Those nearest to any of some image vectors."""
        return nearest_to_any((self.by_images(each, top, exact=exact) for each in vectors), top)

    def listed(self) -> Iterator[Hit]:
        """Every one, in series-key order, without scores."""
        return self._reader.listed(self._reader.keys(self.where))

    def in_order(self, sort: Sort, top: int, *, after: str | None) -> list[Hit]:
        """The first in the order of a field, which is fetched of every one of them.

        In the order of keys no more are fetched than are told, and of very many not much more in
        the order of dates, the newest first.
        """
        if sort == Sort(field=KEY):
            return self._by_key(top, after)
        told = None
        if after is not None:
            told = self._reader.columns(with_values(KEY, [after]), (KEY, sort.field))
            if not told.n_series:
                raise series_erased()
        where = self.where
        if sort == NEWEST_FIRST and self.n_passed > self._reader.most:
            where = self._newest(top, told)
        found = self._reader.columns(where, (KEY, sort.field))
        segments, place = [*found.segments], None
        if told is not None:
            segments, place = [*segments, *told.segments], (len(segments), 0)
        rows = [np.flatnonzero(each.live) for each in found.segments]
        none = np.empty(0, dtype=np.int64)
        rows += [none] * (len(segments) - len(rows))
        hits = first_behind(segments, rows, sort, top, place=place)
        return list(self._reader.listed([hit.key for hit in hits]))

    def _by_key(self, top: int, after: str | None) -> list[Hit]:
        where = self.where
        if after is not None:
            if not self._reader.has(with_keys([after])):
                raise series_erased()
            where = all_of([where, behind_key(after)])
        return list(self._reader.listed(self._reader.first_keys(where, top)))

    def _newest(self, top: int, told: FetchedRows | None) -> str:
        until = None
        if told is not None:
            rows = told.segments[0].loaded.rows
            until = (rows.column(NEWEST_FIRST.field)[0].as_py() or UNKNOWN).lower()
        few = min(self._reader.most, MAX_PER_REQUEST)
        return newest(self._reader.count, self.where, top, few, until=until)

    def without(self, keys: Sequence[str]) -> "ChosenSeries":
        """The same less the series of these keys."""
        return self._less(without_keys(keys))

    def with_images(self) -> "ChosenSeries":
        """Those of them that have an image."""
        return self._less(pictured())

    def n_groups(self, level: Level) -> int:
        """How many series, studies or patients they are."""
        if level is Level.SERIES:
            return self.n_passed
        rows = self._reader.columns(self.where, ("scope", COLUMNS[level]))
        return count_groups(rows, select(rows), level)

    def members(self, groups: Sequence[Group], level: Level) -> list[list[Member]]:
        """Of each group its chosen series."""
        found: list[list[Member]] = []
        for first in range(0, len(groups), _GROUPS_AT_ONCE):
            found += self._members(groups[first : first + _GROUPS_AT_ONCE], level)
        return found

    def _members(self, groups: Sequence[Group], level: Level) -> list[list[Member]]:
        names = {group.name[1] for group in groups if group.name is not None}
        rows = self._reader.rows(())
        if names:
            column = COLUMNS[level]
            where = all_of([self.where, with_values(as_written(column), names)])
            rows = self._reader.columns(where, (KEY, "scope", column, "seriesInstanceUid"))
        return members_of(rows, select(rows), groups, level)

    def _nearest(self, space: str, query: Vector, top: int) -> list[Hit]:
        return self._reader.nearest(space, query, self.where, top)

    def _less(self, where: str) -> "ChosenSeries":
        fewer = ChosenSeries(self._reader, all_of([self.where, where]))
        fewer._narrowed = self  # what was left out before is told of these, too
        return fewer


class FittedSeries:
    """Series by how well they fit conditions (`indexer_core.vector_index.Fitted`)."""

    def __init__(self, reader: StateReader, conditions: Conditions) -> None:
        self.fits = ChosenSeries(reader, meeting(conditions), conditions)
        self._reader = reader
        self._conditions = conditions
        self._fittings: dict[int, Fitting] = {}

    @cached_property
    def n_possible(self) -> int:
        """Those of which something is not known, that would fit otherwise."""
        where = possible(self._conditions)
        return self._judged[1].n_possible if where is None else self._reader.count(where)

    def degrees(self) -> Iterator[tuple[float, ChosenSeries]]:
        """What fits, then the others from the least doubt to the greatest.

        Raises
        ------
        InvalidInputError
            There are so many alternatives that series have to be fetched to be judged, and more
            than can be fetched, or than can be named, are in question.
        """
        yield 0.0, self.fits
        for halves in range(1, most_halves(self._conditions) + 1):
            where = in_doubt(self._conditions, halves)
            if where is None:
                where = self._of_doubt(halves)
            if where != NOTHING and self._reader.has(where):
                yield halves / 2, ChosenSeries(self._reader, where)

    @cached_property
    def _judged(self) -> tuple[FetchedRows, Fitting]:
        """All series in question, fetched: where the question is too long for Milvus to judge."""
        conditions = self._conditions
        fields = dict.fromkeys(each.field for branch in conditions.alternatives for each in branch)
        rows = self._reader.columns(in_question(conditions), (KEY, *fields, IMAGE_COUNT))
        # Filters by hand, scopes and names leave nothing else already.
        asked = replace(conditions, filters=(), scopes=None, series=None)
        return rows, fitting(rows, asked)

    def _of_doubt(self, halves: int) -> str:
        """An expression for the series that were judged so, by their keys."""
        rows, judged = self._judged
        for doubt, selection in judged.degrees():
            if 2 * doubt == halves:
                if selection.n_passed > MAX_NAMES:
                    raise InvalidInputError(
                        f"{selection.n_passed:,} series are in doubt alike, and an index on Milvus "
                        f"can rank {MAX_NAMES:,} of so long a question: add filters or ask for less"
                    )
                return with_keys(
                    segment.loaded.key(row)
                    for segment, mask in zip(rows.segments, selection.rows, strict=True)
                    for row in np.flatnonzero(mask).tolist()
                )
        return NOTHING

    def verdict(self, hit: Hit) -> Verdict:
        """What a series found meets."""
        # The rows that a fitting is of are kept with it, so that no other gets their identity.
        known = self._fittings.get(id(hit.segment))
        if known is None:
            known = fitting(self._reader.rows([hit.segment]), self._conditions)
            self._fittings[id(hit.segment)] = known
        return known.verdict(hit)


class MilvusIndex:
    """One state of the collections (`indexer_core.vector_index.VectorIndex`).

    Parameters
    ----------
    confirm
        Raises `ManifestExpiredError` where the state was given up since.
    """

    def __init__(
        self, reader: StateReader, confirm: Callable[[StateReader], None] = lambda _reader: None
    ) -> None:
        self._reader = reader
        self._confirm = confirm

    @property
    def state(self) -> State:
        """Which one."""
        reader = self._reader
        encoders = {name: space.encoder for name, space in reader.spaces.items()}
        return State(
            number=reader.number,
            text_encoder=encoders.get(TEXT_SPACE, ""),
            image_encoder=encoders.get(IMAGE_SPACE, ""),
            projection_version=reader.projection_version,
            n_series=reader.n_series,
        )

    def select(self, conditions: Conditions) -> ChosenSeries:
        """The series that meet conditions."""
        return ChosenSeries(self._reader, meeting(conditions), conditions)

    def fitting(self, conditions: Conditions) -> FittedSeries:
        """How well its series fit conditions."""
        return FittedSeries(self._reader, conditions)

    def precision(self, space: str, *, exact: bool | None) -> Precision:
        """How a space is searched: exactly, unless somebody gave its collection another index.

        Raises
        ------
        NotOnThisHomeError
            An exact search is asked for, and there is none.
        """
        if space not in self._reader.approximate:
            return Precision(exact=True, recall=1.0)
        if exact:
            raise NotOnThisHomeError(
                "this index on Milvus is searched approximately: leave exact out, or ask the "
                "segments"
            )
        return Precision(exact=False, recall=None)

    def facets(
        self,
        conditions: Conditions,
        fields: Sequence[str],
        *,
        exclude_own: bool,
        most: int,
        least: int,
        chosen: Chosen,
    ) -> list[Facet]:
        """What the chosen series consist of: the fields of all of them are fetched."""
        assert isinstance(chosen, ChosenSeries), "chosen elsewhere"
        together: dict[str, list[str]] = {}
        for field in fields:
            others = tuple(each for each in conditions.filters if each.field != field)
            is_own = exclude_own and len(others) < len(conditions.filters)
            where = meeting(replace(conditions, filters=others)) if is_own else chosen.where
            together.setdefault(where, []).append(field)
        counted: dict[str, Facet] = {}
        for where, some in together.items():
            further = [IMAGE_COUNT] if "flags" in some else []
            rows = self._reader.columns(where, (*some, *further))
            selection = select(rows)
            for field in some:
                counted[field] = facet(rows, selection, field, most=most, least=least)
        return [counted[field] for field in fields]

    def pictured(self, uid: str, scopes: frozenset[str] | None) -> Pictured:
        """The series of this UID or key with their image vectors.

        Raises
        ------
        NotFoundError, InvalidInputError
            There is none, or it has no image.
        ManifestExpiredError
            Nobody knows: the state was given up since.
        """
        where = all_of([named(Names.of([uid])), open_to(Conditions(scopes=scopes))])
        keys = self._reader.keys(where)
        try:
            return pictured_by(keys, self._reader.vectors(IMAGE_SPACE, keys))
        except (NotFoundError, InvalidInputError):
            self.confirm()
            raise

    def record(self, hit: Hit) -> dict[str, Any]:
        """The series record of a hit, coordinates included."""
        return record_of(hit, self._reader.rows([hit.segment]))

    def confirm(self) -> None:
        """See that the state is kept still: a follower may have swept what it alone could see."""
        self._confirm(self._reader)
