"""Work on many vectors at once; the GPU, where there is one, makes what the CPU makes."""

import numpy as np
import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors, bulk
from indexer_core.errors import UnavailableError


def unit_vectors(n: int, dimension: int = 16, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("k", [1, 7, 300])
def test_nearest_are_those_of_brute_force(k, monkeypatch):
    monkeypatch.setattr(bulk, "_SCORES", 1000)  # several chunks
    vectors, queries = unit_vectors(300), unit_vectors(50, seed=1)
    scores, numbers = bulk.nearest(queries, vectors, k, gpu=False)
    products = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    assert np.array_equal(numbers, np.argsort(-products, axis=1)[:, :k])
    assert np.allclose(scores, np.take_along_axis(products, numbers, axis=1), atol=1e-6)


def test_k_means_finds_separate_clusters_and_is_repeatable():
    centres = np.eye(12, dtype=np.float32)
    random = np.random.default_rng(0)
    sample = np.repeat(centres, 40, axis=0) + 0.05 * random.standard_normal((480, 12))
    sample = sample.astype(np.float32)
    centroids = bulk.centroids_of(sample, 24, seed=3, gpu=False)
    assert np.all((centroids @ centres.T).max(axis=0) > 0.99)
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)
    assert np.array_equal(centroids, bulk.centroids_of(sample, 24, seed=3, gpu=False))
    assert not np.array_equal(centroids, bulk.centroids_of(sample, 24, seed=4, gpu=False))


def test_k_means_of_equal_vectors_gives_them_back():
    sample = np.tile(unit_vectors(1), (50, 1))
    centroids = bulk.centroids_of(sample, 4, seed=0, gpu=False)
    assert np.allclose(centroids, sample[:4], atol=1e-6)


@pytest.mark.skipif(bulk.n_gpus() > 0, reason="there is a GPU")
def test_self_test_says_that_there_is_no_gpu():
    with pytest.raises(UnavailableError, match="finds no GPU: install"):
        bulk.self_test()


def test_self_test_tells_what_the_driver_says(monkeypatch):
    def compared():
        raise RuntimeError("Error in bool initialise(): 'CUDA error 35'\n  at line 1")

    monkeypatch.setattr(bulk, "n_gpus", lambda: 1)
    monkeypatch.setattr(bulk, "compared", compared)
    with pytest.raises(UnavailableError, match=r"CUDA error 35'$"):
        bulk.self_test()


@pytest.mark.parametrize(
    ("agreement", "difference", "sound"), [(1.0, 1e-6, True), (0.9, 0.0, False), (1.0, 0.1, False)]
)
def test_self_test_judges_the_comparison(monkeypatch, agreement, difference, sound):
    monkeypatch.setattr(bulk, "n_gpus", lambda: 1)
    monkeypatch.setattr(bulk, "compared", lambda: (agreement, difference))
    if sound:
        assert "uses 1 GPU(s): 100.00% of the neighbours" in bulk.self_test()
    else:
        with pytest.raises(UnavailableError, match="other neighbours than the CPU"):
            bulk.self_test()


needs_gpu = pytest.mark.skipif(bulk.n_gpus() == 0, reason="FAISS finds no GPU")


@pytest.mark.gpu
@needs_gpu
def test_gpu_and_cpu_agree():
    agreement, difference = bulk.compared()
    assert agreement >= 0.999
    assert difference <= 1e-4
    assert "uses" in bulk.self_test()


@pytest.mark.gpu
@needs_gpu
def test_k_means_of_gpu_and_cpu_are_equally_good():
    sample = unit_vectors(20_000, 64)
    fits = [
        float((sample @ bulk.centroids_of(sample, 128, seed=0, gpu=gpu).T).max(axis=1).mean())
        for gpu in (True, False)
    ]
    assert fits[0] == pytest.approx(fits[1], rel=0.01)


@pytest.mark.gpu
@needs_gpu
def test_lists_made_with_a_gpu_are_as_good():
    centres = unit_vectors(60, 32)
    random = np.random.default_rng(1)
    vectors = centres[random.integers(0, 60, 8000)] + 0.07 * random.standard_normal((8000, 32))
    vectors = vectors.astype(np.float32)
    files = FlatFp16Vectors(lists_from=1000)
    reader = files.open(files.build(vectors))
    assert reader.recall >= 0.99
