"""Writers, mergers, the collector, pins, faults and readers: after every step search equals brute
force over a dict.

Writers and mergers may fall asleep between writing their files and committing them, for longer than
files, manifests and deletions are remembered.
"""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import IndexerError, NotFoundError
from indexer_core.index.collect import DAY_S, RetentionPolicy
from indexer_core.index.commit import Abandoned, Committed, Manifests, commit
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.files import StoredFiles
from indexer_core.index.merge import Merger
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.segment import PREFIX, SegmentWriter
from indexer_core.index.updates import AddSegment, Pin, Restore, Suppress, Unpin
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.index.verify import verify
from indexer_core.index.write_ids import fence_at, is_behind
from indexer_core.search import search_text
from indexer_core.selection import select
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import (
    LINEAGE,
    OPEN,
    PROJECTION,
    PROJECTOR_FILE,
    TEXT_DIMENSION,
    row,
    unit_vectors,
    write_segment,
)

KEYS = st.sampled_from(["s1", "s2", "s3", "s4", "s5"])
ROWS = st.dictionaries(KEYS, st.tuples(st.integers(1, 6), st.booleans()), min_size=1)
FAULTS = st.none() | st.sampled_from(list(WriteFault))
UPKEEP = UpkeepSettings(
    merge=MergePolicy(fan_in=3),
    retention=RetentionPolicy(keep_s=7 * DAY_S, keep_newest=3, grace_s=3600.0),
    tombstone_s=14 * DAY_S,
)


class IndexMachine(RuleBasedStateMachine):
    """The model: series -> (order of its best row, alive); and what is suppressed."""

    @initialize()
    def start(self):
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)
        self.ids = SequentialIds(self.clock)
        self.files = FlatFp16Vectors()
        self.model: dict[str, tuple[tuple[int, str], bool]] = {}
        self.suppressed: set[str] = set()
        self.reader = Reader(self.blobs, self.files)
        self.other_reader = Reader(self.blobs, self.files)
        self.upkeeps = [self.upkeep(self.blobs), self.upkeep(self.blobs)]
        self.past: dict[int, dict] = {}
        self.asleep: list[tuple[AddSegment, dict]] = []
        self.merging: list = []
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN, self.blobs)

    # What the rules are made of

    def upkeep(self, blobs) -> Upkeep:
        return Upkeep(blobs, self.files, clock=self.clock, ids=self.ids, settings=UPKEEP)

    def commit(self, update, blobs=None) -> Committed | Abandoned:
        manifests = Manifests(self.blobs if blobs is None else blobs)
        return commit(manifests, update, commit_id=self.ids.new_id(), lineage=LINEAGE)

    def write(self, rows, blobs):
        """The files of a segment with these rows."""
        write_id = self.ids.new_id()
        index_rows = [
            row(key, revision, write_id, alive=alive)
            for key, (revision, alive) in sorted(rows.items())
        ]
        return write_segment(SegmentWriter(blobs, self.files), write_id, index_rows)

    def believe(self, rows, write_id):
        """Take committed rows into the model."""
        for key, (revision, alive) in rows.items():
            order = (revision, write_id)
            if key not in self.model or order >= self.model[key][0]:
                self.model[key] = (order, alive)

    def faulty(self, fault, at) -> WrappedBlobs:
        plan = FaultPlan(None if fault is None else at, fault or WriteFault.UNAVAILABLE)
        return WrappedBlobs(self.blobs, plan)

    # Writers

    @rule(rows=ROWS, fault=FAULTS, at=st.integers(1, 6))
    def add(self, rows, fault, at):
        faulty = self.faulty(fault, at)
        before = Manifests(self.blobs).newest().number
        segment = None
        try:
            segment = self.write(rows, faulty)
            assert isinstance(self.commit(AddSegment(segment=segment), faulty), Committed)
        except (SimulatedCrash, IndexerError):
            # All or nothing: the manifest is there with every row, or there is none.
            if Manifests(self.blobs).newest().number == before:
                return
        assert segment is not None
        self.believe(rows, segment.id)

    @rule(rows=ROWS)
    def fall_asleep(self, rows):
        """A writer is stopped after its files are written."""
        if len(self.asleep) < 3:
            self.asleep.append((AddSegment(segment=self.write(rows, self.blobs)), rows))

    @rule(data=st.data())
    def wake_up(self, data):
        """It commits what it wrote, writes it again, or is told that it is too late for that."""
        if not self.asleep:
            return
        update, rows = self.asleep.pop(data.draw(st.integers(0, len(self.asleep) - 1)))
        newest = Manifests(self.blobs).newest()
        outcome = self.commit(update)
        if isinstance(outcome, Committed):
            self.believe(rows, update.segment.id)
            return
        # What is refused is behind a fence, and only that.
        if is_behind(update.segment.id, newest.forgotten_before):
            assert "deletions that were forgotten" in outcome.reason
            return
        assert is_behind(update.segment.id, newest.collected_before)
        again = self.write(rows, self.blobs)
        prepared = update.segment.id
        outcome = self.commit(AddSegment(segment=again, prepared=prepared))
        assert isinstance(outcome, Committed)
        self.believe(rows, again.id)

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def suppress(self, keys):
        self.commit(Suppress(series_keys=keys))
        self.suppressed |= keys

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def restore(self, keys):
        self.commit(Restore(series_keys=keys))
        self.suppressed -= keys

    # Upkeep

    @rule(which=st.integers(0, 1), full=st.booleans(), fault=FAULTS, at=st.integers(1, 8))
    def merge(self, which, full, fault, at):
        upkeep = self.upkeeps[which] if fault is None else self.upkeep(self.faulty(fault, at))
        try:
            upkeep.compact(full=full)
        except (SimulatedCrash, IndexerError):
            assert fault is not None

    @rule(data=st.data())
    def begin_merge(self, data):
        """A merger is stopped after its output is written."""
        reader = Reader(self.blobs, self.files)
        segments = [segment.id for segment in reader.refresh().manifest.segments]
        if len(segments) < 2 or len(self.merging) > 1:
            return
        some = data.draw(st.lists(st.sampled_from(segments), min_size=2, unique=True))
        inputs = [segment for segment in segments if segment in some]
        merger = Merger(self.blobs, StoredFiles(self.blobs), self.files)
        forget_before = fence_at(self.clock.now_s() - UPKEEP.tombstone_s)
        self.merging.append(
            merger.merge(reader, inputs, write_id=self.ids.new_id(), forget_before=forget_before)
        )

    @rule()
    def end_merge(self):
        """It commits, or is too late: both leave the index as it is."""
        if self.merging:
            self.commit(self.merging.pop(0))

    @rule(
        which=st.integers(0, 1),
        keep_days=st.sampled_from([0, 1, 7]),
        grace_s=st.sampled_from([0.0, 3600.0]),
        limit=st.none() | st.integers(1, 6),
        fault=FAULTS,
        at=st.integers(1, 8),
    )
    def collect(self, which, keep_days, grace_s, limit, fault, at):
        upkeep = self.upkeeps[which] if fault is None else self.upkeep(self.faulty(fault, at))
        policy = RetentionPolicy(keep_s=keep_days * DAY_S, keep_newest=2, grace_s=grace_s)
        try:
            upkeep.collect(policy, limit=limit)
        except (SimulatedCrash, IndexerError):
            assert fault is not None

    @rule(hours=st.sampled_from([1, 30, 200, 500]))
    def pass_time(self, hours):
        self.clock.advance(hours * 3600.0)

    # History

    @rule(data=st.data(), name=st.sampled_from("ab"))
    def pin(self, data, name):
        if not self.past:
            return
        number = data.draw(st.sampled_from(sorted(self.past)))
        newest = Manifests(self.blobs).newest()
        outcome = self.commit(Pin(number=number, name=name))
        assert isinstance(outcome, Committed) == newest.is_retained(number)

    @rule(data=st.data(), name=st.sampled_from("ab"))
    def unpin(self, data, name):
        pinned = sorted(Manifests(self.blobs).newest().pins)
        if pinned:
            self.commit(Unpin(number=data.draw(st.sampled_from(pinned)), name=name))

    @rule(data=st.data())
    def look_back(self, data):
        """What is retained can be searched as it was then; anything else may have expired."""
        if not self.past:
            return
        number = data.draw(st.sampled_from(sorted(self.past)))
        then = {k: r for k, r in self.past[number].items() if k not in self.suppressed}
        try:
            assert self.found_at(number) == then
        except NotFoundError:
            assert not Manifests(self.blobs).newest().is_retained(number)

    def found_at(self, number) -> dict[str, int]:
        snapshot = open_at(self.blobs, self.files, number)
        return {
            segment.loaded.orders[index][0]: segment.loaded.orders[index][1][0]
            for segment, index in snapshot.rows()
        }

    @rule()
    def follow_late(self):
        """A reader that looks rarely: what it has open may be merged, expired and deleted."""
        self.search_equals_the_model(self.other_reader)

    @invariant()
    def search_equals_brute_force(self):
        if not hasattr(self, "reader"):
            return
        self.clock.advance(1.0)
        self.search_equals_the_model(self.reader)
        alive = {key: order[0] for key, (order, alive) in self.model.items() if alive}
        self.past[self.reader.snapshot.manifest.number] = alive

    def search_equals_the_model(self, reader):
        snapshot = reader.refresh()
        self.forget(reader)
        visible = {
            key: order[0]
            for key, (order, alive) in self.model.items()
            if alive and key not in self.suppressed
        }
        query = unit_vectors("query", 1, TEXT_DIMENSION)[0]
        hits = search_text(snapshot, query, select(snapshot), top=10)
        found = {hit.key: hit.score for hit in hits}
        exact = {
            key: float((unit_vectors(f"t{key}/{revision}", 5, TEXT_DIMENSION) @ query).max())
            for key, revision in visible.items()
        }
        assert found.keys() == exact.keys()
        np.testing.assert_allclose(
            [found[key] for key in sorted(found)], [exact[key] for key in sorted(exact)], atol=2e-3
        )

    def forget(self, reader):
        """Deletions that a merge has dropped, which it may after a long time and only then."""
        forgotten_before = reader.snapshot.manifest.forgotten_before
        for key in self.model.keys() - set(reader.series_keys()):
            (_, write_id), alive = self.model.pop(key)
            assert not alive
            assert is_behind(write_id, forgotten_before)

    def teardown(self):
        if not hasattr(self, "reader"):
            return
        assert verify(self.blobs, self.files).problems == []
        # Whatever was begun and not finished is garbage now, and no garbage outlives a collection.
        self.clock.advance(DAY_S)
        self.upkeeps[0].collect(RetentionPolicy(keep_s=0.0, keep_newest=1, grace_s=0.0))
        named = {f.name for m in Manifests(self.blobs).history() for f in m.files()}
        assert {entry.name for entry in self.blobs.list(PREFIX)} <= named
        assert verify(self.blobs, self.files).problems == []
        self.search_equals_the_model(self.reader)


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
