"""One writer per data directory. POSIX only."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from indexer_core.errors import InvalidInputError, UnavailableError

LOCK_NAME = "writer.lock"


@contextmanager
def writer_lock(data_directory: Path) -> Iterator[None]:
    """Hold the data directory's writer lock.

    The kernel releases the lock when the process ends, however it ends; the file stays and says
    who held it last. Locks do not work reliably on network file systems.

    Raises
    ------
    InvalidInputError
        Another process, or this one already, holds it; the message names its process id.
    UnavailableError
        The data directory cannot be written.
    """
    try:
        data_directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(
            data_directory / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644
        )
    except OSError as exc:
        raise UnavailableError(
            f"the data directory {data_directory} cannot be written ({exc.strerror}): "
            "check its permissions and its mount, or choose another by --data"
        ) from exc
    try:
        _lock(descriptor, data_directory)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, data_directory: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        # The holder may not have written its number yet, or this is the number of an earlier one
        # for an instant; it is only a hint to the reader.
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip() or "unknown"
        raise InvalidInputError(
            f"another dicom-indexer (pid {holder}) is writing to {data_directory}: "
            "wait for it or stop it, then run the command again"
        ) from exc
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
