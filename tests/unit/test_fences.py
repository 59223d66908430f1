"""Fences: what was named or prepared too long ago is never added, whoever slept meanwhile."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.index.manifest import EMPTY, CoordinateFile, FileRef, Manifest, Segment
from indexer_core.index.updates import (
    AddSegment,
    AddVectors,
    Applied,
    BuildSpace,
    Collect,
    Incomplete,
    MergeSegments,
    MissingCoordinates,
    MissingVectors,
    Pin,
    PublishProjection,
    Refused,
    StaleSegment,
    SwitchSpace,
    Unchanged,
    apply_update,
)
from indexer_core.index.write_ids import fence_at, is_behind, is_file_behind, time_of, write_id_of
from indexer_core.testing.memory import ManualClock, SequentialIds
from tests.support.manifests import applied, vectors
from tests.support.segments import IMAGE, OPEN, PROJECTION, TEXT

NOON_S = 1_700_000_000.0
FENCE = fence_at(NOON_S)


def write_id(seconds: float) -> str:
    """A write id of a moment before (-) or after noon."""
    return SequentialIds(ManualClock(NOON_S + seconds)).new_id()


def file(seconds: float, kind: str = "rows.parquet") -> FileRef:
    name = f"segments/{write_id(seconds)}-{'0' * 64}.{kind}"
    return FileRef(name=name, sha256="0" * 64, size_bytes=1)


def segment(seconds: float) -> Segment:
    return Segment(
        id=write_id(seconds),
        rows=file(seconds),
        n_rows=1,
        n_alive=1,
        n_points=1,
        vectors=(vectors("text", TEXT), vectors("image", IMAGE)),
        coordinates=(CoordinateFile(file=file(seconds, "npy"), projection="0.1", n_points=1),),
    )


@pytest.fixture
def opened() -> Manifest:
    return replace(applied(EMPTY, OPEN), number=10)


@pytest.fixture
def fenced(opened) -> Manifest:
    return applied(opened, Collect(before=FENCE, retained_from=4))


@given(st.floats(0, 4e9), st.floats(0, 4e9))
def test_write_ids_sort_with_their_fences(one_s, other_s):
    ids = SequentialIds(ManualClock(one_s))
    assert is_behind(ids.new_id(), fence_at(other_s)) == (int(one_s * 1000) < int(other_s * 1000))
    assert abs(time_of(ids.new_id()) - one_s) <= 0.001


def test_a_name_tells_its_write_id_or_that_it_has_none():
    assert write_id_of(file(5).name) == write_id(5)
    for name in ("projections/abc.projector", "segments/w1-00.rows", "", f"{'0' * 32}"):
        assert write_id_of(name) is None
        assert not is_file_behind(name, FENCE)


def test_fences_only_rise(fenced):
    assert (fenced.collected_before, fenced.retained_from) == (FENCE, 4)
    lower = Collect(before=fence_at(NOON_S - 1), retained_from=2)
    assert apply_update(fenced, lower) == Unchanged()
    mixed = applied(fenced, Collect(before=fence_at(NOON_S - 1), retained_from=5))
    assert (mixed.collected_before, mixed.retained_from) == (FENCE, 5)


def test_the_newest_manifest_is_retained_whatever_the_collector_asks(opened):
    assert applied(opened, Collect(before="", retained_from=99)).retained_from == 10


def test_a_pinned_manifest_is_retained_and_an_expired_one_cannot_be_pinned(opened):
    pinned = applied(opened, Pin(number=2, name="cohort"))
    fenced = applied(pinned, Collect(before="", retained_from=4))
    assert [n for n in range(1, 11) if fenced.is_retained(n)] == [2, *range(4, 11)]
    assert isinstance(apply_update(fenced, Pin(number=3, name="late")), Refused)
    assert applied(fenced, Pin(number=2, name="late")).pins == {2: ("cohort", "late")}
    assert applied(fenced, Pin(number=4, name="late")).pins[4] == ("late",)


def test_a_segment_that_slept_past_the_fence_must_be_written_again(opened, fenced):
    slept = AddSegment(segment=segment(-1))
    assert isinstance(apply_update(opened, slept), Applied)
    outcome = apply_update(fenced, slept)
    assert outcome == Incomplete(missing=(StaleSegment(segment_id=write_id(-1)),))
    again = AddSegment(segment=segment(0), prepared=write_id(-1))
    assert applied(fenced, again).segment(write_id(0)) is not None


def test_a_segment_that_was_committed_before_the_fence_is_there_already(opened):
    added = applied(opened, AddSegment(segment=segment(-1)))
    fenced = applied(added, Collect(before=FENCE, retained_from=1))
    assert apply_update(fenced, AddSegment(segment=segment(-1))) == Unchanged()
    assert fenced.segments == added.segments


def test_one_old_file_makes_a_segment_stale(fenced):
    fresh = segment(1)
    old = replace(fresh, coordinates=(replace(fresh.coordinates[0], file=file(-1, "npy")),))
    outcome = apply_update(fenced, AddSegment(segment=old))
    assert outcome == Incomplete(missing=(StaleSegment(segment_id=fresh.id),))


def test_a_merge_that_slept_past_the_fence_is_abandoned(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, Collect(before=FENCE, retained_from=1))
    slept = MergeSegments(inputs=(write_id(-9),), output=segment(-1))
    assert isinstance(apply_update(manifest, slept), Refused)
    quick = MergeSegments(inputs=(write_id(-9),), output=segment(1))
    assert [s.id for s in applied(manifest, quick).segments] == [write_id(1)]


def test_vectors_that_slept_past_the_fence_must_be_made_again(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, BuildSpace(space="text", encoder_id="new", dimension=8))
    manifest = applied(manifest, Collect(before=FENCE, retained_from=1))
    new = replace(vectors("text", "new"), file=file(-1, "faiss"))
    missing = MissingVectors(segment_id=write_id(-9), space="text", encoder_id="new")
    outcome = apply_update(manifest, AddVectors(segment_id=write_id(-9), vectors=new))
    assert outcome == Incomplete(missing=(missing,))
    fresh = AddVectors(segment_id=write_id(-9), vectors=replace(new, file=file(1, "faiss")))
    assert isinstance(apply_update(manifest, fresh), Applied)


def test_coordinates_that_slept_past_the_fence_must_be_made_again(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, Collect(before=FENCE, retained_from=1))
    newer = replace(PROJECTION, version="1.0")
    slept = CoordinateFile(file=file(-1, "npy"), projection="1.0", n_points=1)
    update = PublishProjection(projection=newer, coordinates={write_id(-9): slept})
    missing = MissingCoordinates(segment_id=write_id(-9), projection=newer)
    assert apply_update(manifest, update) == Incomplete(missing=(missing,))
    fresh = replace(slept, file=file(1, "npy"))
    again = replace(update, coordinates={write_id(-9): fresh})
    assert applied(manifest, again).projection == newer


def test_a_map_whose_file_slept_past_the_fence_is_refused(fenced):
    slept = replace(PROJECTION, version="1.0", file=file(-1, "projector"))
    outcome = apply_update(fenced, PublishProjection(projection=slept, coordinates={}))
    assert isinstance(outcome, Refused)


def merge_that_forgets(*, beside: frozenset[str] = frozenset()) -> MergeSegments:
    return MergeSegments(
        inputs=(write_id(-9),), output=segment(1), forget_before=FENCE, beside=beside
    )


def test_rows_prepared_before_a_forgotten_tombstone_are_refused(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, merge_that_forgets())
    assert manifest.forgotten_before == FENCE
    # However fresh its files are.
    slept = AddSegment(segment=segment(2), prepared=write_id(-1))
    assert isinstance(apply_update(manifest, slept), Refused)
    assert isinstance(apply_update(manifest, AddSegment(segment=segment(-1))), Refused)
    assert isinstance(apply_update(manifest, AddSegment(segment=segment(2))), Applied)
    # A merge that forgets nothing leaves the fence where it is.
    merge = MergeSegments(inputs=(write_id(1),), output=segment(3))
    assert applied(manifest, merge).forgotten_before == FENCE


def test_a_merge_forgets_nothing_when_an_old_segment_came_in_meanwhile(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    late = applied(manifest, AddSegment(segment=segment(-3)))
    assert isinstance(apply_update(late, merge_that_forgets()), Refused)
    known = merge_that_forgets(beside=frozenset({write_id(-3)}))
    assert isinstance(apply_update(late, known), Applied)
    recent = applied(manifest, AddSegment(segment=segment(3)))
    assert isinstance(apply_update(recent, merge_that_forgets()), Applied)


def test_a_merge_without_rows_removes_its_inputs(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    nothing = MergeSegments(inputs=(write_id(-9),), output=None)
    empty = applied(manifest, nothing)
    assert empty.segments == ()
    assert isinstance(apply_update(empty, nothing), Refused)


def test_a_merge_is_abandoned_when_an_input_got_vectors_of_the_encoder_being_built(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, BuildSpace(space="text", encoder_id="new", dimension=8))
    merge = MergeSegments(inputs=(write_id(-9),), output=segment(1))
    assert isinstance(apply_update(manifest, merge), Applied)
    filled = AddVectors(segment_id=write_id(-9), vectors=vectors("text", "new"))
    assert isinstance(apply_update(applied(manifest, filled), merge), Refused)


def test_a_switch_makes_again_what_it_brought_before_the_fence(opened):
    manifest = applied(opened, AddSegment(segment=segment(-9)))
    manifest = applied(manifest, BuildSpace(space="text", encoder_id="new", dimension=8))
    manifest = applied(manifest, Collect(before=FENCE, retained_from=1))
    slept = replace(vectors("text", "new"), file=file(-1, "faiss"))
    switch = SwitchSpace(space="text", encoder_id="new", vectors={write_id(-9): slept})
    missing = MissingVectors(segment_id=write_id(-9), space="text", encoder_id="new")
    assert apply_update(manifest, switch) == Incomplete(missing=(missing,))
    fresh = replace(slept, file=file(1, "faiss"))
    again = replace(switch, vectors={write_id(-9): fresh})
    assert applied(manifest, again).space("text").live == "new"
