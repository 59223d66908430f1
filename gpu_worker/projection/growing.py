"""Growing a map by new points: fine-tune, measure, then publish or stay: a minor version."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.finetune import Cost, Landmarks, fine_tune
from gpu_worker.projection.gate import GateMeasures, GateRule, Refusal, may_help, refusals
from gpu_worker.projection.inputs import distinct_rows, require_finite
from gpu_worker.projection.neighbours import Neighbours, nearest
from gpu_worker.projection.network import network_of
from gpu_worker.projection.quality import diagonal, drift, fidelity
from gpu_worker.projection.recipe import FineTuneRecipe
from gpu_worker.projection.reservoir import pick_landmarks
from gpu_worker.projection.training import Progress, no_progress, repeatable
from indexer_core.projector import Projector

WEIGHT_FACTORS = (1.0, 3.0)
"""Landmark weights that are tried in turn, times the recipe's."""
_N_MEASURED = 1000
_MIN_WITNESSES = 20

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OldMap:
    """A map in force and its points.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension)
    points : ndarray of float32, shape (n, 2)
        Stored places.
    landmark_rows
        Rows of the landmarks.
    anchors : ndarray of float32, shape (len(landmark_rows), 2)
        See `Landmarks`.
    major
        The last major map; None where `projector` is one.
    """

    projector: Projector
    n_frozen: int
    vectors: Floats
    points: Floats
    landmark_rows: Rows
    anchors: Floats
    major: Projector | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grown:
    """A map that may be published; the places of all points on it follow from `projector`."""

    projector: Projector
    measures: GateMeasures
    cost: Cost


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptFrozen:
    """The parent stays in force, with the reasons; `measures` of the last try."""

    reasons: tuple[Refusal, ...]
    measures: GateMeasures
    cost: Cost


def grow(
    old: OldMap,
    new_vectors: Floats,
    recipe: FineTuneRecipe,
    rule: GateRule,
    *,
    version: str,
    seed: int,
    device: str = "cpu",
    weight_factors: Sequence[float] = WEIGHT_FACTORS,
    progress: Progress = no_progress,
) -> Grown | KeptFrozen:
    """Teach a map new points, if it can be done without moving the old ones.

    Raises
    ------
    InvalidInputError
        When a new vector is not finite.
    """
    require_finite(new_vectors)
    new = np.ascontiguousarray(new_vectors[distinct_rows(new_vectors)])
    landmarks = Landmarks(vectors=old.vectors[old.landmark_rows], anchors=old.anchors)
    cost = Cost(n_steps=0, n_encodes=0)
    with repeatable(recipe.n_threads):
        everything = np.concatenate([old.vectors, new])
        near = _neighbours(everything, len(new), recipe.n_neighbours - 1, device)
        gauge = _Gauge(old, everything, new, seed)
        for factor in weight_factors:
            network = network_of(old.projector, n_frozen=old.n_frozen, device=device)
            spent = fine_tune(
                network,
                new,
                near,
                old.points,
                landmarks,
                recipe,
                seed=seed,
                weight_factor=factor,
                progress=progress,
            )
            cost = Cost(
                n_steps=cost.n_steps + spent.n_steps, n_encodes=cost.n_encodes + spent.n_encodes
            )
            projector = network.projector(version, old.projector.encoder_id)
            measures = gauge.measure(projector)
            reasons = refusals(measures, rule)
            if not reasons:
                return Grown(projector=projector, measures=measures, cost=cost)
            if not may_help(reasons):
                break
    return KeptFrozen(reasons=reasons, measures=measures, cost=cost)


def published(old: OldMap, new_vectors: Floats, projector: Projector, *, seed: int) -> OldMap:
    """The map in force after `projector` was published: all points on it, landmarks renewed.

    Landmarks that stay keep their anchors; new points become landmarks where cells are sparse.
    """
    vectors = np.concatenate([old.vectors, new_vectors])
    points = projector.project(vectors)
    anchors = points.copy()
    anchors[old.landmark_rows] = old.anchors
    new_rows = np.arange(len(old.vectors), len(vectors))
    candidates = np.concatenate([old.landmark_rows, new_rows])
    rows = candidates[pick_landmarks(points[candidates], seed=seed)]
    return OldMap(
        projector=projector,
        n_frozen=old.n_frozen,
        vectors=vectors,
        points=points,
        landmark_rows=rows,
        anchors=anchors[rows],
        major=old.major or old.projector,
    )


def _neighbours(everything: Floats, n_new: int, k: int, device: str) -> Neighbours:
    own = np.arange(len(everything) - n_new, len(everything))
    k = min(k, len(everything) - 1)
    return nearest(everything[own], everything, k, own_rows=own, device=device)


def _sampled(n: int, seed: int) -> Rows:
    """Rows that are measured: all, or as many as make the measure steady."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:_N_MEASURED])


class _Gauge:
    """Measures maps on the same points, so that tries can be compared."""

    def __init__(self, old: OldMap, everything: Floats, new: Floats, seed: int) -> None:
        self._old, self._everything = old, everything
        n_old = len(old.vectors)
        self._new_rows = n_old + _sampled(len(new), seed)
        self._old_rows = _sampled(n_old, seed)
        witnesses = np.setdiff1d(np.arange(n_old), old.landmark_rows)
        # A map so small that all its points are landmarks has no other witnesses.
        self._witnesses = witnesses if len(witnesses) >= _MIN_WITNESSES else np.arange(n_old)
        self._span = diagonal(old.points)
        before = np.concatenate([old.points, old.projector.project(new)])
        self._old_before = fidelity(old.vectors, old.points, rows=self._old_rows).trust
        self._new_before = fidelity(everything, before, rows=self._new_rows).trust
        on_major = None if old.major is None else old.major.project(self._witness_vectors)
        self._on_major = on_major

    @property
    def _witness_vectors(self) -> Floats:
        return self._old.vectors[self._witnesses]

    def measure(self, projector: Projector) -> GateMeasures:
        points = projector.project(self._everything)
        moved_to = points[self._witnesses]
        stored = self._old.points[self._witnesses]
        from_major = self._on_major
        return GateMeasures(
            drift=drift(stored, moved_to, self._span),
            major_drift=None if from_major is None else drift(from_major, moved_to, self._span),
            old_trust_before=self._old_before,
            old_trust=fidelity(self._everything, points, rows=self._old_rows).trust,
            new_trust_before=self._new_before,
            new_trust=fidelity(self._everything, points, rows=self._new_rows).trust,
        )
