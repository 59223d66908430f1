"""What training makes small, in squared distances: the gradient of a distance is NaN at zero."""

from typing import Any

import torch

from gpu_worker.projection.recipe import CURVE_A, CURVE_B

_EPSILON = 1e-8
_FLOOR = 1e-3
"""Keeps the push between two points that coincide finite."""


def attraction(squares: Any) -> Any:
    """``-log q`` of UMAP's ``q = 1 / (1 + a d**2b)``, from squared distances."""
    return torch.log1p(CURVE_A * (squares + _EPSILON) ** CURVE_B)


def repulsion(squares: Any) -> Any:
    """``-log(1 - q)``, from squared distances."""
    return torch.log1p(1.0 / (CURVE_A * (squares + _EPSILON) ** CURVE_B + _FLOOR))


def squared(a: Any, b: Any) -> Any:
    """Squared distances of points, over the last axis."""
    return (a - b).square().sum(dim=-1)


def cross_entropy(heads: Any, tails: Any, others: Any, is_other: Any) -> Any:
    """UMAP's loss: each head is drawn to its tail and pushed away from others.

    Parameters
    ----------
    heads, tails : tensor, shape (n_edges, 2)
    others : tensor, shape (n_edges, n_negatives, 2)
    is_other : tensor of bool, shape (n_edges, n_negatives)
        False where a point was drawn as its own opposite: it is not pushed away from itself.
    """
    pull = attraction(squared(heads, tails)).mean()
    push = repulsion(squared(heads[:, None], others)) * is_other
    return pull + push.sum(dim=1).mean()
