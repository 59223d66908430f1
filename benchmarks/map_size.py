"""Large maps as the product makes them: fitted, grown by a delta with an unseen kind, measured."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.apart import in_child
from benchmarks.made_up_archive import archive_of, joined
from benchmarks.made_up_vectors import MadeUpVectors
from benchmarks.pages import Line
from gpu_worker.projection.carrying import MadeMap, fit_archive, grow_archive, measured
from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import DriftRule, DriftWatch, watch
from indexer_core.placing import place

T = TypeVar("T")

SIZES = (20_000, 120_000)
N_TRAINED = 20_000
"""Of more, a sample is trained on: what a laptop has time for."""
FIT = FitRecipe(n_trained=N_TRAINED)
FINE_TUNE = FineTuneRecipe()
SEEN, UNSEEN = range(36), 36
N_UNSEEN, N_USUAL = 108, 36
RULE = GateRule()
MAX_ENCODES = 1200


def measure(_: Path, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> dict[str, Any]:
    """Each size in a process of its own."""
    return {str(n): in_child(grown_at, n, seed) for n in sizes}


def grown_at(n: int, seed: int) -> dict[str, Any]:
    """A map of `n` series, and what becomes of it when an unseen kind arrives."""
    made_up = MadeUpVectors(seed=seed)
    x, _ = made_up.draw(n, seed=1, clusters=SEEN)
    unseen, _ = made_up.draw(N_UNSEEN, seed=2, clusters=[UNSEEN])
    usual, _ = made_up.draw(N_USUAL, seed=3, clusters=SEEN)
    new = np.concatenate([unseen, usual])
    fitted, fit_s = _timed(lambda: fit_archive(archive_of(x), FIT, seed=seed, lays_over=False))
    points, project_s = _timed(lambda: fitted.projector.project(x))
    placed, place_s = _timed(lambda: place(new, fitted.projector, fitted.state))
    assert placed.drift is not None
    _, alarm = watch(DriftWatch(), placed.drift, fitted.state.reference, DriftRule())
    now = joined(archive_of(x, points, version="1.0"), new, placed.points, placed.is_provisional)
    grown, grow_s = _timed(
        lambda: grow_archive(
            now, fitted.projector, fitted.state, None, len(new), FINE_TUNE, RULE, seed=seed
        )
    )
    is_published = isinstance(grown, MadeMap)
    found = (
        dict(grown.state.metrics)
        if is_published
        else measured(grown.measures) | {"encodes": float(grown.cost.n_encodes)}
    )
    return found | {
        "fit_s": fit_s,
        "trust": fitted.state.metrics["trust"],
        "recall": fitted.state.metrics["recall"],
        "project_us": 1e6 * project_s / n,
        "place_us": 1e6 * place_s / len(new),
        "provisional": float(placed.is_provisional[:N_UNSEEN].mean()),
        "alarm": alarm is not None,
        "published": is_published,
        "grow_s": grow_s,
        "encodes_per_point": found["encodes"] / len(new),
        "finite": bool(np.isfinite(points).all()),
    }


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result, and seconds of this process's CPU: others on the machine do not count."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def lines(found: Mapping[str, Any]) -> list[Line]:
    """The rows of the page, beside the bars."""
    return [line for n, each in found.items() for line in _lines_of(f"{int(n):,} series", each)]


def _lines_of(at: str, found: Mapping[str, Any]) -> list[Line]:
    return [
        Line(
            what=f"{at}, trained on {N_TRAINED:,} at most: fit, CPU time; trust, recall; memory",
            measured=f"{found['fit_s']:.0f} s; {found['trust']:.4f}, {found['recall']:.3f}; "
            f"{found['peak_mib']:,.0f} MiB",
            bar="every place finite",
            met=found["finite"],
        ),
        Line(
            what=f"{at}: placing one, in a batch of 144 with the look for strangers "
            "(by the encoder alone)",
            measured=f"{found['place_us']:.0f} us ({found['project_us']:.0f} us)",
        ),
        Line(
            what=f"{at}: a delta of 144, 108 of an unseen kind: strangers told, alarm, published",
            measured=f"{found['provisional']:.0%}, {_yes(found['alarm'])}, "
            f"{_yes(found['published'])}",
            bar="alarm",
            met=found["alarm"],
        ),
        Line(
            what=f"{at}: encodes for each new series; CPU time of learning and measuring",
            measured=f"{found['encodes_per_point']:,.0f}; {found['grow_s']:.0f} s",
            bar=f"at most {MAX_ENCODES:,}",
            met=found["encodes_per_point"] <= MAX_ENCODES * 1.001,
        ),
        Line(
            what=f"{at}: old series moved, median and p95; their trust before and after",
            measured=f"{found['movedMedian']:.2%}, {found['movedP95']:.2%}; "
            f"{found['oldTrustBefore']:.4f}, {found['oldTrust']:.4f}",
            bar="1 %, 2 %; 0.005 less",
            met=found["movedMedian"] <= 0.01
            and found["movedP95"] <= RULE.max_drift
            and found["oldTrust"] >= found["oldTrustBefore"] - RULE.max_old_loss,
        ),
        Line(
            what=f"{at}: trust of the delta by the frozen encoder, and when it was learnt",
            measured=f"{found['newTrustBefore']:.4f}, {found['newTrust']:.4f}",
            bar=f"{RULE.min_new_share} of the old series'",
            met=found["newTrust"] >= RULE.min_new_share * found["oldTrustBefore"],
        ),
    ]


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"
