"""Which segments are merged, and which of their rows."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer_core.index.compaction import (
    MergePolicy,
    SegmentSize,
    old_tombstones,
    plan_full_merge,
    plan_merge,
    rows_to_keep,
    tier_of,
)
from indexer_core.index.write_ids import fence_at
from indexer_core.testing.memory import ManualClock, SequentialIds

POLICY = MergePolicy(fan_in=4, max_input_bytes=100_000, smallest_bytes=10, dead_bytes=100)


def sizes(*size_bytes: int, **changes: object) -> list[SegmentSize]:
    return [
        SegmentSize(id=f"s{number}", size_bytes=size, n_rows=10, **changes)
        for number, size in enumerate(size_bytes)
    ]


@st.composite
def many_segments(draw):
    return [
        SegmentSize(
            id=f"s{number}",
            size_bytes=draw(st.integers(1, 200_000)),
            n_rows=10,
            n_dead=draw(st.integers(0, 10)),
            building=frozenset(draw(st.sampled_from(["", "a", "ab"]))),
        )
        for number in range(draw(st.integers(0, 30)))
    ]


def test_a_tier_is_a_factor_of_the_fan_in():
    assert [tier_of(size, POLICY) for size in (0, 9, 10, 39, 40, 159, 160)] == [0, 0, 1, 1, 2, 2, 3]


def test_nothing_is_merged_while_no_tier_is_full():
    assert plan_merge([], POLICY) == ()
    assert plan_merge(sizes(10, 11, 12, 40, 41, 42, 160), POLICY) == ()


def test_the_lowest_full_tier_goes_first_and_its_smallest_segments():
    segments = sizes(40, 41, 42, 43, 39, 10, 11, 12, 13)
    assert plan_merge(segments, POLICY) == ("s5", "s6", "s7", "s8")


def test_what_exceeds_the_bound_together_stays_as_it_is():
    assert plan_merge(sizes(30_000, 30_000, 30_000, 30_000), POLICY) == ()
    assert plan_merge(sizes(25_000, 25_000, 25_000, 25_000), POLICY) != ()


def test_a_segment_of_outranked_rows_is_written_anew_by_itself():
    assert plan_merge(sizes(500, n_dead=4), POLICY) == ()
    assert plan_merge(sizes(500, n_dead=5), POLICY) == ("s0",)
    assert plan_merge(sizes(200_000, n_dead=9), POLICY) == ()
    assert plan_merge(sizes(150, n_dead=5), POLICY) == ()


def test_segments_that_differ_in_an_encoder_being_built_are_not_merged():
    plain, filled = sizes(10, 11), sizes(12, 13, building=frozenset({"new"}))
    mixed = [*plain, *(replace(s, id=f"f{s.id}") for s in filled)]
    assert plan_merge(mixed, POLICY) == ()
    assert plan_full_merge(mixed, POLICY) == ("s0", "s1")


@given(many_segments(), st.sampled_from([plan_merge, plan_full_merge]))
def test_a_plan_is_bounded_and_of_segments_that_are_alike(segments, plan):
    planned = plan(segments, POLICY)
    by_id = {segment.id: segment for segment in segments}
    chosen = [by_id[name] for name in planned]
    assert [s.id for s in segments if s.id in set(planned)] == list(planned)
    assert sum(segment.size_bytes for segment in chosen) <= POLICY.max_input_bytes
    assert len({segment.building for segment in chosen}) <= 1
    if plan is plan_merge:
        assert len(chosen) <= POLICY.fan_in
    if len(chosen) == 1:
        assert chosen[0].n_dead


def merged(segments: list[SegmentSize], planned: tuple[str, ...], number: int) -> list[SegmentSize]:
    """After the merge: bytes go with the outranked rows."""
    inputs = [segment for segment in segments if segment.id in planned]
    output = SegmentSize(
        id=f"m{number}",
        size_bytes=sum(s.size_bytes * (s.n_rows - s.n_dead) // s.n_rows for s in inputs),
        n_rows=max(1, sum(s.n_rows - s.n_dead for s in inputs)),
        building=inputs[0].building,
    )
    return [*(segment for segment in segments if segment.id not in planned), output]


@given(many_segments(), st.sampled_from([plan_merge, plan_full_merge]))
def test_merging_until_nothing_is_planned_ends(segments, plan):
    for number in range(len(segments) + 1):
        planned = plan(segments, POLICY)
        if not planned:
            break
        segments = merged(segments, planned, number)
    assert plan(segments, POLICY) == ()


@given(many_segments())
def test_a_full_merge_leaves_no_two_that_would_fit_together(segments):
    number = 0
    while planned := plan_full_merge(segments, POLICY):
        segments = merged(segments, planned, number)
        number += 1
    for building in {segment.building for segment in segments}:
        alike = sorted(s.size_bytes for s in segments if s.building == building)
        assert len(alike) < 2 or alike[0] + alike[1] > POLICY.max_input_bytes


@settings(max_examples=30)
@given(st.integers(10, 40), st.integers(0, 30), st.integers(50, 400))
def test_deltas_are_rewritten_once_per_tier_and_leave_few_segments(size, spread, n_deltas):
    segments: list[SegmentSize] = []
    n_written = n_rewritten = n_merges = 0
    rewrites: Counter[int] = Counter()
    for number in range(n_deltas):
        delta = SegmentSize(id=f"d{number}", size_bytes=size + number % (spread + 1), n_rows=10)
        n_written += delta.size_bytes
        segments.append(delta)
        while planned := plan_merge(segments, POLICY):
            n_rewritten += sum(s.size_bytes for s in segments if s.id in planned)
            n_merges += 1
            segments = merged(segments, planned, n_merges)
            rewrites[len(planned)] += 1
    n_tiers = max(tier_of(s.size_bytes, POLICY) for s in segments) + 1
    assert len(segments) <= (POLICY.fan_in - 1) * n_tiers
    assert n_rewritten <= n_written * (n_tiers - 1)
    assert set(rewrites) <= {POLICY.fan_in}


def write_id(days: float) -> str:
    return SequentialIds(ManualClock(1_700_000_000 + 86_400 * days)).new_id()


FENCE = fence_at(1_700_000_000)
TOMBSTONES = [(2, "old", write_id(-20)), (3, "recent", write_id(1)), (5, "held", write_id(-1))]
WINS = np.array([True, False, True, True, False, True])


def test_only_tombstones_that_are_old_enough_may_be_forgotten():
    assert old_tombstones(TOMBSTONES, FENCE) == {2: "old", 5: "held"}
    assert old_tombstones(TOMBSTONES, "") == {}


@pytest.mark.parametrize(
    ("held", "kept"), [(set(), [0, 3]), ({"held"}, [0, 3, 5]), ({"old", "held"}, [0, 2, 3, 5])]
)
def test_a_merge_keeps_rows_in_force_and_tombstones_that_are_still_needed(held, kept):
    old = old_tombstones(TOMBSTONES, FENCE)
    assert rows_to_keep(WINS, old, held).tolist() == kept
    assert WINS.sum() == 4
