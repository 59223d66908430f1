"""Series that look like others: by the image vectors that the index holds of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.keys import hashes_of
from indexer_core.index.loaded import LiveSegment
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE
from indexer_core.search import Hit, keys_of, search_images
from indexer_core.selection import Conditions, Selection, select

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictured:
    """Series that are asked about, by key, with their image vectors.

    keys: of all of them. vectors: float32 (n, dimension), of those that have an image; n >= 1.
    """

    keys: tuple[str, ...]
    vectors: Vectors


def image_encoder_of(snapshot: Snapshot) -> str:
    """Id of the encoder whose image vectors are searched; "" before the index is opened."""
    space = snapshot.manifest.space(IMAGE_SPACE)
    return "" if space is None else space.live


def pictured(snapshot: Snapshot, uid: str, scopes: frozenset[str] | None = None) -> Pictured:
    """The series with this Series Instance UID or series key, in the scopes that may be seen.

    The same UID in two scopes is two series.

    Raises
    ------
    NotFoundError
        There is none, or none that may be seen: who may not see one is not told that it is there.
    InvalidInputError
        None of them has an image.
    """
    places = _places(snapshot, keys_of(snapshot, uid), select(snapshot, Conditions(scopes=scopes)))
    encoder_id = image_encoder_of(snapshot)
    vectors = [
        segment.loaded.vectors(IMAGE_SPACE, encoder_id).reconstruct(first, 1)[0]
        for segment, row in places
        for first in _images(segment, row)
    ]
    return pictured_by([segment.loaded.key(row) for segment, row in places], vectors)


def pictured_by(keys: Sequence[str], vectors: Sequence[Vectors]) -> Pictured:
    """The series of these keys, in any order, with their image vectors float32 (dimension,).

    Raises
    ------
    NotFoundError, InvalidInputError
        As of `pictured`.
    """
    if not keys:
        raise NotFoundError("no indexed series has that UID or key")
    if not vectors:
        raise InvalidInputError(
            "that series has no image to be compared: it has no pixels, or they cannot be decoded"
        )
    return Pictured(keys=tuple(sorted(keys)), vectors=np.stack(vectors))


def without(snapshot: Snapshot, selection: Selection, keys: Sequence[str]) -> Selection:
    """A selection less the series of these keys."""
    masks = {id(segment): rows for segment, rows in _by_segment(snapshot, selection)}
    n_left_out = 0
    for segment, row in _places(snapshot, frozenset(keys), selection):
        masks[id(segment)] = masks[id(segment)].copy()
        masks[id(segment)][row] = False
        n_left_out += 1
    return replace(
        selection,
        rows=tuple(masks[id(segment)] for segment in snapshot.segments),
        n_passed=selection.n_passed - n_left_out,
        is_all=selection.is_all and not n_left_out,
    )


def with_images(snapshot: Snapshot, selection: Selection) -> Selection:
    """A selection of those that have an image: all that can be found by one."""
    rows = tuple(
        mask & (segment.loaded.counts(IMAGE_SPACE) > 0)
        for segment, mask in _by_segment(snapshot, selection)
    )
    n_passed = sum(int(np.count_nonzero(mask)) for mask in rows)
    return replace(selection, rows=rows, n_passed=n_passed, is_all=False)


def search_like(
    snapshot: Snapshot, vectors: Vectors, selection: Selection, top: int, *, exact: bool = True
) -> list[Hit]:
    """The `top` series that are nearest to any of some vectors, best first.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n, dimension), rows L2-normalised
        In the image space of the snapshot.
    """
    return nearest_to_any(
        (search_images(snapshot, vector, selection, top, exact=exact) for vector in vectors), top
    )


def nearest_to_any(found: Iterable[Sequence[Hit]], top: int) -> list[Hit]:
    """The `top` best of what was found by several vectors."""
    best: dict[str, Hit] = {}
    for hit in (each for hits in found for each in hits):
        known = best.get(hit.key)
        if known is None or hit.score > known.score:
            best[hit.key] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.key))[:top]


def _by_segment(
    snapshot: Snapshot, selection: Selection
) -> list[tuple[LiveSegment, NDArray[np.bool_]]]:
    return list(zip(snapshot.segments, selection.rows, strict=True))


def _places(
    snapshot: Snapshot, keys: frozenset[str], selection: Selection
) -> list[tuple[LiveSegment, int]]:
    """The selected rows of these series."""
    hashes = np.unique(hashes_of(keys))
    return [
        (segment, row)
        for segment, mask in _by_segment(snapshot, selection)
        for row in segment.loaded.key_index.find(hashes)[1].tolist()
        if mask[row] and segment.loaded.rows.key(row) in keys
    ]


def _images(segment: LiveSegment, row: int) -> range:
    """Numbers of the image vectors of a row."""
    return range(
        segment.loaded.first_vector(IMAGE_SPACE, row),
        segment.loaded.first_vector(IMAGE_SPACE, row + 1),
    )
