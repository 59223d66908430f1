"""Which manifest a search answers from: the newest whose query encoder is loaded.

An index may change its text encoder at any commit (`indexer_core.index.switching`). A query must be
encoded by the encoder whose vectors it is compared with, so snapshot and encoder are handed out
together, and a reader moves on to a switched index only once it has the new encoder. Until then it
keeps answering from the last manifest before the switch.
"""

import logging
from dataclasses import dataclass, replace

from indexer_core.encoders import FindEncoder
from indexer_core.errors import NotFoundError, UnavailableError
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.ports import TextEncoder

log = logging.getLogger(__name__)

# How far a reader that was left behind looks for the last manifest before the switch.
_MAX_WALK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Searchable:
    """A snapshot with the encoder of its text vectors; `newest` is the number of the newest one.

    It lies behind (`newest` is higher) only while the encoder that the index was switched to is
    not loaded.
    """

    snapshot: Snapshot
    encoder: TextEncoder
    newest: int


class QueryReader:
    """Follows an index for searches; not for use by several threads at once.

    Parameters
    ----------
    find
        The encoder of an id, or None while there is none; asked again at every refresh.
    first
        The same for the first manifest, when there is nothing else to answer from: it may wait.
    """

    def __init__(
        self,
        reader: Reader,
        manifests: Manifests,
        find: FindEncoder,
        first: FindEncoder | None = None,
    ) -> None:
        self._reader = reader
        self._manifests = manifests
        self._find = find
        self._first = first or find
        self._encoder: TextEncoder | None = None
        self._seen = EMPTY
        self._walked = 0

    def refresh(self) -> Searchable | None:
        """The newest searchable snapshot; None while nothing is indexed.

        Raises
        ------
        UnavailableError
            The encoder is not there, and nothing was searchable so far.
        """
        self._seen = self._manifests.newest(self._seen)
        try:
            with self._manifests.unless_expired(self._seen):
                return self._adopted()
        except NotFoundError:  # replaced, expired and collected since it was read
            self._seen = self._manifests.newest()
            return self._adopted()

    def _adopted(self) -> Searchable | None:
        wanted = text_encoder_of(self._seen)
        if wanted is None:
            return None
        if self._encoder is None:
            self._encoder = self._first(wanted)
            if self._encoder is None:
                raise UnavailableError(
                    f"this index is searched with the text encoder {wanted}, which is not here"
                )
        elif self._encoder.encoder_id != wanted:
            self._encoder = self._find(wanted) or self._encoder
        if self._encoder.encoder_id == wanted:
            snapshot = self._reader.adopt(self._seen)
        else:
            snapshot = self._stay_behind(self._encoder.encoder_id)
        return Searchable(snapshot=snapshot, encoder=self._encoder, newest=self._seen.number)

    def _stay_behind(self, encoder_id: str) -> Snapshot:
        """The last manifest before the switch, without what was suppressed since."""
        last = self._last_before_switch(encoder_id)
        suppressed = self._seen.suppressed
        if suppressed != last.suppressed:
            last = replace(last, suppressed=suppressed)
        return self._reader.adopt(last)

    def _last_before_switch(self, encoder_id: str) -> Manifest:
        last = self._reader.snapshot.manifest
        numbers = range(max(last.number, self._walked) + 1, self._seen.number)
        for number in numbers[:_MAX_WALK]:
            found = self._manifests.read(number)
            if not isinstance(found, Manifest) or text_encoder_of(found) != encoder_id:
                break
            last = found
        if numbers:
            log.warning("search stays behind manifest=%d newest=%d", last.number, self._seen.number)
        self._walked = self._seen.number
        return last


def text_encoder_of(manifest: Manifest) -> str | None:
    """Id of the encoder whose text vectors are searched; None before the index is opened."""
    space = manifest.space(TEXT_SPACE)
    return None if space is None else space.live
