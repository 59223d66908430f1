"""The points of an index: image vectors of all series that it shows, with their places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import InvalidInputError, NotFoundError
from indexer_core.index.loaded import LiveSegment
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.segment import IMAGE_SPACE

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
    parts = [_points_of(s, space.live, manifest.projection.version) for s in snapshot.segments]
    parts = [part for part in parts if len(part[0])]
    if not parts:
        raise NotFoundError("no series with pixels is indexed yet, so there is nothing to map")
    keys, write_ids, vectors, points, flags = (
        np.concatenate(each) for each in zip(*parts, strict=True)
    )
    order = np.argsort(keys, kind="stable")
    return Archive(
        manifest=manifest,
        keys=keys[order],
        write_ids=write_ids[order],
        vectors=vectors[order],
        points=points[order],
        is_provisional=flags[order],
    )


def _points_of(
    segment: LiveSegment, encoder_id: str, version: str
) -> tuple[NDArray[np.str_], NDArray[np.str_], Floats, Floats, Flags]:
    loaded = segment.loaded
    rows = np.flatnonzero(segment.live & (loaded.counts(IMAGE_SPACE) > 0)).astype(np.int64)
    if not len(rows):
        nobody = np.empty(0, dtype=np.str_)
        nowhere = np.empty((0, 2), dtype=np.float32)
        return nobody, nobody, nowhere, nowhere, np.empty(0, dtype=np.bool_)
    numbers = loaded.rows.starts(IMAGE_SPACE)[rows]
    vectors = loaded.vectors(IMAGE_SPACE, encoder_id).reconstruct()[numbers]
    points = loaded.points(version)
    assert points is not None, "a manifest names the places of all its points"
    here = points.taken(numbers)
    flags = here.is_provisional
    ranks = loaded.ranks(rows)
    return (
        np.array([key for key, _ in ranks]),
        np.array([order[2] for _, order in ranks]),
        np.asarray(vectors, dtype=np.float32),
        here.xy,
        np.zeros(len(rows), dtype=np.bool_) if flags is None else flags,
    )
