"""An index of made-up series over an in-memory store, for what happens to its segments."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.manifest import Manifest, Segment
from indexer_core.index.reader import Reader
from indexer_core.index.segment import IMAGE_SPACE, PREFIX, TEXT_SPACE, SegmentWriter
from indexer_core.index.updates import AddSegment, Update
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.index.verify import verify
from indexer_core.ports import BlobStore
from indexer_core.testing.faults import Around, PassThrough, WrappedBlobs
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import (
    IMAGE,
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    TEXT,
    row,
    write_segment,
)

DAY_S = 86_400.0
SMALL = UpkeepSettings(
    # Four segments are a full tier, and all of these tests' are in one.
    merge=MergePolicy(fan_in=4, smallest_bytes=1 << 20, dead_bytes=1),
    retention=RetentionPolicy(keep_s=DAY_S, keep_newest=2, grace_s=3600.0),
)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a reader finds of a series, to the bit."""

    order: tuple[int, int, str]
    digest: str
    texts: bytes
    image: bytes
    xy: bytes


class Shelf:
    """Stores that outlive processes."""

    def __init__(self, settings: UpkeepSettings = SMALL) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.blobs = MemoryBlobs(self.clock)
        self.files = FlatFp16Vectors()
        self.settings = settings
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)

    def copy(self) -> "Shelf":
        """Another one with the same content, which goes its own way from here."""
        other = Shelf(self.settings)
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        other.blobs._blobs = dict(self.blobs._blobs)
        other.blobs._written = self.blobs._written
        return other

    def commit(self, update: Update, blobs: BlobStore | None = None) -> Committed | Abandoned:
        manifests = Manifests(blobs or self.blobs)
        return commit(manifests, update, commit_id=self.ids.new_id(), lineage=LINEAGE)

    def written(self, series: Iterable[str], *, revision: int = 1, alive: bool = True) -> Segment:
        """The files of a segment that no manifest names yet."""
        write_id = self.ids.new_id()
        rows = [row(key, revision, write_id, alive=alive) for key in series]
        return write_segment(SegmentWriter(self.blobs, self.files), write_id, rows)

    def add(self, *series: str, revision: int = 1, alive: bool = True) -> Segment:
        segment = self.written(series, revision=revision, alive=alive)
        assert isinstance(self.commit(AddSegment(segment=segment)), Committed)
        return segment

    def upkeep(self, around: Around | None = None) -> Upkeep:
        """Of a process of its own."""
        blobs = WrappedBlobs(self.blobs, around or PassThrough())
        return Upkeep(blobs, self.files, clock=self.clock, ids=self.ids, settings=self.settings)

    @property
    def newest(self) -> Manifest:
        return Manifests(self.blobs).newest()

    def live(self) -> dict[str, Stored]:
        """Searchable series."""
        snapshot = Reader(self.blobs, self.files).refresh()
        found: dict[str, Stored] = {}
        for segment, number in snapshot.rows():
            loaded = segment.loaded
            key, order, _ = loaded.orders[number]
            assert key not in found
            first = loaded.first_vector(TEXT_SPACE, number)
            image = loaded.first_vector(IMAGE_SPACE, number)
            found[key] = Stored(
                order,
                loaded.table.column("digest")[number].as_py(),
                loaded.vectors(TEXT_SPACE, TEXT).reconstruct(first, 5).tobytes(),
                loaded.vectors(IMAGE_SPACE, IMAGE).reconstruct(image, 1).tobytes(),
                np.ascontiguousarray(loaded.points(PROJECTION.version).xy[image]).tobytes(),
            )
        return found

    def rows(self) -> list[tuple[str, int, bool]]:
        """(series, revision, alive) of every row of every segment, the outranked included."""
        snapshot = Reader(self.blobs, self.files).refresh()
        return sorted(
            (key, order[0], alive)
            for segment in snapshot.segments
            for key, order, alive in segment.loaded.orders
        )

    def orphans(self) -> set[str]:
        """Files that no manifest names which has not expired."""
        return {entry.name for entry in self.blobs.list(PREFIX)} - self._named()

    def missing(self) -> set[str]:
        """Files that such a manifest names and that are not there."""
        return self._named() - {entry.name for entry in self.blobs.list()}

    def _named(self) -> set[str]:
        return {f.name for m in Manifests(self.blobs).history() for f in m.files()}

    def problems(self) -> list[str]:
        return verify(self.blobs, self.files).problems
