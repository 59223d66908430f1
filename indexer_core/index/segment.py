"""Writing segments: files named by write id and digest, written before anything names them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer_core.errors import ConflictError, CorruptIndexError
from indexer_core.index.manifest import (
    CoordinateFile,
    FileRef,
    Segment,
    VectorFile,
)
from indexer_core.index.rows import IndexRow, rows_to_bytes
from indexer_core.ports import BlobStore, Buffer, PreconditionFailed, VectorFiles

PREFIX = "segments/"
TEXT_SPACE = "text"
IMAGE_SPACE = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceVectors:
    """Vectors of one space and encoder for the rows of a segment: float32 (n, dimension)."""

    space: str
    encoder_id: str
    vectors: NDArray[np.float32]


class MapPoint(NamedTuple):
    """Where a series is on a map; see `Points`."""

    x: float
    y: float
    is_provisional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Points:
    """Coordinates of one projection version, in image-vector order.

    Parameters
    ----------
    xy : ndarray of float32, shape (n_points, 2)
    is_provisional : ndarray of bool, shape (n_points,), optional
        Placed among its neighbours until the map has learnt its kind. None: none of them is.
    """

    projection: str
    xy: NDArray[np.float32]
    is_provisional: NDArray[np.bool_] | None = None

    def at(self, number: int) -> MapPoint:
        """One of them."""
        x, y = self.xy[number].tolist()
        flags = self.is_provisional
        return MapPoint(x, y, flags is not None and bool(flags[number]))

    def taken(self, numbers: NDArray[np.int64]) -> "Points":
        """Some of them, in this order."""
        flags = None if self.is_provisional is None else self.is_provisional[numbers]
        return replace(self, xy=self.xy[numbers], is_provisional=flags)

    @classmethod
    def joined(cls, parts: Sequence["Points"]) -> "Points":
        """Those of several files of one version, at least one, in turn."""
        flags = None
        if any(part.is_provisional is not None for part in parts):
            flags = np.concatenate(
                [
                    np.zeros(len(part.xy), dtype=np.bool_)
                    if part.is_provisional is None
                    else part.is_provisional
                    for part in parts
                ]
            )
        xy = np.concatenate([part.xy for part in parts])
        return cls(projection=parts[0].projection, xy=xy, is_provisional=flags)


class SegmentWriter:
    """Writes the files of segments into a blob store."""

    def __init__(self, blobs: BlobStore, vector_files: VectorFiles) -> None:
        self._blobs = blobs
        self._vector_files = vector_files

    def write(
        self,
        write_id: str,
        rows: Sequence[IndexRow],
        spaces: Sequence[SpaceVectors],
        points: Sequence[Points] = (),
        level: int = 0,
    ) -> Segment:
        """Write one segment; every space lists its vectors in row order.

        Raises
        ------
        ValueError
            The counts of the rows and of the vectors differ.
        """
        n_images = sum(row.image_count for row in rows)
        expected = {TEXT_SPACE: sum(row.text_count for row in rows), IMAGE_SPACE: n_images}
        for space in spaces:
            if len(space.vectors) != expected[space.space]:
                raise ValueError(f"{space.space}: vectors and rows differ in number")
        if any(len(point.xy) != n_images for point in points):
            raise ValueError("coordinates and rows differ in number")
        return Segment(
            id=write_id,
            rows=self.put_rows(write_id, rows_to_bytes(rows)),
            n_rows=len(rows),
            n_alive=sum(row.alive for row in rows),
            n_points=n_images,
            vectors=tuple(self.write_vectors(write_id, space) for space in spaces),
            coordinates=tuple(self.write_points(write_id, point) for point in points),
            level=level,
        )

    def put_rows(self, write_id: str, data: bytes) -> FileRef:
        """Write a rows file that was built or joined."""
        return self._put(write_id, "rows.arrow", data)

    def write_vectors(self, write_id: str, space: SpaceVectors) -> VectorFile:
        """Write the vector file of one space."""
        return self.put_vectors(
            write_id,
            self._vector_files.build(space.vectors),
            space=space.space,
            encoder_id=space.encoder_id,
            n_vectors=len(space.vectors),
            dimension=int(space.vectors.shape[1]),
        )

    def put_vectors(
        self,
        write_id: str,
        data: bytes,
        *,
        space: str,
        encoder_id: str,
        n_vectors: int,
        dimension: int,
    ) -> VectorFile:
        """Write a vector file that `VectorFiles` has built or joined."""
        return VectorFile(
            file=self._put(write_id, f"{space}.faiss", data),
            space=space,
            encoder_id=encoder_id,
            kind=self._vector_files.kind,
            n_vectors=n_vectors,
            dimension=dimension,
        )

    def write_points(self, write_id: str, points: Points) -> CoordinateFile:
        """Write the coordinate file of one projection."""
        file = self._put(write_id, "points.npy", dump_points(points))
        return CoordinateFile(file=file, projection=points.projection, n_points=len(points.xy))

    def _put(self, write_id: str, suffix: str, data: bytes) -> FileRef:
        digest = hashlib.sha256(data).hexdigest()
        name = f"{PREFIX}{write_id}-{digest}.{suffix}"
        if isinstance(self._blobs.put_if_absent(name, data), PreconditionFailed):
            # Same write id and digest: our own earlier write whose answer was lost.
            found = self._blobs.properties(name)
            if found is None or found.size_bytes != len(data):
                raise ConflictError("a segment file of this name exists with other content")
        return FileRef(name=name, sha256=digest, size_bytes=len(data))


def dump_array(array: NDArray[np.float32]) -> bytes:
    """`array` in the .npy format, little-endian float32."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype="<f4"), allow_pickle=False)
    return buffer.getvalue()


def dump_points(points: Points) -> bytes:
    """A table of x and y; a third column says which are provisional, where any is."""
    flags = points.is_provisional
    if flags is None or not flags.any():
        return dump_array(points.xy)
    return dump_array(np.column_stack([points.xy, flags.astype(np.float32)]))


def load_points(data: Buffer, named: CoordinateFile) -> Points:
    """What `dump_points` wrote; read-only.

    Raises
    ------
    CorruptIndexError
        Not such a file.
    """
    name = named.file.name
    try:
        array: NDArray[np.float32] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorruptIndexError(f"{name}: not a coordinate file") from error
    if array.ndim != 2 or array.shape[1] not in (2, 3) or array.dtype != np.dtype("<f4"):
        raise CorruptIndexError(f"{name}: not a coordinate file")
    xy, flags = np.ascontiguousarray(array[:, :2]), None
    if array.shape[1] == 3:
        flags = array[:, 2] != 0
        flags.setflags(write=False)
    xy.setflags(write=False)
    return Points(projection=named.projection, xy=xy, is_provisional=flags)
