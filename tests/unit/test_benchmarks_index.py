"""The benchmarks of the index, small: they compare right answers, and the page says what they saw.

Times are not looked at here; `make bench-index` does that.
"""

import json

import numpy as np
import pytest

from benchmarks import index_deltas, index_opening, index_search, index_segments, run_index
from benchmarks.real_vectors import Between, RealVectors


def unit_vectors(n: int, dimension: int, seed: int) -> np.ndarray:
    """Vectors around a few centres, as texts are."""
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(0).standard_normal((20, dimension))
    vectors = centres[random.integers(0, 20, n)] + 0.3 * random.standard_normal((n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


REAL = RealVectors(
    texts=unit_vectors(1500, 24, 1), questions=unit_vectors(20, 24, 2), share_distinct=0.4
)
SIZES = index_search.Sizes(
    vectors=6000, dimension=32, segments=4, divided=(2000,), rounds=3, lists_from=2000
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_search, "real_vectors", lambda _: REAL)
        patch.setattr(index_search, "_lance_way", lambda *_: {})
        return index_search.measure(tmp_path_factory.mktemp("bench"), SIZES)


def test_every_search_of_the_benchmark_gave_the_right_answers(found):
    # Wrong ones would have failed an assertion of the benchmark itself.
    assert len(found["exact"]["ms"]) >= 6
    assert len(found["filters"]["ms"]) == 5
    assert found["exact"]["bytes"] == 6000 * 32 * 2


def test_approximate_search_keeps_its_recall_also_after_a_drift(found):
    lists = found["lists"]
    for each in (lists["whole"], *lists["drifted"].values()):
        assert each["recall"] >= 0.98
        assert each["told"] is None or each["told"] >= 0.99


def test_page_has_a_row_for_every_bar_and_admits_what_is_missed(found):
    kept = {"search": {"found": found, "machine": {"Processor": "none"}}}
    kept = json.loads(json.dumps(kept, default=float))
    page = run_index.page(kept)
    assert page.count("\n| ") == 2 + len(index_search.lines(kept["search"]["found"]))
    slower = json.loads(json.dumps(found, default=float))
    slower["exact"]["share_of_read"] = 0.1
    (missed,) = [line for line in index_search.lines(slower) if line.measured == "0.10"]
    assert missed.met is False
    assert "| 0.10 | >= 0.5 (aim 0.7) | **missed** |" in run_index.page(
        {"search": {"found": slower, "machine": {}}}
    )


def test_what_lies_together_stays_together_in_another_dimension():
    between = Between(REAL.texts, 40, seed=1)
    turned = between.turned(REAL.texts[:50])
    assert np.allclose(turned @ turned.T, REAL.texts[:50] @ REAL.texts[:50].T, atol=1e-5)
    made = between.made(300)
    assert made.shape == (300, 40)
    assert np.allclose(np.linalg.norm(made, axis=1), 1, atol=1e-5)
    nearest = (made @ between.turned(REAL.texts).T).max(axis=1)
    assert nearest.min() > 0.8


def test_peers_are_compared_on_the_same_vectors(tmp_path, monkeypatch):
    for name in ("lancedb", "hnswlib", "usearch"):
        pytest.importorskip(name)
    from benchmarks import index_peers

    monkeypatch.setattr(index_peers, "real_vectors", lambda _: REAL)
    sizes = index_peers.Sizes(vectors=2000, added=100, deleted=50, dimension=32)
    compared = index_peers.measure(tmp_path, sizes)
    assert len(compared) == 5
    for name, each in compared.items():
        assert each["recall"] >= (0.999 if "exact" in name or "flat" in name else 0.9), name
        assert each["recall_after"] >= 0.9, name
    table = index_peers.table(compared)
    assert table.count("\n") == 6
    assert "not offered" in table


SMALL = index_deltas.Sizes(small=40, large=120, rebuild=60, deltas=12, rounds=3, many=20)


def test_deltas_cost_the_same_bytes_in_a_large_index_as_in_a_small_one(tmp_path):
    # That every row came back as it was written is asserted by the benchmark itself.
    found = index_deltas.measure(tmp_path, SMALL)
    assert found["delta"]["bytes_over_small"] == pytest.approx(1, abs=0.02)
    assert found["bytes"]["amplification"] < 8
    assert found["bytes"]["most_segments"] <= 12
    lines = index_deltas.lines(json.loads(json.dumps(found, default=float)))
    missed = [line.what for line in lines if line.met is False]
    assert not any(what.startswith("bytes written") for what in missed)
    assert list(tmp_path.iterdir()) == []


def test_many_segments_give_the_same_answers_as_one(tmp_path):
    # The benchmark asserts it for every search that it times.
    found = index_segments.measure(tmp_path, (192,), rounds=3)
    assert len(index_segments.lines(found)) == 3
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_opened_by_a_process_of_its_own(tmp_path):
    found = index_opening.measure(
        tmp_path, n_series=60, n_segments=3, rounds=1, ways=("mapped", "copied")
    )
    assert set(found) == {"mapped", "copied", "index"}
    assert found["copied"]["open_s"] > 0
    assert len(index_opening.lines(found)) == 4
    assert list(tmp_path.iterdir()) == []
