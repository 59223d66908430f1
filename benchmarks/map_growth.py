"""A year of deltas: twenty in a chain, three of them with kinds that the map has never seen.

They go the way of new series in the product: placed by the map in force, strangers among their
neighbours, watched, learnt, published through the gate. At each of the three the map is refitted
for comparison, which a user would see as a jump.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_archive import archive_of, joined
from benchmarks.made_up_vectors import MadeUpVectors
from benchmarks.pages import Line
from gpu_worker.projection.archive import Archive
from gpu_worker.projection.carrying import MadeMap, fit_archive, grow_archive, measured
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.quality import drift, fidelity
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import DriftRule, DriftWatch, watch
from indexer_core.placing import place

Floats = NDArray[np.float32]

SEEN = range(36)
N_DELTAS, N_PER_DELTA = 20, 144
UNSEEN = {4: 36, 10: 37, 16: 38}
"""Delta by number, and the kind that is new in it."""
UNSEEN_SHARE = 0.75
RULE = GateRule()
FIT = FitRecipe()
FINE_TUNE = FineTuneRecipe()
N_USUAL, N_PER_BATCH = 100, 100
"""Further batches of usual series that must not sound the alarm, and how many are in each."""


def measure(
    _: Path,
    n: int = 3000,
    n_deltas: int = N_DELTAS,
    seeds: tuple[int, ...] = (0, 1),
    n_usual: int = N_USUAL,
) -> dict[str, Any]:
    """The chain, for each archive."""
    return {str(seed): chain(n, n_deltas, seed, n_usual) for seed in seeds}


def chain(n: int, n_deltas: int, seed: int, n_usual: int) -> dict[str, Any]:
    """One archive and its deltas; those with an unseen kind in detail."""
    made_up = MadeUpVectors(seed=seed)
    x, _ = made_up.draw(n, seed=1, clusters=SEEN)
    made = first = fit_archive(archive_of(x), FIT, seed=0, lays_over=False)
    now = archive_of(x, made.projector.project(x), version="1.0")
    quiet = [made_up.draw(N_PER_BATCH, seed=1000 + i, clusters=SEEN)[0] for i in range(n_usual)]
    n_false = sum(_alarms(batch, made) for batch in quiet)
    details, kinds = [], list(SEEN)
    for number in range(n_deltas):
        new = _delta(made_up, number, kinds)
        placed = place(new, made.projector, made.state)
        now = joined(now, new, placed.points, placed.is_provisional)
        is_alarmed = _alarms(new, made)
        if number not in UNSEEN:
            n_false += is_alarmed
            continue
        kinds.append(UNSEEN[number])
        major = None if made is first else first.projector
        grown = grow_archive(
            now, made.projector, made.state, major, len(new), FINE_TUNE, RULE, seed=number
        )
        detail: dict[str, Any] = {"alarm": is_alarmed, "published": isinstance(grown, MadeMap)}
        detail["provisional"] = float(placed.is_provisional.mean())
        if isinstance(grown, MadeMap):
            made, found = grown, dict(grown.state.metrics)
            points = made.projector.project(now.vectors)
            now = archive_of(now.vectors, points, version=made.state.version)
        else:
            found = measured(grown.measures) | {
                "encodes": float(grown.cost.n_encodes),
                "learnt": float(len(new)),
                "reasons": ", ".join(reason.value for reason in grown.reasons),
            }
        details.append(detail | found | _compared(now, len(new), found["newTrust"], number))
    return {
        "unseen": details,
        "false_alarms": n_false,
        "usual_deltas": n_deltas - len(details) + n_usual,
        "moved_since_major": asdict(drift(first.projector.project(x), now.points[:n])),
    }


def _alarms(batch: Floats, made: MadeMap) -> bool:
    said = place(batch, made.projector, made.state).drift
    assert said is not None
    return watch(DriftWatch(), said, made.state.reference, DriftRule())[1] is not None


def _delta(archive: MadeUpVectors, number: int, kinds: list[int]) -> Floats:
    n_unseen = round(N_PER_DELTA * UNSEEN_SHARE) if number in UNSEEN else 0
    usual, _ = archive.draw(N_PER_DELTA - n_unseen, seed=100 + number, clusters=kinds)
    if not n_unseen:
        return usual
    unseen, _ = archive.draw(n_unseen, seed=200 + number, clusters=[UNSEEN[number]])
    return np.concatenate([unseen, usual])


def _compared(now: Archive, n_new: int, trust: float, number: int) -> dict[str, float]:
    """Trust of the delta over a refit's, and how far the refit moves what was there."""
    refit = fit_archive(now, FIT, seed=number, lays_over=True)
    rows = np.arange(len(now) - n_new, len(now))
    theirs = fidelity(now.vectors, refit.projector.project(now.vectors), rows=rows).trust
    return {
        "refit_trust": theirs,
        "of_refit": trust / theirs,
        "refit_moves_median": refit.state.metrics["movedMedian"],
        "refit_moves_p95": refit.state.metrics["movedP95"],
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
            what=f"archive {seed}: alarms at them, and at usual deltas and batches",
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
