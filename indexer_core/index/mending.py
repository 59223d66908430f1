"""Making damaged files of a segment again, from what is left of it.

Vectors of texts come from the texts in the rows, coordinates from the image vectors: by the map's
encoder for what the map was made of, as new series are placed for what came later. Often the
result is, bit by bit, what was there: then it goes back under the old name, and no manifest needs
to change. Image vectors come from pixels only, and rows from nothing.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from indexer_core.encoders import FindEncoder
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.index.aside import put_back
from indexer_core.index.files import read_file
from indexer_core.index.filling import (
    DEFAULT_PART_VECTORS,
    Filling,
    SegmentFiller,
    text_vectors,
)
from indexer_core.index.manifest import CoordinateFile, Manifest, Segment, Space, VectorFile
from indexer_core.index.outcomes import with_files
from indexer_core.index.projections import load_map
from indexer_core.index.rows import IndexRow, column_of, numbers_of, rows_of, table_of
from indexer_core.index.segment import (
    IMAGE_SPACE,
    TEXT_SPACE,
    SegmentWriter,
    SpaceVectors,
)
from indexer_core.map_state import MapState
from indexer_core.ports import BlobStore, Ids, VectorFiles

NO_CONTENT = ""
"""The digest of a row that no content of a series has: as it is, the series must be indexed."""


@dataclass(slots=True)
class Made:
    """What takes the place of damaged files, by their names; and what cannot be made, with why."""

    vectors: dict[str, VectorFile] = field(default_factory=dict)
    coordinates: dict[str, CoordinateFile] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


class Mender:
    """Makes files of segments again."""

    def __init__(
        self, blobs: BlobStore, vector_files: VectorFiles, ids: Ids, find_encoder: FindEncoder
    ) -> None:
        """`find_encoder` finds text encoders."""
        self._blobs = blobs
        self._vector_files = vector_files
        self._ids = ids
        self._find_encoder = find_encoder
        self._writer = SegmentWriter(blobs, vector_files)
        self._filler = SegmentFiller(blobs, vector_files, ids, DEFAULT_PART_VECTORS)

    def remake(self, manifest: Manifest, segment: Segment, damaged: Collection[str]) -> Made:
        """Make damaged files of a segment again, whose rows are intact."""
        made = Made()
        for file in segment.vectors:
            if file.file.name in damaged:
                try:
                    made.vectors[file.file.name] = self._vectors(segment, file)
                except (CorruptIndexError, InvalidInputError) as error:
                    made.failed[file.file.name] = str(error)
        for points in segment.coordinates:
            if points.file.name in damaged:
                try:
                    made.coordinates[points.file.name] = self._coordinates(
                        manifest, segment, points
                    )
                except (CorruptIndexError, InvalidInputError) as error:
                    made.failed[points.file.name] = str(error)
        return made

    def put_back(self, segment: Segment, made: Made) -> set[str]:
        """Put what equals the damaged file bit by bit in its place; the names of those files."""
        whole = {file.name: file.sha256 for file in segment.files()}
        back = set()
        files = [(name, v.file) for name, v in made.vectors.items()]
        files += [(name, c.file) for name, c in made.coordinates.items()]
        for name, file in files:
            if file.sha256 == whole[name]:
                put_back(self._blobs, name, read_file(self._blobs, file))
                self._blobs.delete(file.name)
                back.add(name)
        return back

    def without_images(self, segment: Segment, manifest: Manifest) -> Segment:
        """A new segment of the same rows without their image vectors, which are lost.

        Their texts stay searchable. Their rows get a digest that no content has, so that these
        series count as not indexed, and a fresh place in the order.
        """
        write_id = self._ids.new_id()
        space = manifest.space(IMAGE_SPACE)
        assert space is not None
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        bare = self._writer.write(
            write_id,
            [_imageless(row, write_id) for row in rows_of(table)],
            list(no_vectors(space)),
            level=segment.level,
        )
        kept = (self._copy(write_id, v) for v in segment.vectors if v.space != IMAGE_SPACE)
        return with_files(bare, vectors=tuple(kept))

    def sweep(self, manifest: Manifest) -> None:
        """Delete what large segments left half made."""
        self._filler.sweep(manifest)

    def _vectors(self, segment: Segment, file: VectorFile) -> VectorFile:
        if file.space != TEXT_SPACE:
            raise InvalidInputError("image vectors come from pixels only")
        encoder = self._find_encoder(file.encoder_id)
        if encoder is None:
            raise InvalidInputError(f"this program has no text encoder {file.encoder_id}")
        filling = Filling(
            space=file.space,
            encoder_id=file.encoder_id,
            dimension=file.dimension,
            vectors_of=text_vectors(encoder),
        )
        return self._filler.vector_file(segment, filling)

    def _coordinates(
        self, manifest: Manifest, segment: Segment, file: CoordinateFile
    ) -> CoordinateFile:
        projection = manifest.projection
        if projection is None or projection.version != file.projection:
            raise InvalidInputError("coordinates of an earlier map, which nobody needs any more")
        vectors = segment.vector_file(IMAGE_SPACE, projection.encoder_id)
        if vectors is None:
            raise InvalidInputError("the image vectors behind the coordinates are damaged, too")
        projector, state = load_map(self._blobs, projection)
        if state is None:
            return self._filler.coordinate_file(vectors, projector)
        are_new = self._are_new(segment, state)
        return self._filler.coordinate_file(vectors, projector, state=state, are_new=are_new)

    def _are_new(self, segment: Segment, state: MapState) -> NDArray[np.bool_]:
        """Which image vectors of a segment the map in force was made without."""
        table = table_of(read_file(self._blobs, segment.rows), segment.rows.name)
        landmarks = frozenset(state.landmarks.keys)
        keys = column_of(table, "seriesKey").to_pylist()
        write_ids = column_of(table, "writeId").to_pylist()
        are_new = [
            key not in landmarks and write_id > state.known_until
            for key, write_id in zip(keys, write_ids, strict=True)
        ]
        return np.repeat(np.array(are_new, dtype=np.bool_), numbers_of(table, "imageCount"))

    def _copy(self, write_id: str, vectors: VectorFile) -> VectorFile:
        return self._writer.put_vectors(
            write_id,
            read_file(self._blobs, vectors.file),
            space=vectors.space,
            encoder_id=vectors.encoder_id,
            n_vectors=vectors.n_vectors,
            dimension=vectors.dimension,
        )


def no_vectors(space: Space) -> Iterator[SpaceVectors]:
    """What a segment without vectors in a space has: empty files, or a merge would be refused."""
    for encoder_id, dimension in (
        (space.live, space.dimension),
        (space.building, space.building_dimension),
    ):
        if encoder_id is not None and dimension is not None:
            none = np.empty((0, dimension), np.float32)
            yield SpaceVectors(space=space.name, encoder_id=encoder_id, vectors=none)


def _imageless(row: IndexRow, write_id: str) -> IndexRow:
    if row.image_count == 0:
        return row
    return replace(row, write_id=write_id, digest=NO_CONTENT, image_count=0)
