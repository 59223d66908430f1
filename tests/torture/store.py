"""The index of a torture run: a folder, as a process sees it whom everything may happen to.

Every write has three points, ``<operation>.<kind of file>.before``, ``.during`` (the data is
flushed and has not appeared yet) and ``.after``. At one of them the process kills itself, when it
was told to. Some commits lose their answer, some reads are behind, some calls take long.
"""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.errors import UnknownOutcomeError
from indexer_core.index.commit import HINT, Manifests, manifest_name, number_of
from indexer_core.index.manifest import EMPTY, dump_stub
from indexer_core.index.write_ids import is_behind, write_id_of
from indexer_core.ports import (
    BlobEntry,
    BlobProperties,
    BlobRange,
    PreconditionFailed,
    WriteResult,
    Written,
)
from tests.torture.journal import Journal

T = TypeVar("T")

MANIFESTS = "manifests/"
_MAX_STUB_BYTES = len(dump_stub(10**12))
_FOLDERS = {
    "manifests": "manifest",
    "text-cache": "cache",
    "projections": "projector",
    "last-collection": "mark",
    "purges": "receipt",
}
_LOST_COMMITS = 0.05
_LOST_WRITES = 0.002
_STALE = 0.05
_MAX_LAG_S = 0.4
_SLOW = 0.05
_MAX_DELAY_S = 0.03
_MAX_SLEEP_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What is to happen to a process: where it dies, and where it sleeps past the fence."""

    die_at: str | None = None
    sleep_at: str | None = None


def point_of(operation: str, name: str, method: str, size_bytes: int) -> str:
    """The points of a write, without the moment."""
    if name == HINT:
        return "any.hint"
    kind = _kind_of(name)
    if method == "delete":
        kind = "cache-deleted" if kind == "cache" else "file-deleted"
    if kind == "manifest" and method == "put_if_match":
        kind = "stub" if size_bytes <= _MAX_STUB_BYTES else "rewritten"
    return f"{operation}.{kind}"


def _kind_of(name: str) -> str:
    if name.startswith("segments/"):
        kinds = (".rows.", ".text.", ".image.", ".points.")
        return next(kind.strip(".") for kind in kinds if kind in name)
    return _FOLDERS[name.partition("/")[0]]


class _Folder(FolderBlobs):
    """Calls `between` when data is on the disk and has not appeared under its name yet."""

    between: Callable[[], None] = staticmethod(lambda: None)

    @contextmanager
    def _temporary(self, data: bytes) -> Iterator[tuple[Path, str]]:
        with super()._temporary(data) as made:
            self.between()
            yield made


class TortureBlobs:
    """Implements `indexer_core.ports.BlobStore`.

    Attributes
    ----------
    operation
        What the process is doing; the first part of the names of points.
    """

    def __init__(self, root: Path, journal: Journal, fate: Fate, seed: int) -> None:
        self.operation = "start"
        self._inner = _Folder(root)
        self._journal = journal
        self._fate = fate
        self._chance = random.Random(seed)
        self._reached: set[str] = set()
        self._seen_s = 0.0
        self._has_slept = False
        self._truth = EMPTY
        self._write_id = self._written_last = ""

    # What is read

    def properties(self, name: str) -> BlobProperties | None:
        self._advance()
        found = self._inner.properties(name)
        return found if found is not None and self._is_visible(name, found) else None

    def get(self, name: str) -> BlobRange | None:
        if self.properties(name) is None:
            return None
        return self._inner.get(name)

    def get_range(
        self, name: str, offset: int, length: int, *, if_match: str | None = None
    ) -> BlobRange | PreconditionFailed | None:
        if self.properties(name) is None:
            return None
        return self._inner.get_range(name, offset, length, if_match=if_match)

    def list(self, prefix: str = "") -> Iterator[BlobEntry]:
        self._advance()
        for entry in self._inner.list(prefix):
            if self._is_visible(entry.name, entry.properties):
                yield entry

    def _advance(self) -> None:
        """Move what this process sees: to now, or to a moment ago, but never back."""
        lag_s = self._chance.uniform(0, _MAX_LAG_S) if self._chance.random() < _STALE else 0.0
        self._seen_s = max(self._seen_s, time.time() - lag_s)
        if self._chance.random() < _SLOW:
            time.sleep(self._chance.uniform(0, _MAX_DELAY_S))

    def _is_visible(self, name: str, found: BlobProperties) -> bool:
        if found.modified_s <= self._seen_s or name == HINT:
            return True
        if not name.startswith(MANIFESTS):
            return False
        # What was replaced cannot be shown as it was before; but it was there before the next one.
        following = manifest_name(number_of(name) + 1)
        after = self._inner.properties(following)
        is_stub = found.size_bytes <= _MAX_STUB_BYTES
        return is_stub or (after is not None and self._is_visible(following, after))

    # What is written

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        if write_id := write_id_of(name):
            self._write_id, self._written_last = write_id, name
        return self._written(
            name, "put_if_absent", lambda: self._inner.put_if_absent(name, data), len(data)
        )

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        return self._written(
            name, "put_if_match", lambda: self._inner.put_if_match(name, data, etag), len(data)
        )

    def delete(self, name: str, *, if_match: str | None = None) -> bool:
        if name.startswith("segments/"):
            self._check_unnamed(name)

        def delete() -> bool:
            done = self._inner.delete(name, if_match=if_match)
            if done:
                self._journal.note("deleted", name=name)
            return done

        return self._written(name, "delete", delete)

    def _written(self, name: str, method: str, call: Callable[[], T], size_bytes: int = 0) -> T:
        point = point_of(self.operation, name, method, size_bytes)
        self._pass(f"{point}.before")
        self._inner.between = lambda: self._pass(f"{point}.during")
        is_commit = name.startswith(MANIFESTS) and method == "put_if_absent"
        share = 0.1 * _LOST_WRITES if method == "delete" else _LOST_WRITES
        lost = self._chance.random() < (_LOST_COMMITS if is_commit else share)
        how = self._chance.choice(("took place", "did not", "was repeated")) if lost else ""
        if how == "did not":
            self._journal.note("lost", commit=is_commit)
            raise UnknownOutcomeError("torture: the request was lost")
        result = call()
        if name.startswith(MANIFESTS) and isinstance(result, Written):
            # It is named by now, and may go for other reasons than that nobody committed it.
            self._written_last = ""
        if isinstance(result, Written) or result is True:
            self._pass(f"{point}.after")
            if how:
                self._journal.note("lost", commit=is_commit)
            if how == "took place":
                raise UnknownOutcomeError("torture: the answer was lost")
            if how == "was repeated":  # by the client itself, which saw its own write
                return PreconditionFailed() if isinstance(result, Written) else False  # type: ignore[return-value]
        # The answer shows that everything up to now is there.
        self._seen_s = time.time()
        if is_commit and isinstance(result, PreconditionFailed):
            self._journal.note("conflict")
        return result

    def _pass(self, point: str) -> None:
        if point not in self._reached:
            self._reached.add(point)
            self._journal.note("reach", point=point)
        if point == self._fate.die_at:
            self._journal.note("die", point=point)
            os.kill(os.getpid(), signal.SIGKILL)
        if point == self._fate.sleep_at and self._written_last and not self._has_slept:
            self._sleep(point)
        if self._chance.random() < _SLOW:
            time.sleep(self._chance.uniform(0, _MAX_DELAY_S))

    def _sleep(self, point: str) -> None:
        """Sleep until the collector has deleted what this process has written and not committed."""
        self._has_slept = True
        manifests = Manifests(self._inner)
        until_s = time.monotonic() + _MAX_SLEEP_S
        while time.monotonic() < until_s:
            if self._inner.properties(self._written_last) is None:
                assert is_behind(self._write_id, manifests.newest().collected_before)
                self._journal.note("slept", point=point, write_id=self._write_id)
                return
            time.sleep(0.05)

    def _check_unnamed(self, name: str) -> None:
        """The truth, not what this process sees: nothing that is live may be deleted."""
        self._truth = Manifests(self._inner).newest(self._truth)
        if name in {file.name for file in self._truth.files()}:
            self._journal.note("bad", what=f"{name} is live and was about to be deleted")
