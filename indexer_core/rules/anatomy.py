"""Body region and body part, from texts, codes and what the kind of object suggests."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from indexer_core.rules.ballot import combined, evidence, tally, winner
from indexer_core.rules.conditions import FactsView, holds
from indexer_core.rules.model import UNKNOWN, BodyPart, Evidence, Vote
from indexer_core.rules.reconciliation import counted
from indexer_core.rules.ruleset import IGNORED, PHANTOM, Rules
from indexer_core.rules.sources import SourceText, texts_for
from indexer_core.rules.text import Text
from indexer_core.rules.vocabulary import Match, find

_FIELD = "bodyPart"
_PHANTOM_CONFIDENCE = 0.95
_MOST_NAMES_COUNT = 0.9


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Region, part and their evidence; `header_contradicts` where BodyPartExamined differs."""

    region: str
    part: BodyPart | None
    synonyms: tuple[str, ...]
    region_evidence: Evidence
    part_evidence: Evidence
    phantom: bool = False
    header_contradicts: bool = False


def classify_anatomy(
    view: FactsView,
    rules: Rules,
    modality: str,
    labels: Sequence[str] = (),
    model_votes: Sequence[Vote] = (),
) -> Anatomy:
    """Body region and part; unknown where the evidence is below the threshold."""
    votes = _weighed(_text_votes(view, rules, modality), rules)
    votes += _hints(view, rules, modality, labels)
    region_of = rules.region_of
    told = [
        replace(vote, field="bodyRegion", value=region_of[vote.value], rule=vote.value)
        for vote in votes
    ]
    seen = [vote for vote in model_votes if vote.field == "bodyRegion"]
    region_votes = told + seen
    sources = _phantom_sources(view, rules, modality)
    if sources:
        return _phantom(rules, votes, region_votes, sources)
    ballot = told + counted(told, seen, "bodyRegion", rules)
    region, confidence = winner(tally(ballot))
    if confidence < rules.threshold("body"):
        region = UNKNOWN
    supporting = [vote for vote in ballot if vote.value == region]
    contradicts = any(
        vote.source == "BodyPartExamined" and vote.value != region for vote in region_votes
    )
    region_evidence = evidence(region, confidence, region_votes, supporting)
    candidates = [vote for vote in votes if region_of[vote.value] == region]
    candidates += [
        vote for vote in model_votes if vote.field == _FIELD and region_of.get(vote.value) == region
    ]
    part, part_evidence = _part(candidates, votes, rules)
    return Anatomy(
        region=region,
        part=rules.body_part(part) if part else None,
        synonyms=tuple(rules.parts[part].get("synonyms", ())) if part else (),
        region_evidence=region_evidence,
        part_evidence=part_evidence,
        header_contradicts=contradicts and region != UNKNOWN,
    )


@lru_cache(maxsize=8192)
def parts_in(text: Text, rules: Rules, modality: str) -> tuple[Match, ...]:
    """Body parts that a text names, combinations joined, in order."""
    found = [match for match in rules.body_vocabulary.find(text, modality) if match.key != IGNORED]
    for combination in rules.tables["body_parts"]["combinations"]:
        members = set(combination["of"])
        joined = [match for match in found if match.key in members]
        if {match.key for match in joined} == members:
            first = Match(joined[0].position, combination["id"], max(m.weight for m in joined))
            found = [match for match in found if match not in joined and match.key != first.key]
            found.append(first)
    return tuple(sorted(found, key=lambda match: (match.position, match.key)))


def _text_votes(view: FactsView, rules: Rules, modality: str) -> list[tuple[Vote, str]]:
    """Votes with the level of the text that they come from."""
    votes: list[tuple[Vote, str]] = []
    decay = float(rules.tables["sources"]["limits"]["order_decay"])
    seen: set[str] = set()
    for source in texts_for("body", view, rules):
        if source.keyword == "ProtocolName" and source.text.plain in seen:
            # The same words again are no second opinion.
            continue
        seen.add(source.text.plain)
        coded = rules.parts_by_code.get(source.code) or _examined(source, rules)
        if coded is not None:
            vote = Vote(_FIELD, coded, source.keyword, source.weight, "code")
            votes.append((vote, source.level))
            continue
        for order, match in enumerate(parts_in(source.text, rules, modality)):
            weight = source.weight * match.weight * decay**order
            vote = Vote(_FIELD, match.key, source.keyword, weight, match.key)
            votes.append((vote, source.level))
    return votes


def _examined(source: SourceText, rules: Rules) -> str | None:
    """The part that a standard value of BodyPartExamined stands for."""
    if source.keyword != "BodyPartExamined":
        return None
    term = "".join(source.text.variants[0]).upper()
    part: str | None = rules.tables["body_parts"]["examined"].get(term)
    return part


def _weighed(votes: Sequence[tuple[Vote, str]], rules: Rules) -> list[Vote]:
    """Votes after two corrections: texts of the series first, lists of names by their number."""
    table = rules.tables["sources"]
    each = set(table["each"])
    own = any(
        level == "series"
        and vote.source in ("SeriesDescription", "ProtocolName")
        and vote.confidence >= rules.threshold("body") * 2
        for vote, level in votes
    )
    weighed = [
        replace(vote, confidence=vote.confidence * float(table["demoted"]))
        if own and (level == "study" or vote.source == "BodyPartExamined")
        else vote
        for vote, level in votes
        if vote.source not in each
    ]
    return weighed + _named_often([vote for vote, _ in votes if vote.source in each], rules)


def _named_often(votes: Sequence[Vote], rules: Rules) -> list[Vote]:
    """One vote per part and list of names; a region named more often weighs more."""
    counted: dict[tuple[str, str], list[Vote]] = {}
    per_region: dict[tuple[str, str], int] = {}
    for vote in votes:
        counted.setdefault((vote.source, vote.value), []).append(vote)
        region = (vote.source, rules.parts[vote.value]["region"])
        per_region[region] = per_region.get(region, 0) + 1
    result = []
    for (source, value), group in sorted(counted.items()):
        n_names = per_region[source, rules.parts[value]["region"]]
        single = max(vote.confidence for vote in group)
        confidence = min(1.0 - (1.0 - single) ** n_names, _MOST_NAMES_COUNT)
        result.append(replace(group[0], confidence=confidence))
    return result


def _hints(view: FactsView, rules: Rules, modality: str, labels: Sequence[str]) -> list[Vote]:
    votes = []
    for name, hint in rules.tables["sources"]["hints"].items():
        if "modality" in hint and modality not in hint["modality"]:
            continue
        if "labels" in hint and not set(hint["labels"]) & set(labels):
            continue
        condition = hint.get("when", {})
        if holds(condition, view) and not set(hint.get("without", ())) & set(labels):
            source = next(iter(condition), "sequence" if "labels" in hint else "modality")
            votes.append(Vote(_FIELD, hint["part"], source, float(hint["confidence"]), name))
    return votes


def _part(candidates: Sequence[Vote], votes: Sequence[Vote], rules: Rules) -> tuple[str, Evidence]:
    """The best part; votes for a wider part support the narrower ones that have their own."""
    narrow = float(rules.tables["sources"]["narrow"])
    own = tally(candidates)
    scores = {}
    for name, confidence in own.items():
        wider = _wider(name, rules)
        if confidence < narrow and any(other in own for other in wider):
            continue
        lineage = {name, *wider}
        scores[name] = combined(vote for vote in candidates if vote.value in lineage)
    if not scores:
        return "", evidence(UNKNOWN, 0.0, votes, ())
    depth = {name: len(_wider(name, rules)) for name in scores}
    best = max(scores, key=lambda name: (round(scores[name], 6), depth[name], own[name], name))
    if scores[best] < rules.threshold("body"):
        return "", evidence(UNKNOWN, scores[best], votes, ())
    supporting = [vote for vote in candidates if vote.value == best]
    return best, evidence(rules.parts[best]["term"], scores[best], votes, supporting)


def _wider(name: str, rules: Rules) -> tuple[str, ...]:
    chain = []
    parent = rules.parts[name].get("within")
    while parent is not None:
        chain.append(parent)
        parent = rules.parts[parent].get("within")
    return tuple(chain)


def _phantom_sources(view: FactsView, rules: Rules, modality: str) -> list[str]:
    return [
        source.keyword
        for source in texts_for("body", view, rules)
        if find(rules.phantom_vocabulary, source.text, modality)
    ]


def _phantom(
    rules: Rules, votes: Iterable[Vote], region_votes: Iterable[Vote], sources: Iterable[str]
) -> Anatomy:
    found = [Vote(_FIELD, PHANTOM, name, _PHANTOM_CONFIDENCE, PHANTOM) for name in set(sources)]
    regions = [replace(vote, field="bodyRegion", value="other") for vote in found]
    return Anatomy(
        region="other",
        part=rules.phantom_part,
        synonyms=("test object", "quality control"),
        region_evidence=evidence("other", _PHANTOM_CONFIDENCE, [*region_votes, *regions], regions),
        part_evidence=evidence(PHANTOM, _PHANTOM_CONFIDENCE, [*votes, *found], found),
        phantom=True,
    )
