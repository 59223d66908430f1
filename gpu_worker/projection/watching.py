"""When a map should learn: the new points of a window, and an alarm where they are unusual."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from indexer_core.index.manifest import Projection
from indexer_core.map_state import DriftReference
from indexer_core.placing import BatchDrift


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftRule:
    """When to learn anew.

    Parameters
    ----------
    max_far_share
        Of the points in the window.
    window
        Points that the share is taken over: the newest, at least so many.
    min_preservation
        As a share of what is usual, over the same window.
    min_points
        Fewer points say nothing about preservation.
    cooldown
        Points that must come after an alarm before the next one.
    """

    max_far_share: float = 0.05
    window: int = 100
    min_preservation: float = 0.6
    min_points: int = 50
    cooldown: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftWatch:
    """What benchmarks, which have no manifests, keep of batches: those of the window, newest last.

    cooldown_left: points that must come before the next alarm.
    """

    batches: tuple[BatchDrift, ...] = ()
    cooldown_left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Why a map should learn its newest points; shares are over the window."""

    far_share: float
    preservation: float


def watch(
    state: DriftWatch, batch: BatchDrift, reference: DriftReference, rule: DriftRule
) -> tuple[DriftWatch, Alarm | None]:
    """The state after a batch, and an alarm if it is time for one."""
    batches = _newest([*state.batches, batch], rule.window)
    left = max(0, state.cooldown_left - batch.n)
    after = DriftWatch(batches=batches, cooldown_left=left)
    alarm = None if left else alarm_over(batches, reference, rule)
    # What has been learnt must not sound again.
    return (
        (replace(after, batches=(), cooldown_left=rule.cooldown), alarm) if alarm else (after, None)
    )


def _newest(batches: Sequence[BatchDrift], window: int) -> tuple[BatchDrift, ...]:
    kept: list[BatchDrift] = []
    for batch in reversed(batches):
        if sum(each.n for each in kept) >= window:
            break
        kept.append(batch)
    return tuple(reversed(kept))


def newest_batches(projection: Projection, rule: DriftRule) -> tuple[BatchDrift, ...]:
    """What the newest points on a map say of it, by commit: those of the window, newest last."""
    batches = [
        BatchDrift(n=n, n_far=n_far, preserved_sum=kept / 1000)
        for n, n_far, kept in projection.recent
    ]
    return _newest(batches, rule.window)


def is_cool(projection: Projection, rule: DriftRule) -> bool:
    """Whether a map may be asked to learn: having learnt, or refused to, it is left alone."""
    is_first = projection.major is None and not projection.refused_at
    return is_first or projection.n_since >= rule.cooldown


def alarm_over(
    batches: Sequence[BatchDrift], reference: DriftReference, rule: DriftRule
) -> Alarm | None:
    """An alarm, if these batches are reason for one."""
    n = sum(batch.n for batch in batches)
    if n < min(rule.window, rule.min_points):
        return None
    share = sum(batch.n_far for batch in batches) / n
    kept = sum(batch.preserved_sum for batch in batches) / n
    is_far = n >= rule.window and share > rule.max_far_share
    is_torn = n >= rule.min_points and kept < rule.min_preservation * reference.preservation
    return Alarm(far_share=share, preservation=kept) if is_far or is_torn else None
