"""Sequence labels: weighting, technique and kind of picture."""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from indexer_core.rules.ballot import evidence, tally
from indexer_core.rules.conditions import FactsView, compiled, holds
from indexer_core.rules.model import Evidence, Vote
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.sources import SourceText, texts_for
from indexer_core.rules.text import Text

_FIELD = "sequence"
_BY_CODE = 0.9
# Texts of the series, most telling first: a later one is heard only while none was decisive.
_IN_TURN = (
    "SeriesDescription",
    "ProtocolName",
    "AcquisitionProtocolDescription",
    "SequenceName",
    "PulseSequenceName",
)


def classify_sequence(
    view: FactsView, rules: Rules, modality: str, model_votes: Sequence[Vote] = ()
) -> tuple[tuple[str, ...], Evidence]:
    """Labels in the order of the documented list, and their evidence."""
    votes = _coded_votes(view, rules, modality)
    heard = False
    for keyword, texts in _by_keyword(view, rules).items():
        if heard and keyword in _IN_TURN:
            continue
        found = [vote for source in texts for vote in _text_votes(source, rules, modality)]
        votes += found
        heard = heard or (keyword in _IN_TURN and _decisive(found, rules))
    physics = _physics_votes(view, rules, modality)
    spare = [] if _decisive(votes, rules) else _best_weighting(physics, rules)
    model = [vote for vote in model_votes if vote.field == _FIELD and vote.value in rules.labels]
    scores = tally([*votes, *spare, *model])
    if not _accepted(scores, rules):
        scores |= tally(_techniques(physics, rules))
    labels = _closed(_accepted(scores, rules), rules)
    everything = [*votes, *physics, *model]
    supporting = [vote for vote in everything if vote.value in labels]
    confidence = max((scores.get(label, 0.0) for label in labels), default=0.0)
    return labels, evidence(labels, confidence, everything, supporting)


def _by_keyword(view: FactsView, rules: Rules) -> dict[str, list[SourceText]]:
    grouped: dict[str, list[SourceText]] = {keyword: [] for keyword in _IN_TURN}
    for source in texts_for(_FIELD, view, rules):
        if source.keyword != "ImageType":
            grouped.setdefault(source.keyword, []).append(source)
    return grouped


@lru_cache(maxsize=8192)
def labels_in(text: Text, rules: Rules, modality: str) -> tuple[str, ...]:
    """Labels that a text names, without those implied."""
    named = {match.key for match in rules.label_vocabulary.find(text, modality)}
    return tuple(
        label
        for label, entry in rules.labels.items()
        if not entry.get("modality") or modality in entry["modality"]
        if label in named or _matches(entry, text)
    )


def _matches(entry: Any, text: Text) -> bool:
    return any(compiled(pattern).search(text.plain) for pattern in entry.get("patterns", ()))


def _text_votes(source: SourceText, rules: Rules, modality: str) -> list[Vote]:
    return [
        Vote(_FIELD, label, source.keyword, source.weight, label)
        for label in labels_in(source.text, rules, modality)
    ]


def _coded_votes(view: FactsView, rules: Rules, modality: str) -> list[Vote]:
    table = rules.tables["sequences"]
    votes = []
    for keyword, name in (
        ("ImageType", "image_types"),
        ("AcquisitionContrast", "acquisition_contrasts"),
    ):
        for code in view.components(keyword) & set(table[name]):
            label = table[name][code]
            modalities = rules.labels[label].get("modality", ())
            if not modalities or modality in modalities:
                votes.append(Vote(_FIELD, label, keyword, _BY_CODE, code))
    return votes


def _physics_votes(view: FactsView, rules: Rules, modality: str) -> list[Vote]:
    if modality != "MR":
        return []
    return [
        Vote(_FIELD, rule["value"], "physics", float(rule["confidence"]), name)
        for name, rule in rules.tables["sequences"]["physics"].items()
        if holds(rule.get("when", {}), view)
    ]


def _decisive(votes: Iterable[Vote], rules: Rules) -> bool:
    groups = rules.tables["sequences"]["decisive_groups"]
    return any(_group(vote, rules) in groups or vote.value == "localizer" for vote in votes)


def _group(vote: Vote, rules: Rules) -> str:
    return str(rules.labels[vote.value]["group"])


def _best_weighting(physics: Sequence[Vote], rules: Rules) -> list[Vote]:
    """One weighting at most; mechanisms such as diffusion as they are."""
    others = [v for v in physics if _group(v, rules) not in ("weighting", "technique")]
    others += [v for v in physics if v.value == "MPRAGE"]
    weightings = [v for v in physics if _group(v, rules) == "weighting"]
    if weightings and not others:
        others.append(max(weightings, key=lambda v: (v.confidence, v.rule)))
    return others


def _techniques(physics: Sequence[Vote], rules: Rules) -> list[Vote]:
    return [vote for vote in physics if _group(vote, rules) == "technique"]


def _accepted(scores: dict[str, float], rules: Rules) -> tuple[str, ...]:
    least = rules.threshold(_FIELD)
    return tuple(label for label in rules.labels if scores.get(label, 0.0) >= least)


def _closed(labels: Iterable[str], rules: Rules) -> tuple[str, ...]:
    """Labels without those replaced, with those implied, in the order of the list."""
    kept = set(labels)
    for label in rules.labels:
        # In the order of the list: a label that was itself replaced replaces nothing.
        if label in kept:
            kept -= set(rules.labels[label].get("excludes", ()))
    for label in tuple(kept):
        kept |= set(rules.labels[label].get("implies", ()))
    return tuple(label for label in rules.labels if label in kept)
