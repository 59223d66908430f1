"""An index that a series is to be erased from."""

from functools import cache

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.commit import Committed, Manifests, commit
from indexer_core.index.erasure import (
    Segments,
    suppress,
)
from indexer_core.index.manifest import Manifest, Stub
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.rows import rows_of, table_of
from indexer_core.index.segment import PREFIX, SegmentWriter
from indexer_core.index.updates import (
    AddSegment,
    MergeSegments,
    Pin,
)
from indexer_core.index.verify import verify
from indexer_core.purge import Subject
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import (
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    row,
    write_segment,
)

GONE = frozenset({"s2"})


class Shelf:
    """An index whose series s2 is in several segments, some of them only in history."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.blobs = MemoryBlobs(self.clock)
        self.files = FlatFp16Vectors()
        self.manifests = Manifests(self.blobs)

    def fill(self) -> "Shelf":
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)
        self.add(s1=1)
        self.before_s2 = self.newest.number
        self.commit(Pin(number=self.before_s2, name="early"))
        old = self.add(s2=1, s3=1)
        self.add(s2=2)
        self.pinned = self.newest.number
        self.commit(Pin(number=self.pinned, name="paper"))
        # From here on s2 of `old` is in a merged segment, and `old` itself only in history.
        self.merge(old, {"s2": 1, "s3": 1})
        self.add(s4=1, s2=-3)
        self.unpinned = self.newest.number
        self.add(s5=1)
        return self

    def copy(self) -> "Shelf":
        other = Shelf()
        other.__dict__.update({k: v for k, v in vars(self).items() if isinstance(v, int)})
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        other.blobs._blobs.update(self.blobs._blobs)
        other.blobs._written = self.blobs._written
        return other

    @property
    def newest(self) -> Manifest:
        return self.manifests.newest()

    def commit(self, update, blobs=None):
        self.clock.advance(1)
        return commit(
            Manifests(blobs or self.blobs), update, commit_id=self.ids.new_id(), lineage=LINEAGE
        )

    def write(self, blobs=None, **revisions: int):
        """A segment of these rows; a negative revision is a tombstone."""
        self.clock.advance(1)
        write_id = self.ids.new_id()
        rows = [row(key, abs(n), write_id, alive=n > 0) for key, n in sorted(revisions.items())]
        return write_segment(SegmentWriter(blobs or self.blobs, self.files), write_id, rows)

    def add(self, **revisions: int):
        segment = self.write(**revisions)
        assert isinstance(self.commit(AddSegment(segment=segment)), Committed)
        return segment

    def merge(self, segment, revisions) -> None:
        output = self.write(**revisions)
        assert isinstance(
            self.commit(MergeSegments(inputs=(segment.id,), output=output)), Committed
        )

    def purge(self, blobs=None, series=GONE):
        blobs = blobs or self.blobs
        suppress(Manifests(blobs), series, clock=self.clock, ids=self.ids)
        self.clock.advance(1)
        return self.segments(blobs).erase(Subject(series=series))

    def segments(self, blobs=None) -> Segments:
        return Segments(
            blobs or self.blobs,
            self.files,
            clock=self.clock,
            ids=self.ids,
            behind_s=self.clock.now_s(),
        )

    def keys_at(self, number: int) -> set[str]:
        snapshot = open_at(self.blobs, self.files, number)
        return {segment.loaded.orders[index][0] for segment, index in snapshot.rows()}

    def rows_in(self, segment):
        data = self.blobs.get(segment.rows.name).data
        return rows_of(table_of(data, segment.rows.name))

    def stored_keys(self) -> set[str]:
        """Series with a row in any file, whether or not a manifest names it."""
        found: set[str] = set()
        for entry in self.blobs.list(PREFIX):
            data = self.blobs.get(entry.name).data
            if ".rows." in entry.name:
                found |= {r.series_key for r in rows_of(table_of(data, entry.name))}
        return found

    def vectors(self, space: str = "text", encoder: str = "text-encoder") -> dict[str, bytes]:
        """Stored vectors of every searchable series."""
        reader = Reader(self.blobs, self.files)
        reader.refresh()
        found = {}
        for segment, index in reader.snapshot.rows():
            first = segment.loaded.first_vector(space, index)
            n = segment.loaded.first_vector(space, index + 1) - first
            vectors = segment.loaded.vectors(space, encoder).reconstruct(first, n)
            found[segment.loaded.orders[index][0]] = vectors.tobytes()
        return found

    def assert_erased(self) -> None:
        assert self.stored_keys() == {"s1", "s3", "s4", "s5"}
        seen = verify(self.blobs, self.files)
        assert (seen.problems, seen.orphans) == ([], [])
        assert self.keys_at(self.newest.number) == {"s1", "s3", "s4", "s5"}
        assert self.keys_at(self.pinned) == {"s1", "s3"}
        assert self.keys_at(self.before_s2) == {"s1"}
        assert isinstance(self.manifests.read(self.unpinned), Stub)
        assert self.newest.suppressed == GONE


@cache
def filled() -> Shelf:
    return Shelf().fill()
