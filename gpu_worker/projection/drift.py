"""When the world has changed: new points far from all known ones, or torn from their neighbours.

Two statistics, each blind where the other sees. Points of an unseen kind lie further from their
k-th neighbour than nearly all known points do; where an unseen kind lies between known ones, it is
the map that fails to keep its neighbourhoods. Both are compared with what points showed that the
map was not trained on: trained points are flattered.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.neighbours import nearest
from gpu_worker.projection.quality import preserved
from indexer_core.projector import Projector

TAU_QUANTILE = 0.99
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftReference:
    """What is usual, as calibrated when the map was fitted.

    Parameters
    ----------
    k
        Neighbours that are looked at.
    tau
        A point whose k-th neighbour is further away is out of distribution.
    preservation
        Mean share of the k neighbours that are also the nearest on the map.
    """

    k: int
    tau: float
    preservation: float


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
class BatchDrift:
    """What a batch of new points showed; preserved_sum adds up one share per point."""

    n: int
    n_far: int
    preserved_sum: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftWatch:
    """The batches in the window, newest last, and how many points are left of a cooldown."""

    batches: tuple[BatchDrift, ...] = ()
    cooldown_left: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """Why a map should learn its newest points; shares are over the window."""

    far_share: float
    preservation: float


def calibrate(k: int, distances: Floats, kept: NDArray[np.float64]) -> DriftReference:
    """The usual.

    Parameters
    ----------
    distances : ndarray of float32, shape (n,)
        To the k-th neighbour among the trained points.
    kept : ndarray of float64, shape (n,)
        Share of the k neighbours that are also the nearest on the map, of points that it was not
        trained on. There may be fewer of these.
    """
    return DriftReference(
        k=k, tau=float(np.quantile(distances, TAU_QUANTILE)), preservation=float(kept.mean())
    )


def look_at(
    vectors: Floats,
    projector: Projector,
    searched: Floats,
    places: Floats,
    k: int,
    *,
    device: str = "cpu",
) -> tuple[Floats, NDArray[np.float64]]:
    """Distance of each vector to its k-th neighbour, and the share of neighbours that are kept.

    Parameters
    ----------
    searched : ndarray of float32, shape (n, dimension)
        The points that the map was trained on, at least `k` of them.
    places : ndarray of float32, shape (n, 2)
        Theirs.
    """
    near = nearest(vectors, searched, k, device=device)
    on_map = nearest(projector.project(vectors), places, k, device=device)
    return near.distances[:, -1], preserved(near.indices, on_map.indices)


def summarise(
    distances: Floats, kept: NDArray[np.float64], reference: DriftReference
) -> BatchDrift:
    """What `look_at` gave, as counts."""
    return BatchDrift(
        n=len(distances),
        n_far=int((distances > reference.tau).sum()),
        preserved_sum=float(kept.sum()),
    )


def watch(
    state: DriftWatch, batch: BatchDrift, reference: DriftReference, rule: DriftRule
) -> tuple[DriftWatch, Alarm | None]:
    """The state after a batch, and an alarm if it is time for one."""
    batches = _newest([*state.batches, batch], rule.window)
    left = max(0, state.cooldown_left - batch.n)
    after = DriftWatch(batches=batches, cooldown_left=left)
    alarm = None if left else _alarm(batches, reference, rule)
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


def _alarm(
    batches: Sequence[BatchDrift], reference: DriftReference, rule: DriftRule
) -> Alarm | None:
    n = sum(batch.n for batch in batches)
    if n < min(rule.window, rule.min_points):
        return None
    share = sum(batch.n_far for batch in batches) / n
    kept = sum(batch.preserved_sum for batch in batches) / n
    is_far = n >= rule.window and share > rule.max_far_share
    is_torn = n >= rule.min_points and kept < rule.min_preservation * reference.preservation
    return Alarm(far_share=share, preservation=kept) if is_far or is_torn else None
