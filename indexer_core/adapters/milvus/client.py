"""Talking to Milvus: a client whose errors are ours, and whose log repeats no value.

pymilvus writes a failed request's message to its log, and the message quotes the filter: UIDs and
patient keys among them. So its loggers are silenced, and errors are told without their text.

pymilvus's own timeout is for connecting. Here it is one for every request, whoever makes it: a
Milvus that stands still while its connections stay open would else be waited for for ever.
"""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import grpc
from pymilvus import CollectionSchema, MilvusClient
from pymilvus.client.types import LoadState
from pymilvus.exceptions import MilvusException

from indexer_core.adapters.milvus.schema import LOOKED_UP
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import UnavailableError

CONSISTENCY = "Strong"
"""Whoever reads after a write sees it: positions are only moved once all of a manifest is there."""

MAX_PER_REQUEST = 16_384
"""Entities that Milvus gives in one answer, at most."""

EXACT_INDEX = "FLAT"
"""Index of vectors that compares all of them."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of Milvus as ours, without their text.

    Raises
    ------
    UnavailableError
        It refused, could not be reached or took too long.
    """
    # No `from`: a traceback in a log would repeat the text.
    try:
        yield
    except MilvusException as error:
        raise UnavailableError(f"Milvus did not answer as it should (code {error.code})") from None
    except grpc.RpcError as error:  # pymilvus lets some pass as they are: a timeout, a wrong token
        status = error.code().name if isinstance(error, grpc.Call) else "unknown"
        raise UnavailableError(f"Milvus did not answer as it should (status {status})") from None


class _Client(MilvusClient):  # type: ignore[misc]  # pymilvus has no types
    """A client whose every request ends in time: `timeout_s` where no other time is given."""

    def __init__(self, *, timeout_s: float, **connection: Any) -> None:
        self._timeout_s = timeout_s
        super().__init__(timeout=timeout_s, **connection)

    def query(self, *args: Any, **kwargs: Any) -> Any:
        return super().query(*args, **self._in_time(kwargs))

    def query_iterator(self, name: str, **kwargs: Any) -> Any:
        # It asks this first, too, and has no time for that.
        self.describe_collection(name, timeout=self._timeout_s)
        return super().query_iterator(name, **self._in_time(kwargs))

    def search(self, *args: Any, **kwargs: Any) -> Any:
        return super().search(*args, **self._in_time(kwargs))

    def upsert(self, *args: Any, **kwargs: Any) -> Any:
        return super().upsert(*args, **self._in_time(kwargs))

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        return super().delete(*args, **self._in_time(kwargs))

    def create_collection(self, *args: Any, **kwargs: Any) -> Any:
        return super().create_collection(*args, **self._in_time(kwargs))

    def drop_collection(self, *args: Any, **kwargs: Any) -> Any:
        return super().drop_collection(*args, **self._in_time(kwargs))

    def list_collections(self, **kwargs: Any) -> Any:
        return super().list_collections(**self._in_time(kwargs))

    def get_load_state(self, *args: Any, **kwargs: Any) -> Any:
        return super().get_load_state(*args, **self._in_time(kwargs))

    def describe_index(self, *args: Any, **kwargs: Any) -> Any:
        return super().describe_index(*args, **self._in_time(kwargs))

    def load_collection(self, name: str, timeout: float | None = None, **kwargs: Any) -> Any:
        # Creating a collection loads it, and gives the time by place.
        return super().load_collection(name, timeout or self._timeout_s, **kwargs)

    def _in_time(self, kwargs: Mapping[str, Any]) -> dict[str, Any]:
        return {"timeout": self._timeout_s, **kwargs}


def connect(settings: MilvusSettings) -> MilvusClient:
    """A client, each of whose requests has the time that settings give; for several threads.

    Raises
    ------
    UnavailableError
        There is no Milvus there, or it refuses the token or takes too long.
    """
    names, hint = ["pymilvus"], "nothing answers there, or it refuses the token"
    if settings.uri.endswith(".db"):
        # milvus-lite serves within this process, and logs every request that it does not know.
        names += ["grpc._server", "milvus_lite"]
        hint = (
            "milvus-lite is not installed, the folder cannot be made, or another process uses it: "
            "for several, start milvus-lite server --data-dir FOLDER and name its address"
        )
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        with translated():
            return _Client(uri=settings.uri, token=settings.token, timeout_s=settings.timeout_s)
    except UnavailableError as error:
        raise UnavailableError(f"cannot reach Milvus: {hint}") from error


def create(client: MilvusClient, name: str, schema: CollectionSchema, vector: str) -> None:
    """A collection whose vectors of field `vector` are searched exactly by inner product.

    Fields by which single series and states are looked up have an index, too.
    """
    index = client.prepare_index_params()
    index.add_index(vector, index_type=EXACT_INDEX, metric_type="IP")
    there = {each.name for each in schema.fields}
    for field in LOOKED_UP:
        if field in there:
            index.add_index(field, index_type="INVERTED")
    with translated():
        client.create_collection(
            name, schema=schema, index_params=index, consistency_level=CONSISTENCY
        )


def load(client: MilvusClient, names: Iterable[str]) -> None:
    """Make collections ready to be asked; a Milvus that was started anew may have let go of them.

    Those that are ready are left alone: who only searches may not be allowed to load.

    Raises
    ------
    UnavailableError
        One of them is not there.
    """
    for name in names:
        with translated():
            if client.get_load_state(name)["state"] != LoadState.Loaded:
                client.load_collection(name)


def every(
    client: MilvusClient, name: str, where: str, fields: Sequence[str], batch: int = 2_000
) -> Generator[list[dict[str, Any]]]:
    """All entities of a collection that an expression holds of, in batches, with these fields.

    No batch has an id that comes before one of an earlier batch.
    """
    with translated():
        found = client.query_iterator(
            name, batch_size=batch, filter=where, output_fields=list(fields)
        )
    try:
        while True:
            with translated():
                entities = found.next()
            if not entities:
                return
            yield [dict(each) for each in entities]
    finally:
        found.close()


def count(client: MilvusClient, name: str, where: str) -> int:
    """How many entities of a collection an expression holds of."""
    with translated():
        found = client.query(name, filter=where, output_fields=["count(*)"])
    return int(found[0]["count(*)"])


def is_exact(client: MilvusClient, name: str, vector: str) -> bool:
    """Whether searches of a collection compare all vectors of this field."""
    with translated():
        described = client.describe_index(name, vector)
    return bool(described) and described.get("index_type") == EXACT_INDEX
