"""From votes to a value: independent opinions add up, none counts twice."""

from collections.abc import Callable, Iterable, Mapping

from indexer_core.rules.model import UNKNOWN, Evidence, Vote

_DIGITS = 3


def combined(votes: Iterable[Vote]) -> float:
    """Probability that at least one source is right, each counted once at its strongest.

    1 - prod(1 - confidence), over sources in a fixed order so that the order of votes is of no
    consequence, not even in the last bit.
    """
    strongest: dict[str, float] = {}
    for vote in votes:
        strongest[vote.source] = max(strongest.get(vote.source, 0.0), vote.confidence)
    doubt = 1.0
    for source in sorted(strongest):
        doubt *= 1.0 - min(strongest[source], 1.0)
    return 1.0 - doubt


def tally(
    votes: Iterable[Vote], value_of: Callable[[Vote], str] = lambda vote: vote.value
) -> dict[str, float]:
    """Combined confidence of each value."""
    groups: dict[str, list[Vote]] = {}
    for vote in votes:
        groups.setdefault(value_of(vote), []).append(vote)
    return {value: combined(group) for value, group in groups.items()}


def winner(scores: Mapping[str, float]) -> tuple[str, float]:
    """Best value, and its confidence lowered by half of what speaks for the runner-up."""
    ranked = sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))
    if not ranked:
        return UNKNOWN, 0.0
    value, best = ranked[0]
    second = ranked[1][1] if len(ranked) > 1 else 0.0
    return value, best * (1.0 - second / 2)


def ordered(votes: Iterable[Vote]) -> tuple[Vote, ...]:
    """Distinct votes with rounded confidence, strongest first."""
    rounded = {
        Vote(vote.field, vote.value, vote.source, round(vote.confidence, _DIGITS), vote.rule)
        for vote in votes
    }
    return tuple(sorted(rounded, key=lambda v: (-v.confidence, v.value, v.source, v.rule)))


def evidence(
    value: str | tuple[str, ...],
    confidence: float,
    votes: Iterable[Vote],
    supporting: Iterable[Vote],
) -> Evidence:
    """Evidence whose source is the strongest of the supporting votes."""
    strongest = ordered(supporting)
    return Evidence(
        value=value,
        source=strongest[0].source if strongest else "",
        confidence=round(confidence, _DIGITS),
        votes=ordered(votes),
    )
