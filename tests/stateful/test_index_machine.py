"""Writers, faults and readers: after every step search equals brute force over a dict."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import IndexerError
from indexer_core.index.commit import Committed, Manifests, commit
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.segment import SegmentWriter
from indexer_core.index.updates import AddSegment, MergeSegments, Restore, Suppress
from indexer_core.index.verify import verify
from indexer_core.search import search_text, select
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


class IndexMachine(RuleBasedStateMachine):
    """The model: series -> (order of its best row, alive); and what is suppressed."""

    @initialize()
    def start(self):
        self.blobs = MemoryBlobs(ManualClock())
        self.ids = SequentialIds()
        self.files = FlatFp16Vectors()
        self.model: dict[str, tuple[tuple[int, str], bool]] = {}
        self.suppressed: set[str] = set()
        self.reader = Reader(self.blobs, self.files)
        self.past: dict[int, dict] = {}
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN, self.blobs)

    def commit(self, update, blobs) -> bool:
        outcome = commit(Manifests(blobs), update, commit_id=self.ids.new_id(), lineage=LINEAGE)
        return isinstance(outcome, Committed)

    @rule(
        rows=st.dictionaries(KEYS, st.tuples(st.integers(1, 6), st.booleans()), min_size=1),
        fault=st.none() | st.sampled_from(list(WriteFault)),
        at=st.integers(1, 6),
    )
    def add(self, rows, fault, at):
        write_id = self.ids.new_id()
        index_rows = [
            row(key, revision, write_id, alive=alive)
            for key, (revision, alive) in sorted(rows.items())
        ]
        plan = FaultPlan(None if fault is None else at, fault or WriteFault.UNAVAILABLE)
        faulty = WrappedBlobs(self.blobs, plan)
        before = Manifests(self.blobs).newest().number
        try:
            segment = write_segment(SegmentWriter(faulty, self.files), write_id, index_rows)
            assert self.commit(AddSegment(segment=segment), faulty)
        except (SimulatedCrash, IndexerError):
            # All or nothing: the manifest is there with every row, or there is none.
            if Manifests(self.blobs).newest().number == before:
                return
        for key, (revision, alive) in rows.items():
            order = (revision, write_id)
            if key not in self.model or order >= self.model[key][0]:
                self.model[key] = (order, alive)

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def suppress(self, keys):
        self.commit(Suppress(series_keys=keys), self.blobs)
        self.suppressed |= keys

    @rule(keys=st.frozensets(KEYS, min_size=1))
    def restore(self, keys):
        self.commit(Restore(series_keys=keys), self.blobs)
        self.suppressed -= keys

    @rule()
    def merge_all(self):
        reader = Reader(self.blobs, self.files)
        snapshot = reader.refresh()
        ids = tuple(segment.id for segment in snapshot.manifest.segments)
        if len(ids) < 2:
            return
        rows = sorted(
            (reader.row(reader.winner(key)) for key in reader.series_keys()),
            key=lambda r: r.series_key,
        )
        output = write_segment(SegmentWriter(self.blobs, self.files), self.ids.new_id(), rows)
        assert self.commit(MergeSegments(inputs=ids, output=output), self.blobs)

    @rule(data=st.data())
    def look_back(self, data):
        if not self.past:
            return
        number = data.draw(st.sampled_from(sorted(self.past)))
        snapshot = open_at(self.blobs, self.files, number)
        live = {
            segment.loaded.orders[index][0]: segment.loaded.orders[index][1][0]
            for segment, index in snapshot.rows()
        }
        then = {k: r for k, r in self.past[number].items() if k not in self.suppressed}
        assert live == then

    @invariant()
    def search_equals_brute_force(self):
        if not hasattr(self, "reader"):
            return
        snapshot = self.reader.refresh()
        alive = {key: order[0] for key, (order, alive) in self.model.items() if alive}
        self.past[snapshot.manifest.number] = alive
        visible = {k: r for k, r in alive.items() if k not in self.suppressed}
        query = unit_vectors("query", 1, TEXT_DIMENSION)[0]
        hits = search_text(snapshot, query, select(snapshot, ()), top=10)
        found = {hit.segment.loaded.orders[hit.row][0]: hit.score for hit in hits}
        exact = {
            key: float((unit_vectors(f"t{key}/{revision}", 5, TEXT_DIMENSION) @ query).max())
            for key, revision in visible.items()
        }
        assert found.keys() == exact.keys()
        np.testing.assert_allclose(
            [found[key] for key in sorted(found)], [exact[key] for key in sorted(exact)], atol=2e-3
        )

    def teardown(self):
        if hasattr(self, "reader"):
            assert verify(self.blobs, self.files).problems == []


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
