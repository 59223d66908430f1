"""Each map that is put in force is announced, at least once, whoever dies in between."""

from dataclasses import replace

import pytest

from indexer_core.errors import UnavailableError
from indexer_core.index.manifest import EMPTY, FileRef, Projection
from indexer_core.index.map_announcements import MARK, MapAnnouncements
from indexer_core.testing.memory import ManualClock, MemoryBlobs
from tests.support.mapped import Heard


def manifest(version, number=7, sha256="a" * 64):
    file = FileRef(name="projections/x", sha256=sha256, size_bytes=1)
    projection = Projection(version=version, encoder_id="e", file=file)
    return replace(EMPTY, number=number, projection=projection)


@pytest.fixture
def blobs():
    return MemoryBlobs(ManualClock())


@pytest.fixture
def heard():
    return Heard()


def told(heard):
    return [(a.data["version"], a.data["manifest"]) for a in heard.all]


def test_a_map_is_told_once_by_all_processes_together(blobs, heard):
    first = MapAnnouncements(blobs, heard)
    for announcements in (first, first, MapAnnouncements(blobs, heard), first):
        announcements.tell(manifest("1.0"))
    assert told(heard) == [("1.0", 7)]
    first.tell(manifest("1.1", 9))
    MapAnnouncements(blobs, heard).tell(manifest("1.1", 12))
    assert told(heard) == [("1.0", 7), ("1.1", 9)]


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_the_map_of_a_new_index_is_told_to_nobody(blobs, heard, version):
    MapAnnouncements(blobs, heard).tell(manifest(version))
    MapAnnouncements(blobs, heard).tell(EMPTY)
    assert told(heard) == []
    assert list(blobs.list()) == []


def test_what_could_not_be_told_is_told_by_the_next(blobs, heard):
    class Deaf:
        def announce(self, announcements):
            raise UnavailableError("nobody there")

    with pytest.raises(UnavailableError):
        MapAnnouncements(blobs, Deaf()).tell(manifest("1.0"))
    MapAnnouncements(blobs, heard).tell(manifest("1.0", 8))
    assert told(heard) == [("1.0", 8)]


def test_another_map_under_the_same_version_is_told(blobs, heard):
    """After a loss of manifests."""
    announcements = MapAnnouncements(blobs, heard)
    announcements.tell(manifest("1.0"))
    announcements.tell(manifest("1.0", sha256="b" * 64))
    assert len(heard.all) == 2


@pytest.mark.parametrize("left", [b"", b"{}", b'{"checksum": 1}'])
def test_a_damaged_note_is_written_anew(blobs, heard, left):
    blobs.put_if_absent(MARK, left)
    for _ in range(3):
        MapAnnouncements(blobs, heard).tell(manifest("1.0"))
    assert told(heard) == [("1.0", 7)]
