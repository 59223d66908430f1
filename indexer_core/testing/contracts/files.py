"""The contract of `indexer_core.index.files.ImmutableFiles`."""

import hashlib
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor

import pytest

from indexer_core.errors import CorruptIndexError
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.manifest import FileRef
from indexer_core.ports import BlobStore, Written

CONTENTS = (b"", b"x", b"some bytes", bytes(range(256)) * 50_000)


def put(blobs: BlobStore, data: bytes) -> FileRef:
    """A file as a segment writer leaves it."""
    digest = hashlib.sha256(data).hexdigest()
    name = f"segments/w-{digest}.test"
    blobs.put_if_absent(name, data)
    return FileRef(name=name, sha256=digest, size_bytes=len(data))


def overwrite(blobs: BlobStore, ref: FileRef, data: bytes) -> None:
    """What nobody may do to such a file."""
    found = blobs.properties(ref.name)
    assert found is not None
    assert isinstance(blobs.put_if_match(ref.name, data, found.etag), Written)


class ImmutableFilesContract(ABC):
    """What every adapter does. Subclasses give `blobs` and `files` over them."""

    @pytest.fixture
    @abstractmethod
    def blobs(self) -> BlobStore:
        """Where the files are written."""

    @pytest.fixture
    @abstractmethod
    def files(self, blobs: BlobStore) -> ImmutableFiles:
        """The adapter under test."""

    @pytest.mark.parametrize("data", CONTENTS, ids=len)
    def test_the_content_is_given(
        self, blobs: BlobStore, files: ImmutableFiles, data: bytes
    ) -> None:
        ref = put(blobs, data)
        assert bytes(files.open(ref)) == data
        assert bytes(files.open(ref)) == data

    def test_a_file_that_is_missing_is_named(self, files: ImmutableFiles) -> None:
        ref = FileRef(name="segments/none", sha256="0" * 64, size_bytes=3)
        files.prefetch([ref, ref])
        with pytest.raises(CorruptIndexError, match="segments/none: missing"):
            files.open(ref)

    @pytest.mark.parametrize("damage", [b"some byteS", b"some byte", b"some bytes.", b""])
    def test_a_file_that_is_damaged_is_named_whether_prefetched_or_not(
        self, blobs: BlobStore, files: ImmutableFiles, damage: bytes
    ) -> None:
        ref, other = put(blobs, b"some bytes"), put(blobs, b"other")
        overwrite(blobs, ref, damage)
        for _ in range(2):
            with pytest.raises(CorruptIndexError, match=ref.name):
                files.open(ref)
            files.prefetch([ref, other])
        assert bytes(files.open(other)) == b"other"

    def test_what_is_open_stays_readable_when_the_file_goes(
        self, blobs: BlobStore, files: ImmutableFiles
    ) -> None:
        ref = put(blobs, CONTENTS[3])
        data = files.open(ref)
        files.retain([])
        blobs.delete(ref.name)
        assert bytes(data) == CONTENTS[3]

    def test_a_file_that_was_not_retained_can_be_opened_again(
        self, blobs: BlobStore, files: ImmutableFiles
    ) -> None:
        ref, other = put(blobs, b"some bytes"), put(blobs, b"other")
        files.retain([ref])  # nothing was ever opened
        files.open(ref)
        files.open(other)
        files.retain([other])
        assert bytes(files.open(ref)) == b"some bytes"

    def test_several_threads_may_open_the_same_files(
        self, blobs: BlobStore, files: ImmutableFiles
    ) -> None:
        refs = [put(blobs, number.to_bytes(2, "big") * 5000) for number in range(10)]
        files.prefetch(refs)
        with ThreadPoolExecutor(8) as pool:
            opened = list(pool.map(files.open, refs * 20))
        assert [bytes(data[:2]) for data in opened] == [
            number.to_bytes(2, "big") for number in range(10)
        ] * 20
