"""The first home of the index: a snapshot of segments, searched in this process.

See `indexer_core.vector_index` for what it answers. Nothing is computed here: every method names
the function that does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from indexer_core.facets import Facet, count_facets
from indexer_core.fitting import Fitting, Verdict, fitting
from indexer_core.grouping import Group, Level, Member, count_groups, members_of
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.search import (
    Hit,
    Precision,
    listing,
    precision_of,
    record_of,
    search_images,
    search_words,
)
from indexer_core.selection import Conditions, Selection, select
from indexer_core.similar import (
    Pictured,
    image_encoder_of,
    pictured,
    search_like,
    with_images,
    without,
)
from indexer_core.sorting import Sort, first_sorted
from indexer_core.vector_index import Chosen, State, Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectedRows:
    """Selected rows of a snapshot (`indexer_core.vector_index.Chosen`)."""

    snapshot: Snapshot
    selection: Selection

    @property
    def n_passed(self) -> int:
        """How many series they are."""
        return self.selection.n_passed

    @property
    def unknown(self) -> Mapping[str, int]:
        """By field: series left out because it is unknown."""
        return self.selection.unknown

    def by_words(self, text: str, query: Vector, top: int, *, exact: bool) -> list[Hit]:
        """The best, by their texts."""
        return search_words(self.snapshot, text, query, self.selection, top, exact=exact)

    def by_images(self, query: Vector, top: int, *, exact: bool) -> list[Hit]:
        """The best, by their image vectors."""
        return search_images(self.snapshot, query, self.selection, top, exact=exact)

    def like(self, vectors: Vector, top: int, *, exact: bool) -> list[Hit]:
        """Those nearest to any of some image vectors."""
        return search_like(self.snapshot, vectors, self.selection, top, exact=exact)

    def listed(self) -> Iterator[Hit]:
        """Every one, in series-key order, without scores."""
        return listing(self.snapshot, self.selection)

    def in_order(self, sort: Sort, top: int, *, after: str | None) -> list[Hit]:
        """The first in the order of a field."""
        return first_sorted(self.snapshot, self.selection, sort, top, after=after)

    def without(self, keys: Sequence[str]) -> "SelectedRows":
        """The same less the series of these keys."""
        return self._of(without(self.snapshot, self.selection, keys))

    def with_images(self) -> "SelectedRows":
        """Those of them that have an image."""
        return self._of(with_images(self.snapshot, self.selection))

    def n_groups(self, level: Level) -> int:
        """How many series, studies or patients they are."""
        return count_groups(self.snapshot, self.selection, level)

    def members(self, groups: Sequence[Group], level: Level) -> list[list[Member]]:
        """Of each group its chosen series."""
        return members_of(self.snapshot, self.selection, groups, level)

    def _of(self, selection: Selection) -> "SelectedRows":
        return SelectedRows(snapshot=self.snapshot, selection=selection)


@dataclass(frozen=True, slots=True, kw_only=True)
class FittingRows:
    """Rows of a snapshot by how well they fit (`indexer_core.vector_index.Fitted`)."""

    snapshot: Snapshot
    fitting: Fitting

    @property
    def fits(self) -> SelectedRows:
        """Those that meet the conditions."""
        return SelectedRows(snapshot=self.snapshot, selection=self.fitting.fits)

    @property
    def n_possible(self) -> int:
        """Those of which something is not known, that would fit otherwise."""
        return self.fitting.n_possible

    def degrees(self) -> Iterator[tuple[float, SelectedRows]]:
        """What fits, then the others from the least doubt to the greatest."""
        for doubt, selection in self.fitting.degrees():
            yield doubt, SelectedRows(snapshot=self.snapshot, selection=selection)

    def verdict(self, hit: Hit) -> Verdict:
        """What a series found meets."""
        return self.fitting.verdict(hit)


class SnapshotIndex:
    """A snapshot (`indexer_core.vector_index.VectorIndex`)."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    @property
    def state(self) -> State:
        """Which one."""
        manifest = self.snapshot.manifest
        text, projection = manifest.space(TEXT_SPACE), manifest.projection
        return State(
            number=manifest.number,
            text_encoder="" if text is None else text.live,
            image_encoder=image_encoder_of(self.snapshot),
            projection_version=None if projection is None else projection.version,
            n_series=self.snapshot.n_series,
        )

    def select(self, conditions: Conditions) -> SelectedRows:
        """The series that meet conditions."""
        return SelectedRows(snapshot=self.snapshot, selection=select(self.snapshot, conditions))

    def fitting(self, conditions: Conditions) -> FittingRows:
        """How well its series fit conditions."""
        return FittingRows(snapshot=self.snapshot, fitting=fitting(self.snapshot, conditions))

    def precision(self, space: str, *, exact: bool | None) -> Precision:
        """How a space is searched."""
        return precision_of(self.snapshot, exact=exact, space_name=space)

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
        """What the chosen series consist of."""
        assert isinstance(chosen, SelectedRows), "chosen elsewhere"
        return count_facets(
            self.snapshot,
            conditions,
            fields,
            exclude_own=exclude_own,
            most=most,
            least=least,
            selection=chosen.selection,
        )

    def pictured(self, uid: str, scopes: frozenset[str] | None) -> Pictured:
        """The series of this UID or key with their image vectors."""
        return pictured(self.snapshot, uid, scopes)

    def record(self, hit: Hit) -> dict[str, Any]:
        """The series record of a hit, coordinates included."""
        return record_of(hit, self.snapshot)

    def confirm(self) -> None:
        """Nothing of a snapshot ever goes."""
