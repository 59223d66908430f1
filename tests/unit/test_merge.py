"""What a merge takes over, to the bit, and what it leaves out."""

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from indexer_core.errors import CorruptIndexError
from indexer_core.index.commit import Abandoned, Committed, Manifests
from indexer_core.index.reader import Reader, open_at
from indexer_core.index.segment import SegmentWriter, SpaceVectors
from indexer_core.index.updates import (
    AddSegment,
    AddVectors,
    BuildSpace,
    Restore,
    Suppress,
)
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.testing.faults import PassThrough, WrappedBlobs
from tests.support.segments import row, unit_vectors, write_segment
from tests.support.shelf import DAY_S, SMALL, Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_merge_takes_over_every_series_to_the_bit(shelf):
    for number in range(4):
        shelf.add(f"a{number}", f"b{number}", revision=number + 1)
    before = shelf.live()
    done = shelf.upkeep().compact()
    assert (done.n_merges, done.n_segments, done.n_rows) == (1, (4, 1), (8, 8))
    assert shelf.live() == before
    assert shelf.problems() == []
    (merged,) = shelf.newest.segments
    assert (merged.level, merged.n_rows, merged.n_alive, merged.n_points) == (1, 8, 8, 8)


def test_a_merge_puts_rows_and_their_vectors_in_the_order_of_their_keys(shelf):
    for keys in ("qaz", "wsx", "edc", "rfv"):
        shelf.add(*keys)
    before = shelf.live()
    shelf.upkeep().compact()
    snapshot = Reader(shelf.blobs, shelf.files).refresh()
    (merged,) = snapshot.segments
    assert merged.loaded.rows.is_sorted
    assert merged.loaded.rows.keys_at(np.arange(12)) == sorted("qazwsxedcrfv")
    assert shelf.live() == before


def test_a_merge_leaves_out_rows_that_another_one_outranks(shelf):
    shelf.add("a", "b", "c")
    shelf.add("a", revision=2)
    shelf.add("b", revision=2, alive=False)
    shelf.add("c", revision=3)
    before = shelf.live()
    shelf.upkeep().compact()
    assert shelf.live() == before
    assert shelf.rows() == [("a", 2, True), ("b", 2, False), ("c", 3, True)]
    assert Manifests(shelf.blobs).newest().lineage.counts == {
        "segments": 4,
        "rows": 3,
        "dropped": 3,
    }


def test_a_row_that_is_outranked_from_outside_the_merge_is_left_out_too(shelf):
    for key in "abcd":
        shelf.add(key)
    shelf.upkeep().compact()
    for key in "aefg":
        shelf.add(key, revision=2)
    before = shelf.live()
    shelf.settings = replace(SMALL, merge=replace(SMALL.merge, fan_in=5))
    shelf.upkeep().compact()
    assert shelf.live() == before
    assert ("a", 1, True) not in shelf.rows()


def test_a_reader_that_follows_sees_the_same_before_and_after(shelf):
    reader = Reader(shelf.blobs, shelf.files)
    for number in range(4):
        shelf.add("a", f"b{number}", revision=number + 1)
    then = {key: reader.refresh() and reader.winner(key).order for key in ("a", "b0", "b3")}
    shelf.upkeep().compact()
    snapshot = reader.refresh()
    assert {key: reader.winner(key).order for key in then} == then
    assert snapshot.n_series == 5


def test_earlier_manifests_stay_searchable_after_a_merge(shelf):
    shelf.add("a")
    number = shelf.newest.number
    for revision in (2, 3, 4):
        shelf.add("a", revision=revision)
    shelf.upkeep().compact()
    snapshot = open_at(shelf.blobs, shelf.files, number)
    assert [s.loaded.orders[r][1][0] for s, r in snapshot.rows()] == [1]


def test_suppressed_series_are_kept_for_whoever_restores_them(shelf):
    for key in "abcd":
        shelf.add(key)
    before = shelf.live()
    keys = frozenset("ab")
    shelf.commit(Suppress(series_keys=keys))
    shelf.upkeep().compact(full=True)
    assert shelf.newest.suppressed == keys
    assert shelf.live().keys() == set("cd")
    shelf.commit(Restore(series_keys=keys))
    assert shelf.live() == before


def test_a_segment_of_suppressed_series_is_not_written_again_and_again(shelf):
    shelf.add("a", "b")
    shelf.commit(Suppress(series_keys=frozenset("ab")))
    number = shelf.newest.number
    for full in (False, True):
        assert shelf.upkeep().compact(full=full).n_merges == 0
    assert shelf.newest.number == number


def test_a_segment_of_outranked_rows_is_written_anew(shelf):
    shelf.add("a", "b", "c")
    shelf.add("a", "b", revision=2)
    assert shelf.upkeep().compact().n_merges == 1
    assert shelf.rows() == [("a", 2, True), ("b", 2, True), ("c", 1, True)]
    assert shelf.upkeep().compact().n_merges == 0


def test_a_tombstone_is_forgotten_when_it_is_old_and_nothing_else_is_left_of_the_series(shelf):
    shelf.add("a", "b")
    shelf.add("a", revision=2, alive=False)
    shelf.clock.advance(14 * DAY_S - 60)
    shelf.upkeep().compact(full=True)
    assert shelf.rows() == [("a", 2, False), ("b", 1, True)]
    shelf.clock.advance(120)
    shelf.add("c")
    shelf.upkeep().compact(full=True)
    assert shelf.rows() == [("b", 1, True), ("c", 1, True)]
    assert shelf.problems() == []


def test_a_tombstone_is_kept_while_another_segment_holds_a_row_of_its_series(shelf):
    shelf.add("a", *(f"b{number}" for number in range(40)))
    shelf.clock.advance(15 * DAY_S)
    for number in range(3):
        shelf.add(f"c{number}")
    shelf.add("a", revision=2, alive=False)
    shelf.clock.advance(15 * DAY_S)
    bound = sum(f.size_bytes for s in shelf.newest.segments[1:] for f in s.files())
    shelf.settings = replace(SMALL, merge=replace(SMALL.merge, max_input_bytes=bound))
    assert isinstance(shelf.upkeep()._merge(full=True), Committed)
    assert [s.n_rows for s in shelf.newest.segments] == [41, 4]
    assert ("a", 2, False) in shelf.rows()
    assert shelf.newest.forgotten_before == ""


def test_rows_that_slept_through_the_forgetting_of_their_tombstone_do_not_come_back(shelf):
    shelf.add("b")
    slept = shelf.written(["a"], revision=1)
    shelf.add("a", revision=2, alive=False)
    shelf.clock.advance(15 * DAY_S)
    shelf.upkeep().compact(full=True)
    assert shelf.rows() == [("b", 1, True)]
    assert isinstance(shelf.commit(AddSegment(segment=slept)), Abandoned)
    assert shelf.live().keys() == {"b"}


def test_nothing_is_forgotten_when_an_old_segment_comes_in_during_the_merge(shelf):
    shelf.add("b")
    slept = shelf.written(["a"], revision=1)
    shelf.add("a", revision=2, alive=False)
    shelf.clock.advance(15 * DAY_S)
    upkeep = shelf.upkeep()
    write = upkeep._merger.merge

    def overtaken(*args, **options):
        update = write(*args, **options)
        assert isinstance(shelf.commit(AddSegment(segment=slept)), Committed)
        return update

    upkeep._merger.merge = overtaken
    assert isinstance(upkeep._merge(full=True), Abandoned)
    assert shelf.live().keys() == {"b"}


def test_a_merge_of_nothing_but_forgotten_tombstones_leaves_no_segment(shelf):
    for key in "abcd":
        shelf.add(key, alive=False)
    shelf.clock.advance(15 * DAY_S)
    assert shelf.upkeep().compact().n_segments == (4, 0)
    assert shelf.newest.segments == ()
    assert shelf.live() == {}
    assert shelf.problems() == []


def fill(shelf: Shelf, segment, encoder_id: str = "new"):
    """Vectors of an encoder that is being built, for the live rows of a segment."""
    n_vectors = segment.vector_file("text", "text-encoder").n_vectors
    vectors = unit_vectors(f"new{segment.id}", n_vectors, 6)
    space = SpaceVectors(space="text", encoder_id=encoder_id, vectors=vectors)
    file = SegmentWriter(shelf.blobs, shelf.files).write_vectors(shelf.ids.new_id(), space)
    assert isinstance(shelf.commit(AddVectors(segment_id=segment.id, vectors=file)), Committed)
    return shelf.files.open(shelf.blobs.get(file.file.name).data).reconstruct()


def test_vectors_of_an_encoder_being_built_are_taken_over_with_the_others(shelf):
    shelf.commit(BuildSpace(space="text", encoder_id="new", dimension=6))
    made = [fill(shelf, shelf.add(key)) for key in "abcd"]
    shelf.upkeep().compact()
    (merged,) = shelf.newest.segments
    file = merged.vector_file("text", "new")
    stored = shelf.files.open(shelf.blobs.get(file.file.name).data).reconstruct()
    np.testing.assert_array_equal(stored, np.concatenate(made))


def test_segments_that_still_lack_an_encoder_being_built_are_merged_among_themselves(shelf):
    shelf.commit(BuildSpace(space="text", encoder_id="new", dimension=6))
    for key in "abcd":
        fill(shelf, shelf.add(key))
    for key in "efg":
        shelf.add(key)
    shelf.upkeep().compact(full=True)
    with_new = [s.vector_file("text", "new") is not None for s in shelf.newest.segments]
    assert sorted(with_new) == [False, True]
    assert [s.n_rows for s in shelf.newest.segments] == [3, 4]


def test_a_damaged_input_is_told_and_nothing_is_merged(shelf):
    for key in "abcd":
        shelf.add(key)
    damaged = shelf.newest.segments[2].vectors[0].file.name
    shelf.blobs.overwrite(damaged, b"x" + shelf.blobs.get(damaged).data[1:])
    number = shelf.newest.number
    with pytest.raises(CorruptIndexError, match=damaged):
        shelf.upkeep().compact()
    upkeep = shelf.upkeep()
    upkeep.after_batch()  # goes on, and says so in the log
    assert shelf.newest.number == number


DELTAS = st.lists(
    st.dictionaries(
        st.sampled_from("abcdef"), st.tuples(st.integers(1, 5), st.booleans()), min_size=1
    ),
    max_size=12,
)


@settings(max_examples=20)
@given(DELTAS, st.frozensets(st.sampled_from("abcdef")), st.booleans(), st.integers(2, 5))
def test_whatever_was_committed_a_merge_changes_nothing_that_a_reader_sees(
    deltas, suppressed, full, fan_in
):
    shelf = Shelf(replace(SMALL, merge=replace(SMALL.merge, fan_in=fan_in)))
    for delta in deltas:
        write_id = shelf.ids.new_id()
        add_rows(shelf, write_id, delta)
        shelf.clock.advance(DAY_S)
        shelf.upkeep().after_batch()
    shelf.commit(Suppress(series_keys=suppressed))
    before = shelf.live()
    shelf.upkeep().compact(full=full)
    assert shelf.live() == before == expected(deltas, suppressed, before)
    n_segments = len(shelf.newest.segments)
    assert n_segments <= 1 if full else n_segments < fan_in
    assert shelf.problems() == []


def add_rows(shelf: Shelf, write_id: str, delta: dict[str, tuple[int, bool]]) -> None:
    rows = [row(key, revision, write_id, alive=alive) for key, (revision, alive) in delta.items()]
    segment = write_segment(SegmentWriter(shelf.blobs, shelf.files), write_id, rows)
    assert isinstance(shelf.commit(AddSegment(segment=segment)), Committed)


def expected(deltas, suppressed, found):
    """The series that must be found, at the revision that must win."""
    best: dict[str, tuple[int, int, bool]] = {}
    for number, delta in enumerate(deltas):
        for key, (revision, alive) in delta.items():
            best[key] = max(best.get(key, (0, 0, False)), (revision, number, alive))
    visible = {k: r for k, (r, _, alive) in best.items() if alive and k not in suppressed}
    assert {key: stored.order[0] for key, stored in found.items()} == visible
    return found


def test_many_deltas_with_their_merges_and_manifests_write_a_few_times_their_own_bytes():
    shelf = Shelf(UpkeepSettings())
    counted = WrappedBlobs(shelf.blobs, PassThrough())
    upkeep = Upkeep(counted, shelf.files, clock=shelf.clock, ids=shelf.ids)
    own_bytes = 0
    for number in range(80):
        # Ten new, ten replaced and ten deleted series of an archive that is much larger.
        delta = {f"new{number}-{place}": (1, True) for place in range(10)}
        delta |= {f"old{(7 * number + place) % 1000}": (number, True) for place in range(10)}
        delta |= {f"old{(7 * number + place) % 1000}": (number, False) for place in range(10, 20)}
        write_id = shelf.ids.new_id()
        index_rows = [row(key, r, write_id, alive=alive) for key, (r, alive) in delta.items()]
        segment = write_segment(SegmentWriter(counted, shelf.files), write_id, index_rows)
        own_bytes += sum(file.size_bytes for file in segment.files())
        shelf.commit(AddSegment(segment=segment), counted)
        upkeep.after_batch()
        assert len(shelf.newest.segments) <= 7 * 4
    assert counted.written_bytes <= 8 * own_bytes
    assert len(shelf.newest.segments) < 12
    assert shelf.problems() == []
