"""Two small text encoders, and an index in which one takes the place of the other."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.encoders import known
from indexer_core.index.commit import Committed, Manifests, commit
from indexer_core.index.filling import text_vectors
from indexer_core.index.manifest import Manifest, Segment, Space
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, Points, SegmentWriter, SpaceVectors
from indexer_core.index.switching import SpaceSwitch
from indexer_core.index.updates import AddSegment, MissingVectors, OpenIndex, with_files
from indexer_core.ports import BlobStore
from indexer_core.search import Hit, search_text
from indexer_core.selection import select
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    LINEAGE,
    PROJECTION,
    PROJECTOR_FILE,
    row,
    unit_vectors,
)

FILES = FlatFp16Vectors()


class NamedEncoder:
    """Unit vectors that follow from its id and the text; counts the texts."""

    def __init__(self, encoder_id: str, dimension: int = 8) -> None:
        self.encoder_id = encoder_id
        self.dimension = dimension
        self.texts: Counter[str] = Counter()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.texts.update(texts)
        rows = [unit_vectors(f"{self.encoder_id}: {text}", 1, self.dimension) for text in texts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])


OLD = NamedEncoder("old-text")
# Of one dimension: nothing but the ids keeps their vectors apart.
NEW = NamedEncoder("new-text")


def texts_of(key: str, revision: int) -> list[str]:
    return [f"{letter} of {key} at {revision}" for letter in "abcde"]


def text_row(key: str, revision: int, write_id: str, *, alive: bool = True) -> IndexRow:
    """As `row`, with texts of its own."""
    made = row(key, revision, write_id, alive=alive)
    if made.record is not None:
        made.record["texts"] = texts_of(key, revision)
    return made


def write_rows(
    blobs: BlobStore,
    write_id: str,
    rows: Sequence[IndexRow],
    encoders: Sequence[NamedEncoder],
) -> Segment:
    """A segment with the text vectors of these encoders."""
    alive = [r for r in rows if r.alive]
    images = [unit_vectors(f"i{r.series_key}/{r.revision}", 1, IMAGE_DIMENSION) for r in alive]
    image = np.concatenate([np.empty((0, IMAGE_DIMENSION), np.float32), *images])
    spaces = [
        SpaceVectors(
            space=TEXT_SPACE, encoder_id=encoder.encoder_id, vectors=text_vectors(encoder)(rows)
        )
        for encoder in encoders
    ]
    spaces.append(SpaceVectors(space=IMAGE_SPACE, encoder_id=IMAGE, vectors=image))
    points = [Points(projection=PROJECTION.version, xy=image[:, :2])]
    return SegmentWriter(blobs, FILES).write(write_id, rows, spaces, points)


class SwitchingIndex:
    """An index over stores that outlive processes; opened with the old encoder."""

    def __init__(self, part_vectors: int = 12) -> None:
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)
        self.ids = SequentialIds(self.clock)
        self.part_vectors = part_vectors
        self.blobs.put_if_absent(PROJECTION.file.name, PROJECTOR_FILE)
        spaces = (
            Space(name=TEXT_SPACE, live=OLD.encoder_id, dimension=OLD.dimension),
            Space(name=IMAGE_SPACE, live=IMAGE, dimension=IMAGE_DIMENSION),
        )
        self.commit(OpenIndex(spaces=spaces, projection=PROJECTION))

    def commit(self, update, blobs: BlobStore | None = None, complete=None) -> Committed:
        outcome = commit(
            Manifests(blobs or self.blobs),
            update,
            commit_id=self.ids.new_id(),
            lineage=LINEAGE,
            complete=complete,
        )
        assert isinstance(outcome, Committed), outcome
        return outcome

    def add(
        self,
        rows: dict[str, int],
        encoders: Sequence[NamedEncoder] = (OLD,),
        blobs: BlobStore | None = None,
        *,
        gone: Sequence[str] = (),
    ) -> Segment:
        """A delta of series at revisions, by a writer that has these encoders."""
        blobs = blobs or self.blobs
        write_id = self.ids.new_id()
        index_rows = [
            text_row(key, revision, write_id, alive=key not in gone)
            for key, revision in sorted(rows.items())
        ]
        space = self.manifest.space(TEXT_SPACE)
        wanted = [e for e in encoders if e.encoder_id in (space.live, space.building)]
        segment = write_rows(blobs, write_id, index_rows, wanted)

        def complete(manifest, update, incomplete):
            made = update.segment
            for gap in incomplete.missing:
                assert isinstance(gap, MissingVectors)
                encoder = known(*encoders)(gap.encoder_id)
                assert encoder is not None, "a writer without the live encoder"
                vectors = SpaceVectors(
                    space=TEXT_SPACE,
                    encoder_id=encoder.encoder_id,
                    vectors=text_vectors(encoder)(index_rows),
                )
                writer = SegmentWriter(blobs, FILES)
                file = writer.write_vectors(self.ids.new_id(), vectors)
                made = with_files(made, vectors=(file,))
            return AddSegment(segment=made)

        self.commit(AddSegment(segment=segment), blobs, complete)
        return segment

    def switcher(self, blobs: BlobStore | None = None) -> SpaceSwitch:
        return SpaceSwitch(
            blobs=blobs or self.blobs,
            vector_files=FILES,
            clock=self.clock,
            ids=self.ids,
            part_vectors=self.part_vectors,
        )

    @property
    def manifest(self) -> Manifest:
        return Manifests(self.blobs).newest()

    def snapshot(self) -> Snapshot:
        return Reader(self.blobs, FILES).refresh()


def ranking(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.segment.loaded.orders[hit.row][0], hit.score) for hit in hits]


def assert_search_is_exact(snapshot: Snapshot, encoder, alive: dict[str, int]) -> None:
    """Search by an encoder finds what brute force over its vectors of the texts finds."""
    query = encoder.encode(["what is looked for"])[0]
    hits = search_text(snapshot, query, select(snapshot), top=100)
    found = dict(ranking(hits))
    exact = {
        key: float((encoder.encode(texts_of(key, revision)) @ query).max())
        for key, revision in alive.items()
    }
    assert found.keys() == exact.keys()
    for key, score in exact.items():
        assert abs(found[key] - score) < 2e-3, key
