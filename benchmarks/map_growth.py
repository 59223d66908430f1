"""A year of deltas: twenty in a chain, three of them with kinds that the map has never seen.

At each of the three the map is refitted for comparison, which a user would see as a jump.
"""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_vectors import MadeUpVectors
from benchmarks.pages import Line
from gpu_worker.projection.alignment import aligned, alignment_of
from gpu_worker.projection.drift import look_at, summarise
from gpu_worker.projection.fitting import fit_map
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.growing import Grown, OldMap, grow, major_map, published
from gpu_worker.projection.quality import drift, fidelity
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import DriftRule, DriftWatch, watch
from indexer_core.map_state import DriftReference
from indexer_core.projector import Projector

Floats = NDArray[np.float32]

SEEN = range(36)
N_DELTAS, N_PER_DELTA = 20, 144
UNSEEN = {4: 36, 10: 37, 16: 38}
"""Delta by number, and the kind that is new in it."""
UNSEEN_SHARE = 0.75
RULE = GateRule()


def measure(
    _: Path, n: int = 3000, n_deltas: int = N_DELTAS, seeds: tuple[int, ...] = (0, 1)
) -> dict[str, Any]:
    """The chain, for each archive."""
    return {str(seed): chain(n, n_deltas, seed) for seed in seeds}


def chain(n: int, n_deltas: int, seed: int) -> dict[str, Any]:
    """One archive and its deltas; those with an unseen kind in detail."""
    archive = MadeUpVectors(seed=seed)
    x, _ = archive.draw(n, seed=1, clusters=SEEN)
    fitted = fit_map(x, FitRecipe(), version="1.0", encoder_id="image/made-up", seed=0)
    old = major_map(fitted.projector, fitted.n_frozen, x, seed=0)
    known, state, details = fitted.trained_rows, DriftWatch(), []
    n_false, kinds = 0, list(SEEN)
    for number in range(n_deltas):
        new = _delta(archive, number, kinds)
        batch = _seen(new, old, known, fitted.reference)
        state, alarm = watch(state, batch, fitted.reference, DriftRule(cooldown=0))
        rows = np.arange(len(old.vectors), len(old.vectors) + len(new))
        if number in UNSEEN:
            kinds.append(UNSEEN[number])
            grown = grow(old, new, FineTuneRecipe(), RULE, version=f"1.{number}", seed=0)
            detail = _compared(old, new, grown.measures.new_trust, number)
            detail |= {"alarm": alarm is not None, "published": isinstance(grown, Grown)}
            detail |= {"encodes_per_point": grown.cost.n_encodes / len(new)}
            details.append(detail | asdict(grown.measures))
            if isinstance(grown, Grown):
                old = published(old, new, grown.projector, seed=number)
                known = np.concatenate([known, rows])
                continue
        else:
            n_false += alarm is not None
        old = replace(
            old,
            vectors=np.concatenate([old.vectors, new]),
            points=np.concatenate([old.points, old.projector.project(new)]),
        )
    return {
        "unseen": details,
        "false_alarms": n_false,
        "usual_deltas": n_deltas - len(details),
        "moved_since_major": asdict(drift(fitted.projector.project(x), old.points[:n])),
    }


def _delta(archive: MadeUpVectors, number: int, kinds: list[int]) -> Floats:
    n_unseen = round(N_PER_DELTA * UNSEEN_SHARE) if number in UNSEEN else 0
    usual, _ = archive.draw(N_PER_DELTA - n_unseen, seed=100 + number, clusters=kinds)
    if not n_unseen:
        return usual
    unseen, _ = archive.draw(n_unseen, seed=200 + number, clusters=[UNSEEN[number]])
    return np.concatenate([unseen, usual])


def _seen(new: Floats, old: OldMap, known: NDArray[np.int64], reference: DriftReference) -> Any:
    places = old.points[known]
    return summarise(
        *look_at(new, old.projector, old.vectors[known], places, reference.k), reference
    )


def _compared(old: OldMap, new: Floats, trust: float, number: int) -> dict[str, float]:
    """Trust of the delta over a refit's, and how far the refit moves old points."""
    everything = np.concatenate([old.vectors, new])
    refit = fit_map(
        everything, FitRecipe(), version="2.0", encoder_id="image/made-up", seed=number
    ).projector
    rows = np.arange(len(old.vectors), len(everything))
    theirs = fidelity(everything, refit.project(everything), rows=rows).trust
    laid: Projector = aligned(refit, alignment_of(refit.project(old.vectors), old.points))
    moved = drift(old.points, laid.project(old.vectors))
    return {
        "refit_trust": theirs,
        "of_refit": trust / theirs,
        "refit_moves_median": moved.median,
        "refit_moves_p95": moved.p95,
    }


def lines(found: Mapping[str, Any]) -> list[Line]:
    """The rows of the page, beside the bars."""
    return [line for seed, each in found.items() for line in _lines_of(seed, each)]


def _lines_of(seed: str, found: Mapping[str, Any]) -> list[Line]:
    unseen = found["unseen"]
    kept_well = [each for each in unseen if each["published"] and each["of_refit"] >= 0.98]
    bad = [each for each in unseen if each["published"] and each["of_refit"] < 0.98]
    moved = found["moved_since_major"]
    trusts = ", ".join(f"{each['of_refit']:.3f}" for each in unseen)
    refits = ", ".join(f"{100 * each['refit_moves_p95']:.0f} %" for each in unseen)
    return [
        Line(
            what=f"archive {seed}: deltas with an unseen kind that were published; "
            "their trust over a refit's",
            measured=f"{len(kept_well)} of {len(unseen)}; {trusts}",
            bar="2 of 3, none under 0.98",
            met=len(kept_well) >= 2 and not bad,
        ),
        Line(
            what=f"archive {seed}: alarms at them, and at usual deltas",
            measured=f"{sum(each['alarm'] for each in unseen)} of {len(unseen)}, "
            f"{found['false_alarms']} of {found['usual_deltas']}",
            bar="all, none",
            met=all(each["alarm"] for each in unseen) and not found["false_alarms"],
        ),
        Line(
            what=f"archive {seed}: old points moved since the major map, median and p95 "
            "(a refit moves them, aligned, p95)",
            measured=f"{100 * moved['median']:.2f} %, {100 * moved['p95']:.2f} % ({refits})",
            bar=f"p95 at most {100 * RULE.max_major_drift:.0f} %",
            met=moved["p95"] <= RULE.max_major_drift,
        ),
    ]
