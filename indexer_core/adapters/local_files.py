"""Users' files where they lie, read-only, addressed by ``file://`` URL. POSIX only.

Nothing is ever created, changed or locked here. What is not a regular file (a FIFO, a socket, a
device) or lies outside the roots, also by way of a symbolic link, is never opened for reading.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.ports import BlobProperties, BlobRange, PreconditionFailed

_SCHEME = "file://"
_ABSENT = (FileNotFoundError, NotADirectoryError)
_ATTEMPTS = 3


class UnreadableFileError(InvalidInputError):
    """The file is there but may not be read: a reject, which heals when a later look can read it.

    The message is the reason alone (``permission denied``, ``not a regular file``, ``outside the
    indexed folders``), never the path.
    """


def url_of(path: Path | str) -> str:
    """The ``file://`` URL of a path, made absolute but with its symbolic links kept.

    Every byte outside RFC 3986's unreserved characters and ``/`` is percent-encoded, also those
    of names that are no valid text, so that `path_of` gives back the same path.
    """
    return _SCHEME + quote(os.fsencode(os.path.abspath(path)), safe="/")  # noqa: PTH100 - pathlib's absolute() keeps ".."


def path_of(url: str) -> Path:
    """The path of a ``file://`` URL; the inverse of `url_of`.

    Raises
    ------
    InvalidInputError
        Not the URL of a file of this machine.
    """
    return Path(place_of(url))


def place_of(url: str) -> str:
    """`path_of` as a string: every look at a file needs it, and making a Path takes its time.

    Raises
    ------
    InvalidInputError
        Not the URL of a file of this machine.
    """
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme.lower() != "file" or host.lower() not in ("", "localhost") or not slash:
        raise InvalidInputError("not a file:// URL of this machine")
    if "?" in path or "#" in path:
        raise InvalidInputError("a file:// URL has neither query nor fragment")
    decoded = unquote_to_bytes(slash + path)
    if b"\0" in decoded:
        raise InvalidInputError("a file:// URL holds a NUL character")
    return os.fsdecode(decoded)


def is_below(place: str, root: str) -> bool:
    """Whether an absolute path without ``..`` is another one, or lies below it."""
    return place == root or place.startswith(root if root.endswith("/") else root + "/")


def etag_of(status: os.stat_result) -> str:
    """The version of a file: modification time in ns, size and inode number, in hex.

    A program that rewrites a file in place, with the same size, within one tick of the file
    system's clock (some ms) or with the time set back, goes unnoticed.
    """
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


class LocalFiles:
    """Reads files below `roots`: the reading half of `indexer_core.ports.BlobStore`.

    Parameters
    ----------
    roots
        Folders or single files. A root may itself be a symbolic link; links below it are followed
        only to places below some root.

    Raises
    ------
    InvalidInputError
        From every method: the URL is not a ``file://`` URL of this machine.
    UnreadableFileError
        From every method: see there.
    UnavailableError
        From every method: the file cannot be read now (device error, stale network mount), or
        keeps changing while it is read.
    """

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = tuple(os.path.realpath(root) for root in roots)

    def properties(self, name: str) -> BlobProperties | None:
        """Properties of the file at a URL, or None when there is none."""
        with self._opened(name) as opened:
            if opened is None:
                return None
            _, status = opened
            return BlobProperties(
                etag=etag_of(status),
                size_bytes=status.st_size,
                modified_s=status.st_mtime_ns / 1e9,
            )

    def get(self, name: str) -> BlobRange | None:
        """The whole file at a URL, or None when there is none."""
        found = self._read(name, 0, None, None)
        assert not isinstance(found, PreconditionFailed)  # there is no condition
        return found

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), all of one version of the file.

        Returns None when there is no such file, PreconditionFailed when its etag is not
        `if_match` or changes while it is read.
        """
        return self._read(name, offset, length, if_match)

    def _read(
        self, name: str, offset: int, length: int | None, if_match: str | None
    ) -> BlobRange | PreconditionFailed | None:
        for _ in range(_ATTEMPTS):
            with self._opened(name) as opened:
                if opened is None:
                    return None
                descriptor, status = opened
                if if_match not in (None, etag_of(status)):
                    return PreconditionFailed()
                rest = status.st_size - offset
                wanted = rest if length is None else min(length, rest)
                data = self._read_once(descriptor, offset, wanted)
                if etag_of(os.fstat(descriptor)) == etag_of(status):
                    return BlobRange(data=data, etag=etag_of(status), size_bytes=status.st_size)
        raise UnavailableError("a file keeps changing while it is read")

    def _read_once(self, descriptor: int, offset: int, length: int) -> bytes:
        chunks = []
        while length > 0 and (chunk := os.pread(descriptor, length, offset)):
            chunks.append(chunk)
            offset += len(chunk)
            length -= len(chunk)
        return b"".join(chunks)

    @contextmanager
    def _opened(self, url: str) -> Iterator[tuple[int, os.stat_result] | None]:
        # The real path has no links left to follow; O_NOFOLLOW holds if one appears meanwhile.
        path = os.path.realpath(place_of(url))
        if not any(is_below(path, root) for root in self._roots):
            raise UnreadableFileError("outside the indexed folders")
        descriptor = None
        try:
            # Looking first keeps devices from noticing; O_NONBLOCK keeps a FIFO that appears
            # between the two lines from blocking.
            _check_regular(os.stat(path))  # noqa: PTH116 - see place_of
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            status = os.fstat(descriptor)
            _check_regular(status)
            yield descriptor, status
        except _ABSENT:
            yield None
        except PermissionError as exc:
            raise UnreadableFileError("permission denied") from exc
        except OSError as exc:
            raise UnavailableError("a file cannot be read from its disk now") from exc
        finally:
            if descriptor is not None:
                os.close(descriptor)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise UnreadableFileError("not a regular file")
