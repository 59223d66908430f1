"""An index of made-up vectors whose map is fitted, grown and looked at, over an in-memory store."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from gpu_worker.projection.gate import GateRule
from gpu_worker.projection.keeping import IndexMap, MapSettings
from gpu_worker.projection.recipe import FineTuneRecipe, FitRecipe
from gpu_worker.projection.watching import DriftRule
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.announcements import Announcement
from indexer_core.entries import Entry
from indexer_core.filters import parse_filter
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.index.verify import verify
from indexer_core.indexing import Indexer
from indexer_core.map_points import MapPoints, map_points
from indexer_core.search import listing, record_of
from indexer_core.selection import Conditions, select
from indexer_core.testing.faults import Around, PassThrough, WrappedBlobs
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.encoders import NamedEncoder
from tests.support.maps import UNSEEN, archive
from tests.support.meanwhile import BetweenRequests
from tests.support.pipeline import describer
from tests.support.segments import row

DIMENSION = 48
N = 120
HASTY = MapSettings(
    fit=FitRecipe(min_steps=60, passes=1),
    fine_tune=FineTuneRecipe(passes=20, few_passes=60),
    gate=GateRule(max_drift=1, max_major_drift=1, max_old_loss=1, min_new_share=0),
)


class Heard:
    """Remembers what is announced."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []

    def announce(self, announcements: Sequence[Announcement]) -> None:
        self.all += announcements

    def close(self) -> None:
        """Nothing was opened."""


class MappedIndex:
    """Stores that outlive processes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.blobs = MemoryBlobs(self.clock)
        self.files = FlatFp16Vectors()
        self.heard = Heard()
        self.indexer().open()

    def copy(self) -> "MappedIndex":
        """Another one with the same content, which goes its own way from here."""
        other = MappedIndex()
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        other.blobs._blobs = dict(self.blobs._blobs)
        other.blobs._written = self.blobs._written
        return other

    def indexer(self) -> Indexer:
        """Of a process of its own."""
        return Indexer(
            blobs=self.blobs,
            vector_files=self.files,
            text_encoder=NamedEncoder("text/made-up"),
            image_dimension=DIMENSION,
            describer=describer(),
            clock=self.clock,
            ids=self.ids,
        )

    def add(
        self, vectors, first: int = 0, revision: int = 1, by: Indexer | None = None
    ) -> Manifest:
        """Series with these image vectors in one commit: s<first>, s<first + 1>, ..."""
        self.clock.advance(1)
        indexer = by or self.indexer()
        indexer.open()
        encoder = describer().image_encoder_id
        entries = []
        for number, vector in enumerate(vectors, start=first):
            made = row(f"s{number:05d}", revision, "w")
            entries.append(
                Entry(
                    series=made.series_key,
                    revision=revision,
                    digest=made.digest,
                    record=made.record,
                    facts=made.facts,
                    texts=tuple(made.record["texts"]),
                    images={encoder: vector},
                    prepared=self.ids.new_id(),
                )
            )
        return indexer.write(entries, "index")

    def map(self, around: Around | None = None, settings: MapSettings = HASTY) -> IndexMap:
        """Of a process of its own."""
        return IndexMap(
            WrappedBlobs(self.blobs, around or PassThrough()),
            self.files,
            clock=self.clock,
            ids=self.ids,
            announcer=self.heard,
            settings=settings,
        )

    def upkeep(self) -> Upkeep:
        """Merges whatever there is."""
        settings = UpkeepSettings(
            merge=MergePolicy(fan_in=2, smallest_bytes=1 << 20),
            retention=RetentionPolicy(keep_s=0, keep_newest=1, grace_s=0),
        )
        return Upkeep(self.blobs, self.files, clock=self.clock, ids=self.ids, settings=settings)

    @property
    def newest(self) -> Manifest:
        """The newest manifest."""
        return Manifests(self.blobs).newest()

    @property
    def version(self) -> str:
        """Of the map in force."""
        return self.newest.projection.version

    def points(self, number: int | None = None) -> MapPoints:
        """The map of a manifest, by default of the newest."""
        reader = Reader(self.blobs, self.files)
        return map_points(reader.refresh() if number is None else reader.at(number))

    def places(self, number: int | None = None) -> dict[str, tuple[bytes, bool]]:
        """Place to the bit, and whether it is provisional, by series."""
        found = self.points(number)
        assert len(set(found.keys)) == len(found.keys)
        assert np.isfinite(found.points).all()
        flags = found.is_provisional.tolist()
        places = (point.tobytes() for point in found.points)
        return {key: (at, flag) for key, at, flag in zip(found.keys, places, flags, strict=True)}

    def problems(self) -> list[str]:
        """What `verify` finds."""
        return verify(self.blobs, self.files).problems


def usual(n, seed=1):
    """Of four kinds, so that each has more series than neighbours are looked at."""
    return archive(n, seed=seed, dimension=DIMENSION, clusters=range(4))


def strange(n, seed=2, kind=UNSEEN[0]):
    """Of a kind that the others have not seen."""
    return archive(n, seed=seed, dimension=DIMENSION, clusters=[kind])


@cache
def indexed() -> MappedIndex:
    """Two segments, never fitted."""
    index = MappedIndex()
    index.add(usual(N)[:80])
    index.add(usual(N)[80:], first=80)
    return index


@cache
def mapped() -> MappedIndex:
    """The same with a first map; copy it before anything is changed."""
    index = indexed().copy()
    index.map().fit()
    return index


def at_some_requests(start, action, meanwhile, check, step):
    """Do something else between any two requests of an action, every `step` of them."""
    at = 0
    while True:
        at += step
        index = start.copy()
        around = BetweenRequests(at, lambda index=index: meanwhile(index))
        action(index, around)
        if around.n < at:
            return at
        check(index)


def settings_for(**others):
    """With a small window, so that an alarm takes few series."""
    return replace(HASTY, drift=DriftRule(window=40, min_points=40, cooldown=60), **others)


def flagged(index):
    """Series that are provisional, by their records, by filters and on the map alike."""
    snapshot = Reader(index.blobs, index.files).refresh()
    records = [record_of(hit, snapshot) for hit in listing(snapshot, select(snapshot))]
    assert {record["projectionVersion"] for record in records} == {index.version}
    places = index.places()
    rest, found = set(places), {key for key, (_, flag) in places.items() if flag}
    assert sum("provisional" in record["flags"] for record in records) == len(found)
    for text, expected in (("flags=provisional", found), ("flags!=provisional", rest - found)):
        hits = listing(snapshot, select(snapshot, Conditions(filters=(parse_filter(text),))))
        assert {hit.key for hit in hits} == expected
    return found
