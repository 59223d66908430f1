"""Series facts to a classification, by the rules in force. Pure and deterministic."""

from collections.abc import Sequence
from dataclasses import replace

from indexer_core.facts import SeriesFacts
from indexer_core.rules.anatomy import Anatomy, classify_anatomy
from indexer_core.rules.conditions import FactsView
from indexer_core.rules.contrast import classify_contrast
from indexer_core.rules.devices import classify_manufacturer
from indexer_core.rules.modality import classify_modality, header_modality
from indexer_core.rules.model import UNKNOWN, Classification, Vote
from indexer_core.rules.plane import classify_plane
from indexer_core.rules.reconciliation import disagreements, votes_of
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.sequence import classify_sequence


def classify(facts: SeriesFacts, rules: Rules, model_votes: Sequence[Vote] = ()) -> Classification:
    """What the series is.

    Parameters
    ----------
    facts
        The series as its headers describe it, and what pixel models found (`facts.findings`).
    rules
        From `load_rules`.
    model_votes
        Further opinions of pixel models, in the vocabulary of each field; for ``bodyPart`` the ids
        of body_parts.yaml. How they count: `indexer_core.rules.reconciliation`.
    """
    view = FactsView(facts)
    cap = float(rules.tables["sources"]["limits"]["model_cap"])
    votes = [
        replace(vote, confidence=min(vote.confidence, cap))
        for vote in (*model_votes, *votes_of(facts.findings))
    ]
    modality, modality_evidence = classify_modality(view, rules, votes)
    sequence, sequence_evidence = classify_sequence(view, rules, modality, votes)
    anatomy = classify_anatomy(view, rules, modality, sequence, votes)
    plane, plane_evidence = classify_plane(view, rules, modality, sequence, votes)
    contrast, contrast_evidence = classify_contrast(view, rules, modality, sequence, votes)
    manufacturer, manufacturer_evidence = classify_manufacturer(view, rules)
    written = header_modality(view)
    evidence = {
        "modality": modality_evidence,
        "bodyRegion": anatomy.region_evidence,
        "bodyPart": anatomy.part_evidence,
        "plane": plane_evidence,
        "sequence": sequence_evidence,
        "contrast": contrast_evidence,
        "manufacturer": manufacturer_evidence,
    }
    flags = _flags(anatomy, written, modality, rules) | disagreements(evidence, rules)
    return Classification(
        modality=modality,
        header_modality=written,
        body_region=anatomy.region,
        body_part=anatomy.part,
        plane=plane,
        sequence=sequence,
        contrast=contrast,
        synonyms=anatomy.synonyms,
        manufacturer=manufacturer,
        flags=tuple(sorted(flags)),
        evidence=evidence,
        rules_digest=rules.digest,
    )


def _flags(anatomy: Anatomy, written: str, modality: str, rules: Rules) -> set[str]:
    current = rules.tables["modality"]["aliases"].get(written, written)
    found = {
        "phantom": anatomy.phantom,
        "headerBodyPartMismatch": anatomy.header_contradicts,
        "headerModalityMismatch": bool(written) and modality not in (current, UNKNOWN),
    }
    return {flag for flag, is_set in found.items() if is_set}
