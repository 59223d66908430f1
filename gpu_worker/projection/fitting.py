"""Fitting a map from nothing: a major version."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.alignment import aligned, alignment_of
from gpu_worker.projection.drift import calibrate, look_at
from gpu_worker.projection.graph import fuzzy_graph
from gpu_worker.projection.inputs import distinct_rows, require_enough, require_finite
from gpu_worker.projection.neighbours import Neighbours, nearest, neighbours_within
from gpu_worker.projection.network import new_network
from gpu_worker.projection.recipe import FitRecipe
from gpu_worker.projection.reservoir import sample_to_train
from gpu_worker.projection.training import Progress, no_progress, repeatable, train
from indexer_core.errors import InvalidInputError
from indexer_core.map_state import DriftReference
from indexer_core.placing import preserved
from indexer_core.projector import Projector

_HELD_SHARE, _MAX_HELD, _MIN_TO_HOLD = 0.1, 2000, 500
_FLATTERED = 0.8
"""What unseen points keep of the preservation that trained points show (.33 of .41)."""

Floats = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FittedMap:
    """A new map.

    Parameters
    ----------
    projector
        The encoder, which gives every point its place.
    n_frozen
        So many of its first layers are never trained.
    trained_rows
        Rows of the vectors that it was trained on, ascending.
    held_rows
        Rows that were held back from training to calibrate with, ascending.
    reference
        What is usual among the points that it was trained on. New series are compared with the
        landmarks, by a reference of their own (`gpu_worker.projection.carrying`).
    n_encodes
        How often a point was encoded in training.
    """

    projector: Projector
    n_frozen: int
    trained_rows: Rows
    held_rows: Rows
    reference: DriftReference
    n_encodes: int


def fit_map(
    vectors: Floats,
    recipe: FitRecipe,
    *,
    version: str,
    encoder_id: str,
    seed: int,
    device: str = "cpu",
    old_points: Floats | None = None,
    progress: Progress = no_progress,
) -> FittedMap:
    """Fit a map of these vectors.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension)
    old_points : ndarray of float32, shape (n, 2), optional
        Places on the map before it, NaN where a point had none: the new map is laid over it.

    Raises
    ------
    InvalidInputError
        When a vector is not finite, or when there are too few different ones.
    """
    require_finite(vectors)
    rows = distinct_rows(vectors)
    require_enough(len(rows), len(vectors))
    trained_rows, held_rows = _divided(vectors, rows, recipe, seed)
    trained = np.ascontiguousarray(vectors[trained_rows])
    k = recipe.n_neighbours
    with repeatable(recipe.n_threads):
        near = neighbours_within(trained, k, n_exact=recipe.n_exact, seed=seed, device=device)
        network = new_network(trained, recipe.preset, seed=seed, device=device)
        features = network.features(trained)
        graph = fuzzy_graph(_nearest_of(near, k - 1))
        n_encodes = train(network, features, graph, recipe, seed=seed, progress=progress)
        projector = network.projector(version, encoder_id)
        if old_points is not None:
            projector = _laid_over(projector, vectors, old_points)
        calibration = _Calibration(projector, trained, near, device)
        is_sample = len(trained_rows) + len(held_rows) < len(rows)
        reference = calibration.reference(vectors[held_rows], k, is_sample=is_sample)
    n_frozen = sum(layer.is_frozen for layer in network.layers)
    return FittedMap(
        projector=projector,
        n_frozen=n_frozen,
        trained_rows=trained_rows,
        held_rows=held_rows,
        reference=reference,
        n_encodes=n_encodes,
    )


def _divided(vectors: Floats, rows: Rows, recipe: FitRecipe, seed: int) -> tuple[Rows, Rows]:
    """Rows to train on, and rows to calibrate with."""
    order = np.random.default_rng(seed).permutation(rows)
    n_held = min(_MAX_HELD, int(len(rows) * _HELD_SHARE)) if len(rows) >= _MIN_TO_HOLD else 0
    held, rest = order[:n_held], np.sort(order[n_held:])
    if len(rest) > recipe.n_trained:
        rest = rest[sample_to_train(vectors[rest], recipe.n_trained, seed=seed)]
    return rest, np.sort(held)


def _laid_over(projector: Projector, vectors: Floats, old_points: Floats) -> Projector:
    known = np.isfinite(old_points).all(axis=1)
    moving = projector.project(vectors[known])
    return aligned(projector, alignment_of(moving, old_points[known]))


def _nearest_of(neighbours: Neighbours, k: int) -> Neighbours:
    return Neighbours(indices=neighbours.indices[:, :k], distances=neighbours.distances[:, :k])


class _Calibration:
    """What is usual on a map that has just been fitted."""

    def __init__(
        self, projector: Projector, trained: Floats, near: Neighbours, device: str
    ) -> None:
        self._projector, self._trained = projector, trained
        self._near, self._device = near, device
        self._places = projector.project(trained)
        if not np.isfinite(self._places).all():
            raise InvalidInputError(
                "the fit of the map did not settle, and nothing was published; try another seed"
            )

    def reference(self, held: Floats, k: int, *, is_sample: bool) -> DriftReference:
        """From points held back, and as far as distances go from trained ones too.

        Distances owe nothing to the training, so each trained point can be asked among the others:
        a percentile of two hundred points alone is a matter of luck. Not so where a sample was
        trained on, which has more than its share of rare kinds.
        """
        own = self._near.distances[:, -1]
        if not len(held):
            return calibrate(k, own, self._preserved_of_trained(k) * _FLATTERED)
        distances, kept = look_at(
            held, self._projector, self._trained, self._places, k, device=self._device
        )
        return calibrate(k, distances if is_sample else np.concatenate([own, distances]), kept)

    def _preserved_of_trained(self, k: int) -> NDArray[np.float64]:
        rows = np.arange(len(self._places))
        on_map = nearest(self._places, self._places, k, own_rows=rows, device=self._device)
        return preserved(self._near.indices, on_map.indices)
