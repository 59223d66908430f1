"""Commits of every kind, with followers that step, die and take turns: equal after every step.

The oracle is the newest manifest, whose entities are built in one go; `verify` has to agree.
"""

from contextlib import suppress

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.checking import verify
from indexer_core.adapters.milvus.follower import CURRENT
from indexer_core.errors import IndexerError
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.manifest import Manifest
from indexer_core.index.updates import Pin
from indexer_core.index.upkeep import Upkeep
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WrappedBlobs, WriteFault
from tests.support.following import AroundClient, Followed, milvus
from tests.support.segments import PROJECTION, TEXT

KEYS = st.sampled_from(["s1", "s2", "s3", "s4", "s5"])
FAULTS = st.sampled_from(
    [
        WriteFault.CRASH_BEFORE,
        WriteFault.CRASH_AFTER,
        WriteFault.LOST_RESPONSE,
        WriteFault.LOST_REQUEST,
        WriteFault.UNAVAILABLE,
    ]
)
KEEP_S = 40.0
CLAIM_S = 200.0


class MilvusMachine(RuleBasedStateMachine):
    """`Followed` does the work."""

    client: MilvusClient

    @initialize()
    def start(self):
        self.house = Followed(self.client)
        self.followers = [self.fresh(), self.fresh()]

    def fresh(self, *around):
        return self.house.follower(*around, batch=2, keep_s=KEEP_S, keep_states=3)

    # --- What goes on anyway ------------------------------------------------------------------

    @rule(rows=st.dictionaries(KEYS, st.integers(-6, 6).filter(bool), min_size=1))
    def add(self, rows):
        hidden = self.house.newest.suppressed
        shown = {key: n for key, n in rows.items() if key not in hidden}
        if shown:
            self.house.add(**shown)

    @rule()
    def merge(self):
        self.house.compact()

    @rule(keys=st.sets(KEYS, min_size=1, max_size=2))
    def hide(self, keys):
        self.house.suppress(*keys)

    @rule(keys=st.sets(KEYS, min_size=1, max_size=3))
    def show(self, keys):
        self.house.restore(*keys)

    @rule(key=KEYS)
    def purge(self, key):
        self.house.purge_now(key)

    @rule(keep_s=st.sampled_from([0.0, 20.0, 1e6]))
    def collect(self, keep_s):
        house = self.house
        house.clock.advance(1)
        upkeep = Upkeep(house.blobs, house.files, clock=house.clock, ids=house.ids)
        upkeep.collect(RetentionPolicy(keep_s=keep_s, keep_newest=2, grace_s=0.0))

    @rule(back=st.integers(0, 4))
    def pin(self, back):
        number = self.house.newest.number - back
        if isinstance(self.house.manifests.read(number), Manifest):
            self.house.commit(Pin(number=number, name="kept"))

    @rule(version=st.sampled_from([PROJECTION.version, "second map", "third map"]))
    def publish(self, version):
        if self.house.newest.projection.version != version:
            self.house.publish(version)

    @rule(encoder=st.sampled_from([TEXT, "second-text"]))
    def switch(self, encoder):
        if self.house.newest.space("text").live != encoder:
            self.house.switch(encoder)

    @rule(seconds=st.sampled_from([1.0, KEEP_S, 2 * CLAIM_S]))
    def wait(self, seconds):
        self.house.clock.advance(seconds)

    # --- Followers ----------------------------------------------------------------------------

    @rule(which=st.integers(0, 1))
    def follow(self, which):
        follower = self.followers[which]
        self.house.clock.advance(CLAIM_S)  # whoever died lets go
        while follower.step().outcome != CURRENT:
            pass
        self.check()

    @rule(which=st.integers(0, 1), fault=FAULTS, at=st.integers(1, 25))
    def die(self, which, fault, at):
        """A step of a process that dies at a write, or is told that it failed."""
        plan = FaultPlan(at=at, fault=fault)
        client = AroundClient(self.house.client, plan)
        follower = self.fresh(client, WrappedBlobs(self.house.blobs, plan))
        with suppress(SimulatedCrash, IndexerError):
            follower.step()
        self.followers[which] = self.fresh()

    def check(self):
        house = self.house
        house.assert_equal()
        proof = verify(house.client, house.blobs, house.files, prefix=house.prefix, look_into=9)
        assert proof.is_equal
        assert proof.number == house.newest.number
        for number in house.position.states[:-1]:
            if isinstance(house.manifests.read(number), Manifest):
                house.assert_equal(number)

    def teardown(self):
        if hasattr(self, "house"):
            self.follow(0)
            self.house.drop()


@pytest.fixture(scope="module", autouse=True)
def client(tmp_path_factory):
    with milvus(tmp_path_factory.mktemp("milvus")) as MilvusMachine.client:
        yield


TestMilvus = MilvusMachine.TestCase
TestMilvus.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
