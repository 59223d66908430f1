"""Talking to Milvus: a client whose errors are ours, and whose log repeats no value.

pymilvus writes a failed request's message to its log, and the message quotes the filter: UIDs and
patient keys among them. So its loggers are silenced, and errors are told without their text.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pymilvus import CollectionSchema, MilvusClient
from pymilvus.exceptions import MilvusException

from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import UnavailableError

CONSISTENCY = "Strong"
"""Whoever reads after a write sees it: positions are only moved once all of a manifest is there."""

MAX_PER_REQUEST = 16_384
"""Entities that Milvus gives in one answer, at most."""


@contextmanager
def translated() -> Iterator[None]:
    """Errors of Milvus as ours, without their text.

    Raises
    ------
    UnavailableError
        It refused or could not be reached.
    """
    try:
        yield
    except MilvusException as error:
        # No `from`: a traceback in a log would repeat the text.
        raise UnavailableError(f"Milvus did not answer as it should (code {error.code})") from None


def connect(settings: MilvusSettings) -> MilvusClient:
    """A client; for several threads.

    Raises
    ------
    UnavailableError
        There is no Milvus there, or it refuses the token.
    """
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL + 1)
    if settings.uri.endswith(".db"):
        # milvus-lite serves within this process, and logs every request that it does not know.
        logging.getLogger("grpc._server").setLevel(logging.CRITICAL + 1)
    with translated():
        return MilvusClient(uri=settings.uri, token=settings.token, timeout=settings.timeout_s)


def create(client: MilvusClient, name: str, schema: CollectionSchema, vector: str) -> None:
    """A collection whose vectors of field `vector` are searched exactly by inner product."""
    index = client.prepare_index_params()
    index.add_index(vector, index_type="FLAT", metric_type="IP")
    with translated():
        client.create_collection(
            name, schema=schema, index_params=index, consistency_level=CONSISTENCY
        )


def load(client: MilvusClient, names: Iterable[str]) -> None:
    """Make collections ready to be asked; a Milvus that was started anew may have let go of them.

    Raises
    ------
    UnavailableError
        One of them is not there.
    """
    for name in names:
        with translated():
            client.load_collection(name)


def every(
    client: MilvusClient, name: str, where: str, fields: Sequence[str], batch: int = 2_000
) -> Iterator[list[dict[str, Any]]]:
    """All entities of a collection that an expression holds of, in batches, with these fields."""
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
