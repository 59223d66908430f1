"""Imaging plane: geometry first, then what kind of image it is, then words."""

from collections.abc import Sequence

from indexer_core.rules.ballot import evidence, tally, winner
from indexer_core.rules.conditions import FactsView
from indexer_core.rules.model import UNKNOWN, Evidence, Vote
from indexer_core.rules.reconciliation import counted
from indexer_core.rules.ruleset import Rules
from indexer_core.rules.sources import texts_for
from indexer_core.rules.vocabulary import find

_FIELD = "plane"
_BY_GEOMETRY = 0.98
_BY_KIND = 0.95
_BY_IMAGE_TYPE = 0.7


def classify_plane(
    view: FactsView,
    rules: Rules,
    modality: str,
    labels: Sequence[str],
    model_votes: Sequence[Vote] = (),
) -> tuple[str, Evidence]:
    """Plane and its evidence."""
    kind = _projection_votes(view, rules, modality, labels)
    geometry = _geometry_votes(view, rules)
    words = _word_votes(view, rules, modality)
    typed = _image_type_votes(view, rules, modality)
    model = [vote for vote in model_votes if vote.field == _FIELD]
    everything = [*kind, *geometry, *words, *typed, *model]
    for decisive in (kind, geometry):
        if decisive:
            return _decide(decisive, everything, rules)
    told = [*words, *typed]
    return _decide([*told, *counted(told, model, _FIELD, rules)], everything, rules)


def _decide(
    votes: Sequence[Vote], everything: Sequence[Vote], rules: Rules
) -> tuple[str, Evidence]:
    plane, confidence = winner(tally(votes))
    if confidence < rules.threshold(_FIELD):
        return UNKNOWN, evidence(UNKNOWN, confidence, everything, ())
    supporting = [vote for vote in votes if vote.value == plane]
    return plane, evidence(plane, confidence, everything, supporting)


def _projection_votes(
    view: FactsView, rules: Rules, modality: str, labels: Sequence[str]
) -> list[Vote]:
    table = rules.tables["plane"]
    if modality in table["projection_modalities"]:
        return [Vote(_FIELD, "projection", "modality", _BY_KIND, modality)]
    types = set(table["projection_image_types"].get(modality, ()))
    if types & view.components("ImageType"):
        return [Vote(_FIELD, "projection", "ImageType", _BY_KIND, "image type")]
    named = set(table["projection_labels"].get(modality, ())) & set(labels)
    if named:
        return [Vote(_FIELD, "projection", "sequence", _BY_KIND, min(named))]
    return []


def _geometry_votes(view: FactsView, rules: Rules) -> list[Vote]:
    planes = view.facts.planes
    total = sum(planes.values())
    if total <= 0:
        return []
    name, count = max(planes.items(), key=lambda entry: (entry[1], entry[0]))
    share = count / total
    if share < float(rules.tables["sources"]["limits"]["mixed_below"]):
        return [Vote(_FIELD, "mixed", "geometry", _BY_GEOMETRY, "orientations")]
    return [Vote(_FIELD, name, "geometry", _BY_GEOMETRY * share, "orientations")]


def _word_votes(view: FactsView, rules: Rules, modality: str) -> list[Vote]:
    if modality not in rules.tables["plane"]["planar_modalities"]:
        return []
    votes = []
    for source in texts_for(_FIELD, view, rules):
        named = {match.key for match in find(rules.plane_vocabulary, source.text, modality)}
        value = next(iter(named), "")
        if "mixed" in named or {"axial", "coronal", "sagittal"} <= named:
            value = "mixed"
        elif len(named) > 1:
            # "sag obl" is a tilted sagittal stack; two planes at right angles tell nothing.
            named -= {"oblique"}
            value = named.pop() if len(named) == 1 else ""
        if value:
            votes.append(Vote(_FIELD, value, source.keyword, source.weight, "words"))
    return votes


def _image_type_votes(view: FactsView, rules: Rules, modality: str) -> list[Vote]:
    types = set(rules.tables["plane"]["axial_image_types"].get(modality, ()))
    if types & view.components("ImageType"):
        return [Vote(_FIELD, "axial", "ImageType", _BY_IMAGE_TYPE, "image type")]
    return []
