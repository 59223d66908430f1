"""Scoring search and classification against the judged series."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
FIELDS = ("modality", "bodyRegion", "plane", "sequence", "contrast")
SPLITS = ("tune", "test")


@dataclass(frozen=True)
class Judged:
    """A judged series."""

    anchor: str
    split: str
    truth: Mapping[str, Any]
    also: Mapping[str, Any]

    def accepts(self, field: str, value: Any) -> bool:
        """Whether an answer is right; 'unknown' is wrong where a reader can tell."""
        if field == "sequence":
            required, optional = set(self.truth["sequence"]), set(self.also.get("sequence", ()))
            return required <= set(value) <= required | optional
        return value == self.truth[field] or value in self.also.get(field, ())


@dataclass(frozen=True)
class Query:
    """A judged query."""

    id: str
    text: str
    kind: str
    split: str
    relevant: frozenset[str]


def load_judged() -> list[Judged]:
    entries = yaml.safe_load((HERE / "series.yaml").read_text(encoding="utf-8"))
    return [
        Judged(
            anchor=entry["anchor"],
            split=entry["split"],
            truth=entry["truth"],
            also=entry.get("also", {}),
        )
        for entry in entries
    ]


def load_queries() -> list[Query]:
    entries = yaml.safe_load((HERE / "queries.yaml").read_text(encoding="utf-8"))
    return [
        Query(
            id=entry["id"],
            text=entry["text"],
            kind=entry["kind"],
            split=entry["split"],
            relevant=frozenset(entry.get("relevant", ())),
        )
        for entry in entries
    ]


def average_precision(ranked: Sequence[str], relevant: frozenset[str]) -> float:
    """Mean of the precision at the rank of each relevant item; those not found count as zero."""
    hits, total = 0, 0.0
    for rank, item in enumerate(ranked, start=1):
        if item in relevant:
            hits += 1
            total += hits / rank
    return total / len(relevant)


def precision_at(ranked: Sequence[str], relevant: frozenset[str], k: int = 10) -> float:
    """Share of relevant items among the first min(k, number relevant)."""
    k = min(k, len(relevant))
    return sum(item in relevant for item in ranked[:k]) / k


def ndcg(ranked: Sequence[str], relevant: frozenset[str]) -> float:
    """Discounted cumulative gain of all ranks over that of the best order; gains are 0 or 1."""
    gain = sum(1 / math.log2(rank + 1) for rank, item in enumerate(ranked, 1) if item in relevant)
    return gain / sum(1 / math.log2(rank + 1) for rank in range(1, len(relevant) + 1))


@dataclass(frozen=True)
class Report:
    """Scores of one split."""

    split: str
    average_precision: dict[str, float]
    precision: dict[str, float]
    ndcg: dict[str, float]
    accuracy: dict[str, float]
    per_query: dict[str, float]
    wrong: dict[str, list[str]]

    def lines(self) -> list[str]:
        ap = ", ".join(f"{kind} {value:.3f}" for kind, value in self.average_precision.items())
        p10 = ", ".join(f"{kind} {value:.3f}" for kind, value in self.precision.items())
        gains = ", ".join(f"{kind} {value:.3f}" for kind, value in self.ndcg.items())
        accuracy = ", ".join(f"{field} {value:.3f}" for field, value in self.accuracy.items())
        return [
            f"{self.split}: mean average precision: {ap}",
            f"{self.split}: precision@min(10, relevant): {p10}",
            f"{self.split}: nDCG: {gains}",
            f"{self.split}: classification accuracy: {accuracy}",
        ]


def score(
    split: str,
    records: Mapping[str, Mapping[str, Any]],
    rank: Callable[[str], Sequence[str]],
) -> Report:
    """Score one split.

    Parameters
    ----------
    records
        Anchor -> series record, for the judged series of every split.
    rank
        Query text -> anchors, best first; anchors of other splits and None are left out here, so
        that unjudged series never count.
    """
    judged = [entry for entry in load_judged() if entry.split == split]
    anchors = {entry.anchor for entry in judged}
    per_query: dict[str, float] = {}
    aps: dict[str, list[float]] = {"plain": [], "negated": []}
    precisions: dict[str, list[float]] = {"plain": [], "negated": []}
    gains: dict[str, list[float]] = {"plain": [], "negated": []}
    for query in load_queries():
        if query.split != split or query.kind == "none":
            continue
        ranked = [anchor for anchor in rank(query.text) if anchor in anchors]
        per_query[query.id] = average_precision(ranked, query.relevant)
        aps[query.kind].append(per_query[query.id])
        precisions[query.kind].append(precision_at(ranked, query.relevant))
        gains[query.kind].append(ndcg(ranked, query.relevant))
    wrong = {
        field: [
            f"{entry.anchor}: {records[entry.anchor][field]!r}, truth {entry.truth[field]!r}"
            for entry in judged
            if not entry.accepts(field, records[entry.anchor][field])
        ]
        for field in FIELDS
    }
    return Report(
        split=split,
        average_precision=_with_all(aps),
        precision=_with_all(precisions),
        ndcg=_with_all(gains),
        accuracy={field: 1 - len(wrong[field]) / len(judged) for field in FIELDS},
        per_query=per_query,
        wrong=wrong,
    )


def _with_all(values: Mapping[str, list[float]]) -> dict[str, float]:
    """Means by kind of question, and of all questions."""
    everything = [number for numbers in values.values() for number in numbers]
    return {**{kind: _mean(n) for kind, n in values.items()}, "all": _mean(everything)}


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)
