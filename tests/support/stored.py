"""A small index with every kind of file in it, and what can be read out of one."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.cohorts.drawing import draw
from indexer_core.cohorts.model import Question
from indexer_core.cohorts.store import Cohorts
from indexer_core.index.commit import HINT, Manifests, commit, manifest_name
from indexer_core.index.reader import Reader
from indexer_core.index.rows import rows_of
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE
from indexer_core.index.updates import Collect
from indexer_core.ports import BlobStore
from indexer_core.purge_receipts import Purge, Purges
from indexer_core.search import search_text
from indexer_core.selection import select
from indexer_core.sources import Sources
from indexer_core.stores import Stores
from indexer_core.testing.memory import ManualClock, MemoryBlobs, MemoryRows
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache
from tests.support.house import MemorySource
from tests.support.pipeline import Pipeline, slice_of
from tests.support.segments import LINEAGE, unit_vectors

KINDS = {
    "newest manifest": "manifests/",
    "older manifest": "manifests/",
    "stub": "manifests/",
    "hint": HINT,
    "rows": ".rows.arrow",
    "text vectors": ".text.",
    "image vectors": ".image.",
    "coordinates": ".points.npy",
    "projector": ".projector",
    "instance list": "assembly/",
    "text cache": "text-cache/",
    "receipt": "purges/",
    "cohort": "cohorts/",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Everything that readers can get out of an index, comparable."""

    manifest: int
    rows: tuple
    vectors: tuple[tuple[str, str, bytes], ...]
    points: tuple[bytes, ...]
    hits: tuple[tuple[str, float], ...]


def made() -> Pipeline:
    """Some thirty commits: series with pixels, two changed, one deleted, one without pixels."""
    house = Pipeline()
    house.text_encoder = CachedTextEncoder(
        house.text_encoder,
        TextVectorCache(house.index, house.ids, encoder_id="hash-text", dimension=8),
    )
    process = house.process()
    for number in range(6):
        house.upload(str(number), slice_of(series=f"series {number}", value=number))
    house.settle(process)
    for number in range(2):
        house.upload(str(number), slice_of(series=f"series {number}", value=10 + number))
    house.settle(process)
    house.remove("5")
    house.upload("report", slice_of(series="report", pixels=False))
    house.settle(process)
    for _ in range(7):
        process.indexer.suppress(frozenset({"a", "b"}))
        process.indexer.restore(frozenset({"b"}))
        process.indexer.restore(frozenset({"a"}))
    manifests = Manifests(house.index)
    keep = manifests.newest().number - 3
    collect = Collect(before="", retained_from=keep)
    commit(manifests, collect, commit_id=house.ids.new_id(), lineage=LINEAGE)
    for number in range(1, keep):
        assert manifests.expire(number)
    requested = Purge(id="1", asked="series", series=("a",), requested_s=1.0)
    Purges(house.index).put(requested.finished(2.0, n_restored=0))
    snapshot = Reader(house.index, FlatFp16Vectors()).refresh()
    cohorts = Cohorts(house.index, house.clock, house.ids)
    cohorts.save("all", lambda: draw(snapshot, Question()))
    return house


def stores_of(house: Pipeline) -> Stores:
    """The stores of a pipeline as one value."""
    return Stores(
        index=house.index,
        blobs=house.rows["blobs"],
        instances=house.rows["instances"],
        open_series=house.rows["open"],
        reject_rows=house.rows["rejects"],
        jobs=MemoryRows(),
        audit=MemoryRows(),
        blob_events=house.queues["events"],
        series_checks=house.queues["checks"],
        series_ready=house.queues["ready"],
        poison=house.queues["poison"],
        sources=Sources([MemorySource(house.inbox)]),
        clock=house.clock,
        ids=house.ids,
    )


@cache
def contents() -> dict[str, bytes]:
    """The blobs of `made`, by name."""
    return bytes_of(made().index)


def bytes_of(blobs: BlobStore) -> dict[str, bytes]:
    return {entry.name: blobs.get(entry.name).data for entry in blobs.list()}


def store_of(blobs: dict[str, bytes]) -> MemoryBlobs:
    """A store that holds these blobs."""
    store = MemoryBlobs(ManualClock())
    for name, data in blobs.items():
        store.overwrite(name, data)
    return store


def one_of(kind: str, blobs: dict[str, bytes]) -> str:
    """A blob of a kind that the newest manifest needs, where it needs any."""
    names = sorted(name for name in blobs if KINDS[kind] in name)
    newest = Manifests(store_of(blobs)).newest().number
    chosen = {
        "newest manifest": manifest_name(newest),
        "older manifest": manifest_name(newest - 2),
        "stub": manifest_name(3),
    }
    largest = max(names, key=lambda name: len(blobs[name]))
    return chosen.get(kind, largest)


def answer(blobs: BlobStore) -> Answer:
    """Open the index and read all of it."""
    files = FlatFp16Vectors()
    snapshot = Reader(blobs, files).refresh()
    rows, vectors, points = [], [], []
    for segment in snapshot.segments:
        loaded = segment.loaded
        table = rows_of(loaded.table)
        rows += [table[row] for row in np.flatnonzero(segment.live)]
        for space in snapshot.manifest.spaces:
            stored = loaded.vectors(space.name, space.live).reconstruct()
            vectors.append((loaded.segment.id, space.name, stored.tobytes()))
        places = loaded.points(snapshot.manifest.projection.version)
        points.append(b"" if places is None else places.xy.tobytes())
    query = unit_vectors("query", 1, snapshot.manifest.space(TEXT_SPACE).dimension)[0]
    hits = search_text(snapshot, query, select(snapshot), top=5)
    assert snapshot.manifest.space(IMAGE_SPACE) is not None
    return Answer(
        manifest=snapshot.manifest.number,
        rows=tuple(sorted(rows, key=lambda row: row.series_key)),
        vectors=tuple(sorted(vectors)),
        points=tuple(points),
        hits=tuple((hit.segment.loaded.orders[hit.row][0], hit.score) for hit in hits),
    )
