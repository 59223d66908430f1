"""Immutable files mapped into memory: where they lie in a folder, or as copies of remote ones.

What is not read stays on the disk, and what has not been read for a while goes back there. Each
file is checked against its sha256 once per process. POSIX only: a mapped file that is deleted
stays readable.
"""

import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from mmap import ACCESS_READ, mmap
from pathlib import Path
from threading import Lock
from uuid import uuid4
from weakref import WeakValueDictionary

from indexer_core.errors import CorruptIndexError, IndexerError, UnavailableError
from indexer_core.index.files import damaged, missing, read_file
from indexer_core.index.manifest import FileRef
from indexer_core.ports import BlobRange, BlobReader, Buffer
from indexer_core.reading import Reading

_ABSENT = (FileNotFoundError, NotADirectoryError)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_Identity = tuple[int, ...]

# Checking keeps one core busy with one file; starting threads for less takes longer.
_CHECKERS = 4
_WORTH_THREADS_BYTES = 8 << 20
_DOWNLOADS = 8
# Eight files at once hold a hundred megabytes so.
_RANGE_BYTES = 4 << 20
_RANGES_IN_FLIGHT = 2
_PARTIAL = ".part"
# Whatever else lies there is none of ours; what is being copied has more behind a point.
_COPY = re.compile(r"[0-9a-f]{64}(?:\.|\Z)")
_ABANDONED_S = 3600.0
_ATTEMPTS = 3


class MappedFiles:
    """Files mapped where they lie. Implements `indexer_core.index.files.ImmutableFiles`.

    Parameters
    ----------
    locate
        The path of a file, by its name.
    """

    in_memory = False

    def __init__(self, locate: Callable[[str], Path]) -> None:
        self._locate = locate
        self._checked = _Checked()

    def prefetch(self, refs: Sequence[FileRef]) -> None:
        """Check them, several at once."""
        if sum(ref.size_bytes for ref in refs) >= _WORTH_THREADS_BYTES:
            _for_each(self.open, refs, _CHECKERS)

    def open(self, ref: FileRef) -> Buffer:
        """The content, mapped."""
        try:
            data, _ = self._checked.mapped(ref, self._locate(ref.name))
        except _ABSENT:
            raise missing(ref) from None
        except OSError as error:
            raise UnavailableError(f"{ref.name} cannot be read ({_code(error)})") from error
        return data

    def retain(self, refs: Collection[FileRef]) -> None:
        """Nothing: they are no copies."""


class CachedFiles:
    """Copies of remote files in a folder. Implements `indexer_core.index.files.ImmutableFiles`.

    A copy appears whole or not at all, and one that is damaged is fetched again. Several processes
    may share the folder. What it has no room for is held in memory.

    Parameters
    ----------
    blobs
        Where the files are.
    folder
        For copies alone; made when it is first used, for this user only: a copy holds what the
        index holds.
    max_bytes
        What the copies may take; None: half of what they and nothing else leave free on the disk.
        The least recently used go first; those open here stay.
    """

    in_memory = False

    def __init__(self, blobs: BlobReader, folder: Path, max_bytes: int | None = None) -> None:
        self._blobs = blobs
        self._folder = folder
        self._max_bytes = max_bytes
        self._checked = _Checked()
        self._open: WeakValueDictionary[str, mmap] = WeakValueDictionary()
        self._lock = Lock()
        self._expected_bytes = 0  # of downloads under way
        self._is_swept = False

    def prefetch(self, refs: Sequence[FileRef]) -> None:
        """Fetch what is not here, several at once."""
        if len(refs) > 1:
            _for_each(self._copy, refs, _DOWNLOADS)

    def open(self, ref: FileRef) -> Buffer:
        """The content, mapped; in memory where the folder has no room for it."""
        held = self._open.get(ref.sha256)
        if held is not None:
            return held
        data = self._copy(ref)
        if data is None:
            return read_file(self._blobs, ref)
        if isinstance(data, mmap):
            self._open[ref.sha256] = data
        return data

    def retain(self, refs: Collection[FileRef]) -> None:
        """Delete copies of other files, those too that left the index while nobody here looked.

        Raises
        ------
        UnavailableError
            One of them cannot be deleted.
        """
        kept = {ref.sha256 for ref in refs}
        self._delete(lambda name: _COPY.fullmatch(name) is not None and name not in kept)

    def clear(self) -> None:
        """Delete every copy, those too that are being made.

        Raises
        ------
        UnavailableError
            One of them cannot be deleted.
        """
        self._delete(lambda name: _COPY.match(name) is not None)

    def _delete(self, is_wanted: Callable[[str], bool]) -> None:
        try:
            for path in list(self._folder.glob("*")):
                if is_wanted(path.name):
                    path.unlink(missing_ok=True)
        except OSError as error:
            raise _unusable(error) from error

    def _path(self, ref: FileRef) -> Path:
        return self._folder / ref.sha256

    def _copy(self, ref: FileRef) -> Buffer | None:
        """The content of a copy, mapped, fetched where there is none; None without room for it."""
        path = self._path(ref)
        for _ in range(_ATTEMPTS):
            try:
                data, identity = self._checked.mapped(ref, path)
                os.utime(path, ns=(time.time_ns(), identity[-1]))  # read now, written then
            except _ABSENT:  # also when another process made room just now
                if not self._fetch(ref):
                    return None
            except CorruptIndexError:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unusable(error) from error
            else:
                return data
        return None

    def _fetch(self, ref: FileRef) -> bool:
        """Make a copy; False when there is no room for it."""
        path = self._path(ref)
        with self._room(ref.size_bytes) as is_enough:
            if not is_enough:
                return False
            partial_path = self._folder / f"{ref.sha256}.{uuid4().hex}{_PARTIAL}"
            try:
                self._download(ref, partial_path)
                partial_path.replace(path)
            except OSError as error:
                if error.errno in _FULL:
                    return False
                raise _unusable(error) from error
            finally:
                with suppress(OSError):
                    partial_path.unlink()
        return True

    def _download(self, ref: FileRef, path: Path) -> None:
        digest = hashlib.sha256()
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            for data in _ranges(self._blobs, ref):
                digest.update(data)
                _write_all(file.fileno(), data)
            if digest.hexdigest() != ref.sha256:
                raise damaged(ref)
            self._checked.add(ref, _identity(os.fstat(file.fileno())))

    @contextmanager
    def _room(self, size_bytes: int) -> Iterator[bool]:
        with self._lock:
            try:
                self._prepare()
                is_enough = self._evict(self._expected_bytes + size_bytes)
            except OSError as error:
                raise _unusable(error) from error
            self._expected_bytes += size_bytes
        try:
            yield is_enough
        finally:
            with self._lock:
                self._expected_bytes -= size_bytes

    def _prepare(self) -> None:
        """Make the folder, and remove what killed processes left in it."""
        if self._is_swept:
            return
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.glob(f"*{_PARTIAL}"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - _ABANDONED_S:
                    path.unlink()
        self._is_swept = True

    def _evict(self, wanted_bytes: int) -> bool:
        """Delete copies until there is room for so much more; False, and none, if that fails."""
        copies = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):
                if _COPY.fullmatch(entry.name):
                    copies.append((entry.stat(), entry.name))
        total_bytes = sum(status.st_size for status, _ in copies)
        excess_bytes = total_bytes + wanted_bytes - self._limit(total_bytes)
        idle = [copy for copy in copies if copy[1] not in self._open]
        if excess_bytes > sum(status.st_size for status, _ in idle):
            return False
        for status, name in sorted(idle, key=lambda copy: copy[0].st_atime_ns):
            if excess_bytes <= 0:
                break
            (self._folder / name).unlink(missing_ok=True)
            excess_bytes -= status.st_size
        return True

    def _limit(self, copied_bytes: int) -> int:
        if self._max_bytes is not None:
            return self._max_bytes
        return (shutil.disk_usage(self._folder).free + copied_bytes) // 2


def cached_files(
    blobs: BlobReader, reading: Reading, index: str, default_folder: Path | None = None
) -> CachedFiles:
    """Copies as the settings say, by default among temporary files.

    Parameters
    ----------
    index
        Tells the index from others, which have folders of their own; it is not shown.
    """
    own = hashlib.sha256(index.encode()).hexdigest()[:12]
    temporary = Path(tempfile.gettempdir()) / f"dicom-indexer-{os.getuid()}"
    folder = (reading.cache_folder or default_folder or temporary) / own
    return CachedFiles(blobs, folder, reading.cache_bytes)


class _Checked:
    """Which files have been checked by this process, and as what they were found."""

    def __init__(self) -> None:
        self._identities: dict[str, _Identity] = {}

    def mapped(self, ref: FileRef, path: Path) -> tuple[Buffer, _Identity]:
        """The file, and as what it was found."""
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(descriptor)
            identity = _identity(status)
            if self._identities.get(ref.name) != identity:
                # Read, not mapped: what was only checked counts as no memory of this process.
                if hashlib.file_digest(file, "sha256").hexdigest() != ref.sha256:
                    raise damaged(ref)
                self.add(ref, identity)
            # Nothing cannot be mapped.
            data = mmap(descriptor, 0, access=ACCESS_READ) if status.st_size else b""
        return data, identity

    def add(self, ref: FileRef, identity: _Identity) -> None:
        self._identities[ref.name] = identity


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _ranges(blobs: BlobReader, ref: FileRef) -> Iterator[bytes]:
    """The content in pieces, the next ones on their way while one is used."""
    first = blobs.get_range(ref.name, 0, _RANGE_BYTES)
    if first is None:
        raise missing(ref)
    assert isinstance(first, BlobRange)  # there is no condition
    if first.size_bytes != ref.size_bytes:
        raise damaged(ref)
    yield first.data
    if ref.size_bytes <= _RANGE_BYTES:
        return
    offsets = iter(range(_RANGE_BYTES, ref.size_bytes, _RANGE_BYTES))
    get = partial(_range, blobs, ref, first.etag)
    with ThreadPoolExecutor(_RANGES_IN_FLIGHT) as pool:
        coming = deque(pool.submit(get, offset) for offset in islice(offsets, _RANGES_IN_FLIGHT))
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(get, offset) for offset in islice(offsets, 1))


def _range(blobs: BlobReader, ref: FileRef, etag: str, offset: int) -> bytes:
    found = blobs.get_range(ref.name, offset, _RANGE_BYTES, if_match=etag)
    if found is None:
        raise missing(ref)
    if not isinstance(found, BlobRange):
        raise damaged(ref)  # what is written once has been written again
    return found.data


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _for_each(act: Callable[[FileRef], object], refs: Sequence[FileRef], threads: int) -> None:
    """Do it for all of them; what fails will fail again, and be told, when it is opened."""
    with ThreadPoolExecutor(min(threads, len(refs))) as pool:
        for future in [pool.submit(act, ref) for ref in refs]:
            with suppress(IndexerError):
                future.result()


def _unusable(error: OSError) -> UnavailableError:
    return UnavailableError(
        f"the folder for copies of index files cannot be used ({_code(error)}): check its "
        "permissions, or name another one"
    )


def _code(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "unknown error")
