"""Users' files, read where they lie."""

import os
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.adapters.local_files import LocalFiles, UnreadableFileError, path_of, url_of
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import BlobRange, PreconditionFailed
from tests.support.users import folder_of_an_ordinary_user

NAMES = (
    "plain.dcm",
    "with space",
    "a#b%20c+d?e&f",
    "grün-日本-\U0001f9e0",
    "back\\slash",
    "new\nline",
    "C:drive",
    os.fsdecode(b"latin-\xe9-\xff"),
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def files(folder):
    return LocalFiles([folder])


@pytest.mark.parametrize("name", NAMES)
def test_file_of_any_name_is_read_by_its_url(files, folder, name):
    (folder / name).write_bytes(b"content")
    url = url_of(folder / name)
    assert url.startswith("file:///")
    assert url.isascii()
    assert path_of(url) == folder / name
    assert files.get(url).data == b"content"


@given(st.binary(min_size=1, max_size=40))
def test_every_path_has_a_url_that_leads_back(raw):
    name = os.fsdecode(raw.replace(b"\0", b"_").replace(b"/", b"_"))
    if name not in {".", ".."}:
        assert os.fspath(path_of(url_of("/x/" + name))) == "/x/" + name


def test_url_is_what_other_programs_write():
    assert url_of("/a b/c#d.dcm") == "file:///a%20b/c%23d.dcm"
    assert os.fspath(path_of("file://localhost/a%20b")) == "/a b"
    assert os.fspath(path_of("FILE:///a+b")) == "/a+b"


@pytest.mark.parametrize(
    "url",
    ["", "a.dcm", "/a.dcm", "file:a", "file://host/a", "https://a/b", "file:///a%00b",
     "file:///a?b", "file:///a#b", "file://"],
)  # fmt: skip
def test_other_urls_are_refused(files, url):
    with pytest.raises(InvalidInputError):
        path_of(url)
    with pytest.raises(InvalidInputError):
        files.properties(url)


def test_ranges_and_conditions_follow_the_blob_contract(files, folder):
    (folder / "a").write_bytes(b"0123456789")
    url = url_of(folder / "a")
    etag = files.properties(url).etag
    assert files.properties(url).size_bytes == 10
    assert files.get_range(url, 2, 3) == BlobRange(data=b"234", etag=etag, size_bytes=10)
    assert files.get_range(url, 8, 99, if_match=etag).data == b"89"
    assert files.get_range(url, 99, 5, if_match=etag).data == b""
    assert files.get_range(url, 0, 5, if_match="other") == PreconditionFailed()


def test_absent_file_is_none(files, folder):
    (folder / "a").write_bytes(b"")
    for path in (folder / "b", folder / "a" / "below", folder / "x" / "y"):
        assert files.properties(url_of(path)) is None
        assert files.get(url_of(path)) is None
        assert files.get_range(url_of(path), 0, 1) is None


def test_changed_file_has_another_etag(files, folder):
    path = folder / "a"
    path.write_bytes(b"one")
    url = url_of(path)
    etags = {files.properties(url).etag}
    path.write_bytes(b"three")
    etags.add(files.properties(url).etag)
    os.utime(path, ns=(1, 1))
    etags.add(files.properties(url).etag)
    path.rename(folder / "old")
    path.write_bytes(b"three")
    os.utime(path, ns=(1, 1))
    etags.add(files.properties(url).etag)
    assert len(etags) == 4


class _Changing(LocalFiles):
    """A file that somebody writes to while it is read."""

    def __init__(self, roots, path, times):
        super().__init__(roots)
        self._path, self._times = path, times

    def _read_once(self, descriptor, offset, length):
        data = super()._read_once(descriptor, offset, length)
        if self._times:
            self._times -= 1
            with self._path.open("ab") as file:
                file.write(b"+")
        return data


def test_read_during_a_write_gives_one_version_or_none(folder):
    path = folder / "a"
    path.write_bytes(b"0123")
    url = url_of(path)
    etag = LocalFiles([folder]).properties(url).etag
    assert _Changing([folder], path, 1).get_range(url, 0, 9, if_match=etag) == PreconditionFailed()
    assert _Changing([folder], path, 1).get(url).data == b"0123++"
    with pytest.raises(UnavailableError):
        _Changing([folder], path, 99).get(url)


def test_links_are_followed_within_the_roots_only(files, folder, tmp_path):
    (tmp_path / "outside").write_bytes(b"secret")
    (folder / "a").write_bytes(b"content")
    (folder / "inner").symlink_to(folder / "a")
    (folder / "outer").symlink_to(tmp_path / "outside")
    (folder / "up").symlink_to(tmp_path)
    (folder / "loop").symlink_to(folder / "loop")
    assert files.get(url_of(folder / "inner")).data == b"content"
    for path in (folder / "outer", folder / "up" / "outside", tmp_path / "outside"):
        with pytest.raises(UnreadableFileError, match="outside"):
            files.get(url_of(path))
    with pytest.raises(UnreadableFileError, match="outside"):
        files.get(f"file://{folder}/../outside")
    with pytest.raises((UnreadableFileError, UnavailableError)):
        files.get(url_of(folder / "loop"))


def test_root_may_be_a_link_or_a_file(folder, tmp_path):
    (folder / "a").write_bytes(b"content")
    (tmp_path / "link").symlink_to(folder)
    assert LocalFiles([tmp_path / "link"]).get(url_of(tmp_path / "link" / "a")).data == b"content"
    assert LocalFiles([folder / "a"]).get(url_of(folder / "a")).data == b"content"


def test_what_is_no_regular_file_is_never_opened(files, folder, monkeypatch):
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        monkeypatch.chdir(folder)  # socket paths are limited to about 100 bytes
        server.bind("socket")
        for name in ("fifo", "folder", "socket"):
            with pytest.raises(UnreadableFileError, match="not a regular file"):
                files.get(url_of(folder / name))


def test_forbidden_file_is_a_reject_that_heals():
    with folder_of_an_ordinary_user() as folder:
        files = LocalFiles([folder])
        path = folder / "a"
        path.write_bytes(b"content")
        path.chmod(0)
        with pytest.raises(UnreadableFileError, match="permission denied"):
            files.get(url_of(path))
        path.chmod(0o600)
        assert files.get(url_of(path)).data == b"content"


def test_messages_name_no_path(files, folder):
    (folder / "DOE^JANE").mkdir()
    with pytest.raises(UnreadableFileError) as caught:
        files.get(url_of(folder / "DOE^JANE"))
    assert "DOE" not in str(caught.value)
