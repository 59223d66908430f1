"""Makes references.npz: what umap-learn does with vectors that our tests make up again.

Run with umap-learn and scikit-learn installed (`make bench-map` installs them)::

    .venv/bin/python -m tests.samples.map.make_references
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_vectors import MadeUpVectors

OUT = Path(__file__).with_name("references.npz")
N_NEIGHBOURS = 15
SEEDS = (0, 1)
SEEN = range(36)
N_TRAINED, N_NEW = 3000, 800
N_DIGITS = 1437
N_GRAPH = 300


def main() -> None:
    arrays: dict[str, NDArray[Any]] = {}
    digits = _digits()
    arrays["digits"] = digits.astype(np.uint8)
    arrays |= _graph(_with_repeats(digits[:N_GRAPH]))
    arrays |= _umap("digits", digits[:N_DIGITS], digits[N_DIGITS:])
    for seed in SEEDS:
        archive = MadeUpVectors(seed=seed)
        trained, _ = archive.draw(N_TRAINED, seed=1, clusters=SEEN)
        new, _ = archive.draw(N_NEW, seed=2, clusters=SEEN)
        arrays |= _umap(f"made-up-{seed}", trained, new)
    np.savez_compressed(OUT, **arrays)  # type: ignore[arg-type]
    print(f"{OUT.name}: {OUT.stat().st_size:,} bytes")


def _digits() -> NDArray[np.float32]:
    from sklearn.datasets import load_digits

    images = load_digits().data.astype(np.float32)
    order = np.random.default_rng(0).permutation(len(images))
    return np.asarray(images[order])


def _with_repeats(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The last ten repeat the first, and a point stands more often than it has neighbours."""
    repeated = vectors.copy()
    repeated[-10:] = repeated[:10]
    repeated[100 : 100 + N_NEIGHBOURS + 3] = repeated[100]
    return repeated


def _graph(vectors: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    from umap.umap_ import fuzzy_simplicial_set

    squared = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    order = np.lexsort((np.arange(len(vectors))[None].repeat(len(vectors), 0), squared))
    indices = order[:, :N_NEIGHBOURS]
    distances = np.sqrt(np.take_along_axis(squared, indices, axis=1))
    graph, sigmas, rhos = fuzzy_simplicial_set(
        vectors,
        N_NEIGHBOURS,
        np.random.RandomState(0),
        "euclidean",
        knn_indices=indices,
        knn_dists=distances.astype(np.float32),
    )
    found = graph.tocoo()
    return {
        "graph-indices": indices.astype(np.int64),
        "graph-distances": distances.astype(np.float32),
        "graph-heads": found.row.astype(np.int64),
        "graph-tails": found.col.astype(np.int64),
        "graph-weights": found.data.astype(np.float32),
        "graph-sigmas": np.asarray(sigmas, dtype=np.float32),
        "graph-rhos": np.asarray(rhos, dtype=np.float32),
    }


def _umap(
    name: str, trained: NDArray[np.float32], new: NDArray[np.float32]
) -> dict[str, NDArray[Any]]:
    import umap

    model = umap.UMAP(n_neighbors=N_NEIGHBOURS, random_state=0, n_jobs=1)
    fitted = model.fit_transform(trained)
    print(name, "fitted", flush=True)
    return {
        f"{name}-fit": fitted.astype(np.float32),
        f"{name}-new": model.transform(new).astype(np.float32),
    }


if __name__ == "__main__":
    main()
