"""Erasing series from segments and manifests: nothing is left of them, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest

from indexer_core.errors import NotFoundError
from indexer_core.index.erasure import (
    EXPIRED,
    PARTS,
    REWRITTEN,
    ROWS,
    SEGMENT_FILES,
)
from indexer_core.index.filling import PARTS_PREFIX
from indexer_core.index.reader import open_at
from indexer_core.index.segment import SegmentWriter, SpaceVectors
from indexer_core.index.updates import (
    AddSegment,
    AddVectors,
    BuildSpace,
)
from indexer_core.purge import Subject
from indexer_core.text_cache import text_hash
from tests.support.erasing import GONE, Shelf, filled
from tests.support.segments import (
    row,
    unit_vectors,
    write_segment,
)


@pytest.fixture
def shelf() -> Shelf:
    return filled().copy()


def test_nothing_is_left_of_a_series_in_any_file_and_the_others_keep_their_vectors(shelf):
    before = {space: shelf.vectors(*space) for space in (("text",), ("image", "image-encoder"))}
    done = shelf.purge()
    shelf.assert_erased()
    for space, vectors in before.items():
        vectors.pop("s2", None)
        assert shelf.vectors(*space) == vectors
    assert done.remaining == ()
    assert done.counts[REWRITTEN] == 1
    assert done.counts[ROWS] == 3  # of the merged segment, of its own, and the tombstone
    assert done.counts[EXPIRED] > 3
    assert done.counts[SEGMENT_FILES] > 12


def test_erasing_again_finds_nothing_and_commits_nothing(shelf):
    shelf.purge()
    shelf.clock.advance(1)
    segments = shelf.segments()
    assert not any(segments.erase(Subject(series=GONE)).counts.values())
    number = shelf.newest.number
    assert not any(segments.erase(Subject(series=GONE)).counts.values())
    assert shelf.newest.number == number


def test_a_pinned_manifest_says_that_it_was_rewritten_and_is_otherwise_what_it_was(shelf):
    before = shelf.manifests.at(shelf.pinned)
    shelf.purge()
    after = shelf.manifests.at(shelf.pinned)
    assert after.lineage.details["purged"]
    details = {k: v for k, v in after.lineage.details.items() if k != "purged"}
    same = replace(after, lineage=replace(after.lineage, details=details), segments=())
    assert same == replace(before, segments=())
    assert shelf.manifests.at(shelf.before_s2).lineage.details == {}


def test_what_was_pinned_is_searched_as_before_without_the_series(shelf):
    query = unit_vectors("query", 1, 8)
    shelf.purge()
    snapshot = open_at(shelf.blobs, shelf.files, shelf.pinned)
    for segment in snapshot.segments:
        vectors = segment.loaded.vectors("text", "text-encoder")
        rows = vectors.select(np.ones(vectors.n_vectors, dtype=bool))
        scores, _ = vectors.search(query, 5, rows)
        assert scores.shape == (1, 5)
    (points,) = [s.loaded.points("0.1") for s in snapshot.segments if "s3" in str(s.loaded.orders)]
    assert points.xy.shape == (1, 2)


def test_vectors_of_an_encoder_that_is_being_built_are_kept(shelf):
    shelf.commit(BuildSpace(space="text", encoder_id="new", dimension=8))
    writer = SegmentWriter(shelf.blobs, shelf.files)
    for segment in shelf.newest.segments:
        n = segment.vector_file("text", "text-encoder").n_vectors
        space = SpaceVectors(space="text", encoder_id="new", vectors=unit_vectors(segment.id, n, 8))
        shelf.clock.advance(1)
        vectors = writer.write_vectors(shelf.ids.new_id(), space)
        shelf.commit(AddVectors(segment_id=segment.id, vectors=vectors))
    before = shelf.vectors("text", "new")
    shelf.purge()
    before.pop("s2", None)
    assert shelf.vectors("text", "new") == before


def test_parts_of_vectors_that_are_being_made_for_its_segments_go_too(shelf):
    others = next(s for s in shelf.newest.segments if "s5" in str(shelf.rows_in(s)))
    its = next(s for s in shelf.newest.segments if "s2" in str(shelf.rows_in(s)))
    names = [f"{PARTS_PREFIX}0123/{segment.id}/0-9" for segment in (others, its)]
    for name in names:
        shelf.blobs.put_if_absent(name, b"vectors")
    assert shelf.purge().counts[PARTS] == 1
    assert [entry.name for entry in shelf.blobs.list(PARTS_PREFIX)] == names[:1]


def test_files_that_nobody_committed_go_too(shelf):
    orphan = shelf.write(s2=9)
    shelf.clock.advance(1)
    shelf.purge()
    assert shelf.blobs.get(orphan.rows.name) is None
    shelf.assert_erased()


def test_names_and_texts_of_all_its_rows_are_found(shelf):
    write_id = shelf.ids.new_id()
    planted = row("s2", 7, write_id)
    record = {**planted.record, "texts": ["one text", "b", "c", "d", "e"]}
    planted = replace(planted, record=record, blobs=("mem://x/1",))
    segment = write_segment(SegmentWriter(shelf.blobs, shelf.files), write_id, [planted])
    shelf.commit(AddSegment(segment=segment))
    found = shelf.segments().find(GONE)
    assert found.urls == {"mem://x/1"}
    assert text_hash("one text") in found.texts
    assert found.uids == {"s2"}
    assert shelf.segments().find(frozenset({"nobody"})) == Subject()


def test_an_unpinned_manifest_with_a_damaged_file_is_expired(shelf):
    old = shelf.manifests.at(shelf.unpinned - 3).segments
    live = {segment.rows.name for segment in shelf.newest.segments}
    pinned = {
        s.rows.name for n in (shelf.pinned, shelf.before_s2) for s in shelf.manifests.at(n).segments
    }
    lost = [s.rows.name for s in old if s.rows.name not in live | pinned]
    for name in lost:
        shelf.blobs.delete(name)
    shelf.purge()
    shelf.assert_erased()


def test_a_number_that_expired_is_told_so(shelf):
    shelf.purge()
    with pytest.raises(NotFoundError, match="expired"):
        shelf.manifests.at(shelf.unpinned)
