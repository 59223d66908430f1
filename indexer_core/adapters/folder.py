"""A private blob store in a folder: the index, assembly lists and caches of one machine.

Blobs are immutable inodes. A write goes to a temporary file, is flushed to the disk, and becomes
visible by one atomic step: a hard link for `put_if_absent` (fails where the name exists), a rename
under the store's lock for `put_if_match`. So a process killed between any two lines leaves at most
a temporary file, which is never listed and which `FolderBlobs.sweep_temporary` removes.

The folder's lock is advisory (`flock`): nobody else may write below the root. POSIX only.
"""

import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from indexer_core.errors import (
    IndexerError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    PreconditionFailed,
    WriteResult,
    Written,
)

_TEMPORARY = ".tmp"
_LOCK = ".lock"
_RESERVED = frozenset({_TEMPORARY, _LOCK})
_ODD = re.compile(r"[\\\x00-\x1f\ud800-\udfff]")
_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_FULL = "no space left in the data directory: free some space, then run the command again"
_READ_ONLY = "the data directory cannot be written: check its permissions and its mount"
_REASONS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EFBIG: "a file of the data directory would exceed the largest allowed size (ulimit -f)",
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EIO: "the disk of the data directory reports errors: check the disk",
}
_NO_HARD_LINKS = (
    "the file system of the data directory has no hard links: put the data directory elsewhere"
)


def _error(exc: OSError) -> IndexerError:
    if exc.errno in (errno.ENAMETOOLONG, errno.ELOOP):
        return InvalidInputError("a blob name is too long for the file system")
    code = errno.errorcode.get(exc.errno or 0, "unknown error")
    return UnavailableError(
        _REASONS.get(exc.errno or 0, f"the data directory cannot be used ({code})")
    )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise _error(exc) from exc


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"


def _properties(status: os.stat_result) -> BlobProperties:
    return BlobProperties(
        etag=_etag(status), size_bytes=status.st_size, modified_s=status.st_mtime_ns / 1e9
    )


def _blob_range(status: os.stat_result, data: bytes) -> BlobRange:
    return BlobRange(data=data, etag=_etag(status), size_bytes=status.st_size)


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(name.split("/"))
    unsafe = any(part in {"", ".", ".."} for part in parts) or parts[0] in _RESERVED
    # A surrogate would round-trip through the file system but through nothing else.
    if unsafe or _ODD.search(name):
        raise InvalidInputError("a blob name must be a relative path of plain components")
    return parts


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_directory(path: Path) -> None:
    if path.is_dir():
        return
    _make_directory(path.parent)
    with suppress(FileExistsError):
        path.mkdir()
    if not path.is_dir():
        raise InvalidInputError("a blob name passes through the name of another blob")
    _sync_directory(path.parent)


def _read_exactly(descriptor: int, offset: int, length: int) -> bytes:
    chunks = []
    while length > 0 and (chunk := os.pread(descriptor, length, offset)):
        chunks.append(chunk)
        offset += len(chunk)
        length -= len(chunk)
    return b"".join(chunks)


@dataclass(frozen=True, slots=True)
class _Found:
    name: str
    path: str
    is_directory: bool

    @property
    def order(self) -> str:
        # Below a directory every name continues with "/", which decides the order of full names.
        return self.name + "/" if self.is_directory else self.name


def _children(directory: Path, base: str, prefix: str) -> list[_Found]:
    """Children that may hold names with the prefix, last first: a stack to pop from."""
    children = []
    with _translated(), suppress(*_ABSENT), os.scandir(directory) as entries:
        for entry in entries:
            name = base + entry.name
            if name in _RESERVED:
                continue
            child = _Found(name, entry.path, entry.is_dir(follow_symlinks=False))
            if child.order.startswith(prefix) or (
                child.is_directory and prefix.startswith(child.order)
            ):
                children.append(child)
    return sorted(children, key=lambda child: child.order, reverse=True)


class FolderBlobs:
    """Implements `indexer_core.ports.BlobStore` in a folder.

    Parameters
    ----------
    root
        The folder; created at the first write. Temporary files and the lock live in it under
        names that no blob can have.

    Notes
    -----
    An etag is made of the modification time in ns, the size and the inode number: properties
    never read the content, and every write makes a new inode with a new time. A name and a name
    below it (``a`` and ``a/b``) cannot both exist, unlike on Azure: the second write raises
    `InvalidInputError`.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(root)

    def properties(self, name: str) -> BlobProperties | None:
        """Properties, or None when there is no such blob."""
        status = self._status(self._path(name))
        return None if status is None else _properties(status)

    def get(self, name: str) -> BlobRange | None:
        """The whole blob, or None when there is no such blob."""
        with _translated(), self._opened(name) as opened:
            if opened is None:
                return None
            descriptor, status = opened
            return _blob_range(status, _read_exactly(descriptor, 0, status.st_size))

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        """Bytes [offset, offset + length), shorter at the end of the blob, empty past it.

        Returns None when there is no such blob, PreconditionFailed when its etag is not `if_match`.
        """
        with _translated(), self._opened(name) as opened:
            if opened is None:
                return None
            descriptor, status = opened
            if if_match not in (None, _etag(status)):
                return PreconditionFailed()
            # Within the size, so that a huge length allocates nothing huge.
            length = min(length, status.st_size - offset)
            return _blob_range(status, _read_exactly(descriptor, offset, length))

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        """Create the blob durably; PreconditionFailed when one exists.

        Raises
        ------
        UnavailableError
            The disk is full or unusable; nothing became visible.
        UnknownOutcomeError
            The blob became visible but the disk did not confirm its directory entry.
        """
        path = self._path(name)
        with _translated():
            # Saves writing the data of a lost race; the link below decides.
            if os.path.lexists(path):
                return PreconditionFailed()
            _make_directory(path.parent)
            with self._temporary(data) as (temporary, etag):
                try:
                    os.link(temporary, path)
                except FileExistsError:
                    return PreconditionFailed()
                except OSError as exc:
                    if exc.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
                        raise UnavailableError(_NO_HARD_LINKS) from exc
                    raise
                self._confirm(path.parent)
        return Written(etag=etag)

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        """Replace the blob when its etag is still `etag`; PreconditionFailed otherwise.

        Raises
        ------
        UnavailableError, UnknownOutcomeError
            As `put_if_absent`.
        """
        path = self._path(name)
        if not self._matches(path, etag):
            return PreconditionFailed()
        with _translated(), self._temporary(data) as (temporary, new_etag), self._locked():
            if not self._matches(path, etag):
                return PreconditionFailed()
            temporary.replace(path)
            self._confirm(path.parent)
        return Written(etag=new_etag)

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        """Entries whose name starts with `prefix`, in name order (by code point)."""
        pending = _children(self._root, "", prefix)
        while pending:
            found = pending.pop()
            if found.is_directory:
                pending += _children(Path(found.path), found.name + "/", prefix)
            elif (status := self._status(found.path)) is not None:
                yield BlobEntry(name=found.name, properties=_properties(status))

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        """Delete; False when it was absent or its etag differs."""
        path = self._path(name)
        if not self._matches(path, if_match):
            return False
        with _translated(), self._locked():
            if not self._matches(path, if_match):
                return False
            path.unlink()
            self._confirm(path.parent)
        return True

    def sweep_temporary(self, older_than_s: float) -> int:
        """Remove temporary files last written before `older_than_s` (epoch); return how many.

        Killed writers leave them. Pass a time at which no writer of today was running.
        """
        swept = 0
        with _translated(), suppress(FileNotFoundError), os.scandir(self._temporaries) as entries:
            for entry in entries:
                if entry.stat(follow_symlinks=False).st_mtime < older_than_s:
                    Path(entry.path).unlink()
                    swept += 1
        return swept

    def path_of(self, name: str) -> Path:
        """Where the blob lies. It is only to be read; a write replaces it as a whole."""
        return self._path(name)

    @property
    def _temporaries(self) -> Path:
        return self._root / _TEMPORARY

    def _path(self, name: str) -> Path:
        return self._root.joinpath(*_parts(name))

    def _status(self, path: Path | str) -> os.stat_result | None:
        with _translated():
            try:
                # Not Path.stat: making a Path of every name would take most of the time of a list.
                status = os.stat(path, follow_symlinks=False)  # noqa: PTH116
            except _ABSENT:
                return None
        return status if stat.S_ISREG(status.st_mode) else None

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, os.stat_result] | None]:
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
        except _ABSENT:
            yield None
            return
        try:
            status = os.fstat(descriptor)
            yield (descriptor, status) if stat.S_ISREG(status.st_mode) else None
        finally:
            os.close(descriptor)

    def _matches(self, path: Path, etag: str | None) -> bool:
        status = self._status(path)
        return status is not None and (etag is None or _etag(status) == etag)

    @contextmanager
    def _temporary(self, data: bytes) -> Iterator[tuple[Path, str]]:
        """A flushed temporary file with the data, and the etag that it will have as a blob."""
        _make_directory(self._temporaries)
        path = self._temporaries / uuid4().hex
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(path, flags, 0o644)
        try:
            try:
                _write_all(descriptor, data)
                # The kernel's own time stamps advance in ticks of some ms: two writes within one
                # tick that reuse an inode number would share their etag.
                os.utime(descriptor, ns=(time.time_ns(), time.time_ns()))
                os.fsync(descriptor)
                etag = _etag(os.fstat(descriptor))
            finally:
                os.close(descriptor)
            yield path, etag
        finally:
            with suppress(OSError):  # an error that is already on its way says more
                path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        _make_directory(self._root)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._root / _LOCK, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _confirm(self, directory: Path) -> None:
        """Flush a directory whose entry has changed already."""
        try:
            _sync_directory(directory)
        except OSError as exc:
            raise UnknownOutcomeError("the disk did not confirm a change of name") from exc
