"""How a question was understood, as an answer says it: filters that the user can edit."""

from typing import Any

from indexer_core.filters import Filter
from indexer_core.query.model import Term, Understanding
from indexer_core.selection import Conditions
from indexer_core.vector_index import Fitted


def interpretation_of(
    text: str, understanding: Understanding, conditions: Conditions, found: Fitted
) -> dict[str, Any]:
    """The `interpretation` of an answer.

    `text` as asked, `rest` of it that made no filter, `filters` with where each is from and its
    words, `alternatives` (with "or" between them) where there are several, how many series were
    left out because a field is `unknown`, the fields that may be (`withUnknown`), and spelling
    `corrections`.
    """
    explicit = [{**_said(each), "from": "request", "words": []} for each in conditions.filters]
    understood = [
        {**_said(each), "from": "query", "words": _words(each, understanding.terms)}
        for each in understanding.filters
        if each not in conditions.filters
    ]
    several = len(understanding.alternatives) > 1
    branches = [[_said(each) for each in branch] for branch in understanding.alternatives]
    return {
        "text": text,
        "rest": understanding.rest,
        "filters": [*explicit, *understood],
        **({"alternatives": branches} if several else {}),
        "unknown": dict(found.fits.unknown),
        "withUnknown": sorted(conditions.with_unknown),
        "corrections": [
            {"from": term.corrected_from, "to": term.words}
            for term in understanding.terms
            if term.corrected_from is not None
        ],
    }


def _said(condition: Filter) -> dict[str, Any]:
    return {
        "field": condition.field,
        "operator": condition.operator,
        "values": list(condition.values),
    }


def _words(condition: Filter, terms: tuple[Term, ...]) -> list[str]:
    """The words that a filter was made of; of several joined by "or", all."""
    return [
        term.words
        for term in terms
        if any(
            each.field == condition.field
            and each.operator == condition.operator
            and set(each.values) & set(condition.values)
            for each in term.filters
        )
    ]
