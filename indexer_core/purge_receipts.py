"""Receipts of purges: what was erased where, what is left, and until when.

The receipt is written down before anything is done, with the series keys that are to be erased, and
updated as the work goes on; so it is also what an interrupted purge is carried on from. When all is
done it holds no key any more, only their hashes.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.ports import BlobStore, PreconditionFailed
from indexer_core.sealed import seal, unseal
from indexer_core.software import NAME, commit_id

PREFIX = "purges/"
FORMAT_VERSION = 1


class State(StrEnum):
    """How far a purge has come."""

    REQUESTED = "requested"
    HIDDEN = "hidden"
    ERASING = "erasing"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remaining:
    """A copy that a purge does not reach, and when it is gone (None: nobody here knows)."""

    what: str
    until_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """A purge, under way or done.

    Parameters
    ----------
    asked
        What it was asked for by: ``series`` or ``patient``.
    series
        Series keys; once it is done, their hashes (`receipt_hash`).
    due_s
        Nothing is erased earlier. This and all times: seconds since the epoch.
    n_files
        Files that the series lay in. They are the user's, and not touched.
    n_restored
        Series that somebody restored before they were erased, so that they were not.
    erased
        How many things of each kind were erased.
    n_interrupted
        Runs that did not come to their end; what they erased last may be missing from `erased`.
    """

    id: str
    asked: str
    series: tuple[str, ...]
    requested_s: float
    state: State = State.REQUESTED
    due_s: float = 0.0
    started_s: float | None = None
    finished_s: float | None = None
    n_files: int = 0
    n_restored: int = 0
    erased: Mapping[str, int] = field(default_factory=dict)
    n_interrupted: int = 0
    remaining: tuple[Remaining, ...] = ()
    software: str = NAME
    commit: str = field(default_factory=commit_id)

    def finished(self, now_s: float, n_restored: int) -> "Purge":
        """The receipt."""
        return replace(
            self,
            state=State.DONE,
            series=tuple(sorted(receipt_hash(key) for key in self.series)),
            finished_s=now_s,
            n_restored=n_restored,
        )


def receipt_hash(series_key: str) -> str:
    """What stands for a series in a receipt: whoever knows the series can check it."""
    return hashlib.sha256(f"purge {series_key}".encode()).hexdigest()


class Purges:
    """The receipts of one index."""

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs

    def all(self) -> Iterator[Purge]:
        """Every purge, oldest first.

        Raises
        ------
        CorruptIndexError
            A receipt is damaged, or newer than this software.
        """
        for entry in self._blobs.list(PREFIX):
            found = self._blobs.get(entry.name)
            if found is not None:
                yield parse_receipt(found.data, entry.name)

    def pending(self) -> Iterator[Purge]:
        """Those that are not done."""
        return (purge for purge in self.all() if purge.state is not State.DONE)

    def put(self, purge: Purge) -> float:
        """Write a purge down; returns when, by the store's clock (seconds since the epoch).

        Raises
        ------
        ConflictError
            Somebody else works on it.
        """
        name = f"{PREFIX}{purge.id}.json"
        found = self._blobs.get(name)
        if found is None:
            written = self._blobs.put_if_absent(name, _dump(purge))
        else:
            written = self._blobs.put_if_match(name, _dump(purge), found.etag)
        properties = self._blobs.properties(name)
        if isinstance(written, PreconditionFailed) or properties is None:
            raise ConflictError("somebody else works on this purge: wait for it to end")
        return properties.modified_s


def _dump(purge: Purge) -> bytes:
    return seal({"format_version": FORMAT_VERSION, **asdict(purge)})


def parse_receipt(data: bytes, name: str) -> Purge:
    """Read a receipt.

    Raises
    ------
    CorruptIndexError
        It is damaged, or newer than this software.
    """
    body: dict[str, Any] = unseal(data, name, FORMAT_VERSION)
    try:
        remaining = tuple(Remaining(**one) for one in body["remaining"])
        known = {**body, "state": State(body["state"]), "series": tuple(body["series"])}
        return Purge(**{**known, "remaining": remaining})
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(f"{name}: not the receipt of a purge") from error
