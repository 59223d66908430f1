"""Two rankings as one: by reciprocal ranks, which need no common scale.

A series that one ranking has at place p (from 1) is given 1 / (60 + p) by it; what both give adds
up (Cormack, Clarke and Buettcher, SIGIR 2009). Scores of words and of pictures cannot be compared,
places can.

Whoever is erased between two pages of such an answer gives up a place in both rankings, and two
others that were close may change theirs: one of them may be told twice then, or not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from indexer_core.search import Hit

_SMOOTHING = 60
DEPTH = 500
"""Places of each ranking that count. What is farther is not found: it would hardly matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """One ranking made of several.

    hits: best first, equal ones by key; their score is that of the fusion, and what else they say
    is that of the first ranking that has them. by: for each series key, by name of a ranking, the
    hit that it has of it.
    """

    hits: tuple[Hit, ...]
    by: Mapping[str, Mapping[str, Hit]]


def fused(rankings: Mapping[str, Sequence[Hit]]) -> Fused:
    """Fuse rankings, each best first and without repetition.

    Parameters
    ----------
    rankings
        By name; the order of the names decides whose hit stands for a series.
    """
    scores: dict[str, float] = {}
    by: dict[str, dict[str, Hit]] = {}
    for name, hits in rankings.items():
        for place, hit in enumerate(hits[:DEPTH], start=1):
            key = hit.key
            scores[key] = scores.get(key, 0.0) + 1 / (_SMOOTHING + place)
            by.setdefault(key, {})[name] = hit
    ordered = sorted(scores, key=lambda key: (-scores[key], key))
    hits = tuple(replace(next(iter(by[key].values())), score=scores[key]) for key in ordered)
    return Fused(hits=hits, by=by)
