"""Immutable files: the contract on every adapter, and what only copies in a folder do."""

import errno
import hashlib
import os
import time
from mmap import mmap

import pytest

from indexer_core.adapters import file_cache
from indexer_core.adapters.file_cache import CachedFiles, MappedFiles
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.errors import CorruptIndexError, UnavailableError
from indexer_core.index.files import StoredFiles
from indexer_core.testing.contracts.files import ImmutableFilesContract, overwrite, put
from indexer_core.testing.faults import RequestCounts, WrappedBlobs
from indexer_core.testing.memory import MemoryBlobs


class TestStoredFiles(ImmutableFilesContract):
    @pytest.fixture
    def blobs(self):
        return MemoryBlobs()

    @pytest.fixture
    def files(self, blobs):
        return StoredFiles(blobs)


class TestMappedFiles(ImmutableFilesContract):
    @pytest.fixture
    def blobs(self, tmp_path):
        return FolderBlobs(tmp_path)

    @pytest.fixture
    def files(self, blobs):
        return MappedFiles(blobs.path_of)

    def test_an_open_file_is_mapped(self, blobs, files):
        assert isinstance(files.open(put(blobs, b"some bytes")), mmap)

    def test_a_file_is_checked_once_per_process(self, blobs, files, monkeypatch):
        refs = [put(blobs, os.urandom(6 << 20)) for _ in range(2)]
        files.prefetch(refs)
        monkeypatch.setattr(file_cache.hashlib, "file_digest", None)
        for ref in refs:
            files.open(ref)

    def test_a_file_that_was_written_again_is_checked_again(self, blobs, files):
        ref = put(blobs, b"some bytes")
        files.open(ref)
        overwrite(blobs, ref, b"some bytez")
        with pytest.raises(CorruptIndexError, match=ref.name):
            files.open(ref)

    def test_a_file_that_cannot_be_read_is_told_apart_from_a_missing_one(
        self, blobs, files, monkeypatch
    ):
        ref = put(blobs, b"some bytes")

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "no")

        monkeypatch.setattr(file_cache.os, "open", refuse)
        with pytest.raises(UnavailableError, match="EACCES"):
            files.open(ref)


class TestCachedFiles(ImmutableFilesContract):
    @pytest.fixture
    def blobs(self):
        return MemoryBlobs()

    @pytest.fixture
    def folder(self, tmp_path):
        return tmp_path / "a" / "copies"

    @pytest.fixture
    def files(self, blobs, folder):
        return CachedFiles(blobs, folder, 100 << 20)


@pytest.fixture
def counts():
    return RequestCounts()


@pytest.fixture
def blobs(counts):
    return WrappedBlobs(MemoryBlobs(), counts)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "copies"


def copies(folder):
    return {path.name for path in folder.iterdir()}


def test_a_copy_is_fetched_once_for_all_processes(blobs, counts, folder):
    ref = put(blobs, b"some bytes")
    CachedFiles(blobs, folder, 100).open(ref)
    n_bytes = counts.read_bytes
    assert bytes(CachedFiles(blobs, folder, 100).open(ref)) == b"some bytes"
    assert counts.read_bytes == n_bytes == len(b"some bytes")


def test_copies_are_for_this_user_only(blobs, folder):
    ref = put(blobs, b"some bytes")
    CachedFiles(blobs, folder, 100).open(ref)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ref.sha256).stat().st_mode & 0o777 == 0o600


def test_a_large_file_comes_whole_in_many_ranges(blobs, folder, monkeypatch):
    monkeypatch.setattr(file_cache, "_RANGE_BYTES", 1000)
    for size in (999, 1000, 1001, 4000, 12_345):
        data = os.urandom(size)
        assert bytes(CachedFiles(blobs, folder, 10**6).open(put(blobs, data))) == data


def test_a_copy_that_was_damaged_is_fetched_again(blobs, folder):
    ref = put(blobs, b"some bytes")
    CachedFiles(blobs, folder, 100).open(ref)
    for damage in (b"some bytez", b"some", b""):
        (folder / ref.sha256).write_bytes(damage)
        assert bytes(CachedFiles(blobs, folder, 100).open(ref)) == b"some bytes"
        assert (folder / ref.sha256).read_bytes() == b"some bytes"


def test_a_file_that_is_damaged_at_its_source_leaves_no_copy(blobs, folder):
    ref = put(blobs, b"some bytes")
    overwrite(blobs, ref, b"some bytez")
    with pytest.raises(CorruptIndexError, match=ref.name):
        CachedFiles(blobs, folder, 100).open(ref)
    assert copies(folder) == set()


def test_the_least_recently_used_copies_make_room_and_open_ones_stay(blobs, folder):
    refs = [put(blobs, bytes([number]) * 40) for number in range(4)]
    files = CachedFiles(blobs, folder, 100)
    held = files.open(refs[0])
    files.open(refs[1])
    (folder / refs[1].sha256).touch()  # by another process, in use there until now
    files.open(refs[2])
    assert copies(folder) == {refs[0].sha256, refs[2].sha256}
    files.open(refs[3])
    assert copies(folder) == {refs[0].sha256, refs[3].sha256}
    del held
    files.open(refs[1])
    assert refs[0].sha256 not in copies(folder)
    assert bytes(files.open(refs[0])) == bytes(40)


def test_what_there_is_no_room_for_is_held_in_memory(blobs, folder):
    small, large = put(blobs, b"1" * 40), put(blobs, b"2" * 101)
    files = CachedFiles(blobs, folder, 100)
    held = files.open(small)
    assert isinstance(held, mmap)
    assert files.open(large) == b"2" * 101
    assert copies(folder) == {small.sha256}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["os.open", "os.write", "Path.replace", "os.utime"])
def test_a_process_killed_at_any_step_leaves_nothing_that_misleads(
    blobs, folder, monkeypatch, step
):
    ref = put(blobs, b"some bytes")

    def die(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(f"indexer_core.adapters.file_cache.{step}", die)
        patch.setattr("indexer_core.adapters.file_cache.Path.unlink", lambda *_, **__: None)
        if step == "os.open":  # reading where there is nothing yet comes before writing
            nothing = lambda *_: (_ for _ in ()).throw(FileNotFoundError)  # noqa: E731
            patch.setattr(file_cache._Checked, "mapped", nothing)
        with pytest.raises(Killed):
            CachedFiles(blobs, folder, 100).open(ref)
    assert copies(folder) <= {ref.sha256} | {name for name in copies(folder) if ".part" in name}
    assert bytes(CachedFiles(blobs, folder, 100).open(ref)) == b"some bytes"
    long_ago = time.time() - 7200
    for path in folder.glob("*.part"):
        os.utime(path, (long_ago, long_ago))
    CachedFiles(blobs, folder, 100).open(put(blobs, b"other"))
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_no_reason_to_fail(blobs, folder, monkeypatch, code):
    ref = put(blobs, b"some bytes")
    files = CachedFiles(blobs, folder, 100)

    def full(*_):
        raise OSError(code, "full")

    monkeypatch.setattr(file_cache.os, "write", full)
    assert files.open(ref) == b"some bytes"
    assert copies(folder) == set()


def test_a_folder_that_cannot_be_used_is_told_in_one_line(blobs, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    ref = put(blobs, b"some bytes")
    with pytest.raises(UnavailableError, match="folder for copies of index files"):
        CachedFiles(blobs, tmp_path / "file" / "copies", 100).open(ref)


def test_names_of_copies_tell_nothing_but_a_digest(blobs, folder):
    CachedFiles(blobs, folder, 100).open(put(blobs, b"some bytes"))
    assert copies(folder) == {hashlib.sha256(b"some bytes").hexdigest()}


def test_every_copy_can_be_deleted_and_nothing_else(blobs, folder):
    ref = put(blobs, b"some bytes")
    held = CachedFiles(blobs, folder, 100).open(ref)
    (folder / f"{ref.sha256}.1.part").write_bytes(b"")
    (folder / "notes").write_bytes(b"")
    files = CachedFiles(blobs, folder, 100)
    files.clear()
    assert copies(folder) == {"notes"}
    assert bytes(held) == b"some bytes"
    files.clear()
    CachedFiles(blobs, folder / "never made", 100).clear()


def test_copies_of_other_files_go_also_those_of_an_earlier_process(blobs, folder):
    left, kept, fresh = (put(blobs, text) for text in (b"left", b"kept", b"fresh"))
    earlier = CachedFiles(blobs, folder, 100)
    earlier.open(left)
    earlier.open(kept)
    (folder / "notes.txt").write_bytes(b"not ours")
    (folder / f"{left.sha256}.1.part").write_bytes(b"being copied by another process")
    files = CachedFiles(blobs, folder, 100)
    held = files.open(left)
    files.retain([kept, fresh])
    assert copies(folder) == {kept.sha256, "notes.txt", f"{left.sha256}.1.part"}
    assert bytes(held) == b"left"
