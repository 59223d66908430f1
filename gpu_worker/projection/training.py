"""Training the encoder on a fuzzy graph: the same code on CPU and GPU, the same map for a seed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import numpy as np
import torch

from gpu_worker.projection.graph import FuzzyGraph
from gpu_worker.projection.losses import cross_entropy
from gpu_worker.projection.network import MapNetwork
from gpu_worker.projection.recipe import FitRecipe

GPU_BATCH_EDGES = 16_384
_REPORT_EVERY = 100
_WARM_UP = 0.2

Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def repeatable(n_threads: int) -> Iterator[None]:
    """Within it, torch gives the same bits every time, by so many threads.

    Torch knows one such setting per process, and a worker encodes while a map learns: an operation
    of another thread that cannot be repeated must not fail for it.
    """
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    # Read by cuBLAS when it starts; without it, it refuses to be deterministic.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(n_threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict, warn_only=warns)


def n_steps_for(graph: FuzzyGraph, recipe: FitRecipe, batch: int) -> int:
    """Steps that see each edge as often as the recipe says, on average."""
    passes = recipe.many_passes if graph.n_points >= recipe.many else recipe.passes
    return max(recipe.min_steps, ceil(passes * len(graph.heads) / batch))


def train(
    network: MapNetwork,
    features: Any,
    graph: FuzzyGraph,
    recipe: FitRecipe,
    *,
    seed: int,
    progress: Progress = no_progress,
) -> int:
    """Train `network` in place.

    Parameters
    ----------
    features : tensor, shape (n_points, n_features)
        What `network.features` gave; everything else is kept where these are.

    Returns
    -------
    int
        How many times a point was encoded.
    """
    device = features.device
    batch = GPU_BATCH_EDGES if device.type == "cuda" else recipe.batch_edges
    edges = _Edges(graph, device, seed)
    n_steps = n_steps_for(graph, recipe, batch)
    optimiser = Optimiser(network, recipe.learning_rate, n_steps, recipe.clip)
    # Encoding all points costs no more than those of a batch then, and gives room for more edges.
    all_at_once = graph.n_points <= 2 * batch
    jittered = _Jitter(features, recipe.jitter, seed)
    n_encodes = 0
    for step in range(n_steps):
        heads, tails = edges.draw(2 * batch if all_at_once else batch)
        if all_at_once:
            places = network.encode(jittered.all())
            head_places, tail_places = places[heads], places[tails]
            n_encodes += graph.n_points
        else:
            both = network.encode(jittered.rows(torch.cat([heads, tails])))
            head_places, tail_places = both.split(len(heads))
            n_encodes += len(both)
        others = edges.shuffled(len(tails), recipe.n_negatives)
        loss = cross_entropy(
            head_places, tail_places, tail_places[others], tails[others] != heads[:, None]
        )
        optimiser.step(loss)
        if (step + 1) % _REPORT_EVERY == 0 or step + 1 == n_steps:
            progress(step + 1, n_steps)
    return n_encodes


class Optimiser:
    """Adam without weight decay, its rate rising and falling once, gradients clipped.

    The rate ends near zero, so that the last steps no longer move points about.
    """

    def __init__(self, network: MapNetwork, rate: float, n_steps: int, clip: float) -> None:
        self._parameters = network.parameters
        self._adam = torch.optim.Adam(self._parameters, lr=rate)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._adam, lambda step: _cycle(step / max(n_steps, 1))
        )
        self._clip = clip

    def step(self, loss: Any) -> None:
        """One step down `loss`."""
        self._adam.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_value_(self._parameters, self._clip)
        self._adam.step()
        self._schedule.step()


def _cycle(done: float) -> float:
    if done < _WARM_UP:
        return float(0.04 + 0.96 * (1 - np.cos(np.pi * done / _WARM_UP)) / 2)
    return float(1e-3 + (1 + np.cos(np.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2)


class _Jitter:
    """Features with a little noise, new at each step."""

    def __init__(self, features: Any, amount: float, seed: int) -> None:
        self._features, self._amount = features, amount
        self._deviations = features.std(dim=0) * amount
        self._random = torch.Generator(device=features.device).manual_seed(seed + 1)

    def all(self) -> Any:
        return self._noisy(self._features)

    def rows(self, rows: Any) -> Any:
        return self._noisy(self._features[rows])

    def _noisy(self, features: Any) -> Any:
        if not self._amount:
            return features
        noise = torch.randn(features.shape, generator=self._random, device=features.device)
        return features + noise * self._deviations


class _Edges:
    """Edges drawn by weight: a running sum and a search, whatever the number of passes."""

    def __init__(self, graph: FuzzyGraph, device: Any, seed: int) -> None:
        self._heads = torch.from_numpy(graph.heads).to(device)
        self._tails = torch.from_numpy(graph.tails).to(device)
        sums = np.cumsum(graph.weights, dtype=np.float64)
        self._sums = torch.from_numpy(sums / sums[-1]).to(device)
        self._random = torch.Generator(device=device).manual_seed(seed)
        self._device = device

    def draw(self, n: int) -> tuple[Any, Any]:
        """Heads and tails of `n` edges."""
        at = torch.rand(n, generator=self._random, device=self._device, dtype=torch.float64)
        edges = torch.searchsorted(self._sums, at).clamp_max(len(self._sums) - 1)
        return self._heads[edges], self._tails[edges]

    def shuffled(self, n: int, n_columns: int) -> Any:
        """Rows of a batch of `n`, drawn for each of its edges."""
        shape = (n, n_columns)
        return torch.randint(n, shape, generator=self._random, device=self._device)
