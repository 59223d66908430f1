"""Folders as an event source: the exact Event Grid messages that Azure would send for blobs.

An event only says "look at this file" (DESIGN section 2), so everything here reports too much
rather than too little. Message shape: Event Grid schema, Microsoft.Storage.BlobCreated and
BlobDeleted (learn.microsoft.com, event-schema-blob-storage), but for ``sequencer``: a file system
has no such number, and one made from the clock would make every look stale once the clock is set
back. The file's ETag decides instead.
"""

import json
import logging
import os
import stat
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from indexer_core.adapters.local_files import etag_of, path_of, url_of
from indexer_core.errors import InvalidInputError
from indexer_core.ports import Clock

TOPIC = (
    "/subscriptions/local/resourceGroups/local/providers/Microsoft.Storage/storageAccounts/local"
)
_SUBJECT = "/blobServices/default/containers/files/blobs"
_CREATED = "Microsoft.Storage.BlobCreated"
_DELETED = "Microsoft.Storage.BlobDeleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkWarning:
    """What could not be looked at; for the person at the command line, never for a log."""

    path: str
    reason: str


OnWarning = Callable[[WalkWarning], None]


def created_event(path: Path, status: os.stat_result, clock: Clock) -> str:
    """BlobCreated for a file.

    Parameters
    ----------
    path
        The file; only its name is used.
    status
        Its `os.stat`, which gives ETag and length.
    clock
        Gives ``eventTime``.
    """
    data: dict[str, str | int] = {
        "eTag": etag_of(status),
        "contentType": "application/octet-stream",
        "contentLength": status.st_size,
    }
    return _event(_CREATED, "PutBlob", url_of(path), data, clock)


def deleted_event(url: str, clock: Clock) -> str:
    """BlobDeleted for the ``file://`` URL of a file that is gone."""
    return _event(_DELETED, "DeleteBlob", url, {}, clock)


def _event(kind: str, api: str, url: str, data: dict[str, str | int], clock: Clock) -> str:
    now_s = clock.now_s()
    digest = sha256(f"{kind}\n{url}\n{data.get('eTag')}\n{now_s!r}".encode()).digest()
    event = {
        "topic": TOPIC,
        "subject": _SUBJECT + url.removeprefix("file://"),
        "eventType": kind,
        "eventTime": _seven_digits(now_s),
        "id": str(UUID(bytes=digest[:16], version=4)),
        "dataVersion": "",
        "metadataVersion": "1",
        "data": {"api": api, **data, "blobType": "BlockBlob", "url": url},
    }
    return json.dumps(event, separators=(",", ":"))


def _seven_digits(now_s: float) -> str:
    """ISO 8601 in UTC with the seven fractional digits that Event Grid writes."""
    whole = datetime.fromtimestamp(int(now_s), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int(now_s % 1 * 1e7):07d}Z"


def _ignore(_: WalkWarning) -> None:
    """Nobody asked."""


def walk_events(
    roots: Iterable[Path],
    known: Iterable[str],
    clock: Clock,
    *,
    exclude: Iterable[Path] = (),
    on_warning: OnWarning = _ignore,
) -> Iterator[str]:
    """Events for every file below the roots, then for every known file that is gone.

    Parameters
    ----------
    roots
        Folders or single files; overlapping ones are walked once.
    known
        ``file://`` URLs looked at before; those outside the roots are left alone.
    clock
        As in `created_event`.
    exclude
        Folders that are not walked: the indexer's own data directory. Known files there are gone.
    on_warning
        Told of folders that cannot be read, of roots that are missing and of symbolic links that
        lead out of the roots; the walk goes on.

    Yields
    ------
    str
        Event Grid JSON, in path order by folder, the deletions last. Symbolic links below the
        roots are not followed: what they point to inside the roots is walked where it lies.
    """
    scope = _Scope.of(roots, exclude, on_warning)
    for root in scope.roots:
        for path, status in _files_at(root, scope):
            yield created_event(path, status, clock)
    yield from (deleted_event(url, clock) for url in sorted(_gone(known, scope)))


@dataclass(frozen=True, slots=True)
class _Scope:
    roots: tuple[Path, ...]
    excluded: frozenset[str]
    on_warning: OnWarning

    @classmethod
    def of(cls, roots: Iterable[Path], exclude: Iterable[Path], on_warning: OnWarning) -> "_Scope":
        absolute = sorted({_absolute(root) for root in roots})
        outermost = tuple(
            root for root in absolute if not any(parent in absolute for parent in root.parents)
        )
        return cls(outermost, frozenset(os.path.realpath(path) for path in exclude), on_warning)

    def excludes(self, path: Path) -> bool:
        real = Path(os.path.realpath(path))
        return any(str(place) in self.excluded for place in (real, *real.parents))

    def holds(self, path: Path) -> bool:
        return any(path.is_relative_to(root) for root in self.roots)

    def warn(self, path: Path | str, reason: str) -> None:
        self.on_warning(WalkWarning(path=str(path), reason=reason))


def _absolute(path: Path) -> Path:
    # Not resolved: URLs speak of the path that the user gave.
    return Path(os.path.abspath(path))  # noqa: PTH100 - pathlib's absolute() keeps ".."


def _reason(exc: OSError) -> str:
    return (exc.strerror or "cannot be read").lower()


def _files_at(root: Path, scope: _Scope) -> Iterator[tuple[Path, os.stat_result]]:
    """Regular files at or below a path, folder by folder, each folder in name order."""
    try:
        status = root.stat()  # a root may be a link
    except OSError as exc:
        scope.warn(root, _reason(exc))
        return
    if stat.S_ISREG(status.st_mode):
        yield root, status
        return
    pending = [root] if stat.S_ISDIR(status.st_mode) else []
    while pending:
        folders: list[Path] = []
        for entry in _entries(pending.pop(), scope):
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif (status_of := _regular_status(entry, scope)) is not None:
                yield Path(entry.path), status_of
        pending += reversed(folders)


def _entries(folder: Path, scope: _Scope) -> list[os.DirEntry[str]]:
    if scope.excluded and scope.excludes(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as exc:
        scope.warn(folder, _reason(exc))
        return []


def _regular_status(entry: "os.DirEntry[str]", scope: _Scope) -> os.stat_result | None:
    try:
        if entry.is_symlink():
            _warn_of_link(Path(entry.path), scope)
            return None
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None  # deleted between listing and looking
    except OSError as exc:
        scope.warn(entry.path, _reason(exc))
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def _warn_of_link(link: Path, scope: _Scope) -> None:
    target = Path(os.path.realpath(link))
    inside = any(target.is_relative_to(os.path.realpath(root)) for root in scope.roots)
    if not inside and target.exists():
        scope.warn(link, "symbolic link out of the indexed folders: name its target instead")


def _gone(known: Iterable[str], scope: _Scope) -> Iterator[str]:
    """Known URLs below the roots at which there is no file any more."""
    for url in known:
        try:
            path = path_of(url)
        except InvalidInputError:
            continue  # a blob of another store
        if scope.holds(path) and _is_gone(path, scope):
            yield url


def _is_gone(path: Path, scope: _Scope) -> bool:
    try:
        status = path.stat() if path in scope.roots else path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # a folder above it cannot be read: the walk has warned, nothing is known
    return not stat.S_ISREG(status.st_mode) or (bool(scope.excluded) and scope.excludes(path))


@dataclass(slots=True)
class Watch:
    """A running watch.

    Attributes
    ----------
    error
        What stopped the reports, None while all is well. Events after it are lost: start again
        with a walk.
    overflowed
        The kernel dropped events: walk again; the reports go on.
    """

    error: Exception | None = field(default=None)
    overflowed: bool = field(default=False)

    @property
    def is_complete(self) -> bool:
        """Whether every change so far has been reported."""
        return self.error is None and not self.overflowed


class _OverflowListener(logging.Handler):
    """watchdog tells of an overflow by its log alone."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def emit(self, record: logging.LogRecord) -> None:
        if "overflow" in record.msg:
            self._watch.overflowed = True


@contextmanager
def watch_events(
    roots: Iterable[Path],
    known: Iterable[str],
    clock: Clock,
    emit: Callable[[str], None],
    *,
    exclude: Iterable[Path] = (),
    on_warning: OnWarning = _ignore,
) -> Iterator[Watch]:
    """Report changes below the roots while the context lasts, to `emit`, from another thread.

    Enter it before walking the same roots, so that nothing falls between. A file is reported when
    it appears, and again when its writer closes it; a folder that appears, disappears or moves is
    reported file by file.

    Parameters
    ----------
    roots, known, clock, exclude, on_warning
        As in `walk_events`.
    emit
        Takes Event Grid JSON. An exception from it ends the reports and is kept in `Watch.error`.

    Notes
    -----
    The kernel drops events when its queue overflows, silently watches only as many folders as
    ``fs.inotify.max_user_watches`` allows, and sees nothing that another machine does on a network
    mount: walk again from time to time.

    Raises
    ------
    OSError
        A root cannot be watched.
    """
    from watchdog.events import FileSystemEvent, FileSystemEventHandler
    from watchdog.observers import Observer

    # watchdog 7.1 says so, with the path, whenever a folder appears twice in its own bookkeeping;
    # that is harmless, but where warnings are errors it ends watchdog's reading thread.
    warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
    scope = _Scope.of(roots, exclude, on_warning)
    looks = _Looks(scope, set(known), clock, emit)
    watch = Watch()

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if watch.error is not None or _is_idle(event.event_type, event.is_directory):
                return
            try:
                for path in (event.src_path, event.dest_path):
                    if path:
                        looks.look(_absolute(Path(os.fsdecode(path))))
            except Exception as exc:  # noqa: BLE001 - kept for the caller; the thread must not die
                watch.error = exc

    observer = Observer()
    watchdog_log = logging.getLogger("watchdog")
    watchdog_log.propagate = False  # it names paths
    listener = _OverflowListener(watch)
    watchdog_log.addHandler(listener)
    try:
        for root in scope.roots:
            observer.schedule(Handler(), str(root), recursive=True)
        observer.start()
        yield watch
    finally:
        watchdog_log.removeHandler(listener)
        if observer.is_alive():
            observer.stop()
            observer.join()


def _is_idle(event_type: str, is_directory: bool) -> bool:
    """Whether a file system event changes no file or will be followed by one that tells more."""
    if event_type in {"opened", "closed_no_write"}:
        return True
    if is_directory:
        # Its entries have events of their own; attributes may have made it readable.
        return event_type == "modified"
    # On Linux every chunk of a growing file is a modification, and closing it comes last.
    return event_type == "modified" and sys.platform == "linux"


@dataclass(slots=True)
class _Looks:
    """Turns "something happened at this path" into events, from what is there now."""

    scope: _Scope
    known: set[str]
    clock: Clock
    emit: Callable[[str], None]

    def look(self, path: Path) -> None:
        if not self.scope.holds(path) or self.scope.excludes(path):
            return
        if path.is_symlink() and path not in self.scope.roots:
            return
        if path.exists():
            for file, status in _files_at(path, self.scope):
                self.known.add(url_of(file))
                self.emit(created_event(file, status, self.clock))
        self._report_gone(path)

    def _report_gone(self, path: Path) -> None:
        """The path itself, and what was known below it, as far as it is no file any more."""
        here = url_of(path)
        below = [url for url in self.known if url.startswith(here + "/")]
        candidates = [here, *below] if not path.is_dir() else below
        for url in sorted(_gone(candidates, self.scope)):
            self.emit(deleted_event(url, self.clock))
            self.known.discard(url)
