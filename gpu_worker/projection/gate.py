"""Whether a map that has learnt may take the place of its parent."""

from dataclasses import dataclass
from enum import StrEnum

from gpu_worker.projection.quality import Drift


class Refusal(StrEnum):
    """Why a map stays as it was; stable codes."""

    MOVED = "oldPointsMoved"
    MOVED_FROM_MAJOR = "oldPointsMovedFromMajor"
    OLD_WORSE = "oldNeighbourhoodsWorse"
    NEW_WORSE = "newNeighbourhoodsNotLearnt"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRule:
    """What a fine-tuned map must keep.

    Parameters
    ----------
    max_drift
        95th percentile of how far old points move that were no landmarks, of the diagonal.
    max_major_drift
        The same against the last major map.
    max_old_loss
        What trust of the old points may lose.
    min_new_share
        Trust of the new points, of the old points' trust on the parent.
    """

    max_drift: float = 0.02
    max_major_drift: float = 0.05
    max_old_loss: float = 0.005
    min_new_share: float = 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class GateMeasures:
    """What was measured of a fine-tuned map.

    Parameters
    ----------
    drift, major_drift
        Of old points that were no landmarks, against the parent and the last major map; None where
        the parent is a major map.
    old_trust, new_trust
        On the map that has learnt; `old_trust_before`, `new_trust_before` on its parent.
    """

    drift: Drift
    major_drift: Drift | None
    old_trust_before: float
    old_trust: float
    new_trust_before: float
    new_trust: float


def refusals(measures: GateMeasures, rule: GateRule) -> tuple[Refusal, ...]:
    """Everything that speaks against publishing; nothing means publish.

    Comparisons are written so that a NaN is refused.
    """
    found = []
    if not measures.drift.p95 <= rule.max_drift:
        found.append(Refusal.MOVED)
    major = measures.major_drift
    if major is not None and not major.p95 <= rule.max_major_drift:
        found.append(Refusal.MOVED_FROM_MAJOR)
    if not measures.old_trust >= measures.old_trust_before - rule.max_old_loss:
        found.append(Refusal.OLD_WORSE)
    wanted = max(measures.old_trust_before * rule.min_new_share, measures.new_trust_before)
    if not measures.new_trust >= wanted:
        found.append(Refusal.NEW_WORSE)
    return tuple(found)


def may_help(found: tuple[Refusal, ...]) -> bool:
    """Whether heavier landmarks could change the answer: they hold points, they teach nothing."""
    return any(reason is not Refusal.NEW_WORSE for reason in found)
