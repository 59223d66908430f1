"""Updates of vector spaces: building beside the live encoder, switching, abandoning."""

from dataclasses import replace

import pytest

from indexer_core.index.manifest import EMPTY, CoordinateFile, Manifest, Segment
from indexer_core.index.updates import (
    AbandonSpace,
    AddSegment,
    AddVectors,
    BuildSpace,
    Incomplete,
    MergeSegments,
    MissingCoordinates,
    MissingVectors,
    PublishProjection,
    Refused,
    SwitchSpace,
    Unchanged,
    apply_update,
    with_files,
)
from tests.support.manifests import applied, coordinates, file, segment, vectors
from tests.support.segments import IMAGE, OPEN, PROJECTION, TEXT

BUILD = BuildSpace(space="text", encoder_id="new", dimension=16)
SWITCH = SwitchSpace(space="text", encoder_id="new")
ABANDON = AbandonSpace(space="text", encoder_id="new")


def both(name: str) -> Segment:
    """A segment with the vectors of both text encoders."""
    return with_files(segment(name), vectors=(vectors("text", "new", 16),))


def encoders(manifest: Manifest, space: str = "text") -> set[str]:
    return {v.encoder_id for s in manifest.segments for v in s.vectors if v.space == space}


@pytest.fixture
def building() -> Manifest:
    manifest = applied(EMPTY, OPEN)
    for name in "ab":
        manifest = applied(manifest, AddSegment(segment=segment(name)))
    return applied(manifest, BUILD)


def test_one_encoder_at_a_time_is_built(building):
    assert apply_update(building, BUILD) == Unchanged()
    other = apply_update(building, replace(BUILD, encoder_id="other"))
    assert other == Refused(reason="new is being built already")
    assert isinstance(apply_update(building, replace(BUILD, dimension=17)), Refused)
    assert apply_update(building, replace(BUILD, encoder_id=TEXT)) == Unchanged()
    assert isinstance(apply_update(building, replace(BUILD, space="sound")), Refused)


@pytest.mark.parametrize(
    "wrong", [vectors("text", "new", 17), replace(vectors("text", "new", 16), n_vectors=4)]
)
def test_vectors_that_do_not_fit_their_segment_are_refused(building, wrong):
    assert isinstance(apply_update(building, AddVectors(segment_id="a", vectors=wrong)), Refused)


def test_a_delta_may_bring_both_encoders_or_the_live_one(building):
    manifest = applied(building, AddSegment(segment=both("c")))
    manifest = applied(manifest, AddSegment(segment=segment("d")))
    lacking = [s.id for s in manifest.segments if s.vector_file("text", "new") is None]
    assert lacking == ["a", "b", "d"]


def test_a_switch_takes_what_it_brings_for_segments_that_arrived_meanwhile(building):
    brought = {name: vectors("text", "new", 16) for name in "ab"}
    late = applied(building, AddSegment(segment=segment("late")))
    outcome = apply_update(late, replace(SWITCH, vectors=brought))
    gap = MissingVectors(segment_id="late", space="text", encoder_id="new")
    assert outcome == Incomplete(missing=(gap,))
    brought["late"] = vectors("text", "new", 16)
    brought["merged away"] = vectors("text", "new", 16)
    switched = applied(late, replace(SWITCH, vectors=brought))
    assert encoders(switched) == {"new"}
    assert [s.id for s in switched.segments] == ["a", "b", "late"]


def test_a_switch_does_not_take_vectors_that_do_not_fit(building):
    wrong = {name: vectors("text", "new", 8) for name in "ab"}
    outcome = apply_update(building, replace(SWITCH, vectors=wrong))
    assert isinstance(outcome, Incomplete)
    assert len(outcome.missing) == 2


def test_a_switch_is_made_once_and_only_to_what_is_being_built(building):
    brought = {name: vectors("text", "new", 16) for name in "ab"}
    switched = applied(building, replace(SWITCH, vectors=brought))
    assert apply_update(switched, SWITCH) == Unchanged()
    back = apply_update(switched, replace(SWITCH, encoder_id=TEXT))
    assert isinstance(back, Refused)


def test_an_abandoned_build_leaves_no_vectors_behind(building):
    manifest = applied(building, AddSegment(segment=both("c")))
    left = applied(manifest, ABANDON)
    assert left.space("text") == OPEN.spaces[0]
    assert encoders(left) == {TEXT}
    assert apply_update(left, ABANDON) == Unchanged()
    assert isinstance(apply_update(left, SWITCH), Refused)
    filled = AddVectors(segment_id="a", vectors=vectors("text", "new", 16))
    assert isinstance(apply_update(left, filled), Refused)


def test_the_live_encoder_cannot_be_abandoned(building):
    outcome = apply_update(building, replace(ABANDON, encoder_id=TEXT))
    assert isinstance(outcome, Refused)


def test_a_late_segment_or_merge_brings_no_vectors_of_an_abandoned_encoder(building):
    left = applied(building, ABANDON)
    assert encoders(applied(left, AddSegment(segment=both("c")))) == {TEXT}
    merge = MergeSegments(inputs=("a", "b"), output=both("ab"))
    assert encoders(applied(left, merge)) == {TEXT}


def test_after_a_switch_late_writers_bring_the_new_encoder_and_leave_the_old_one(building):
    brought = {name: vectors("text", "new", 16) for name in "ab"}
    switched = applied(building, replace(SWITCH, vectors=brought))
    late = apply_update(switched, AddSegment(segment=segment("late")))
    gap = MissingVectors(segment_id="late", space="text", encoder_id="new")
    assert late == Incomplete(missing=(gap,))
    assert encoders(applied(switched, AddSegment(segment=both("late")))) == {"new"}
    merge = MergeSegments(inputs=("a", "b"), output=segment("ab"))
    assert isinstance(apply_update(switched, merge), Incomplete)
    whole = MergeSegments(inputs=("a", "b"), output=both("ab"))
    assert encoders(applied(switched, whole)) == {"new"}


@pytest.fixture
def seeing() -> Manifest:
    """A second image encoder is being built; the map in force reads the first one."""
    manifest = applied(EMPTY, OPEN)
    for name in "ab":
        manifest = applied(manifest, AddSegment(segment=segment(name)))
    manifest = applied(manifest, BuildSpace(space="image", encoder_id="eye", dimension=6))
    for name in "ab":
        fill = AddVectors(segment_id=name, vectors=vectors("image", "eye", 6))
        manifest = applied(manifest, fill)
    return manifest


NEW_MAP = replace(PROJECTION, version="1.0", encoder_id="eye")


def points(version: str) -> dict[str, CoordinateFile]:
    return {name: coordinates(version) for name in "ab"}


def test_an_image_encoder_is_switched_together_with_a_map_that_reads_it(seeing):
    bare = SwitchSpace(space="image", encoder_id="eye")
    assert isinstance(apply_update(seeing, bare), Refused)
    assert isinstance(apply_update(seeing, replace(bare, projection=PROJECTION)), Refused)
    used = replace(NEW_MAP, version=PROJECTION.version)
    assert isinstance(apply_update(seeing, replace(bare, projection=used)), Refused)
    with_map = replace(bare, projection=NEW_MAP)
    gaps = tuple(MissingCoordinates(segment_id=name, projection=NEW_MAP) for name in "ab")
    assert apply_update(seeing, with_map) == Incomplete(missing=gaps)
    switched = applied(seeing, replace(with_map, coordinates=points("1.0")))
    assert switched.projection == NEW_MAP
    assert encoders(switched, "image") == {"eye"}
    # The places of before stay readable.
    assert all(s.coordinate_file(PROJECTION.version) is not None for s in switched.segments)


def test_a_map_that_reads_another_encoder_stays_in_force(seeing):
    elsewhere = replace(seeing, projection=replace(PROJECTION, encoder_id=TEXT))
    update = SwitchSpace(
        space="image", encoder_id="eye", projection=NEW_MAP, coordinates=points("1.0")
    )
    switched = applied(elsewhere, update)
    assert switched.projection == elsewhere.projection
    assert all(s.coordinate_file("1.0") is None for s in switched.segments)


def test_a_map_of_an_encoder_that_is_only_being_built_is_not_published(seeing):
    publish = PublishProjection(projection=NEW_MAP, coordinates=points("1.0"))
    assert isinstance(apply_update(seeing, publish), Refused)
    newer = replace(PROJECTION, version="0.2", file=file("p2"))
    publish = PublishProjection(projection=newer, coordinates=points("0.2"))
    assert applied(seeing, publish).projection.encoder_id == IMAGE
