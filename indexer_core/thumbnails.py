"""Thumbnails: a small picture of each series, for people who look at search results.

``thumbnails/<xx>/<series key>-<revision>-<start of its digest>.webp``, where xx are the first two
digits of the key: a folder for each series would cost as much as the file. Written once by the
worker, before the row is committed. A picture may show what no header holds, so there is none where
text is likely to be burned into the pixels. Thumbnails may be lost: nothing is told by them alone.

Whoever shows one asks the index first: a series that is hidden keeps its thumbnails until it is
purged.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.entries import Entry
from indexer_core.errors import IndexerError
from indexer_core.facts import SeriesFacts, series_from_json
from indexer_core.index.reader import Place
from indexer_core.index.rows import IndexRow
from indexer_core.index.write_ids import is_behind
from indexer_core.ports import BlobEntry, BlobStore

log = logging.getLogger(__name__)

PREFIX = "thumbnails/"
SIDE = 128

Picture = NDArray[np.uint8]

_NAME = re.compile(rf"{PREFIX}[0-9a-f]{{2}}/([0-9a-f]{{64}})-(\d{{10}})-[0-9a-f]{{16}}\.webp")
# Screens, photographs and captures: what their headers say of burned-in text is not relied on.
_WITHOUT = frozenset({"US", "IVUS", "XC", "ES", "SC", "OT", "DOC"})
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
# Pictures of a slide's paper label (PS3.3 C.8.12.4.1.1).
_LABELS = frozenset({"LABEL", "OVERVIEW"})
_AT_ONCE = 1000

WinnersOf = Callable[[AbstractSet[str]], Mapping[str, Place]]
"""Finds the row that counts of each series; nothing of those without one."""


def thumbnail_name(series: str, revision: int, digest: str) -> str:
    """Where the thumbnail of a revision lies, if it has one."""
    return f"{thumbnail_prefix(series)}{revision:010d}-{digest[:16]}.webp"


def thumbnail_prefix(series: str) -> str:
    """What the names of all thumbnails of a series begin with, and no others."""
    return f"{PREFIX}{series[:2]}/{series}-"


def may_be_shown(record: Mapping[str, Any], facts: SeriesFacts) -> bool:
    """Whether a series is unlikely to have text burned into its pixels."""
    flags, modality = record["flags"], record["modality"]
    if "burnedInRisk" in flags or modality in _WITHOUT or record["headerModality"] in _WITHOUT:
        return False
    classes = [str(uid) for uid, _ in facts.attributes.get("SOPClassUID", ())]
    if any(f"{uid}.".startswith(f"{_CAPTURES}.") for uid in classes):
        return False
    kinds = {kind for value, _ in facts.attributes.get("ImageType", ()) for kind in _parts(value)}
    return _LABELS.isdisjoint(kinds)


def thumbnail_of(blobs: BlobStore, row: IndexRow) -> bytes | None:
    """The thumbnail of the revision in a row, which is to be one that searches show.

    None where there is none, or where what is known of the series by now speaks against showing it.

    Raises
    ------
    UnavailableError
        The store cannot answer.
    """
    if row.record is None or row.facts is None:
        return None
    if not may_be_shown(row.record, series_from_json(row.facts)):
        return None
    kept = blobs.get(thumbnail_name(row.series_key, row.revision, row.digest))
    return None if kept is None else kept.data


def picture_of(slices: NDArray[np.float32], facts: SeriesFacts) -> Picture:
    """The middle slice, in the aspect ratio of the series.

    Parameters
    ----------
    slices : ndarray of float32, shape (n_slices, rows, columns), values in [0, 1]

    Returns
    -------
    ndarray of uint8, shape (rows, columns), the larger of them `SIDE`
    """
    # Whoever only collects thumbnails needs nothing of pixels.
    from indexer_core.pixels.resizing import resize

    rows, columns = _size(facts)
    longest = max(rows, columns)
    shape = (max(1, round(SIDE * rows / longest)), max(1, round(SIDE * columns / longest)))
    image = resize(slices[len(slices) // 2], shape)
    return np.asarray(np.rint(image * 255), dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Keeps thumbnails beside an index; `encode` makes a WebP file of a picture."""

    blobs: BlobStore
    encode: Callable[[Picture], bytes]

    def keep(self, entry: Entry, slices: NDArray[np.float32]) -> bool:
        """Keep the thumbnail of an entry that is to be written, where it may be shown.

        Returns
        -------
        bool
            Whether it has one now. A picture that cannot be made is only logged.

        Raises
        ------
        UnavailableError
            The store cannot answer.
        """
        if entry.record is None or entry.facts is None:
            return False
        facts = series_from_json(entry.facts)
        if not may_be_shown(entry.record, facts):
            return False
        try:
            data = self.encode(picture_of(slices, facts))
        except IndexerError:
            raise
        except Exception as error:  # noqa: BLE001 - a series must not go without a row for it
            log.warning("no thumbnail error=%s", type(error).__name__)
            return False
        # There already: this was tried before, and the same content gives the same picture.
        self.blobs.put_if_absent(thumbnail_name(entry.series, entry.revision, entry.digest), data)
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """When a thumbnail that no live row has is garbage.

    Parameters
    ----------
    fence
        One that was superseded by a row from before this fence (`write_ids`) is.
    orphaned_before_s
        One whose row never came is, if it was written before this, in seconds since the epoch.
    """

    fence: str
    orphaned_before_s: float


def garbage(blobs: BlobStore, winners_of: WinnersOf, expiry: Expiry) -> Iterator[BlobEntry]:
    """Thumbnails that no live row has, and none that can still be searched had lately."""
    entries = blobs.list(PREFIX)
    while group := list(islice(entries, _AT_ONCE)):
        named = [(entry, found) for entry in group if (found := _NAME.fullmatch(entry.name))]
        winners = winners_of({found[1] for _, found in named})
        for entry, found in named:
            if _is_garbage(entry, int(found[2]), winners.get(found[1]), expiry):
                yield entry


def _is_garbage(entry: BlobEntry, revision: int, winner: Place | None, expiry: Expiry) -> bool:
    if winner is None or winner.order[0] < revision:
        return entry.properties.modified_s < expiry.orphaned_before_s
    if winner.alive and winner.order[0] == revision:
        return False
    return is_behind(winner.order[2], expiry.fence)


def _parts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else (str(value),)


def _size(facts: SeriesFacts) -> tuple[int, int]:
    """The most frequent rows and columns; a square where they are not known."""
    first = [(facts.attributes.get(name) or ((0, 0),))[0][0] for name in ("Rows", "Columns")]
    rows, columns = (value if isinstance(value, int) and value > 0 else 0 for value in first)
    return (rows, columns) if rows and columns else (1, 1)
