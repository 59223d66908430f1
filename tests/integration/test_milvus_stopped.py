"""A Milvus that stands still while its connections stay open: every question ends, and says so."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.milvus_server import served
from indexer_core.adapters.milvus.client import (
    connect,
    count,
    create,
    every,
    is_exact,
    load,
    translated,
)
from indexer_core.adapters.milvus.expressions import EVERYTHING
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.schema import BORN, ID, VECTOR, vector_schema
from indexer_core.adapters.milvus.searching import nearest_series
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import UnavailableError
from indexer_core.selection import ANYTHING, Conditions
from tests.support.following import Followed
from tests.support.segments import TEXT_DIMENSION

pytest.importorskip("milvus_lite")

QUERY = np.ones(TEXT_DIMENSION, dtype=np.float32)
SECRET = "1.2.840.113619.2.55"


def state_of(task: Path) -> str:
    """The letter of a thread's state."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


@contextmanager
def standing_still(process: int) -> Iterator[None]:
    """The process is there, and does nothing meanwhile."""
    os.kill(process, signal.SIGSTOP)
    while any(state_of(task) != "T" for task in Path(f"/proc/{process}/task").iterdir()):
        time.sleep(0.01)  # each of its threads stops for itself
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("server") / "lite") as found:
        yield found


@pytest.fixture(scope="module")
def followed(server):
    client = connect(MilvusSettings(uri=server.uri))
    found = Followed(client)
    found.add(s1=1, s2=1)
    found.follow()
    yield found
    client.close()


@pytest.fixture(scope="module")
def hurried(server, followed):
    """Settings whose requests have little time: of the collections that are followed."""
    return MilvusSettings(uri=server.uri, prefix=followed.prefix, timeout_s=1.0)


@pytest.fixture(scope="module")
def client(hurried):
    client = connect(hurried)
    yield client
    client.close()


def test_each_request_ends_as_unavailable(server, followed, client):
    text = followed.collection("text")
    assert count(client, text, EVERYTHING) > 0
    where = f'uid == "{SECRET}"'
    requests = [
        lambda: count(client, text, where),
        lambda: list(every(client, text, where, [ID])),
        lambda: nearest_series(client, text, QUERY, where, 1),
        lambda: load(client, [text]),
        lambda: is_exact(client, text, VECTOR),
        lambda: create(client, "other", vector_schema(TEXT_DIMENSION), VECTOR),
        client.list_collections,
        lambda: client.delete(text, filter=where),
        lambda: client.drop_collection("other"),  # it may still be heard later
    ]
    with standing_still(server.process):
        for request in requests:
            with (
                pytest.raises(UnavailableError, match="Milvus did not answer") as said,
                translated(),
            ):
                request()
            assert SECRET not in str(said.value)
            assert said.value.__cause__ is None


def test_an_iterator_that_was_begun_ends_too(server, followed, client):
    batches = every(client, followed.collection("text"), f"{BORN} >= 0", [ID], batch=1)
    next(batches)
    with (
        standing_still(server.process),
        pytest.raises(UnavailableError, match="Milvus did not answer"),
    ):
        list(batches)


def test_an_index_that_is_open_says_so(server, followed, hurried):
    home = MilvusHome(hurried, followed.blobs)
    index = home.refresh()
    assert index is not None
    named = Conditions(scopes=frozenset({"s"}))
    with standing_still(server.process):
        for ask in (
            lambda: index.select(named).n_passed,
            lambda: list(index.select(ANYTHING).listed()),
            lambda: index.select(ANYTHING).by_words("x", QUERY, 1, exact=True),
        ):
            with pytest.raises(UnavailableError):
                ask()
    assert index.select(ANYTHING).n_passed == 2
    home.close()
