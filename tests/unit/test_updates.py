"""Manifest updates: pure, repeatable, and each revalidated as it says."""

import hashlib
from dataclasses import replace

import pytest

from indexer_core.errors import CorruptIndexError
from indexer_core.index.manifest import (
    EMPTY,
    FileRef,
    Lineage,
    Manifest,
    Stub,
    dump_manifest,
    dump_stub,
    parse_manifest,
)
from indexer_core.index.updates import (
    AddSegment,
    AddVectors,
    AdoptRecipe,
    BuildSpace,
    Incomplete,
    MergeSegments,
    MissingCoordinates,
    MissingVectors,
    Pin,
    PublishProjection,
    Refused,
    Restore,
    Suppress,
    SwitchSpace,
    Unchanged,
    Unpin,
    apply_update,
    with_files,
)
from tests.conftest import ROOT
from tests.support.manifests import applied, coordinates, segment, vectors
from tests.support.segments import IMAGE, OPEN, PROJECTION, TEXT


@pytest.fixture
def opened() -> Manifest:
    return applied(EMPTY, OPEN)


def test_opening_an_opened_index_changes_nothing(opened):
    assert apply_update(opened, OPEN) == Unchanged()


def test_a_segment_is_added_once(opened):
    added = applied(opened, AddSegment(segment=segment("a")))
    assert [s.id for s in added.segments] == ["a"]
    assert apply_update(added, AddSegment(segment=segment("a"))) == Unchanged()


def test_a_segment_lacking_a_live_space_is_completed_first(opened):
    bare = replace(segment("a"), vectors=(vectors("image", IMAGE),))
    outcome = apply_update(opened, AddSegment(segment=bare))
    missing = MissingVectors(segment_id="a", space="text", encoder_id=TEXT)
    assert outcome == Incomplete(missing=(missing,))
    full = with_files(bare, vectors=(vectors("text", TEXT),))
    assert applied(opened, AddSegment(segment=full)).segments == (full,)


def test_a_segment_with_a_stale_projection_is_projected_anew(opened):
    newer = replace(PROJECTION, version="1.0")
    published = applied(opened, PublishProjection(projection=newer, coordinates={}))
    outcome = apply_update(published, AddSegment(segment=segment("a")))
    assert outcome == Incomplete(missing=(MissingCoordinates(segment_id="a", projection=newer),))


def test_a_segment_without_points_needs_no_coordinates(opened):
    bare = replace(segment("a"), n_points=0, coordinates=())
    assert applied(opened, AddSegment(segment=bare)).segments == (bare,)


def test_a_merge_swaps_inputs_for_its_output(opened):
    manifest = opened
    for name in "abc":
        manifest = applied(manifest, AddSegment(segment=segment(name)))
    merged = applied(manifest, MergeSegments(inputs=("a", "c"), output=segment("ac")))
    assert [s.id for s in merged.segments] == ["b", "ac"]
    again = MergeSegments(inputs=("a", "c"), output=segment("ac"))
    assert apply_update(merged, again) == Unchanged()


def test_a_merge_that_lost_an_input_is_abandoned(opened):
    manifest = applied(opened, AddSegment(segment=segment("a")))
    outcome = apply_update(manifest, MergeSegments(inputs=("a", "b"), output=segment("ab")))
    assert isinstance(outcome, Refused)


def test_a_space_is_switched_only_when_every_segment_has_it(opened):
    manifest = applied(opened, AddSegment(segment=segment("a")))
    manifest = applied(manifest, BuildSpace(space="text", encoder_id="new", dimension=16))
    # A delta that knows nothing of the new encoder may still land.
    manifest = applied(manifest, AddSegment(segment=segment("b")))
    switch = SwitchSpace(space="text", encoder_id="new")
    outcome = apply_update(manifest, switch)
    assert isinstance(outcome, Incomplete)
    assert [missing.segment_id for missing in outcome.missing] == ["a", "b"]
    for name in "ab":
        filled = AddVectors(segment_id=name, vectors=vectors("text", "new", 16))
        manifest = applied(manifest, filled)
        assert apply_update(manifest, filled) == Unchanged()
    switched = applied(manifest, switch)
    assert switched.space("text").live == "new"
    assert switched.space("text").dimension == 16
    assert switched.space("text").building is None
    assert all(s.vector_file("text", TEXT) is None for s in switched.segments)
    # From now on a delta must have it.
    assert isinstance(apply_update(switched, AddSegment(segment=segment("c"))), Incomplete)


def test_vectors_for_a_merged_segment_or_a_foreign_encoder_are_refused(opened):
    gone = AddVectors(segment_id="a", vectors=vectors("text", TEXT))
    assert isinstance(apply_update(opened, gone), Refused)
    manifest = applied(opened, AddSegment(segment=segment("a")))
    foreign = AddVectors(segment_id="a", vectors=vectors("text", "nobody's"))
    assert isinstance(apply_update(manifest, foreign), Refused)


def test_a_projection_waits_for_segments_that_arrived_meanwhile(opened):
    newer = replace(PROJECTION, version="1.0")
    manifest = applied(opened, AddSegment(segment=segment("a")))
    manifest = applied(manifest, AddSegment(segment=segment("late")))
    update = PublishProjection(projection=newer, coordinates={"a": coordinates("1.0")})
    outcome = apply_update(manifest, update)
    assert outcome == Incomplete(missing=(MissingCoordinates(segment_id="late", projection=newer),))
    full = replace(update, coordinates={"a": coordinates("1.0"), "late": coordinates("1.0")})
    published = applied(manifest, full)
    assert published.projection == newer
    # The old coordinates stay readable.
    assert all(s.coordinate_file("0.1") is not None for s in published.segments)
    assert apply_update(published, full) == Unchanged()


def test_suppression_is_undone_by_restore(opened):
    keys = frozenset({"k1", "k2"})
    hidden = applied(opened, Suppress(series_keys=keys))
    assert hidden.suppressed == keys
    assert apply_update(hidden, Suppress(series_keys=keys)) == Unchanged()
    assert applied(hidden, Restore(series_keys=keys)).suppressed == frozenset()


def test_pins_protect_what_is_not_expiring(opened):
    now = replace(opened, number=50)
    assert isinstance(apply_update(now, Pin(number=10, name="c", oldest_safe=20)), Refused)
    assert isinstance(apply_update(now, Pin(number=51, name="c", oldest_safe=20)), Refused)
    pinned = applied(now, Pin(number=30, name="c", oldest_safe=20))
    # A second cohort may lean on a pin that is older than the retention by now.
    twice = applied(pinned, Pin(number=30, name="d", oldest_safe=40))
    assert twice.pins == {30: ("c", "d")}
    assert applied(twice, Unpin(number=30, name="c")).pins == {30: ("d",)}
    assert applied(pinned, Unpin(number=30, name="c")).pins == {}
    assert apply_update(opened, Unpin(number=30, name="c")) == Unchanged()


def test_every_recipe_has_one_number(opened):
    one = applied(opened, AdoptRecipe(digest="r1"))
    two = applied(one, AdoptRecipe(digest="r2"))
    assert [(r.number, r.digest) for r in two.recipes] == [(1, "r1"), (2, "r2")]
    assert apply_update(two, AdoptRecipe(digest="r1")) == Unchanged()


def test_a_manifest_survives_being_written(opened):
    manifest = applied(opened, AddSegment(segment=segment("a")))
    manifest = applied(manifest, Suppress(series_keys=frozenset({"x"})))
    manifest = replace(manifest, number=3, commit_id="c", pins={2: ("p",)})
    manifest = replace(manifest, collected_before="00ff", forgotten_before="00ee", retained_from=2)
    manifest = replace(manifest, parent_commit="b")
    assert parse_manifest(dump_manifest(manifest), "m") == manifest
    assert parse_manifest(dump_stub(4), "m") == Stub(number=4)


def test_a_manifest_of_the_first_format_is_read(opened):
    folder = ROOT / "tests" / "formats"
    manifest = applied(opened, AdoptRecipe(digest="r1"))
    manifest = applied(manifest, AddSegment(segment=segment("a")))
    manifest = applied(manifest, AddSegment(segment=replace(segment("b"), level=1)))
    manifest = applied(manifest, Suppress(series_keys=frozenset({"k1", "k2"})))
    lineage = Lineage(
        reason="delete",
        software="dicom-indexer 0.1.0",
        created_s=1_700_000_000.5,
        counts={"series": 2},
        details={"rules": "abc"},
    )
    pins = {3: ("cohort",), 5: ("one", "two")}
    digest = hashlib.sha256(b"projector").hexdigest()
    map_file = FileRef(name="projections/p", sha256=digest, size_bytes=9)
    manifest = replace(manifest, projection=replace(PROJECTION, file=map_file))
    expected = replace(manifest, number=7, commit_id="c7", pins=pins, lineage=lineage)
    data = (folder / "manifest-v1.json").read_bytes()
    assert b'"format_version":1' in data
    assert parse_manifest(data, "m") == expected
    assert (expected.collected_before, expected.forgotten_before) == ("", "")
    assert parse_manifest((folder / "stub-v1.json").read_bytes(), "m") == Stub(number=4)


def test_no_manifest_is_as_short_as_a_stub():
    smallest = replace(EMPTY, lineage=replace(EMPTY.lineage, reason=""))
    assert len(dump_manifest(smallest)) > len(dump_stub(10**12))


def test_any_changed_byte_of_a_manifest_is_noticed(opened):
    data = dump_manifest(replace(opened, number=1, commit_id="c"))
    for place in range(len(data)):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(CorruptIndexError):
            parse_manifest(bytes(damaged), "m")


def test_a_newer_format_is_refused(opened):
    import hashlib
    import json

    body = json.loads(dump_manifest(opened))
    body.pop("checksum")
    body["format_version"] = 99
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    body["checksum"] = hashlib.sha256(canonical).hexdigest()
    with pytest.raises(CorruptIndexError, match="newer"):
        parse_manifest(json.dumps(body).encode(), "m")
