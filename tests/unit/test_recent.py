"""Snapshots as they were: what changes are told from, and never shown."""

import pytest

from indexer_core.errors import UnavailableError
from indexer_core.index.reader import Reader
from indexer_core.index.recent import RecentSnapshots
from indexer_core.index.updates import Restore, Suppress
from tests.support.erasing import GONE
from tests.support.erasing import Shelf as Erasing
from tests.support.shelf import Shelf

HIDDEN = frozenset({"s1"})


def keys_in(snapshot):
    return {segment.loaded.rows.key(number) for segment, number in snapshot.rows()}


def shelf_and_reader():
    shelf = Shelf()
    shelf.add("s1", "s2")
    reader = Reader(shelf.blobs, shelf.files)
    reader.refresh()
    return shelf, reader


def test_what_is_suppressed_since_is_still_there_in_a_snapshot_as_it_was():
    shelf, reader = shelf_and_reader()
    then = shelf.newest.number
    shelf.commit(Suppress(series_keys=HIDDEN))
    reader.refresh()
    assert keys_in(reader.at(then)) == {"s2"}
    assert keys_in(RecentSnapshots(reader).at(then)) == {"s1", "s2"}


def test_what_was_suppressed_then_is_not_there_although_it_was_restored():
    shelf, reader = shelf_and_reader()
    shelf.commit(Suppress(series_keys=HIDDEN))
    then = shelf.newest.number
    shelf.commit(Restore(series_keys=HIDDEN))
    reader.refresh()
    assert keys_in(reader.at(then)) == {"s1", "s2"}
    assert keys_in(RecentSnapshots(reader).at(then)) == {"s2"}


def test_the_last_ones_are_at_hand_and_others_are_opened_again():
    shelf, reader = shelf_and_reader()
    recent = RecentSnapshots(reader, keep=2)
    noted = {}
    for name in ("s3", "s4", "s5"):
        recent.note(reader.refresh())
        noted[reader.snapshot.manifest.number] = reader.snapshot
        shelf.add(name)
    first, *last = noted
    for number in last:
        assert recent.at(number).segments == noted[number].segments  # the very same objects
    assert keys_in(recent.at(first)) == {"s1", "s2"}


def test_what_is_not_kept_is_not_told_from():
    shelf, reader = shelf_and_reader()
    then = shelf.newest.number
    shelf.add("s3")
    reader.refresh()
    recent = RecentSnapshots(reader)
    assert recent.at(99) is None
    assert recent.at(then) is not None
    shelf.clock.advance(10**6)
    for _ in range(3):
        shelf.add("s4")
    shelf.upkeep().collect()
    assert RecentSnapshots(reader).at(then) is None


def test_a_manifest_that_a_purge_has_written_anew_is_not_as_it_was():
    shelf = Erasing().fill()
    reader = Reader(shelf.blobs, shelf.files)
    reader.refresh()
    before = RecentSnapshots(reader).at(shelf.pinned)
    assert keys_in(before) >= GONE
    shelf.purge()
    reader.refresh()
    assert keys_in(reader.at(shelf.pinned)).isdisjoint(GONE)
    assert RecentSnapshots(reader).at(shelf.pinned) is None
    assert RecentSnapshots(reader).at(shelf.before_s2) is not None


def test_what_cannot_be_opened_now_is_not_told_from():
    shelf, reader = shelf_and_reader()
    then = shelf.newest.number
    for name in ("s3", "s4"):
        shelf.add(name)
        reader.refresh()
    small = Reader(shelf.blobs, shelf.files, searched=["text"], limit_bytes=1)
    with pytest.raises(UnavailableError):
        small.at(then)
    assert RecentSnapshots(small).at(then) is None
