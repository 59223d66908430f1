"""The points of an index: image vectors of all series that it shows, with their places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.loaded import LiveSegment
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.segment import IMAGE_SPACE, Points

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Archive:
    """All points of a manifest, in the order of their keys.

    Parameters
    ----------
    keys : ndarray of str, shape (n,)
        Series keys.
    write_ids : ndarray of str, shape (n,)
        Of their rows, which sort by time.
    vectors : ndarray of float32, shape (n, dimension)
    points : ndarray of float32, shape (n, 2)
        On the map in force.
    is_provisional : ndarray of bool, shape (n,)
    """

    manifest: Manifest
    keys: NDArray[np.str_]
    write_ids: NDArray[np.str_]
    vectors: Floats
    points: Floats
    is_provisional: Flags

    def __len__(self) -> int:
        """Number of points."""
        return len(self.keys)

    def rows_of(self, keys: tuple[str, ...]) -> NDArray[np.int64]:
        """Row of each key, -1 where the index does not show it."""
        if not len(self) or not keys:
            return np.full(len(keys), -1, dtype=np.int64)
        wanted = np.array(keys)
        at = np.searchsorted(self.keys, wanted).clip(max=len(self) - 1)
        return np.where(self.keys[at] == wanted, at, -1).astype(np.int64)


def read_archive(reader: Reader) -> Archive:
    """The points of the newest manifest.

    Raises
    ------
    NotFoundError
        Nothing is indexed yet.
    CorruptIndexError
        A file is missing or damaged.
    """
    snapshot = reader.refresh()
    manifest = snapshot.manifest
    space = manifest.space(IMAGE_SPACE)
    if space is None or manifest.projection is None:
        raise NotFoundError("nothing is indexed yet, so there is nothing to map")
    if manifest.projection.encoder_id != space.live:
        raise InvalidInputError("the map in force reads vectors that the index has no more")
    version = manifest.projection.version
    parts = [_Part(segment) for segment in snapshot.segments]
    parts = [part for part in parts if len(part.rows)]
    if not parts:
        raise NotFoundError("no series with pixels is indexed yet, so there is nothing to map")
    keys = np.concatenate([part.keys for part in parts])
    order = np.argsort(keys, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(order))
    vectors = np.empty((len(keys), space.dimension), dtype=np.float32)
    points = np.empty((len(keys), 2), dtype=np.float32)
    is_provisional = np.zeros(len(keys), dtype=np.bool_)
    start = 0
    for part in parts:
        # Segment by segment into their places: an archive takes most of the memory there is.
        at = places[start : start + len(part.rows)]
        vectors[at] = part.vectors(space.live)
        here = part.points(version)
        points[at] = here.xy
        if here.is_provisional is not None:
            is_provisional[at] = here.is_provisional
        start += len(part.rows)
    return Archive(
        manifest=manifest,
        keys=keys[order],
        write_ids=np.concatenate([part.write_ids for part in parts])[order],
        vectors=vectors,
        points=points,
        is_provisional=is_provisional,
    )


class _Part:
    """The points of one segment."""

    def __init__(self, segment: LiveSegment) -> None:
        self._loaded = segment.loaded
        has_image = self._loaded.counts(IMAGE_SPACE) > 0
        self.rows = np.flatnonzero(segment.live & has_image).astype(np.int64)
        self._numbers = self._loaded.rows.starts(IMAGE_SPACE)[self.rows]
        ranks = self._loaded.ranks(self.rows)
        self.keys = np.array([key for key, _ in ranks], dtype=np.str_)
        self.write_ids = np.array([order[2] for _, order in ranks], dtype=np.str_)

    def vectors(self, encoder_id: str) -> Floats:
        return self._loaded.vectors(IMAGE_SPACE, encoder_id).reconstruct()[self._numbers]

    def points(self, version: str) -> Points:
        points = self._loaded.points(version)
        assert points is not None, "a manifest names the places of all its points"
        return points.taken(self._numbers)
