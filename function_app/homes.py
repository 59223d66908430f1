"""Where answers come from: segments that are searched in this process, or Milvus.

A home hands out one state of the index together with the text encoder that its vectors need. What
is told of all rows at once, such as the map or a cohort, is answered from segments alone.
"""

import logging
from dataclasses import dataclass
from typing import NoReturn, Protocol

from indexer_core.encoders import FindEncoder
from indexer_core.errors import NotFoundError, NotOnThisHomeError, UnavailableError
from indexer_core.index.adoption import QueryReader
from indexer_core.index.adoption import Searchable as Adopted
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.recent import RecentSnapshots
from indexer_core.paging import PastSnapshots
from indexer_core.ports import TextEncoder
from indexer_core.snapshot_index import SnapshotIndex
from indexer_core.vector_index import IndexHome, VectorIndex

log = logging.getLogger(__name__)

SEGMENTS, MILVUS = "segments", "milvus"
"""Names of the homes, as `GET /api/status` tells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """A state of the index with the encoder of its text vectors.

    newest: the number of the newest manifest. It is higher than that of the state while nothing
    newer can be searched, and where an earlier one was asked for.
    """

    index: VectorIndex
    encoder: TextEncoder
    newest: int


class Home(Protocol):
    """Where a service's answers come from; not for use by several threads at once."""

    @property
    def name(self) -> str:
        """`SEGMENTS` or `MILVUS`."""

    def searchable(self, number: int | None) -> Searchable:
        """The state of manifest `number`; None: the newest one whose text encoder is loaded.

        Raises
        ------
        NotFoundError
            Nothing is indexed yet.
        ManifestExpiredError
            That manifest is not kept any more.
        UnavailableError
            Nothing can be searched now.
        """

    def manifest(self) -> Manifest:
        """The newest manifest that this home knows, whose states up to `searchable` are kept.

        Raises
        ------
        NotFoundError
            Nothing is indexed yet.
        """

    def snapshot(self, number: int | None) -> Snapshot:
        """The state as `searchable` gives it, with its segments.

        Raises
        ------
        NotOnThisHomeError
            No segments are opened here.
        """

    def compared(self, number: int | None, since: int) -> tuple[Snapshot, Snapshot | None]:
        """The same, and manifest `since` as it was; None where it is not kept.

        The other one is to be compared with, and never to be shown: it may hold what has been
        suppressed since.
        """

    def refuse(self) -> None:
        """Called before something else that takes segments.

        Raises
        ------
        NotOnThisHomeError
            No segments are opened here.
        """


class SegmentsHome:
    """Segments searched in this process (`Home`).

    Parameters
    ----------
    reader
        The one that `queries` follows the index with.
    """

    name = SEGMENTS

    def __init__(self, reader: Reader, queries: QueryReader) -> None:
        self._queries = queries
        self._past = PastSnapshots(reader)
        self._recent = RecentSnapshots(reader)

    def searchable(self, number: int | None) -> Searchable:
        """The state of manifest `number`, or the newest one."""
        now = self._now()
        index = SnapshotIndex(self._at(now, number))
        return Searchable(index=index, encoder=now.encoder, newest=now.newest)

    def manifest(self) -> Manifest:
        """The newest manifest that is searched."""
        return self._now().snapshot.manifest

    def snapshot(self, number: int | None) -> Snapshot:
        """The state with its segments."""
        return self._at(self._now(), number)

    def compared(self, number: int | None, since: int) -> tuple[Snapshot, Snapshot | None]:
        """The same, and manifest `since` as it was."""
        return self.snapshot(number), self._recent.at(since)

    def refuse(self) -> None:
        """Nothing is refused."""

    def _now(self) -> Adopted:
        ready = self._queries.refresh()
        if ready is None:
            raise NotFoundError("nothing is indexed yet")
        if ready.newest == ready.snapshot.manifest.number:  # others are not as they were
            self._recent.note(ready.snapshot)
        return ready

    def _at(self, now: Adopted, number: int | None) -> Snapshot:
        return now.snapshot if number is None else self._past.at(number)


class MilvusAnswers:
    """Collections of Milvus that a follower keeps equal to a manifest (`Home`); opens no segment.

    Where the index was switched to a text encoder that is not loaded yet, the last state before
    goes on answering, unless something was hidden since: that state cannot know it.

    Parameters
    ----------
    setting
        The name of the setting that chose this home, for whoever has to leave it out.
    find, first
        As of `indexer_core.index.adoption.QueryReader`.
    """

    name = MILVUS

    def __init__(
        self,
        home: IndexHome,
        manifests: Manifests,
        find: FindEncoder,
        first: FindEncoder | None = None,
        *,
        setting: str,
    ) -> None:
        self._home = home
        self._manifests = manifests
        self._find = find
        self._first = first or find
        self._setting = setting
        self._newest = EMPTY
        self._last: _Last | None = None

    def searchable(self, number: int | None) -> Searchable:
        """The state of manifest `number`, or the newest one."""
        last = self._refreshed()
        is_last = number is None or number == last.index.state.number
        index = last.index if is_last or number is None else self._home.at(number)
        return Searchable(index=index, encoder=last.encoder, newest=self._newest.number)

    def manifest(self) -> Manifest:
        """The newest manifest, followed or not."""
        self._newest = self._manifests.newest(self._newest)
        if self._newest.number == 0:
            raise NotFoundError("nothing is indexed yet")
        return self._newest

    def snapshot(self, number: int | None) -> NoReturn:
        """Refused: see `refuse`."""
        del number
        self.refuse()

    def compared(self, number: int | None, since: int) -> NoReturn:
        """Refused: see `refuse`."""
        del number, since
        self.refuse()

    def refuse(self) -> NoReturn:
        """Say where this is answered."""
        raise NotOnThisHomeError(
            f"this is answered from the index's segments alone: leave {self._setting} out"
        )

    def _refreshed(self) -> "_Last":
        newest = self.manifest()
        index = self._home.refresh()
        if index is None:
            raise UnavailableError("Milvus has not followed the index yet")
        self._last = last = self._with_encoder(index, newest)
        return last

    def _with_encoder(self, index: VectorIndex, newest: Manifest) -> "_Last":
        wanted, last = index.state.text_encoder, self._last
        if not wanted:
            raise NotFoundError("nothing is indexed yet")
        if last is None:
            encoder = self._first(wanted)
        elif last.encoder.encoder_id == wanted:
            encoder = last.encoder
        else:
            encoder = self._find(wanted)
        if encoder is not None:
            return _Last(index=index, encoder=encoder, suppressed=newest.suppressed)
        if last is None or not newest.suppressed <= last.suppressed:
            raise UnavailableError(
                f"this index is searched with the text encoder {wanted}, which is not here"
            )
        log.warning("search stays behind manifest=%d", last.index.state.number)
        return last


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """What was searched last. suppressed: of the newest manifest at that time."""

    index: VectorIndex
    encoder: TextEncoder
    suppressed: frozenset[str]
