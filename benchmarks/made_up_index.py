"""An index of made-up series: real records and facts, random vectors, files in a folder.

Describing a series takes a millisecond, so a few hundred are described and given to many series,
each with identifiers of its own. Vectors are random: all are distinct, the worst case for bytes
and memory (of real template texts about half are).
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchmarks.made_up_series import series
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.file_cache import MappedFiles
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.entries import Describer
from indexer_core.facts import SeriesFacts, to_json
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.manifest import FileRef, Lineage, Manifest, Projection, Segment, Space
from indexer_core.index.reader import Reader
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import (
    IMAGE_SPACE,
    TEXT_SPACE,
    Points,
    SegmentWriter,
    SpaceVectors,
)
from indexer_core.index.updates import AddSegment, OpenIndex
from indexer_core.rules import load_rules
from indexer_core.templates import load_templates

TEXTS = 5
TEXT_DIMENSION, IMAGE_DIMENSION = 512, 1024
_TEXT, _IMAGE = "made-up-text", "made-up-image"
_DESCRIBED = 500
_INSTANCES = 40
_PROJECTION = Projection(
    version="0.1",
    encoder_id=_IMAGE,
    file=FileRef(name="projections/none", sha256=hashlib.sha256(b"").hexdigest(), size_bytes=0),
)


def key_of(number: int) -> str:
    """Key of series `number`."""
    return hashlib.sha256(str(number).encode()).hexdigest()


@cache
def _facts() -> list[SeriesFacts]:
    return list(series(_DESCRIBED))


@cache
def _describer() -> Describer:
    rules = load_rules()
    return Describer(rules=rules, templates=load_templates((), rules), image_encoder_id=_IMAGE)


@cache
def _described(number: int) -> IndexRow:
    facts = _facts()[number]
    record, texts = _describer().describe("", 1, facts)
    return IndexRow(
        series_key="",
        revision=1,
        recipe=1,
        write_id="",
        digest="",
        alive=True,
        record=record,
        facts=to_json(facts),
        text_count=len(texts),
        image_count=1,
    )


def row_of(number: int, revision: int, write_id: str, *, alive: bool = True) -> IndexRow:
    """The row of series `number`."""
    key = key_of(number)
    digest = hashlib.sha256(f"{number}/{revision}".encode()).hexdigest()
    if not alive:
        return IndexRow(
            series_key=key, revision=revision, recipe=1, write_id=write_id, digest=digest,
            alive=False,
        )  # fmt: skip
    row = _described(number % _DESCRIBED)
    study = f"1.2.826.0.1.3680043.8.498.{int(key_of(number // 4), 16) % 10**36}"
    uid = f"1.2.826.0.1.3680043.8.498.{int(key, 16) % 10**36}"
    own = {
        "seriesKey": key,
        "seriesInstanceUid": uid,
        "studyInstanceUid": study,
        "patientKey": key_of(number // 8),
        "revision": revision,
    }
    facts = {
        "series_instance_uid": uid,
        "study_instance_uid": study,
        "patient_keys": [own["patientKey"]],
    }
    folder = f"https://account.blob.core.windows.net/dicom/{study}/{uid}"
    assert row.record is not None
    assert row.facts is not None
    return replace(
        row,
        series_key=key,
        revision=revision,
        write_id=write_id,
        digest=digest,
        record={**row.record, **own},
        facts={**row.facts, **facts},
        blobs=tuple(f"{folder}/{instance:04}.dcm" for instance in range(_INSTANCES)),
    )


def unit_vectors(seed: int, n_vectors: int, dimension: int) -> NDArray[np.float32]:
    """Random unit vectors."""
    random = np.random.default_rng(seed)
    vectors = random.standard_normal((n_vectors, dimension), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


class MadeUpIndex:
    """An index in a folder, with a writer and a warm reader that follows it.

    Parameters
    ----------
    text_encoder_id, text_dimension
        The encoder that its random vectors are said to be of: a search encodes questions by it.
    """

    def __init__(
        self,
        blobs: FolderBlobs,
        *,
        text_encoder_id: str = _TEXT,
        text_dimension: int = TEXT_DIMENSION,
    ) -> None:
        self.blobs = blobs
        self._text = Space(name=TEXT_SPACE, live=text_encoder_id, dimension=text_dimension)
        # Lists for approximate search cost minutes to build, and this is not about them.
        self.vector_files = FlatFp16Vectors(lists_from=1 << 40)
        self.files = MappedFiles(blobs.path_of)
        self.manifests = Manifests(self.blobs)
        self.writer = SegmentWriter(self.blobs, self.vector_files)
        self.clock, self.ids = SystemClock(), RandomIds()
        self.reader = self.new_reader()
        self._commit(
            OpenIndex(
                spaces=(
                    self._text,
                    Space(name=IMAGE_SPACE, live=_IMAGE, dimension=IMAGE_DIMENSION),
                ),
                projection=_PROJECTION,
            )
        )

    def new_reader(self) -> Reader:
        """One that has nothing open yet."""
        return Reader(self.blobs, self.vector_files, files=self.files, searched=[TEXT_SPACE])

    def write(self, rows: Sequence[IndexRow], seed: int) -> Segment:
        """The files of a segment."""
        n_texts = sum(row.text_count for row in rows)
        n_images = sum(row.image_count for row in rows)
        texts = unit_vectors(seed, n_texts, self._text.dimension)
        images = unit_vectors(seed + 1, n_images, IMAGE_DIMENSION)
        return self.write_vectors(rows, texts, images)

    def write_vectors(
        self,
        rows: Sequence[IndexRow],
        texts: NDArray[np.float32],
        images: NDArray[np.float32],
    ) -> Segment:
        """The files of a segment whose vectors are there."""
        spaces = (
            SpaceVectors(space=TEXT_SPACE, encoder_id=self._text.live, vectors=texts),
            SpaceVectors(space=IMAGE_SPACE, encoder_id=_IMAGE, vectors=images),
        )
        points = Points(projection=_PROJECTION.version, xy=images[:, :2])
        return self.writer.write(self.ids.new_id(), rows, spaces, [points] if len(images) else [])

    def add(self, segment: Segment) -> Manifest:
        """Commit a segment."""
        return self._commit(AddSegment(segment=segment))

    def fill(self, numbers: Iterable[int], seed: int = 1) -> Manifest:
        """One large segment of series of revision 1."""
        write_id = self.ids.new_id()
        rows = sorted(
            (row_of(number, 1, write_id) for number in numbers), key=lambda row: row.series_key
        )
        return self.add(self.write(rows, seed))

    def _commit(self, update: OpenIndex | AddSegment) -> Manifest:
        lineage = Lineage(reason="benchmark", software="benchmark", created_s=self.clock.now_s())
        return commit(
            self.manifests,
            update,
            commit_id=self.ids.new_id(),
            lineage=lineage,
            known=self.reader.snapshot.manifest,
        ).manifest
