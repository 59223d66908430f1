"""Fitting a map and placing new points: ours, umap-learn, principal components, inverse distances.

All on the same made-up vectors in one process per size, by one thread each. umap-learn is compiled
on a few points first, which is not counted.
"""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.apart import in_child
from benchmarks.made_up_vectors import MadeUpVectors
from benchmarks.pages import Line
from gpu_worker.projection.fitting import fit_map
from gpu_worker.projection.neighbours import nearest, neighbours_within
from gpu_worker.projection.quality import fidelity
from gpu_worker.projection.recipe import FULL_MAP, FitRecipe
from indexer_core.projector import Projector

T = TypeVar("T")
Floats = NDArray[np.float32]

SEEN = range(36)
N_NEW, N_MEASURED, BATCH = 1000, 1000, 500
SIZES = (3000, 20_000)
LARGE = (120_000, 1_000_000)
N_TRAINED = 20_000
_DRAWN_AT_ONCE = 20_000


def measure(
    _: Path, sizes: tuple[int, ...] = SIZES, large: tuple[int, ...] = LARGE, seed: int = 0
) -> dict[str, Any]:
    """Fits beside peers at `sizes`; at `large` ours alone, trained on a sample."""
    return {
        "compared": {str(n): in_child(compared, n, seed) for n in sizes},
        "large": {str(n): in_child(sampled, n, seed) for n in large},
    }


def compared(n: int, seed: int) -> dict[str, Any]:
    """One size, all methods."""
    import umap

    archive = MadeUpVectors(seed=seed)
    x, _ = archive.draw(n, seed=1, clusters=SEEN)
    new, _ = archive.draw(N_NEW, seed=2, clusters=SEEN)
    umap.UMAP(n_jobs=1, random_state=0, n_epochs=30).fit(x[:400]).transform(new[:50])
    near, knn_s = _timed(lambda: neighbours_within(x, 14, n_exact=n, seed=0))
    found: dict[str, Any] = {"knn_s": knn_s}
    own = np.arange(n)[:, None]
    precomputed = (
        np.hstack([own, near.indices]),
        np.hstack([np.zeros((n, 1), np.float32), near.distances]),
    )
    _, found["umap_graph_given_s"] = _timed(
        lambda: umap.UMAP(n_jobs=1, random_state=0, precomputed_knn=(*precomputed, None)).fit(x)
    )
    model, umap_s = _timed(lambda: umap.UMAP(n_jobs=1, random_state=0).fit(x))
    places = np.asarray(model.embedding_, dtype=np.float32)
    new_places = np.asarray(model.transform(new), dtype=np.float32)
    found["umap"] = {"fit_s": umap_s} | _faithful(x, new, places, new_places)
    projectors = {}
    for name, recipe in (("full", FULL_MAP), ("small", FitRecipe())):
        fitted, fit_s = _timed(lambda recipe=recipe: _fit(x, recipe))
        projectors[name] = fitted
        places, new_places = fitted.project(x), fitted.project(new)
        found[name] = {"fit_s": fit_s} | _faithful(x, new, places, new_places)
        if name == "full":
            weighted = _by_inverse_distance(x, new, places)
            found["inverse distance"] = _faithful(x, new, places, weighted)
    found["components"] = _faithful(x, new, *_components(x, new))
    return found | _speeds(model, projectors, new)


def sampled(n: int, seed: int) -> dict[str, Any]:
    """A large archive: trained on a sample of what fits in memory, all of it projected."""
    archive = MadeUpVectors(seed=seed)
    first, _ = archive.draw(min(n, 120_000), seed=1, clusters=SEEN)
    recipe = FitRecipe(n_trained=N_TRAINED, many_passes=5)
    projector, fit_s = _timed(lambda: _fit(first, recipe))
    project_s, places = 0.0, []
    for number, start in enumerate(range(0, n, _DRAWN_AT_ONCE)):
        size = min(_DRAWN_AT_ONCE, n - start)
        vectors, _ = archive.draw(size, seed=10 + number, clusters=SEEN)
        part, elapsed_s = _timed(lambda vectors=vectors: projector.project(vectors))
        places.append(part)
        project_s += elapsed_s
    everything = np.concatenate(places)
    rows = np.arange(0, len(first), max(1, len(first) // N_MEASURED))
    return {
        "fit_s": fit_s,
        "project_s": project_s,
        "finite": bool(np.isfinite(everything).all()),
        **asdict(fidelity(first, projector.project(first), rows=rows)),
    }


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """The result, and seconds of this process's CPU: others on the machine do not count."""
    start = time.process_time()
    result = call()
    return result, time.process_time() - start


def _fit(x: Floats, recipe: FitRecipe) -> Projector:
    return fit_map(x, recipe, version="1.0", encoder_id="image/made-up", seed=0).projector


def _faithful(x: Floats, new: Floats, places: Floats, new_places: Floats) -> dict[str, float]:
    rows = np.arange(min(len(x), N_MEASURED))
    old = fidelity(x, places, rows=rows)
    rows = np.arange(len(x), len(x) + len(new))
    both = fidelity(np.concatenate([x, new]), np.concatenate([places, new_places]), rows=rows)
    return {
        "trust": old.trust,
        "recall": old.recall,
        "new_trust": both.trust,
        "new_recall": both.recall,
    }


def _components(x: Floats, new: Floats) -> tuple[Floats, Floats]:
    mean = x.mean(axis=0)
    axes = np.linalg.eigh((x - mean).T @ (x - mean))[1][:, -2:]
    return (x - mean) @ axes, (new - mean) @ axes


def _by_inverse_distance(x: Floats, new: Floats, places: Floats) -> Floats:
    """Approximate UMAP: the mean of the neighbours' places, weighted by nearness."""
    near = nearest(new, x, 15)
    weights = 1.0 / np.maximum(near.distances, 1e-6)
    weights /= weights.sum(axis=1, keepdims=True)
    return np.asarray((places[near.indices] * weights[:, :, None]).sum(axis=1), dtype=np.float32)


def _speeds(model: Any, projectors: Mapping[str, Projector], new: Floats) -> dict[str, Any]:
    """Milliseconds per point in batches, and of a single point; taken in turns."""
    batches = [new[:BATCH], new[BATCH:]]
    ways: dict[str, Callable[[Floats], Any]] = {
        "umap": model.transform,
        **{name: projector.project for name, projector in projectors.items()},
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for batch in batches:
        for name, way in ways.items():
            seconds[name].append(_timed(lambda way=way, batch=batch: way(batch))[1])
    full = projectors["full"]
    single = []
    for vector in new[:200]:
        start = time.perf_counter()
        full.project(vector[None])
        single.append(1000 * (time.perf_counter() - start))
    per_point = {name: 1000 * statistics.median(each) / BATCH for name, each in seconds.items()}
    return {"ms_per_point": per_point, "single_ms": statistics.median(single)}


def lines(found: Mapping[str, Any]) -> list[Line]:
    """The rows of the page, beside the bars."""
    rows = [line for n, each in found["compared"].items() for line in _lines_of(int(n), each)]
    return rows + [_large_line(int(n), each) for n, each in found["large"].items()]


def _lines_of(n: int, found: Mapping[str, Any]) -> list[Line]:
    rows = [line for name in ("small", "full") for line in _lines_of_encoder(n, name, found)]
    single = Line(
        what=f"{n:,} points, full: one point, median",
        measured=f"{found['single_ms']:.2f} ms",
        bar="under 2 ms",
        met=found["single_ms"] < 2,
    )
    return [
        *rows,
        single,
        Line(what=f"{n:,} points: peak memory, peers included", measured=_mib(found)),
    ]


def _lines_of_encoder(n: int, name: str, found: Mapping[str, Any]) -> list[Line]:
    ours, umap, speeds = found[name], found["umap"], found["ms_per_point"]
    at = f"{n:,} points, {name}"
    given, trained_s = found["umap_graph_given_s"], ours["fit_s"] - found["knn_s"]
    has_bar = n <= 5000
    return [
        _ratio_line(f"{at}: trust of the fit over umap-learn's", ours, umap, "trust", 0.995),
        _ratio_line(f"{at}: recall of the fit over umap-learn's", ours, umap, "recall", 0.85),
        _ratio_line(f"{at}: trust of new points over `transform`'s", ours, umap, "new_trust", 0.99),
        Line(
            what=f"{at}: `umap.transform` against placing 500 points",
            measured=f"{speeds['umap'] / speeds[name]:,.0f} times the CPU time "
            f"({speeds['umap']:.2f} and {speeds[name]:.4f} ms a point)",
            bar="at least 100",
            met=speeds["umap"] >= 100 * speeds[name],
        ),
        Line(
            what=f"{at}: CPU time of a fit over umap-learn's, neighbours given",
            measured=f"{trained_s / given:.2f} ({trained_s:.0f} and {given:.0f} s)",
            bar="at most 3" if has_bar else "-",
            met=trained_s <= 3 * given if has_bar else None,
        ),
    ]


def _ratio_line(
    what: str, ours: Mapping[str, float], theirs: Mapping[str, float], name: str, bar: float
) -> Line:
    return Line(
        what=what,
        measured=f"{ours[name] / theirs[name]:.3f} ({ours[name]:.4f} and {theirs[name]:.4f})",
        bar=f"at least {bar}",
        met=ours[name] >= bar * theirs[name],
    )


def _large_line(n: int, found: Mapping[str, Any]) -> Line:
    return Line(
        what=f"{n:,} points, the small encoder trained on a sample of {N_TRAINED:,}",
        measured=f"fit {found['fit_s']:.0f} s, all projected in {found['project_s']:.0f} s, "
        f"trust {found['trust']:.4f}, {_mib(found)}",
        bar="every place finite",
        met=found["finite"],
    )


def _mib(found: Mapping[str, Any]) -> str:
    return f"{found['peak_mib']:,.0f} MiB"


def table(found: Mapping[str, Any]) -> str:
    """All methods side by side."""
    head = "| points | method | fit, CPU s | trust | recall | trust, new | recall, new |"
    rows = [head, "| --- | --- | --- | --- | --- | --- | --- |"]
    for n, each in found["compared"].items():
        for name in ("full", "small", "umap", "inverse distance", "components"):
            of = each[name]
            fit = f"{of['fit_s']:.0f}" if "fit_s" in of else "-"
            rows.append(
                f"| {int(n):,} | {name} | {fit} | {of['trust']:.4f} | {of['recall']:.3f} | "
                f"{of['new_trust']:.4f} | {of['new_recall']:.3f} |"
            )
    return "\n".join(rows)
