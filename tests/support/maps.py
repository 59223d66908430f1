"""Vectors and small maps that the tests of the map share."""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_vectors import MadeUpVectors
from gpu_worker.projection.fitting import FittedMap, fit_map
from gpu_worker.projection.growing import OldMap
from gpu_worker.projection.recipe import FitRecipe
from gpu_worker.projection.reservoir import pick_landmarks
from tests.conftest import ROOT

SEEN, UNSEEN = range(36), range(36, 40)
ENCODER = "image/made-up"
SMALL = FitRecipe()
# What a test that looks at anything but quality fits: seconds less.
HASTY = FitRecipe(min_steps=60, passes=1)


@cache
def references() -> dict[str, NDArray[Any]]:
    """What umap-learn gave: tests/samples/map."""
    with np.load(ROOT / "tests" / "samples" / "map" / "references.npz") as arrays:
        return dict(arrays)


def archive(n, *, seed=1, of=0, clusters=SEEN, dimension=1024):
    """Vectors of a made-up archive."""
    return MadeUpVectors(seed=of, dimension=dimension).draw(n, seed=seed, clusters=clusters)[0]


def delta(n, *, of=0, unseen=0.75, clusters=SEEN, kind=UNSEEN[0]):
    """New vectors, some of an unseen kind, which come first."""
    n_unseen = round(n * unseen)
    return np.concatenate(
        [
            archive(n_unseen, seed=7, of=of, clusters=[kind]),
            archive(n - n_unseen, seed=8, of=of, clusters=clusters),
        ]
    )


def fitted(vectors, recipe=HASTY, **others) -> FittedMap:
    """A first map."""
    return fit_map(vectors, recipe, **{"version": "1.0", "encoder_id": ENCODER, "seed": 0} | others)


def in_force(found: FittedMap, vectors) -> OldMap:
    """A first map with its points; landmarks are picked from all of them."""
    points = found.projector.project(vectors)
    rows = pick_landmarks(points, seed=0)
    return OldMap(
        projector=found.projector,
        n_frozen=found.n_frozen,
        vectors=vectors,
        points=points,
        landmark_rows=rows,
        anchors=points[rows],
    )
