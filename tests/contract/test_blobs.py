"""Blob stores: the contract on memory and folder, and what only a folder can do."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.rehearsal import Rehearsal
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import BlobStore, PreconditionFailed
from indexer_core.testing.contracts.blobs import BlobStoreContract, written
from indexer_core.testing.memory import MemoryBlobs
from indexer_core.testing.processes import count_up_blob, create_blobs, in_processes
from indexer_core.testing.strategies import blob_names

N_PROCESSES = 4


class TestMemoryBlobs(BlobStoreContract):
    @pytest.fixture
    def store(self):
        return MemoryBlobs()

    @pytest.fixture
    def twin(self, store):
        return store

    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        blob = store._blobs.get(name)
        return None if blob is None else blob.data

    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        store.overwrite(name, data)


class TestRehearsal(BlobStoreContract):
    @pytest.fixture
    def store(self):
        return Rehearsal(MemoryBlobs())

    @pytest.fixture
    def twin(self, store):
        return store

    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        found = store.get(name)
        return None if found is None else found.data

    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        store.delete(name)
        store.put_if_absent(name, data)


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["absent", "match", "delete", "delete if"]),
            st.sampled_from(["a", "a/b", "b", "c"]),
            st.binary(max_size=3),
        ),
        max_size=12,
    )
)
def test_a_rehearsal_answers_as_the_store_below_would_and_leaves_it_alone(steps):
    def filled():
        blobs = MemoryBlobs()
        for name in ("a", "b"):
            blobs.put_if_absent(name, b"below " + name.encode())
        return blobs

    def content(blobs):
        return [(entry.name, blobs.get(entry.name).data) for entry in blobs.list()]

    below, alone = filled(), filled()
    rehearsal = Rehearsal(below)
    for kind, name, data in steps:
        told = []
        for blobs in (rehearsal, alone):
            found = blobs.properties(name)
            etag = "none" if found is None else found.etag
            match kind:
                case "absent":
                    told.append(type(blobs.put_if_absent(name, data)))
                case "match":
                    told.append(type(blobs.put_if_match(name, data, etag)))
                case "delete":
                    told.append(blobs.delete(name))
                case _:
                    told.append(blobs.delete(name, if_match=etag))
        assert told[0] == told[1]
        assert content(rehearsal) == content(alone)
    assert content(below) == content(filled())


class TestFolderBlobs(BlobStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return FolderBlobs(tmp_path / "not" / "yet" / "there")

    @pytest.fixture
    def twin(self, store):
        return FolderBlobs(store._root)

    def stored_bytes(self, store: BlobStore, name: str) -> bytes | None:
        path = store._root / name
        return path.read_bytes() if path.exists() else None

    def store_bytes(self, store: BlobStore, name: str, data: bytes) -> None:
        path = store._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def test_temporary_files_are_never_listed_and_can_be_swept(self, store):
        store.put_if_absent("a", b"1")
        left_over = store._root / ".tmp" / "left"
        left_over.write_bytes(b"half a bl")
        os.utime(left_over, (100, 100))
        assert [entry.name for entry in store.list()] == ["a"]
        assert store.sweep_temporary(older_than_s=50) == 0
        assert store.sweep_temporary(older_than_s=200) == 1
        assert not left_over.exists()
        assert store.get("a") is not None

    def test_writes_leave_no_temporary_files(self, store):
        etag = written(store.put_if_absent("a", b"1"))
        store.put_if_absent("a", b"2")
        store.put_if_match("a", b"3", etag)
        store.put_if_match("a", b"4", etag)
        assert list((store._root / ".tmp").iterdir()) == []

    @pytest.mark.parametrize("name", [".tmp/x", ".lock", ".tmp"])
    def test_own_names_are_refused(self, store, name):
        with pytest.raises(InvalidInputError):
            store.put_if_absent(name, b"1")

    def test_name_below_a_blob_is_refused(self, store):
        store.put_if_absent("a", b"1")
        with pytest.raises(InvalidInputError):
            store.put_if_absent("a/b", b"1")
        assert store.get("a/b") is None
        store.put_if_absent("c/d", b"1")
        assert store.put_if_absent("c", b"1") == PreconditionFailed()
        assert store.get("c") is None
        assert store.delete("c") is False

    def test_name_too_long_for_the_file_system_is_refused(self, store):
        with pytest.raises(InvalidInputError):
            store.put_if_absent("x" * 300, b"1")

    def test_root_that_is_a_file_is_unavailable_or_refused(self, tmp_path):
        (tmp_path / "root").write_bytes(b"")
        with pytest.raises((InvalidInputError, UnavailableError)):
            FolderBlobs(tmp_path / "root").put_if_absent("a", b"1")

    def test_reader_keeps_its_version_while_it_is_replaced(self, store):
        first = written(store.put_if_absent("a", b"1" * 10))
        with store._opened("a") as opened:
            store.put_if_match("a", b"2" * 10, first)
            assert os.pread(opened[0], 10, 0) == b"1" * 10

    def test_sweeping_a_store_without_writes_does_nothing(self, store):
        assert store.sweep_temporary(older_than_s=1e12) == 0

    @settings(max_examples=30)
    @given(names=st.lists(blob_names(), max_size=8), prefix=st.text("ab/.-", max_size=2))
    def test_any_names_are_listed_as_memory_lists_them(self, tmp_path_factory, names, prefix):
        names = [n for n in names if not any(m.startswith(n + "/") for m in names)]
        memory, folder = MemoryBlobs(), FolderBlobs(tmp_path_factory.mktemp("names"))
        for name in names:
            memory.put_if_absent(name, b"")
            folder.put_if_absent(name, b"")
        for start in (prefix, "", *(name[:2] for name in names)):
            expected = [entry.name for entry in memory.list(start)]
            assert [entry.name for entry in folder.list(start)] == expected

    def test_one_of_many_processes_creates_a_blob(self, store):
        contents = [b"%d" % i * 1000 for i in range(N_PROCESSES)]
        created = in_processes(create_blobs, [(store._root, data, 50) for data in contents])
        for i in range(50):
            (winner,) = [data for data, mine in zip(contents, created, strict=True) if i in mine]
            assert store.get(f"many/{i}").data == winner

    def test_no_replacement_is_lost_among_many_processes(self, store):
        store.put_if_absent("counter", b"0")
        in_processes(count_up_blob, [(store._root, "counter", 25)] * N_PROCESSES)
        assert store.get("counter").data == b"%d" % (25 * N_PROCESSES)
