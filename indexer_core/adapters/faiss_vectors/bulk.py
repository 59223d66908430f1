"""Work on many vectors at once: on a GPU where FAISS finds one, else on all cores.

faiss-gpu and faiss-cpu share their names; what tells them apart is `faiss.get_num_gpus()`, which
faiss-cpu has too. Both ways make the same up to rounding. On the CPU numpy multiplies: it took a
sixth of the time of FAISS 1.15.1's batched search.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.library import load_faiss
from indexer_core.adapters.faiss_vectors.scan import Found
from indexer_core.errors import UnavailableError

_ITERATIONS = 10
# Scores in memory at once: 64 MB.
_SCORES = 1 << 24
_AGREEMENT = 0.999
_ROUNDING = 1e-4


def n_gpus() -> int:
    """GPUs that FAISS can use."""
    return int(load_faiss().get_num_gpus())


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, *, gpu: bool
) -> Found:
    """The k vectors with the largest inner product with each query.

    Parameters
    ----------
    queries : ndarray of float32, shape (n, dimension)
    vectors : ndarray of float32, shape (m, dimension), m >= k
    gpu
        Use the first GPU; there must be one.

    Returns
    -------
    scores : ndarray of float32, shape (n, k), descending
    numbers : ndarray of int64, shape (n, k)
    """
    return _searcher(vectors, gpu=gpu)(queries, k)


def centroids_of(
    sample: NDArray[np.float32], n_centroids: int, seed: int, *, gpu: bool
) -> NDArray[np.float32]:
    """Spherical k-means (Lloyd): float32 (n_centroids, dimension), rows L2-normalised.

    Takes the memory of the sample twice.

    Parameters
    ----------
    sample : ndarray of float32, shape (m, dimension), m >= n_centroids
    """
    random = np.random.default_rng(seed)
    centroids = _normalised(sample[random.choice(len(sample), n_centroids, replace=False)])
    for _ in range(_ITERATIONS):
        _, numbers = nearest(sample, centroids, 1, gpu=gpu)
        order = np.argsort(numbers[:, 0], kind="stable")
        members, starts = np.unique(numbers[order, 0], return_index=True)
        means = _normalised(np.add.reduceat(sample[order], starts, axis=0))
        # A centroid without members starts again somewhere else.
        n_empty = n_centroids - len(members)
        others = _normalised(sample[random.choice(len(sample), n_empty, replace=False)])
        centroids = np.concatenate([means, others])
    return centroids


def self_test() -> str:
    """Compare the GPU with the CPU; a line that says how it went.

    Raises
    ------
    UnavailableError
        FAISS finds no GPU, it cannot be used, or it computes something else.
    """
    if not n_gpus():
        raise UnavailableError(
            "FAISS finds no GPU: install dicom-indexer[gpu] instead of [cpu] on a machine with "
            "an NVIDIA driver for CUDA 12"
        )
    try:
        agreement, difference = compared()
    except RuntimeError as exc:  # what FAISS's C++ exceptions arrive as
        reason = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
        raise UnavailableError(f"FAISS cannot use the GPU: {reason}") from exc
    if agreement < _AGREEMENT or difference > _ROUNDING:
        raise UnavailableError(
            f"the GPU finds other neighbours than the CPU: {agreement:.2%} the same, "
            f"scores up to {difference:.1e} apart"
        )
    return (
        f"FAISS {load_faiss().__version__} uses {n_gpus()} GPU(s): {agreement:.2%} of the "
        f"neighbours are those of the CPU, scores at most {difference:.1e} apart"
    )


def compared() -> tuple[float, float]:
    """How far GPU and CPU agree: share of equal neighbours, largest difference of scores."""
    random = np.random.default_rng(0)
    vectors = _normalised(random.standard_normal((20_000, 128)).astype(np.float32))
    centroids = centroids_of(vectors, 64, seed=0, gpu=True)
    shares, differences = [], []
    for base, k in ((vectors, 10), (centroids, 1)):
        of_gpu, of_cpu = (nearest(vectors[:2_000], base, k, gpu=gpu) for gpu in (True, False))
        shares.append(float(np.mean(of_gpu[1] == of_cpu[1])))
        differences.append(float(np.abs(of_gpu[0] - of_cpu[0]).max()))
    return min(shares), max(differences)


def _searcher(
    vectors: NDArray[np.float32], *, gpu: bool
) -> Callable[[NDArray[np.float32], int], Found]:
    if not gpu:
        return lambda queries, k: _multiplied(queries, vectors, k)
    faiss = load_faiss()
    index = faiss.index_cpu_to_gpu(_resources(), 0, faiss.IndexFlatIP(vectors.shape[1]))
    index.add(vectors)
    search: Callable[[NDArray[np.float32], int], Found] = index.search
    return search


@functools.cache
def _resources() -> Any:
    return load_faiss().StandardGpuResources()


def _multiplied(queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int) -> Found:
    scores = np.empty((len(queries), k), np.float32)
    numbers = np.empty((len(queries), k), np.int64)
    length = max(1, _SCORES // len(vectors))
    for start in range(0, len(queries), length):
        chunk = slice(start, start + length)
        # BLAS reads beyond the end of a short row, uses nothing of it, and may set the flag for it.
        with np.errstate(invalid="ignore"):
            products = queries[chunk] @ vectors.T
        if k == 1:
            best = products.argmax(axis=1)[:, None]
        else:
            best = np.argpartition(products, -k, axis=1)[:, -k:]
            best = np.take_along_axis(
                best, np.argsort(-np.take_along_axis(products, best, axis=1), axis=1), axis=1
            )
        numbers[chunk] = best
        scores[chunk] = np.take_along_axis(products, best, axis=1)
    return scores, numbers


def _normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    normalised: NDArray[np.float32] = vectors / np.maximum(norms, np.float32(1e-12))
    return normalised
