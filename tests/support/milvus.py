"""Collections of milvus-lite that hold a snapshot, without a follower."""

import numpy as np
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import create
from indexer_core.adapters.milvus.entities import series_entities, vector_entities
from indexer_core.adapters.milvus.schema import (
    PLACE,
    SERIES,
    VECTOR,
    Names,
    series_schema,
    vector_schema,
)
from indexer_core.index.reader import Snapshot


def create_collections(client: MilvusClient, names: Names, snapshot: Snapshot) -> None:
    """Those of a generation, empty."""
    create(client, names.collection(SERIES), series_schema(), PLACE)
    for space in snapshot.manifest.spaces:
        create(client, names.collection(space.name), vector_schema(space.dimension), VECTOR)


def insert(client: MilvusClient, names: Names, snapshot: Snapshot, born: int) -> None:
    """All series of a snapshot, as if they counted from manifest `born` on."""
    projection = snapshot.manifest.projection
    version = None if projection is None else projection.version
    for segment in snapshot.segments:
        loaded, rows = segment.loaded, np.flatnonzero(segment.live)
        if not len(rows):
            continue
        client.insert(names.collection(SERIES), series_entities(loaded, rows, version, born))
        for space in snapshot.manifest.spaces:
            found = vector_entities(loaded, rows, space.name, space.live, version, born)
            if found:
                client.insert(names.collection(space.name), found)
