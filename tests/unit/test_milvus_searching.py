"""The nearest series over answers of a bounded size, judged against all products."""

import numpy as np
import pytest

from indexer_core.adapters.milvus.client import connect, create, load
from indexer_core.adapters.milvus.expressions import EVERYTHING
from indexer_core.adapters.milvus.schema import FOREVER, VECTOR, vector_schema
from indexer_core.adapters.milvus.searching import Limits, nearest_series
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import InvalidInputError

DIMENSION = 24
N_SERIES, N_TWINS = 200, 60
QUERY = np.random.default_rng(1).standard_normal(DIMENSION).astype(np.float32)


def vectors_of(number):
    """Three vectors of a series; of the twins all the same, and near the question."""
    if number < N_TWINS:
        return np.tile(QUERY + 0.01, (3, 1)).astype(np.float32) / 10
    return np.random.default_rng(number).standard_normal((3, DIMENSION)).astype(np.float32) / 5


SERIES = {f"s{(number * 37) % N_SERIES:04d}": vectors_of(number) for number in range(N_SERIES)}

TWINS = {key for key, vectors in SERIES.items() if np.ptp(vectors, axis=0).max() == 0}


def entity(key, number, vector):
    empty = dict.fromkeys(
        (field.name for field in vector_schema(DIMENSION).fields if field.nullable), None
    )
    named = {"id": f"{key}@v#{number}", "seriesKey": key, "shortKey": key, "number": number}
    counts = {"imageCount": 1, "born": 1, "died": FOREVER}
    return {**empty, **named, **counts, "vector": vector}


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    client = connect(MilvusSettings(uri=str(tmp_path_factory.mktemp("milvus") / "m.db")))
    create(client, "some", vector_schema(DIMENSION), VECTOR)
    client.insert("some", [entity(k, n, v) for k, vs in SERIES.items() for n, v in enumerate(vs)])
    client.load_collection("some")
    yield client
    client.close()


def expected():
    """Keys by score and key."""
    scores = {
        key: float(np.float32(np.max(np.sum(vectors.astype(np.float64) * QUERY, axis=1))))
        for key, vectors in SERIES.items()
    }
    return sorted(scores, key=lambda key: (-scores[key], key)), scores


@pytest.mark.parametrize("top", [1, 10, N_TWINS, N_TWINS + 1, 150, 1000])
@pytest.mark.parametrize("limits", [Limits(), Limits(vectors=64), Limits(vectors=7)])
def test_the_nearest_are_those_of_all_products(client, top, limits):
    ordered, scores = expected()
    found = nearest_series(client, "some", QUERY, EVERYTHING, top, limits)
    assert [near.key for near in found] == ordered[:top]
    assert [near.score for near in found] == pytest.approx([scores[k] for k in ordered[:top]], 1e-6)
    assert all(near.entity_id == f"{near.key}@v#{near.number}" for near in found)
    if limits == Limits():  # else the first of equal vectors may not be told
        assert {near.number for near in found if near.key in TWINS} <= {0}


def test_what_may_be_found_can_be_bounded(client):
    ordered, _ = expected()
    some = sorted(ordered[::3])
    where = f"seriesKey in {some}".replace("'", '"')
    found = nearest_series(client, "some", QUERY, where, 1000, Limits(vectors=50))
    assert [near.key for near in found] == ordered[::3]


def test_more_series_than_can_be_ranked_are_refused(client):
    limits = Limits(vectors=16, series=30)
    assert len(nearest_series(client, "some", QUERY, EVERYTHING, 20, limits)) == 20
    with pytest.raises(InvalidInputError, match="ranks up to 30 series for one answer"):
        nearest_series(client, "some", QUERY, EVERYTHING, 150, limits)


def test_what_is_loaded_is_not_loaded_again(client, monkeypatch):
    def not_allowed(*_):
        raise PermissionError

    load(client, ["some"])
    with monkeypatch.context() as patched:
        patched.setattr(client, "load_collection", not_allowed)
        load(client, ["some"])
    client.release_collection("some")
    load(client, ["some"])
    assert len(nearest_series(client, "some", QUERY, EVERYTHING, 3)) == 3
