"""Landmark fine-tune: a map learns new points while its old ones stay where they are.

Only new points and landmarks are encoded. An old point that a new one is drawn to or pushed away
from takes part with its stored place, which is a constant; so what a fine-tune costs follows the
new points, however many old ones there are.
"""

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpu_worker.projection.graph import memberships
from gpu_worker.projection.losses import attraction, repulsion, squared
from gpu_worker.projection.neighbours import Neighbours
from gpu_worker.projection.network import MapNetwork
from gpu_worker.projection.quality import rms_radius
from gpu_worker.projection.recipe import USUAL_RMS, FineTuneRecipe
from gpu_worker.projection.training import Optimiser, Progress, no_progress

_REPORT_EVERY = 100

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landmarks:
    """Old points that must not move.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension)
    anchors : ndarray of float32, shape (n, 2)
        Where each shall stay: its place on the last major map, or on the map that it came with.
        Anchored to the parent instead, a chain of fine-tunes would wander off step by step.
    """

    vectors: Floats
    anchors: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a fine-tune took: steps, and how often a point was encoded."""

    n_steps: int
    n_encodes: int


def fine_tune(
    network: MapNetwork,
    new_vectors: Floats,
    neighbours: Neighbours,
    old_points: Floats,
    landmarks: Landmarks,
    recipe: FineTuneRecipe,
    *,
    seed: int,
    weight_factor: float = 1.0,
    progress: Progress = no_progress,
) -> Cost:
    """Train `network` in place on new points.

    Parameters
    ----------
    new_vectors : ndarray of float32, shape (m, dimension)
        Distinct ones.
    neighbours
        Of the new points among the old ones followed by the new ones, themselves not counted.
    old_points : ndarray of float32, shape (n, 2)
        Stored places of the old points.
    weight_factor
        Times the recipe's landmark weight; 0 leaves the landmarks out of it.
    """
    if not len(new_vectors):
        return Cost(n_steps=0, n_encodes=0)
    schedule = plan_schedule(len(new_vectors), recipe)
    run = _Run(network, new_vectors, neighbours, old_points, landmarks, recipe, seed)
    weight = schedule.landmark_weight * weight_factor
    optimiser = Optimiser(network, schedule.rate, schedule.n_steps, recipe.clip)
    for step in range(schedule.n_steps):
        loss = run.new_points(schedule.pool) + weight * run.landmarks(schedule.pool)
        optimiser.step(loss)
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == schedule.n_steps:
            progress(step + 1, schedule.n_steps)
    return Cost(n_steps=schedule.n_steps, n_encodes=2 * schedule.pool * schedule.n_steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Steps of a fine-tune; each encodes `pool` new points and as many landmarks."""

    n_steps: int
    pool: int
    rate: float
    landmark_weight: float


def plan_schedule(n_new: int, recipe: FineTuneRecipe) -> Schedule:
    """The schedule for so many new points: nothing else decides what a fine-tune costs."""
    is_few = n_new < recipe.few
    pool = min(n_new, recipe.pool)
    passes = recipe.few_passes if is_few else recipe.passes
    return Schedule(
        n_steps=ceil(passes * n_new / pool),
        pool=pool,
        rate=recipe.few_learning_rate if is_few else recipe.learning_rate,
        landmark_weight=recipe.few_landmark_weight if is_few else recipe.landmark_weight,
    )


class _Run:
    """The tensors of a fine-tune, where the network is."""

    def __init__(
        self,
        network: MapNetwork,
        new_vectors: Floats,
        neighbours: Neighbours,
        old_points: Floats,
        landmarks: Landmarks,
        recipe: FineTuneRecipe,
        seed: int,
    ) -> None:
        device = network.mu.device
        self._network = network
        self._features = network.features(new_vectors)
        self._tails = torch.from_numpy(neighbours.indices).to(device)
        weights = memberships(neighbours.distances)
        weights /= weights.mean()
        self._weights = torch.from_numpy(weights.astype(np.float32)).to(device)
        self._n_old, self._n_negatives = len(old_points), recipe.n_negatives
        with torch.no_grad():
            places = network.encode(self._features)
        # Old places never change; those of new points are as of when they were last encoded.
        self._places = torch.cat([torch.tensor(np.array(old_points), device=device), places])
        self._landmarks = network.features(landmarks.vectors)
        self._anchors = torch.tensor(np.array(landmarks.anchors), device=device)
        scale = max(rms_radius(old_points), 1e-6) if len(old_points) else USUAL_RMS
        self._error_scale = (USUAL_RMS / scale) ** 2
        self._random = torch.Generator(device=device).manual_seed(seed)
        self._device = device

    def new_points(self, pool: int) -> Any:
        """The loss of all edges of some new points; encodes them."""
        chosen = torch.randperm(len(self._features), generator=self._random, device=self._device)
        chosen = chosen[:pool]
        heads = self._network.encode(self._features[chosen])
        places = self._places.index_copy(0, chosen + self._n_old, heads)
        self._places = places.detach()
        tails = self._tails[chosen]
        pull = attraction(squared(heads[:, None], places[tails])) * self._weights[chosen]
        shape = (pool, tails.shape[1] * self._n_negatives)
        others = torch.randint(len(places), shape, generator=self._random, device=self._device)
        push = repulsion(squared(heads[:, None], places[others]))
        push = push * (others != (chosen + self._n_old)[:, None])
        return pull.mean() + self._n_negatives * push.mean()

    def landmarks(self, n: int) -> Any:
        """Mean squared error of some landmarks, as if the layout had the usual radius."""
        if not len(self._landmarks):
            return torch.zeros((), device=self._device)
        chosen = torch.randint(
            len(self._landmarks), (n,), generator=self._random, device=self._device
        )
        places = self._network.encode(self._landmarks[chosen])
        return squared(places, self._anchors[chosen]).mean() * self._error_scale
