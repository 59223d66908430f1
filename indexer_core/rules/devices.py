"""Makers of devices by one name each."""

from indexer_core.rules.ballot import evidence
from indexer_core.rules.conditions import FactsView, compiled
from indexer_core.rules.model import Evidence, Vote
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.text import analyse

_FIELD = "manufacturer"


def classify_manufacturer(view: FactsView, rules: Rules) -> tuple[str, Evidence]:
    """One name for the commonest maker ("" without any); the votes keep the names as written."""
    votes = [
        Vote(_FIELD, raw, "Manufacturer", round(share, 3), normalised(raw, rules))
        for raw, share in view.texts("Manufacturer")
    ]
    raw = view.text("Manufacturer")
    name = normalised(raw, rules) if raw else ""
    return name, evidence(name, 1.0 if name else 0.0, votes, votes)


def normalised(raw: str, rules: Rules) -> str:
    """One name per maker; an unlisted maker keeps the name it has."""
    plain = analyse(raw).plain
    for name, pattern in rules.tables["devices"]["manufacturers"].items():
        if compiled(pattern).search(plain):
            return str(name)
    return " ".join(raw.split())[:64]
