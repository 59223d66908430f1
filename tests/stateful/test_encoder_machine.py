"""The encoder of an index changes, back and forth, while everything else goes on.

Deltas of writers with one encoder or both, merges, collections, builds that are killed at any
write, switches and abandonments in any order. A search service that gets its encoders late follows.
Whatever it answers, it answers exactly, by the vectors of one encoder.
"""

from contextlib import suppress
from functools import partial

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from indexer_core.errors import IndexerError
from indexer_core.index.adoption import QueryReader
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.filling import text_vectors
from indexer_core.index.reader import Reader
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.updates import Restore, Suppress
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.index.verify import verify
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from tests.support.encoders import (
    FILES,
    NEW,
    OLD,
    NamedEncoder,
    SwitchingIndex,
    assert_search_is_exact,
)
from tests.support.pipeline import Meanwhile

THIRD = NamedEncoder("third-text", 5)
ENCODERS = {encoder.encoder_id: encoder for encoder in (OLD, NEW, THIRD)}
IDS = st.sampled_from(sorted(ENCODERS))
KEYS = st.sampled_from(["s1", "s2", "s3", "s4", "s5"])
LATE = st.none() | st.integers(1, 12)
FAULTS = st.none() | st.tuples(st.sampled_from(list(WriteFault)), st.integers(1, 12))


def is_building(machine) -> bool:
    return hasattr(machine, "index") and machine.space.building is not None


class EncoderMachine(RuleBasedStateMachine):
    """The model: series -> (order of its best row, revision, alive); what is suppressed."""

    @initialize()
    def start(self):
        self.index = SwitchingIndex(part_vectors=6)
        self.model: dict[str, tuple[tuple[int, str], int, bool]] = {}
        self.suppressed: frozenset[str] = frozenset()
        self.past: dict[int, dict[str, int]] = {}
        self.shelf = {OLD.encoder_id}
        self.queries = QueryReader(
            Reader(self.index.blobs, FILES, searched=[TEXT_SPACE]),
            Manifests(self.index.blobs),
            find=lambda wanted: ENCODERS[wanted] if wanted in self.shelf else None,
        )

    @property
    def space(self):
        return self.index.manifest.space(TEXT_SPACE)

    def stores(self, fault, late=None):
        """The stores of a process that may die at a write; a delta lands after its `late` read."""
        plan = FaultPlan() if fault is None else FaultPlan(fault[1], fault[0])
        blobs = WrappedBlobs(self.index.blobs, plan)
        if late is None:
            return blobs
        rows = {"s2": (1 + late % 6, True), "s6": (1, True)}
        then = partial(self.add, rows=rows, brings_both=False, fault=None)
        return WrappedBlobs(blobs, Meanwhile("blobs.get", then, nth=late))

    # --- What goes on anyway ------------------------------------------------------------------

    @rule(
        rows=st.dictionaries(KEYS, st.tuples(st.integers(1, 6), st.booleans()), min_size=1),
        brings_both=st.booleans(),
        fault=FAULTS,
    )
    def add(self, rows, brings_both, fault):
        ids = [self.space.live, *([self.space.building] if brings_both else [])]
        has = [ENCODERS[encoder_id] for encoder_id in ids if encoder_id is not None]
        gone = [key for key, (_, alive) in rows.items() if not alive]
        revisions = {key: revision for key, (revision, _) in rows.items()}
        before = self.index.manifest.number
        write_id = None
        try:
            write_id = self.index.add(revisions, has, self.stores(fault), gone=gone).id
        except (SimulatedCrash, IndexerError):
            if self.index.manifest.number == before:
                return
            write_id = self.index.manifest.segments[-1].id
        for key, (revision, alive) in rows.items():
            order = (revision, write_id)
            if key not in self.model or order >= self.model[key][0]:
                self.model[key] = (order, revision, alive)

    @rule(fault=FAULTS, full=st.booleans(), late=LATE)
    def merge(self, fault, full, late):
        policy = MergePolicy(fan_in=2, smallest_bytes=1 << 20)
        self.attempt(lambda blobs: self.upkeep(blobs, policy).compact(full=full), fault, late)

    @rule(fault=FAULTS, hours=st.integers(0, 48))
    def collect(self, fault, hours):
        self.index.clock.advance(3600.0 * hours)
        policy = RetentionPolicy(keep_s=86_400.0, keep_newest=3)
        self.attempt(lambda blobs: self.upkeep(blobs).collect(policy), fault)
        retained = self.index.manifest.retained_from
        self.past = {number: alive for number, alive in self.past.items() if number >= retained}

    def upkeep(self, blobs, policy=None):
        return Upkeep(
            blobs,
            FILES,
            clock=self.index.clock,
            ids=self.index.ids,
            settings=UpkeepSettings(merge=policy or MergePolicy()),
        )

    @rule(keys=st.frozensets(KEYS, max_size=2))
    def hide(self, keys):
        self.index.commit(Restore(series_keys=self.suppressed))
        self.index.commit(Suppress(series_keys=keys))
        self.suppressed = keys

    # --- The change of encoders ---------------------------------------------------------------

    @rule(other=st.integers(0, 1), fault=FAULTS)
    def build(self, other, fault):
        encoder_id = sorted(ENCODERS.keys() - {self.space.live})[other]
        dimension = ENCODERS[encoder_id].dimension
        self.switch_step(lambda s: s.start(TEXT_SPACE, encoder_id, dimension), fault)

    @precondition(is_building)
    @rule(fault=FAULTS, late=LATE)
    def fill(self, fault, late):
        wanted, made_of = self.space.building, text_vectors(ENCODERS[self.space.building])
        self.switch_step(lambda s: s.fill(TEXT_SPACE, wanted, made_of), fault, late)

    @precondition(is_building)
    @rule(fault=FAULTS, late=LATE)
    def switch(self, fault, late):
        wanted, made_of = self.space.building, text_vectors(ENCODERS[self.space.building])
        self.switch_step(lambda s: s.switch(TEXT_SPACE, wanted, made_of), fault, late)

    @precondition(is_building)
    @rule(fault=FAULTS)
    def abandon(self, fault):
        wanted = self.space.building
        self.switch_step(lambda s: s.abandon(TEXT_SPACE, wanted), fault)

    def switch_step(self, step, fault, late=None):
        self.attempt(lambda blobs: step(self.index.switcher(blobs)), fault, late)

    def attempt(self, step, fault, late=None):
        with suppress(SimulatedCrash, IndexerError):  # it is done again, or not
            step(self.stores(fault, late))

    # --- The search service -------------------------------------------------------------------

    @rule(encoder_ids=st.frozensets(IDS))
    def get_encoders(self, encoder_ids):
        self.shelf |= encoder_ids

    @rule(encoder_id=IDS)
    def lose_encoder(self, encoder_id):
        self.shelf -= {encoder_id}

    @invariant()
    def every_search_is_exact_by_one_encoder(self):
        if not hasattr(self, "queries"):
            return
        newest = self.index.manifest
        alive = {key: revision for key, (_, revision, alive) in self.model.items() if alive}
        for number in range(max(self.past, default=0) + 1, newest.number + 1):
            self.past[number] = alive
        ready = self.queries.refresh()
        answered = ready.snapshot.manifest
        assert ready.newest == newest.number
        assert answered.space(TEXT_SPACE).live == ready.encoder.encoder_id
        if newest.space(TEXT_SPACE).live in self.shelf:
            assert answered.number == newest.number
        then = self.past.get(answered.number)
        if then is not None:
            visible = {k: r for k, r in then.items() if k not in self.suppressed}
            assert_search_is_exact(ready.snapshot, ready.encoder, visible)
        fresh = Reader(self.index.blobs, FILES).refresh()
        visible = {k: r for k, r in alive.items() if k not in self.suppressed}
        assert_search_is_exact(fresh, ENCODERS[newest.space(TEXT_SPACE).live], visible)

    @invariant()
    def segments_hold_the_live_encoder_and_no_stranger(self):
        if not hasattr(self, "index"):
            return
        space = self.space
        for segment in self.index.manifest.segments:
            ids = {v.encoder_id for v in segment.vectors if v.space == TEXT_SPACE}
            assert space.live in ids
            assert ids <= {space.live, space.building}

    def teardown(self):
        if not hasattr(self, "index"):
            return
        if (encoder := ENCODERS.get(self.space.building)) is not None:
            made_of = text_vectors(encoder)
            self.index.switcher().switch(TEXT_SPACE, encoder.encoder_id, made_of)
            self.shelf.add(encoder.encoder_id)
        self.shelf.add(self.space.live)
        self.every_search_is_exact_by_one_encoder()
        assert list(self.index.blobs.list("building/")) == []
        assert verify(self.index.blobs, FILES).problems == []


TestEncoders = EncoderMachine.TestCase
TestEncoders.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
