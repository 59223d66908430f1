"""Snapshots that were in use a moment ago: what a change since then is told from.

A snapshot of the past, as `Reader.at` gives it, hides what is suppressed now. From such a one
nobody could be told that a series has gone by being suppressed, or has come back. These are as they
were, so they are only ever compared with: nothing of them is shown but keys of what has gone.
"""

from indexer_core.errors import NotFoundError, UnavailableError
from indexer_core.index.lineage import PURGED
from indexer_core.index.reader import Reader, Snapshot


class RecentSnapshots:
    """The last few; for one thread at a time, like the reader that they come from."""

    def __init__(self, reader: Reader, *, keep: int = 4) -> None:
        """`keep`: snapshots held at once; each shares with the others what they have in common."""
        self._reader = reader
        self._keep = keep
        self._held: dict[int, Snapshot] = {}

    def note(self, snapshot: Snapshot) -> None:
        """Remember a snapshot that is in use, as its manifest has it."""
        self._hold(snapshot.manifest.number, snapshot.bare())

    def at(self, number: int) -> Snapshot | None:
        """Manifest `number` as it was.

        None where it is not kept, or not as it was, or cannot be opened now: whoever asks can tell
        all there is instead.
        """
        found = self._held.pop(number, None)
        if found is None:
            try:
                found = self._reader.at(number, as_it_was=True)
            except (NotFoundError, UnavailableError):
                return None
            if PURGED in found.manifest.lineage.details:
                return None
        self._hold(number, found)
        return found

    def _hold(self, number: int, snapshot: Snapshot) -> None:
        self._held.pop(number, None)
        self._held[number] = snapshot
        while len(self._held) > self._keep:
            del self._held[next(iter(self._held))]
