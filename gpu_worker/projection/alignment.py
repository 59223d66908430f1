"""Laying a new map over the old one: turned, mirrored and shifted, never stretched."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer_core.projector import Projector

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Alignment:
    """``points @ rotation.T + shift``.

    Parameters
    ----------
    rotation : ndarray of float64, shape (2, 2)
        Orthogonal; a mirror image where its determinant is -1.
    shift : ndarray of float64, shape (2,)
    """

    rotation: NDArray[np.float64]
    shift: NDArray[np.float64]


def alignment_of(moving: Floats, fixed: Floats) -> Alignment:
    """What brings `moving` as near to `fixed` as it goes (orthogonal Procrustes, Schönemann 1966).

    No stretching: a later fine-tune relies on the scale that the loss gave the map.

    Parameters
    ----------
    moving, fixed : ndarray of float32, shape (n, 2)
        The same points on both maps; of none, nothing is moved.
    """
    if not len(moving):
        return Alignment(rotation=np.eye(2), shift=np.zeros(2))
    of_moving, of_fixed = moving.mean(axis=0, dtype=float), fixed.mean(axis=0, dtype=float)
    u, _, vt = np.linalg.svd((fixed - of_fixed).T.astype(float) @ (moving - of_moving))
    rotation = u @ vt
    return Alignment(rotation=rotation, shift=of_fixed - rotation @ of_moving)


def aligned(projector: Projector, alignment: Alignment) -> Projector:
    """The projector whose every point is aligned: its last layer takes it up."""
    last = projector.layers[-1]
    turned = replace(
        last,
        weight=(alignment.rotation @ last.weight).astype(np.float32),
        bias=(alignment.rotation @ last.bias + alignment.shift).astype(np.float32),
    )
    return replace(projector, layers=(*projector.layers[:-1], turned))
