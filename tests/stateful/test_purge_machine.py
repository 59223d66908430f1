"""Writers, merges, pins, cohorts, the collector, purges: every manifest kept shows what it must.

The model is a dictionary of what was alive at every manifest. A purge takes a series out of all of
them, and with it the manifests that are not pinned and had it stored.
"""

from contextlib import suppress as suppress_errors

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.cohorts.drawing import draw, hits_of
from indexer_core.cohorts.erasure import SavedCohorts
from indexer_core.cohorts.model import Question
from indexer_core.cohorts.pinned import pin_name
from indexer_core.cohorts.store import Cohorts
from indexer_core.errors import IndexerError
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Committed, Manifests, commit
from indexer_core.index.erasure import Segments, suppress
from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import COHORTS
from indexer_core.index.reader import Reader
from indexer_core.index.rows import rows_of, table_of
from indexer_core.index.segment import PREFIX, SegmentWriter
from indexer_core.index.updates import AddSegment, Pin, Restore, Unpin
from indexer_core.index.upkeep import Upkeep
from indexer_core.index.verify import verify
from indexer_core.purge import Subject
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import LINEAGE, OPEN, PROJECTION, PROJECTOR_FILE, row, write_segment

KEYS = st.sampled_from(["s1", "s2", "s3", "s4"])
FAULTS = st.sampled_from([WriteFault.CRASH_AFTER, WriteFault.LOST_RESPONSE, WriteFault.UNAVAILABLE])


class PurgeMachine(RuleBasedStateMachine):
    @initialize()
    def start(self):
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)
        self.ids = SequentialIds(self.clock)
        self.files = FlatFp16Vectors()
        self.manifests = Manifests(self.blobs)
        self.upkeep = Upkeep(self.blobs, self.files, clock=self.clock, ids=self.ids)
        self.model: dict[str, tuple[int, str, bool]] = {}
        self.past: dict[int, set[str]] = {}
        self.hidden: set[str] = set()
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        self.commit(OPEN)

    def commit(self, update) -> bool:
        self.clock.advance(1)
        commit_id = self.ids.new_id()
        outcome = commit(self.manifests, update, commit_id=commit_id, lineage=LINEAGE)
        return isinstance(outcome, Committed)

    @rule(
        rows=st.dictionaries(KEYS, st.tuples(st.integers(1, 6), st.booleans()), min_size=1),
        is_committed=st.booleans(),
    )
    def add(self, rows, is_committed):
        """A writer, which knows what is hidden; it may be killed before it commits."""
        shown = {key: value for key, value in rows.items() if key not in self.hidden}
        write_id = self.ids.new_id()
        written = [row(k, n, write_id, alive=alive) for k, (n, alive) in sorted(shown.items())]
        segment = write_segment(SegmentWriter(self.blobs, self.files), write_id, written)
        if is_committed and shown:
            assert self.commit(AddSegment(segment=segment))
            for key, (revision, alive) in shown.items():
                self.model[key] = max(
                    self.model.get(key, (0, "", True)), (revision, write_id, alive)
                )

    @rule(full=st.booleans())
    def merge(self, full):
        self.clock.advance(1)
        self.upkeep.compact(full=full)

    @rule(keep_s=st.sampled_from([0.0, 20.0, 1e6]))
    def collect(self, keep_s):
        self.clock.advance(1)
        self.upkeep.collect(RetentionPolicy(keep_s=keep_s, keep_newest=2, grace_s=0.0))

    @rule(back=st.integers(0, 6), name=st.sampled_from("abc"))
    def pin(self, back, name):
        number = self.manifests.newest().number - back
        if isinstance(self.manifests.read(number), Manifest):
            self.commit(Pin(number=number, name=name))

    @rule(data=st.data())
    def unpin(self, data):
        pins = [
            (number, name)
            for number, names in sorted(self.manifests.newest().pins.items())
            for name in names
            if not name.startswith(COHORTS)
        ]
        if pins:
            number, name = data.draw(st.sampled_from(pins))
            self.commit(Unpin(number=number, name=name))

    def cohorts(self, blobs=None) -> Cohorts:
        return Cohorts(blobs or self.blobs, self.clock, self.ids)

    @rule(fault=st.none() | FAULTS, at=st.integers(1, 5))
    def save(self, fault, at):
        """Somebody saves a cohort of everything; killed anywhere."""
        self.clock.advance(1)
        plan = FaultPlan(None if fault is None else at, fault or WriteFault.UNAVAILABLE)
        blobs = WrappedBlobs(self.blobs, plan)
        reader = Reader(blobs, self.files)
        with suppress_errors(SimulatedCrash, IndexerError):
            self.cohorts(blobs).save("all", lambda: draw(reader.refresh(), Question()))

    @rule(data=st.data())
    def delete_cohort(self, data):
        titles = [cohort.version for cohort in self.cohorts().all()]
        if titles:
            self.clock.advance(1)
            self.cohorts().delete("all", data.draw(st.sampled_from(titles)))

    @rule(key=KEYS, fault=st.none() | FAULTS, at=st.integers(1, 30))
    def purge(self, key, fault, at):
        """Killed anywhere, and run again."""
        series = frozenset({key})
        self.hidden.add(key)
        suppress(self.manifests, series, clock=self.clock, ids=self.ids)
        plan = FaultPlan(None if fault is None else at, fault or WriteFault.UNAVAILABLE)
        for blobs in (WrappedBlobs(self.blobs, plan), self.blobs):
            self.clock.advance(1)
            segments = Segments(
                blobs,
                self.files,
                clock=self.clock,
                ids=self.ids,
                behind_s=self.clock.now_s(),
            )
            subject = Subject(series=series)
            try:
                SavedCohorts(blobs).erase(subject)
                while any(segments.erase(subject).counts.values()):
                    pass
            except (SimulatedCrash, IndexerError):
                continue
        self.model.pop(key, None)
        self.past = {number: keys - series for number, keys in self.past.items()}
        assert key not in self.stored_keys()

    @rule(key=KEYS)
    def restore(self, key):
        self.commit(Restore(series_keys=frozenset({key})))
        self.hidden.discard(key)

    def stored_keys(self) -> set[str]:
        found: set[str] = set()
        for entry in self.blobs.list(PREFIX):
            if ".rows." in entry.name:
                rows = rows_of(table_of(self.blobs.get(entry.name).data, entry.name))
                found |= {r.series_key for r in rows}
        return found

    @invariant()
    def every_manifest_that_is_kept_shows_what_it_must(self):
        if not hasattr(self, "past"):
            return
        newest = self.manifests.newest()
        alive = {key for key, (_, _, lives) in self.model.items() if lives}
        self.past[newest.number] = alive
        pins = newest.pins
        for number, keys in list(self.past.items()):
            kept = self.manifests.read(number)
            if not isinstance(kept, Manifest):
                assert number not in pins
                del self.past[number]
                continue
            snapshot = Reader(self.blobs, self.files).at(number)
            shown = {s.loaded.orders[index][0] for s, index in snapshot.rows()}
            assert shown == keys - self.hidden

    @invariant()
    def every_cohort_is_pinned_and_shows_its_series(self):
        if not hasattr(self, "past"):
            return
        pins = self.manifests.newest().pins
        for cohort in self.cohorts().all():
            assert pin_name(cohort.name, cohort.version) in pins[cohort.manifest]
            snapshot = Reader(self.blobs, self.files).at(cohort.manifest)
            assert {hit.key for hit in hits_of(snapshot, cohort)} == cohort.keys - self.hidden

    def teardown(self):
        if hasattr(self, "past"):
            assert verify(self.blobs, self.files).problems == []


TestPurge = PurgeMachine.TestCase
TestPurge.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
