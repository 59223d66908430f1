"""An index in memory and a Milvus that follows it: commits, and what must be there then."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from pymilvus import MilvusClient
from pymilvus.client import grpc_handler

from indexer_core.adapters.milvus.client import connect, every
from indexer_core.adapters.milvus.entities import series_entities, vector_entities
from indexer_core.adapters.milvus.follower import CURRENT, Follower
from indexer_core.adapters.milvus.ledger import Following
from indexer_core.adapters.milvus.moving import FollowPolicy
from indexer_core.adapters.milvus.position import Position, read_position
from indexer_core.adapters.milvus.schema import BORN, DIED, FOREVER, ID, KEY, SERIES, Names
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.index.commit import Committed, Manifests
from indexer_core.index.manifest import CoordinateFile, Segment, VectorFile
from indexer_core.index.reader import Reader
from indexer_core.index.segment import TEXT_SPACE, Points, SegmentWriter, SpaceVectors
from indexer_core.index.updates import (
    AddVectors,
    BuildSpace,
    PublishProjection,
    Restore,
    Suppress,
    SwitchSpace,
)
from indexer_core.index.upkeep import Upkeep
from indexer_core.testing.faults import FaultPlan
from tests.support.erasing import Shelf
from tests.support.segments import (
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    TEXT,
    TEXT_DIMENSION,
    unit_vectors,
)

_NUMBERS = count()


class _Hasty:
    """The module `time` for pymilvus, which sleeps half a second after making any collection."""

    time = staticmethod(time.time)

    @staticmethod
    def sleep(seconds: float) -> None:
        time.sleep(min(seconds, 0.01))


@contextmanager
def milvus(folder: Path) -> Iterator[MilvusClient]:
    """A client of a Milvus of its own, which lies in a folder."""
    client = connect(MilvusSettings(uri=str(folder / "milvus.db")))
    try:
        with patch.object(grpc_handler, "time", _Hasty):
            yield client
    finally:
        client.close()


class AroundClient:
    """A Milvus client whose writes go through a plan of faults."""

    def __init__(self, client: MilvusClient, plan: FaultPlan) -> None:
        self._client = client
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._client, name)
        if name in ("upsert", "delete", "create_collection", "drop_collection"):
            return lambda *args, **kwargs: self._plan.write(
                f"milvus.{name}", lambda: call(*args, **kwargs)
            )
        if name in ("query", "query_iterator", "list_collections"):
            return lambda *args, **kwargs: self._plan.read(
                f"milvus.{name}", lambda: call(*args, **kwargs)
            )
        return call


class Followed(Shelf):
    """A shelf that is open, with a client of a Milvus that has nothing of it."""

    def __init__(self, client: MilvusClient, blobs: Any = None) -> None:
        super().__init__()
        if blobs is not None:
            self.blobs, self.manifests = blobs, Manifests(blobs)
        self.client = client
        self.prefix = self.address = f"t{next(_NUMBERS)}"
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)

    def follower(self, client: Any = None, blobs: Any = None, **policy: Any) -> Follower:
        """One of a new process."""
        return Follower(
            client or self.client,
            blobs or self.blobs,
            self.files,
            prefix=self.prefix,
            address=self.address,
            clock=self.clock,
            ids=self.ids,
            policy=FollowPolicy(**policy),
        )

    @property
    def position(self) -> Position:
        """What can be searched."""
        return read_position(self.blobs, self.prefix)

    @property
    def following(self) -> Following:
        """What followers tell each other."""
        return self.follower().ledger.read().following

    def write(self, blobs: Any = None, **revisions: int) -> Segment:
        """A segment for the encoders and the map in force."""
        segment = super().write(blobs, **revisions)
        alive = [f"{key}/{n}" for key, n in sorted(revisions.items()) if n > 0]
        space, projection = self.newest.space(TEXT_SPACE), self.newest.projection
        assert space is not None
        assert projection is not None
        if space.live != TEXT:
            text = self._texts(segment.id, space.live, alive)
            images = [each for each in segment.vectors if each.space != TEXT_SPACE]
            segment = replace(segment, vectors=(*images, text))
        if projection.version != PROJECTION.version:
            placed = self._points(segment.id, projection.version, alive)
            segment = replace(segment, coordinates=(placed,))
        return segment

    def switch(self, encoder_id: str) -> None:
        """Another text encoder."""
        self.commit(BuildSpace(space=TEXT_SPACE, encoder_id=encoder_id, dimension=TEXT_DIMENSION))
        for segment in self.newest.segments:
            file = self._texts(self.ids.new_id(), encoder_id, self._alive(segment))
            self.commit(AddVectors(segment_id=segment.id, vectors=file))
        assert self.is_committed(SwitchSpace(space=TEXT_SPACE, encoder_id=encoder_id))

    def publish(self, version: str) -> None:
        """Another map, or an earlier one again."""
        newest = self.newest
        assert newest.projection is not None
        files = {
            segment.id: self._points(self.ids.new_id(), version, self._alive(segment))
            for segment in newest.segments
        }
        projection = replace(PROJECTION, version=version)
        assert self.is_committed(
            PublishProjection(
                projection=projection, coordinates=files, parent=newest.projection.version
            )
        )

    def _alive(self, segment: Segment) -> list[str]:
        rows = [each for each in self.rows_in(segment) if each.alive]
        return [f"{each.series_key}/{each.revision}" for each in rows]

    def _texts(self, write_id: str, encoder_id: str, seeds: list[str]) -> VectorFile:
        parts = [unit_vectors(f"{encoder_id}{seed}", 5, TEXT_DIMENSION) for seed in seeds]
        vectors = np.concatenate([np.empty((0, TEXT_DIMENSION), np.float32), *parts])
        writer = SegmentWriter(self.blobs, self.files)
        texts = SpaceVectors(space=TEXT_SPACE, encoder_id=encoder_id, vectors=vectors)
        return writer.write_vectors(write_id, texts)

    def _points(self, write_id: str, version: str, seeds: list[str]) -> CoordinateFile:
        parts = [unit_vectors(f"{version}{seed}", 1, 2) for seed in seeds]
        xy = np.concatenate([np.empty((0, 2), np.float32), *parts])
        flags = np.array([sum(map(ord, version + seed)) % 3 == 0 for seed in seeds], np.bool_)
        points = Points(projection=version, xy=xy, is_provisional=flags)
        return SegmentWriter(self.blobs, self.files).write_points(write_id, points)

    def follow(self, **policy: Any) -> None:
        """One of a new process goes to the newest manifest."""
        follower = self.follower(**policy)
        while follower.step().outcome != CURRENT:
            pass

    def generations(self) -> set[str]:
        """Those that have collections."""
        names = [name.split("_") for name in self.client.list_collections()]
        return {generation for prefix, generation, _ in names if prefix == self.prefix}

    def drop(self) -> None:
        """Leave nothing in Milvus."""
        for name in self.client.list_collections():
            if name.startswith(f"{self.prefix}_"):
                self.client.drop_collection(name)

    def purge_now(self, *keys: str) -> None:
        """Suppress series, and erase all of them."""
        self.purge(series=frozenset(keys))

    def suppress(self, *keys: str) -> None:
        """Hide series."""
        self.commit(Suppress(series_keys=frozenset(keys)))

    def restore(self, *keys: str) -> None:
        """Show them again."""
        self.commit(Restore(series_keys=frozenset(keys)))

    def compact(self) -> None:
        """Merge all segments."""
        Upkeep(self.blobs, self.files, clock=self.clock, ids=self.ids).compact(full=True)

    def is_committed(self, update: Any) -> bool:
        """Whether an update was taken."""
        return isinstance(self.commit(update), Committed)

    def is_followed(self) -> bool:
        """Whether the newest manifest can be searched, and no dead are left to be swept."""
        position = self.position
        is_swept = self.following.swept >= position.floor
        return is_swept and position.applied == self.newest.number

    def collection(self, kind: str) -> str:
        """The name of one of the collections in use."""
        return Names(prefix=self.prefix, generation=self.position.generation).collection(kind)

    def entities(self, kind: str) -> list[dict[str, Any]]:
        """All that a collection in use has."""
        found = every(self.client, self.collection(kind), f"{BORN} >= 0", ["*"])
        return [each for batch in found for each in batch]

    def all_keys(self) -> set[str]:
        """Series that have any entity, in any version and collection."""
        kinds = (SERIES, *self.position.spaces)
        return {each[KEY] for kind in kinds for each in self.entities(kind)}

    def wanted(self, number: int) -> dict[str, dict[str, dict[str, Any]]]:
        """By kind and id what a state is to hold, built from its segments in one go."""
        snapshot = Reader(self.blobs, self.files).at(number, as_it_was=True)
        manifest = snapshot.manifest
        version = None if manifest.projection is None else manifest.projection.version
        found: dict[str, dict[str, dict[str, Any]]] = {
            kind: {} for kind in (SERIES, *(space.name for space in manifest.spaces))
        }
        for segment in snapshot.segments:
            loaded, rows = segment.loaded, np.flatnonzero(segment.live)
            if not len(rows):
                continue
            entities = series_entities(loaded, rows, version, number)
            found[SERIES].update({each[ID]: each for each in entities})
            for space in manifest.spaces:
                entities = vector_entities(loaded, rows, space.name, space.live, version, number)
                found[space.name].update({each[ID]: each for each in entities})
        return found

    def assert_equal(self, number: int | None = None) -> None:
        """The collections are what a state is; the newest holds no trace of what is hidden."""
        newest = self.newest
        if number is None:
            number = newest.number
            assert self.position.applied == number
        assert number in self.position.states
        for kind, wanted in self.wanted(number).items():
            every_one = self.entities(kind)
            if number == newest.number:
                for each in every_one:
                    assert each[KEY] not in newest.suppressed
                    assert each[BORN] <= number
                    assert self.position.floor < each[DIED] <= number or each[DIED] == FOREVER
            # What is hidden by now may be gone already.
            shown = [each for each in every_one if each[KEY] not in newest.suppressed]
            there = [each for each in shown if each[BORN] <= number < each[DIED]]
            ids = [key for key, each in wanted.items() if each[KEY] not in newest.suppressed]
            assert Counter(each[ID] for each in there) == Counter(ids), kind
            for each in there:
                assert plain(each) == plain(wanted[each[ID]])


def plain(entity: Mapping[str, Any]) -> dict[str, Any]:
    """An entity without its life, in values that can be compared."""
    return {
        name: [float(np.float32(one)) for one in value]
        if name in ("vector", "place")
        else list(value)
        if isinstance(value, list | tuple)
        else value
        for name, value in entity.items()
        if name not in (BORN, DIED)
    }
