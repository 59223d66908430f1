"""What changed between two snapshots: as comparing every series says, at the cost of what did."""

from dataclasses import replace
from hashlib import sha256

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from indexer_core.index.changes import changes_between
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.manifest import FileRef
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.updates import Restore, Suppress
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.testing.faults import RequestCounts, WrappedBlobs
from tests.support.erasing import Shelf
from tests.support.segments import OPEN, PROJECTION, PROJECTOR_FILE

KEYS = ["s1", "s2", "s3", "s4", "s5"]
ROWS = st.dictionaries(st.sampled_from(KEYS), st.integers(-4, 4).filter(bool), min_size=1)
MOVES = st.one_of(
    st.tuples(st.just("add"), ROWS),
    st.tuples(st.sampled_from(["suppress", "restore"]), st.sets(st.sampled_from(KEYS), min_size=1)),
    st.tuples(st.just("merge"), st.booleans()),
)


def opened() -> Shelf:
    shelf = Shelf()
    shelf.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
    shelf.commit(OPEN)
    return shelf


def make(shelf: Shelf, kind: str, what) -> None:
    if kind == "add":
        shelf.add(**what)
    elif kind == "merge":
        shelf.clock.advance(1)
        policy = UpkeepSettings(merge=MergePolicy(fan_in=2), tombstone_s=0.0)
        upkeep = Upkeep(shelf.blobs, shelf.files, clock=shelf.clock, ids=shelf.ids, settings=policy)
        upkeep.compact(full=what)
    else:
        update = Suppress if kind == "suppress" else Restore
        shelf.commit(update(series_keys=frozenset(what)))


def shown(snapshot: Snapshot) -> dict[str, tuple]:
    """By key the row that counts, and its place."""
    version = snapshot.manifest.projection.version
    return {
        segment.loaded.rows.key(row): (
            segment.loaded.orders[row][1],
            segment.loaded.point(version, row),
        )
        for segment, row in snapshot.rows()
    }


@settings(deadline=None, max_examples=60)
@given(before=st.lists(MOVES, max_size=5), after=st.lists(MOVES, max_size=5))
def test_changes_are_those_that_comparing_every_series_finds(before, after):
    shelf = opened()
    for kind, what in before:
        make(shelf, kind, what)
    reader = Reader(shelf.blobs, shelf.files)
    then = reader.refresh()
    for kind, what in after:
        make(shelf, kind, what)
    now = reader.refresh()
    was, became = shown(then), shown(now)
    changes = changes_between(then, now)
    differing = {key for key in was.keys() | became.keys() if was.get(key) != became.get(key)}
    assert changes.keys == differing
    assert changes.hidden == now.manifest.suppressed - then.manifest.suppressed
    assert changes.shown == then.manifest.suppressed - now.manifest.suppressed
    assert not changes.is_other_map
    # A reader that was opened anew tells the same.
    fresh = Reader(shelf.blobs, shelf.files).adopt(now.manifest)
    assert changes_between(then, fresh) == changes


def test_a_merge_is_no_change():
    shelf = opened()
    for number in range(1, 5):
        shelf.add(s1=number, s2=number, s3=-number)
    reader = Reader(shelf.blobs, shelf.files)
    then = reader.refresh()
    make(shelf, "merge", True)
    now = reader.refresh()
    assert now.manifest.number > then.manifest.number
    assert len(now.segments) < len(then.segments)
    assert not changes_between(then, now).keys


def test_files_of_segments_that_both_have_are_not_read():
    shelf = opened()
    shelf.add(**{f"a{number}": 1 for number in range(50)})
    counts = RequestCounts()
    reader = Reader(WrappedBlobs(shelf.blobs, counts), shelf.files)
    then = reader.refresh()
    shelf.add(a1=2, b=1)
    now = reader.refresh()
    before = counts.requests["blobs.get"]
    assert changes_between(then, now).keys == {"a1", "b"}
    # The places of the series that is in both, once on either side.
    assert counts.requests["blobs.get"] - before <= 2


def test_another_map_is_told_in_a_word():
    shelf = opened()
    shelf.add(s1=1)
    then = Reader(shelf.blobs, shelf.files).refresh()
    manifest = replace(then.manifest, projection=replace(PROJECTION, version="other"))
    now = Reader(shelf.blobs, shelf.files).adopt(replace(manifest, number=9))
    changes = changes_between(then, now)
    assert changes.is_other_map
    assert not changes.keys


@pytest.mark.parametrize("moved", [False, True])
def test_a_series_that_lies_elsewhere_on_the_same_map_has_changed(moved):
    shelf = opened()
    segment = shelf.add(s1=1, s2=1)
    reader = Reader(shelf.blobs, shelf.files)
    then = reader.refresh()
    (file,) = segment.coordinates
    data = bytearray(shelf.blobs.get(file.file.name).data)
    if moved:
        data[-8:] = np.array([7.0, 7.0], dtype="<f4").tobytes()
    name = f"{file.file.name}-again"
    shelf.blobs.put_if_absent(name, bytes(data))
    again = replace(segment, coordinates=(replace(file, file=_reference(name, bytes(data))),))
    now = reader.adopt(replace(then.manifest, number=9, segments=(again,)))
    assert changes_between(then, now).keys == ({"s2"} if moved else set())


def _reference(name: str, data: bytes) -> FileRef:
    return FileRef(name=name, sha256=sha256(data).hexdigest(), size_bytes=len(data))
