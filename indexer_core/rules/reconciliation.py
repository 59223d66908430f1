"""How what pixels say meets what headers say. One rule:

A finding of a pixel model is one more vote in the ballot of its field, counted at most as
``limits.model_cap``; except that it is not counted where it and the header may both be right
(``pixels.alike``: a chest with the heart in it), and where geometry or the kind of image decides
the plane alone. Where both are sure (``pixels.sure``) and cannot both be right, the series is
flagged ``headerPixelDisagreement``, whichever has won.

Both sides stay in the evidence, with what was found and how sure it was.
"""

from collections.abc import Iterable, Sequence

from indexer_core.facts import Finding
from indexer_core.rules.ballot import tally, winner
from indexer_core.rules.model import UNKNOWN, Evidence, Vote
from indexer_core.rules.ruleset import Rules

DISAGREEMENT = "headerPixelDisagreement"
_ANY = "*"
MODEL = "model:"


def votes_of(findings: Iterable[Finding]) -> list[Vote]:
    """The votes of findings; a model that abstained has none."""
    return [
        Vote(
            found.field,
            found.value,
            found.source,
            found.confidence,
            f"{found.n_agreeing} of {found.n_slices} slices",
        )
        for found in findings
        if found.value != UNKNOWN
    ]


def counted(header: Sequence[Vote], model: Sequence[Vote], field: str, rules: Rules) -> list[Vote]:
    """Those of the model's votes that count in the ballot beside the header's."""
    if not model:
        return []
    value, confidence = winner(tally(header))
    if confidence < rules.threshold("body" if field == "bodyRegion" else field):
        return list(model)
    return [vote for vote in model if vote.value == value or not alike(field, value, vote, rules)]


def disagreements(evidence: dict[str, Evidence], rules: Rules) -> set[str]:
    """The flag, where a sure pixel model and a sure header cannot both be right in a field."""
    sure = float(rules.tables["pixels"]["sure"])
    for field, found in evidence.items():
        model = [v for v in found.votes if _of_model(v) and v.confidence >= sure]
        if not model:
            continue
        said, how_sure = winner(tally(vote for vote in found.votes if not _of_model(vote)))
        if how_sure >= sure and not all(alike(field, said, vote, rules) for vote in model):
            return {DISAGREEMENT}
    return set()


def alike(field: str, value: str, vote: Vote, rules: Rules) -> bool:
    """Whether a value and that of a vote may both be true of one series."""
    if value == vote.value:
        return True
    pairs = rules.tables["pixels"]["alike"].get(field, ())
    return any(
        {value, vote.value} == set(pair)
        or (_ANY in pair and not {value, vote.value}.isdisjoint(pair))
        for pair in pairs
    )


def _of_model(vote: Vote) -> bool:
    return vote.source.startswith(MODEL)
