"""Draws docs/images/map-before-and-after.png: a delta with a kind that the map has never seen.

Once as the frozen encoder would place it, once as it is placed (provisional), once when the map has
learnt it, and once as a refit would draw everything. Each with its figures beneath.

Run: ``python docs/map_picture.py`` (a minute).
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.made_up_archive import archive_of, joined  # noqa: E402
from benchmarks.made_up_vectors import MadeUpVectors  # noqa: E402
from gpu_worker.projection.carrying import MadeMap, fit_archive, grow_archive  # noqa: E402
from gpu_worker.projection.gate import GateRule  # noqa: E402
from gpu_worker.projection.quality import diagonal, drift, fidelity  # noqa: E402
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe  # noqa: E402
from indexer_core.placing import place  # noqa: E402

TARGET = Path(__file__).parent / "images" / "map-before-and-after.png"
N, N_UNSEEN, N_USUAL = 3000, 108, 36
SEEN, UNSEEN = range(36), 37

Floats = NDArray[np.float32]


def main() -> None:
    """Fit, add a delta, grow, refit, and draw."""
    made_up = MadeUpVectors(seed=0)
    x, kinds = made_up.draw(N, seed=1, clusters=SEEN)
    unseen, _ = made_up.draw(N_UNSEEN, seed=2, clusters=[UNSEEN])
    usual, _ = made_up.draw(N_USUAL, seed=3, clusters=SEEN)
    new = np.concatenate([unseen, usual])
    first = fit_archive(archive_of(x), FitRecipe(), seed=0, lays_over=False)
    before = first.projector.project(x)
    frozen = first.projector.project(new)
    placed = place(new, first.projector, first.state)
    old = archive_of(x, before, version="1.0")
    both = joined(old, new, placed.points, placed.is_provisional)
    everything = both.vectors
    grown = grow_archive(
        both, first.projector, first.state, None, 144, FineTuneRecipe(), GateRule(), seed=0
    )
    assert isinstance(grown, MadeMap), "the gate refused it"
    refit = fit_archive(both, FitRecipe(), seed=1, lays_over=True)
    panels = {
        "Before": (before, frozen[:0]),
        "The delta by the frozen encoder": (before, frozen),
        "As it is placed: provisional": (before, placed.points),
        "Learnt (a minor version)": _parted(grown.projector.project(everything)),
        "Refitted, laid over the old": _parted(refit.projector.project(everything)),
    }
    _draw(panels, before, kinds, x, new)


def _parted(points: Floats) -> tuple[Floats, Floats]:
    return points[:N], points[N:]


def _draw(
    panels: dict[str, tuple[Floats, Floats]],
    before: Floats,
    kinds: NDArray[np.int64],
    x: Floats,
    new: Floats,
) -> None:
    figure = Figure(figsize=(16.5, 4.6), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True)
    everything, span = np.concatenate([x, new]), diagonal(before)
    for each, (title, (old, added)) in zip(axes, panels.items(), strict=True):
        each.scatter(*old.T, s=2, c=np.asarray(kinds) // 4, cmap="tab10", alpha=0.55, linewidths=0)
        each.scatter(*added[N_UNSEEN:].T, s=9, c="#333333", marker="+", linewidths=0.7)
        is_provisional = title.startswith("As it is")
        each.scatter(
            *added[:N_UNSEEN].T,
            s=11,
            facecolors="none" if is_provisional else "black",
            edgecolors="black",
            linewidths=0.6,
        )
        each.set_title(title, fontsize=10.5)
        each.set_aspect("equal")
        each.set_xticks([])
        each.set_yticks([])
        each.set_xlabel(_figures(everything, old, added, before, span), fontsize=9)
    figure.savefig(TARGET, metadata={"Software": "dicom-indexer"})
    print(f"wrote {TARGET}")


def _figures(everything: Floats, old: Floats, added: Floats, before: Floats, span: float) -> str:
    rows = np.arange(0, N, 3)
    if not len(added):
        trust = fidelity(everything[:N], old, rows=rows).trust
        return f"trust of {N:,} series {trust:.3f}\n"
    points = np.concatenate([old, added])
    trust = fidelity(everything, points, rows=rows).trust
    strangers = fidelity(everything, points, rows=np.arange(N, N + N_UNSEEN)).trust
    moved = drift(before, old, span)
    return (
        f"trust of the unseen kind {strangers:.3f}, of the old {trust:.3f}\n"
        f"old series moved: {moved.median:.1%} (median), {moved.p95:.1%} (p95)"
    )


if __name__ == "__main__":
    main()
