"""Contrast agent: what texts say, with negation, and what the header records."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from indexer_core.rules.ballot import evidence, tally, winner
from indexer_core.rules.conditions import FactsView, compiled, holds
from indexer_core.rules.model import UNKNOWN, Evidence, Vote
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.sources import SourceText, texts_for
from indexer_core.rules.text import Text, fold

_FIELD = "contrast"


def classify_contrast(
    view: FactsView,
    rules: Rules,
    modality: str,
    labels: Sequence[str],
    model_votes: Sequence[Vote] = (),
) -> tuple[str, Evidence]:
    """``yes``, ``no`` or ``unknown``, and the evidence."""
    votes = [
        vote
        for source in texts_for(_FIELD, view, rules)
        for vote in _text_votes(source, rules, modality, "localizer" in labels)
    ]
    votes += _fact_votes(view, rules, modality)
    votes += _agent_votes(view, rules)
    votes += [vote for vote in model_votes if vote.field == _FIELD]
    value, confidence = winner(tally(votes))
    if confidence < rules.threshold(_FIELD):
        return UNKNOWN, evidence(UNKNOWN, confidence, votes, ())
    return value, evidence(value, confidence, votes, [v for v in votes if v.value == value])


def _text_votes(source: SourceText, rules: Rules, modality: str, is_localizer: bool) -> list[Vote]:
    found = _rules_met(source.text, rules, modality)
    hidden = {name for rule in found.values() for name in rule.get("hides", ())}
    votes = []
    for name, rule in found.items():
        if name in hidden or rule["value"] == "both":
            continue
        weight = source.weight * float(rule["confidence"])
        weight *= _study_factor(source, rule["value"], rules, modality)
        if source.level == "study" and rule["value"] == "yes" and is_localizer:
            continue
        votes.append(Vote(_FIELD, rule["value"], source.keyword, min(weight, 0.9), name))
    return votes


@lru_cache(maxsize=8192)
def _rules_met(text: Text, rules: Rules, modality: str) -> dict[str, Any]:
    return {
        name: rule
        for name, rule in rules.tables["contrast"]["texts"].items()
        if not rule.get("modality") or modality in rule["modality"]
        if any(compiled(pattern).search(text.plain) for pattern in rule["patterns"])
    }


def _study_factor(source: SourceText, value: str, rules: Rules, modality: str) -> float:
    """Words of the examination hold for every series when they deny contrast, not otherwise."""
    if source.level != "study":
        return 1.0
    table = rules.tables["sources"]
    if value == "no":
        return float(table["study_no"])
    return float(table["study_yes"].get(modality, 1.0))


def _fact_votes(view: FactsView, rules: Rules, modality: str) -> list[Vote]:
    votes = []
    for name, rule in rules.tables["contrast"]["facts"].items():
        condition = rule.get("when", {})
        if (not rule.get("modality") or modality in rule["modality"]) and holds(condition, view):
            source = next(iter(condition))
            votes.append(Vote(_FIELD, rule["value"], source, float(rule["confidence"]), name))
    return votes


def _agent_votes(view: FactsView, rules: Rules) -> list[Vote]:
    table = rules.tables["contrast"]
    nothing = {fold(text) for text in table["not_an_agent"]}
    votes = []
    for text, share in view.texts("ContrastBolusAgent"):
        given = fold(text) not in nothing
        value, entry = ("yes", table["agent"]) if given else ("no", table["no_agent"])
        confidence = float(entry["confidence"]) * share**0.5
        votes.append(Vote(_FIELD, value, "ContrastBolusAgent", confidence, "agent"))
    return votes
