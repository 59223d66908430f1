"""Facets as the API answers them: what the series that meet conditions consist of."""

from dataclasses import dataclass
from typing import Any

from indexer_core.errors import InvalidInputError
from indexer_core.facets import FACETS, Facet, FacetValue, facet_field
from indexer_core.selection import ANYTHING, Conditions
from indexer_core.vector_index import VectorIndex

MAX_VALUES = 1000
MAX_LEAST = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetsRequest:
    """What is asked.

    Parameters
    ----------
    fields
        Which facets, in any case; some of `indexer_core.facets.FACETS`.
    exclude_own
        Whether a field is counted as if its own filters were not set.
    most
        Values listed of each.
    least
        Smaller counts are not told (null); 0: all are.
    """

    fields: tuple[str, ...]
    conditions: Conditions = ANYTHING
    exclude_own: bool = False
    most: int = 20
    least: int = 0

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            A field cannot be counted, or a number is out of range.
        """
        if not self.fields:
            raise InvalidInputError(f"name the facets to count: {', '.join(FACETS)}")
        for field in self.fields:
            facet_field(field)
        if not 1 <= self.most <= MAX_VALUES:
            raise InvalidInputError(f"the values of a facet are a number from 1 to {MAX_VALUES}")
        if not 0 <= self.least <= MAX_LEAST:
            raise InvalidInputError(f"the least count told is a number from 0 to {MAX_LEAST}")


def facets(request: FacetsRequest, index: VectorIndex) -> dict[str, Any]:
    """Answer a request from one state of an index: `facets` by field, `count` and `manifest`.

    Raises
    ------
    InvalidInputError
        As `FacetsRequest.check`.
    """
    request.check()
    chosen = index.select(request.conditions)
    found = index.facets(
        request.conditions,
        list(dict.fromkeys(facet_field(field) for field in request.fields)),
        exclude_own=request.exclude_own,
        most=request.most,
        least=request.least,
        chosen=chosen,
    )
    n_series = chosen.n_passed
    index.confirm()
    return {
        "facets": {each.field: _facet(each) for each in found},
        "count": None if 0 < n_series < request.least else n_series,
        "manifest": index.state.number,
    }


def _facet(found: Facet) -> dict[str, Any]:
    return {
        "values": [_value(each) for each in found.values],
        "unknown": found.unknown,
        "other": found.other,
        "isWithheld": found.is_withheld,
    }


def _value(found: FacetValue) -> dict[str, Any]:
    told = {"value": found.value, "count": found.count}
    is_band = (found.low, found.high) != (None, None)
    return {**told, "from": found.low, "below": found.high} if is_band else told
