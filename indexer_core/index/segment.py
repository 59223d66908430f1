"""Writing segments: files named by write id and digest, written before anything names them."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Coordinates of one projection: float32 (n_points, 2), in image-vector order."""

    projection: str
    xy: NDArray[np.float32]


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
        file = self._put(write_id, "points.npy", dump_array(points.xy))
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


def load_points(data: Buffer, name: str) -> NDArray[np.float32]:
    """Coordinates float32 (n, 2) of a coordinate file, read-only.

    Raises
    ------
    CorruptIndexError
        Not such a file.
    """
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise CorruptIndexError(f"{name}: not a coordinate file") from error
    if array.ndim != 2 or array.shape[1] != 2 or array.dtype != np.dtype("<f4"):
        raise CorruptIndexError(f"{name}: not a coordinate file")
    points: NDArray[np.float32] = array
    points.setflags(write=False)
    return points
