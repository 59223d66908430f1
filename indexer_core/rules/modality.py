"""Modality: what the object is, by its SOP class, its content and, last, its header."""

from collections.abc import Sequence
from typing import Any

from indexer_core.rules.ballot import evidence, tally
from indexer_core.rules.conditions import FactsView, holds
from indexer_core.rules.model import UNKNOWN, Evidence, Vote
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.sources import texts_for
from indexer_core.rules.vocabulary import find

_FIELD = "modality"
_BY_SOP_CLASS = 0.97
_BY_HEADER = 0.7
_TOLD_LITTLE = ("", "OT", "SC")


def header_modality(view: FactsView) -> str:
    """The most frequent Modality of the header, as it is written, upper case."""
    return view.text("Modality").upper()


def classify_modality(
    view: FactsView, rules: Rules, model_votes: Sequence[Vote] = ()
) -> tuple[str, Evidence]:
    """Modality and its evidence.

    The strongest single opinion wins: ten descriptions that say "CT" do not turn an ultrasound
    object into CT.
    """
    table = rules.tables["modality"]
    written = header_modality(view)
    current = table["aliases"].get(written, written)
    kinds = _sop_kinds(view, table)
    narrower = table["narrower"]
    votes = [
        Vote(
            _FIELD,
            current if current in narrower.get(kind, ()) else kind,
            "SOPClassUID",
            _BY_SOP_CLASS * share,
            uid,
        )
        for kind, share, uid in kinds
        if kind not in ("capture", "none")
    ]
    if current and current != "SC":
        votes.append(Vote(_FIELD, current, "Modality", _header_weight(current, kinds), "header"))
    votes += _rule_votes(view, table, current, kinds)
    if current in _TOLD_LITTLE:
        votes += _word_votes(view, rules, current)
    votes += [vote for vote in model_votes if vote.field == _FIELD]
    return _decide(votes, rules)


def _sop_kinds(view: FactsView, table: Any) -> list[tuple[str, float, str]]:
    """Kinds of SOP class with their share of the instances; ``none`` where none is known."""
    classes = [
        (
            table["sop_classes"].get(uid, "capture" if uid in table["captures"] else "none"),
            share,
            uid,
        )
        for uid, share in view.texts("SOPClassUID")
    ]
    return classes or [("none", 1.0, "")]


def _header_weight(modality: str, kinds: list[tuple[str, float, str]]) -> float:
    if modality == "OT":
        # "Other" is what devices write when they were told nothing.
        return 0.4
    return _BY_HEADER if kinds[0][0] == "capture" else 0.8


def _rule_votes(
    view: FactsView, table: Any, current: str, kinds: list[tuple[str, float, str]]
) -> list[Vote]:
    kind = kinds[0][0]
    votes = []
    for name, rule in table["rules"].items():
        if "modality" in rule and current not in rule["modality"]:
            continue
        if "sop" in rule and kind not in rule["sop"]:
            continue
        condition = rule.get("when", {})
        if holds(condition, view):
            source = next(iter(condition), "SOPClassUID")
            votes.append(Vote(_FIELD, rule["value"], source, float(rule["confidence"]), name))
    return votes


def _word_votes(view: FactsView, rules: Rules, current: str) -> list[Vote]:
    votes: list[Vote] = []
    for source in texts_for(_FIELD, view, rules):
        votes.extend(
            Vote(_FIELD, match.key, source.keyword, source.weight, "words")
            for match in find(rules.modality_vocabulary, source.text, current)[:1]
        )
    return votes


def _decide(votes: list[Vote], rules: Rules) -> tuple[str, Evidence]:
    if not votes:
        return UNKNOWN, evidence(UNKNOWN, 0.0, (), ())
    best = max(votes, key=lambda v: (round(v.confidence, 3), v.value, v.source, v.rule))
    agreeing = [vote for vote in votes if vote.value == best.value]
    confidence = tally(agreeing)[best.value]
    if confidence < rules.threshold(_FIELD):
        return UNKNOWN, evidence(UNKNOWN, confidence, votes, ())
    return best.value, evidence(best.value, confidence, votes, agreeing)
