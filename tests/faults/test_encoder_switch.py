"""A change of encoders that is killed, or loses an answer, at any of its writes.

Deltas of a writer that has the old encoder only, and one that has both, and a merge arrive while
the new one is filled; more between the last look and the switch. Whatever happens to the process
that makes the change, another one ends it, and nobody could tell from the index.
"""

import os
from collections.abc import Callable
from functools import cache

import pytest

from indexer_core.errors import IndexerError
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.filling import PARTS_PREFIX, text_vectors
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.index.verify import verify
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache
from tests.support.encoders import FILES, NEW, OLD, SwitchingIndex, assert_search_is_exact

ENCODERS = {encoder.encoder_id: encoder for encoder in (OLD, NEW)}

# What is alive in the end; the deltas say when it came.
ALIVE = {
    "s0": 2,
    "s1": 1,
    "s2": 1,
    "s3": 1,
    "s4": 1,
    "s5": 1,
    "t": 1,
    "old": 1,
    "both": 1,
    "last": 1,
}


class Before(PassThrough):
    """Does something else right before the first write: here, that of the manifest."""

    def __init__(self, then: Callable[[], object]) -> None:
        self._then: Callable[[], object] | None = then

    def write(self, operation, call):
        then, self._then = self._then, None
        if then is not None:
            then()
        return call()


class Change:
    """One process that changes the encoder, and the deltas that others commit meanwhile."""

    def __init__(self, index: SwitchingIndex, plan: FaultPlan) -> None:
        self.index = index
        self.blobs = WrappedBlobs(index.blobs, plan)
        self.deltas = [self.by_the_old, self.by_both, self.merge]

    def by_the_old(self) -> None:
        self.index.add({"old": 1}, [OLD])

    def by_both(self) -> None:
        self.index.add({"both": 1, "s0": 2}, [OLD, NEW])

    def merge(self) -> None:
        upkeep = Upkeep(
            self.index.blobs,
            FILES,
            clock=self.index.clock,
            ids=self.index.ids,
            settings=UpkeepSettings(merge=MergePolicy(fan_in=2, smallest_bytes=1 << 20)),
        )
        assert upkeep.compact().n_merges > 0

    def vectors(self, rows):
        """The new encoder's, over a cache in the stores; a delta arrives each time."""
        if self.deltas:
            self.deltas.pop(0)()
        cache = TextVectorCache(
            self.blobs, self.index.ids, encoder_id=NEW.encoder_id, dimension=NEW.dimension
        )
        return text_vectors(CachedTextEncoder(NEW, cache))(rows)

    def run(self) -> None:
        switcher = self.index.switcher(self.blobs)
        if self.index.manifest.space(TEXT_SPACE).live != NEW.encoder_id:
            switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
        switcher.fill(TEXT_SPACE, NEW.encoder_id, self.vectors)
        late = Before(lambda: self.index.add({"last": 1}, [OLD]))
        switcher = self.index.switcher(WrappedBlobs(self.blobs, late))
        switcher.switch(TEXT_SPACE, NEW.encoder_id, self.vectors)


def _index() -> SwitchingIndex:
    index = SwitchingIndex()
    index.add({f"s{number}": 1 for number in range(6)})
    index.add({"t": 1, "u": 1})
    index.add({"u": 2}, gone=["u"])
    return index


def _changed(plan: FaultPlan) -> SwitchingIndex:
    index = _index()
    change = Change(index, plan)
    try:
        change.run()
    except (SimulatedCrash, IndexerError):
        pass
    else:
        return index
    after = Change(index, FaultPlan())
    after.deltas = change.deltas
    after.run()
    assert after.deltas == []
    return index


@cache
def _n_writes() -> int:
    plan = FaultPlan()
    _changed(plan)
    return plan.n_writes


def _turns(fault: WriteFault, n_writes: int) -> range:
    """Every write; nightly for every fault, else those that all mean "not done" take turns."""
    alike = [WriteFault.UNAVAILABLE, WriteFault.LOST_REQUEST, WriteFault.CRASH_BEFORE]
    if fault not in alike or os.environ.get("HYPOTHESIS_PROFILE") == "nightly":
        return range(1, n_writes + 1)
    return range(1 + alike.index(fault), n_writes + 1, len(alike))


def _expect_switched(index: SwitchingIndex, last_write: str) -> None:
    manifest = index.manifest
    assert manifest.space(TEXT_SPACE).live == NEW.encoder_id, last_write
    assert manifest.space(TEXT_SPACE).building is None
    _expect_sound(index, NEW, ALIVE)
    for past in Manifests(index.blobs).history():
        _expect_each_segment_searchable(past)


def _expect_sound(index: SwitchingIndex, encoder, alive: dict[str, int]) -> None:
    assert_search_is_exact(index.snapshot(), encoder, alive)
    assert verify(index.blobs, FILES).problems == []
    assert list(index.blobs.list(PARTS_PREFIX)) == []


def _expect_each_segment_searchable(manifest: Manifest) -> None:
    """At no manifest a live encoder was missing, or one that is neither live nor building there."""
    for space in manifest.spaces:
        for segment in manifest.segments:
            held = {v.encoder_id for v in segment.vectors if v.space == space.name}
            assert space.live in held
            assert held <= {space.live, space.building}


@pytest.mark.parametrize("fault", list(WriteFault), ids=lambda fault: fault.name.lower())
def test_a_change_that_fails_at_any_write_is_ended_by_another_process(fault):
    n_writes = _n_writes()
    assert n_writes > 18
    for at in _turns(fault, n_writes):
        plan = FaultPlan(at, fault)
        index = _changed(plan)
        assert plan.has_struck
        _expect_switched(index, plan.operations[-1])


def test_every_manifest_of_a_change_is_searched_by_the_encoder_of_its_time():
    index = _changed(FaultPlan())
    reader = Reader(index.blobs, FILES)
    lived = []
    for manifest in Manifests(index.blobs).history():
        if not manifest.segments:
            continue
        snapshot = reader.at(manifest.number)
        encoder = ENCODERS[manifest.space(TEXT_SPACE).live]
        lived.append(encoder.encoder_id)
        alive = {}
        for segment, number in snapshot.rows():
            key, order = segment.loaded.rows.ranks([number])[0]
            alive[key] = order[0]
        assert_search_is_exact(snapshot, encoder, alive)
    assert lived == sorted(lived, reverse=True)  # "old-text" ... "new-text": switched once
    assert set(lived) == set(ENCODERS)


@pytest.mark.parametrize("fault", list(WriteFault), ids=lambda fault: fault.name.lower())
def test_an_abandonment_that_fails_at_any_write_is_ended_by_another_process(fault):
    def prepared() -> SwitchingIndex:
        index = _index()
        switcher = index.switcher()
        switcher.start(TEXT_SPACE, NEW.encoder_id, NEW.dimension)
        _dies(lambda: switcher.fill(TEXT_SPACE, NEW.encoder_id, _dying()))
        assert list(index.blobs.list(PARTS_PREFIX)) != []
        cache = TextVectorCache(
            index.blobs, index.ids, encoder_id=NEW.encoder_id, dimension=NEW.dimension
        )
        CachedTextEncoder(NEW, cache).encode(["cached"])
        return index

    def abandon(index: SwitchingIndex, plan: FaultPlan) -> None:
        switcher = index.switcher(WrappedBlobs(index.blobs, plan))
        switcher.abandon(TEXT_SPACE, NEW.encoder_id)

    counting = FaultPlan()
    abandon(prepared(), counting)
    assert counting.n_writes > 2
    for at in range(1, counting.n_writes + 1):
        index = prepared()
        _dies(lambda index=index, at=at: abandon(index, FaultPlan(at, fault)), must=False)
        abandon(index, FaultPlan())
        assert index.manifest.space(TEXT_SPACE).building is None
        _expect_sound(index, OLD, {**{f"s{number}": 1 for number in range(6)}, "t": 1})
        assert list(index.blobs.list("text-cache/")) == []


def _dying() -> Callable:
    calls = []

    def vectors(rows):
        calls.append(rows)
        if len(calls) == 2:
            raise SimulatedCrash
        return text_vectors(NEW)(rows)

    return vectors


def _dies(step: Callable[[], object], *, must: bool = True) -> None:
    try:
        step()
    except (SimulatedCrash, IndexerError):
        return
    assert not must
