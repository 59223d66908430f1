"""The nearest series in a collection of vectors: a series counts by its best vector.

Milvus gives the nearest vectors, as many as it is asked for. It is asked for more until they are of
enough series, and until all that score as the last of them are told: so which are found, and in
which order, depends on nothing but scores and keys. Only among more than `MAX_NAMES` series that
score the same it is left to chance which are told.

Its scores are sums of float32, whose last bits depend on where a vector lies: equal vectors may
score unequally. So of series that are about equally near, the vectors are fetched and multiplied
here in float64. Those that score the same then come by key, as on segments.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import MAX_PER_REQUEST, translated
from indexer_core.adapters.milvus.entities import key_of, number_of
from indexer_core.adapters.milvus.expressions import MAX_NAMES, all_of, with_values, without_keys
from indexer_core.adapters.milvus.schema import ID, VECTOR
from indexer_core.errors import InvalidInputError

# Of the nearest texts, about every second is of another series; the rest is asked for again.
_VECTORS_PER_SERIES = 3
_MARGIN = 16
_GROWTH = 4

_FETCHED_AT_ONCE = 500
_ABOUT = 1e-6
"""Scores that differ by no more may be of equal vectors: several times the error of a sum."""

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Vectors in one answer of Milvus, and series in all of its answers together."""

    vectors: int = MAX_PER_REQUEST
    series: int = MAX_NAMES


_USUAL = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class NearSeries:
    """A series found, with the number and the entity of its best vector."""

    key: str
    score: float
    number: int
    entity_id: str


def nearest_series(
    client: MilvusClient,
    collection: str,
    query: Vector,
    where: str,
    top: int,
    limits: Limits = _USUAL,
) -> list[NearSeries]:
    """The `top` series whose best vector is nearest, best first, equal ones in key order.

    Parameters
    ----------
    query : ndarray of float32, shape (dimension,)
    where
        Expression: which vectors may be found.

    Raises
    ------
    InvalidInputError
        More are wanted than the limits allow, and there are more.
    UnavailableError
        Milvus did not answer.
    """
    if top <= 0:
        return []
    told = _told(client, collection, query, where, top, limits)
    told.sort(key=lambda near: -near.score)
    last = told[min(top, len(told)) - 1].score if told else 0.0
    near = [each for each in told if each.score >= last - _ABOUT]
    settled = _settled(client, collection, query, near)
    return sorted(settled, key=lambda each: (-each.score, each.key))[:top]


def _told(
    client: MilvusClient,
    collection: str,
    query: Vector,
    where: str,
    top: int,
    limits: Limits,
) -> list[NearSeries]:
    """At least the `top` nearest series with all that score as the last of them."""
    before: dict[str, NearSeries] = {}
    n_asked = min(_VECTORS_PER_SERIES * top + _MARGIN, limits.vectors)
    while True:
        open_to = all_of([where, without_keys(before)])
        with translated():
            [found] = client.search(
                collection,
                data=[query],
                anns_field=VECTOR,
                filter=open_to,
                limit=n_asked,
                search_params={"metric_type": "IP"},
            )
        best = {**before, **_best(found)}
        if len(found) < n_asked or _are_enough(best, found[-1]["distance"], top):
            return list(best.values())
        if n_asked < limits.vectors:
            n_asked = min(_GROWTH * n_asked, limits.vectors)
        elif len(best) <= limits.series:  # whatever else there is comes behind these
            before = best
        elif len(best) >= top:
            return list(best.values())
        else:
            raise InvalidInputError(
                f"an index on Milvus ranks up to {limits.series:,} series for one answer"
            )


def _best(found: Iterable[Any]) -> dict[str, NearSeries]:
    """The best vector of every series; of about equal ones the first of its vectors."""
    best: dict[str, NearSeries] = {}
    for each in found:
        name, score = each[ID], float(each["distance"])
        key, number = key_of(name), number_of(name)
        known = best.get(key)
        if known is None:
            best[key] = NearSeries(key=key, score=score, number=number, entity_id=name)
        elif number < known.number and score >= known.score - _ABOUT:
            best[key] = replace(known, number=number, entity_id=name)
    return best


def _are_enough(best: dict[str, NearSeries], least_told: float, top: int) -> bool:
    """Whether no series not told yet can rank among the `top`, or score as the last of them."""
    if len(best) < top:
        return False
    scores = sorted((near.score for near in best.values()), reverse=True)
    return least_told < scores[top - 1] - _ABOUT


def _settled(
    client: MilvusClient, collection: str, query: Vector, near: Sequence[NearSeries]
) -> list[NearSeries]:
    """The same, those about equally near with scores that are equal where their vectors are."""
    scores = np.array([each.score for each in near])
    is_close = np.concatenate(([False], np.abs(np.diff(scores)) <= _ABOUT, [False]))
    unsettled = np.flatnonzero(is_close[1:] | is_close[:-1]).tolist()
    vectors = _vectors(client, collection, [near[place].entity_id for place in unsettled])
    settled = list(near)
    for place in unsettled:
        vector = vectors.get(near[place].entity_id)
        if vector is not None:  # else it was removed just now
            # Not by a matrix product: its last bits depend on the other rows.
            score = float(np.float32(np.sum(vector * query.astype(np.float64))))
            settled[place] = replace(near[place], score=score)
    return settled


def _vectors(
    client: MilvusClient, collection: str, names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Vectors of entities, by id."""
    found: dict[str, NDArray[np.float64]] = {}
    for first in range(0, len(names), _FETCHED_AT_ONCE):
        some = names[first : first + _FETCHED_AT_ONCE]
        with translated():
            entities = client.query(
                collection, filter=with_values(ID, some), output_fields=[ID, VECTOR]
            )
        found.update((each[ID], np.array(each[VECTOR], dtype=np.float64)) for each in entities)
    return found
