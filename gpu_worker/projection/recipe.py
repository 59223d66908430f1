"""How a map is fitted and how it grows: every number that decides where points go."""

from dataclasses import dataclass
from enum import StrEnum

CURVE_A = 1.577
CURVE_B = 0.895
"""UMAP's curve 1 / (1 + a d**2b) for min_dist 0.1 and spread 1."""

USUAL_RMS = 7.0
"""Root mean square radius of the layouts that the landmark weights were measured on."""


class Preset(StrEnum):
    """The shape of an encoder."""

    SMALL = "small"
    """128 units, two residual layers, GELU, over 256 principal components."""
    FULL = "full"
    """The same of 256 units over the vectors themselves: two or three times the work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRecipe:
    """How a map is fitted.

    Parameters
    ----------
    n_neighbours
        As umap-learn counts them: a point is the first of its own neighbours.
    n_negatives
        Points that each edge is pushed away from.
    batch_edges
        Edges per step; on a GPU more are seen at once (`GPU_BATCH_EDGES`).
    passes
        How often each edge is seen, on average.
    many, many_passes
        The same from so many trained points on: the neighbours of a point lie the closer, the more
        points there are, and telling them apart takes longer.
    min_steps
        At least so many steps, because little data needs more passes.
    jitter
        Noise on the vectors of each step, in standard deviations of each of their numbers: it keeps
        an encoder from learning its points by heart, where it would.
    n_trained
        Points that are trained on at most; of more, a stratified sample.
    n_exact
        Neighbours are searched exactly up to here, and by pynndescent above it.
    n_threads
        Threads of torch. More than one gains little on a busy machine.
    """

    preset: Preset = Preset.SMALL
    n_neighbours: int = 15
    n_negatives: int = 5
    batch_edges: int = 2048
    passes: float = 15.0
    many: int = 10_000
    many_passes: float = 30.0
    min_steps: int = 400
    learning_rate: float = 2e-3
    clip: float = 4.0
    jitter: float = 0.05
    n_trained: int = 50_000
    n_exact: int = 50_000
    n_threads: int = 1


FULL_MAP = FitRecipe(preset=Preset.FULL, jitter=0.0)
"""The larger encoder, as it is best trained: a little more faithful, where time is no matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FineTuneRecipe:
    """How a map learns points that it has never seen the like of.

    Parameters
    ----------
    few
        Below so many new points the numbers named `few_` apply.
    passes
        How often each new point is encoded. As many landmarks are encoded beside it, so a new point
        costs twice this, however many old points there are.
    landmark_weight
        Weight of the squared error on landmarks, for a layout of `USUAL_RMS`.
    pool
        New points encoded per step, at most.
    """

    few: int = 300
    passes: int = 300
    few_passes: int = 500
    landmark_weight: float = 1.0
    few_landmark_weight: float = 3.0
    learning_rate: float = 1e-3
    few_learning_rate: float = 2e-3
    pool: int = 512
    n_neighbours: int = 15
    n_negatives: int = 5
    clip: float = 4.0
    n_threads: int = 1
