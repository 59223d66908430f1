"""The port that answers are drawn from: one state of an index, wherever it is kept.

There are two homes of it. `indexer_core.snapshot_index` searches the segments of a manifest in this
process; `indexer_core.adapters.milvus` asks collections that a follower keeps equal to a manifest.
Both are told what to find by the same `Conditions`, and give the same series in the same order when
the search is exact; series of equal scores come by key in both.

A `VectorIndex` never changes: whoever wants the next state opens the next one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from indexer_core.facets import Facet
from indexer_core.fitting import Verdict
from indexer_core.grouping import Group, Level, Member
from indexer_core.search import Hit, Precision
from indexer_core.selection import Conditions
from indexer_core.similar import Pictured
from indexer_core.sorting import Sort

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Which state of the index it is.

    Parameters
    ----------
    number
        Of the manifest.
    text_encoder, image_encoder
        Whose vectors are searched; "" where the index has none yet.
    projection_version
        Of the map in force; None where there is none.
    n_series
        Searchable series.
    """

    number: int
    text_encoder: str
    image_encoder: str
    projection_version: str | None
    n_series: int


class Chosen(Protocol):
    """Series of one state that meet conditions."""

    @property
    def n_passed(self) -> int:
        """How many they are."""

    @property
    def unknown(self) -> Mapping[str, int]:
        """By field: series left out because it is unknown, as `indexer_core.selection` counts."""

    def by_words(self, text: str, query: Vector, top: int, *, exact: bool) -> list[Hit]:
        """The best, by their texts: as `indexer_core.search.search_words`."""

    def by_images(self, query: Vector, top: int, *, exact: bool) -> list[Hit]:
        """The best, by their image vectors: as `indexer_core.search.search_images`."""

    def like(self, vectors: Vector, top: int, *, exact: bool) -> list[Hit]:
        """Those nearest to any of some image vectors: as `indexer_core.similar.search_like`."""

    def listed(self) -> Iterator[Hit]:
        """Every one, in series-key order, without scores."""

    def in_order(self, sort: Sort, top: int, *, after: str | None) -> list[Hit]:
        """The first in the order of a field: as `indexer_core.sorting.first_sorted`.

        Raises
        ------
        ManifestExpiredError
            The series of the key `after` is not known any more.
        """

    def without(self, keys: Sequence[str]) -> "Chosen":
        """The same less the series of these keys."""

    def with_images(self) -> "Chosen":
        """Those of them that have an image."""

    def n_groups(self, level: Level) -> int:
        """How many series, studies or patients they are."""

    def members(self, groups: Sequence[Group], level: Level) -> list[list[Member]]:
        """Of each group its chosen series: as `indexer_core.grouping.members_of`."""


class Fitted(Protocol):
    """Series by how well they fit a question: see `indexer_core.fitting`."""

    @property
    def fits(self) -> Chosen:
        """Those that meet the conditions."""

    @property
    def n_possible(self) -> int:
        """Those of which something is not known, that would fit otherwise."""

    def degrees(self) -> Iterator[tuple[float, Chosen]]:
        """What fits, then the others from the least doubt to the greatest, none twice.

        Each with its doubt: a multiple of a half, 0 of what fits.
        """

    def verdict(self, hit: Hit) -> Verdict:
        """What a series found meets."""


class VectorIndex(Protocol):
    """One state of an index; safe for several threads."""

    @property
    def state(self) -> State:
        """Which one."""

    def select(self, conditions: Conditions) -> Chosen:
        """The series that meet conditions."""

    def fitting(self, conditions: Conditions) -> Fitted:
        """How well its series fit conditions."""

    def precision(self, space: str, *, exact: bool | None) -> Precision:
        """How a space is searched: as `indexer_core.search.precision_of`.

        Raises
        ------
        NotOnThisHomeError
            An exact search is asked for, and this home has none.
        """

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
        """What the chosen series consist of: as `indexer_core.facets.count_facets`.

        `chosen` is what `select` gave for these conditions.
        """

    def pictured(self, uid: str, scopes: frozenset[str] | None) -> Pictured:
        """The series of this UID or key with their image vectors.

        Raises
        ------
        NotFoundError, InvalidInputError
            As `indexer_core.similar.pictured`.
        """

    def record(self, hit: Hit) -> dict[str, Any]:
        """The series record of a hit, coordinates included."""

    def confirm(self) -> None:
        """Called once all of an answer is read.

        Raises
        ------
        ManifestExpiredError
            The state was given up meanwhile: what was read may lack series.
        """


class IndexHome(Protocol):
    """Where states of an index come from; not for use by several threads at once."""

    def refresh(self) -> VectorIndex | None:
        """The newest state that it has; None while nothing is indexed, or followed yet."""

    def at(self, number: int) -> VectorIndex:
        """The state of an earlier manifest, as far as it is kept, without what is hidden by now.

        Raises
        ------
        ManifestExpiredError
            It is not kept here, or not any more.
        UnavailableError
            It has not been followed yet.
        """

    def close(self) -> None:
        """Let go of connections."""
