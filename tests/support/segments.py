"""Rows and segments without a pipeline."""

import hashlib
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.commit import Manifests, commit
from indexer_core.index.manifest import FileRef, Lineage, Projection, Space
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, Points, SegmentWriter, SpaceVectors
from indexer_core.index.updates import AddSegment, OpenIndex
from indexer_core.projector import bootstrap_projector
from indexer_core.testing.memory import ManualClock, MemoryBlobs

TEXT = "text-encoder"
IMAGE = "image-encoder"
TEXT_DIMENSION, IMAGE_DIMENSION = 8, 4
LINEAGE = Lineage(reason="test", software="test", created_s=0.0)
PROJECTOR = bootstrap_projector(IMAGE_DIMENSION, IMAGE)
PROJECTOR_FILE = PROJECTOR.to_bytes()
_DIGEST = hashlib.sha256(PROJECTOR_FILE).hexdigest()
PROJECTION = Projection(
    version=PROJECTOR.version,
    encoder_id=IMAGE,
    file=FileRef(
        name=f"projections/{_DIGEST}.projector", sha256=_DIGEST, size_bytes=len(PROJECTOR_FILE)
    ),
)
OPEN = OpenIndex(
    spaces=(
        Space(name=TEXT_SPACE, live=TEXT, dimension=TEXT_DIMENSION),
        Space(name=IMAGE_SPACE, live=IMAGE, dimension=IMAGE_DIMENSION),
    ),
    projection=PROJECTION,
)


def unit_vectors(seed: str, n: int, dimension: int) -> np.ndarray:
    """The same unit vectors for the same seed."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big")
    vectors = np.random.default_rng(number).standard_normal((n, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def row(
    key: str,
    revision: int,
    write_id: str,
    *,
    alive: bool = True,
    record: Mapping[str, Any] = MappingProxyType({}),
) -> IndexRow:
    """A row with five texts and an image, or a tombstone; `record` changes what it says."""
    said = {
        "seriesInstanceUid": key,
        "studyInstanceUid": "1.2",
        "revision": revision,
        "modality": "CT" if revision % 2 else "MR",
        "bodyRegion": "unknown",
        "sequence": ["T1", "FLAIR"] if revision % 2 else [],
        "flags": [],
        "instances": revision,
        "ageYears": None if revision == 1 else 40 + revision,
        "texts": ["a", "b", "c", "d", "e"],
        **record,
    }
    return IndexRow(
        series_key=key,
        revision=revision,
        recipe=1,
        write_id=write_id,
        digest=f"{key}{revision}",
        alive=alive,
        record=said if alive else None,
        facts={"format_version": 1} if alive else None,
        text_count=5 if alive else 0,
        image_count=1 if alive else 0,
    )


def write_segment(
    writer: SegmentWriter,
    write_id: str,
    rows: list[IndexRow],
    *,
    text: bool = True,
    provisional: Collection[str] = (),
):
    """A segment whose vectors follow from (series, revision).

    `provisional`: keys of series that the map has placed without knowing them.
    """
    seeds = [f"{r.series_key}/{r.revision}" for r in rows if r.alive]
    texts = [unit_vectors(f"t{seed}", 5, TEXT_DIMENSION) for seed in seeds]
    seen = [r for r in rows if r.image_count]
    images = [unit_vectors(f"i{r.series_key}/{r.revision}", 1, IMAGE_DIMENSION) for r in seen]
    spaces = [
        SpaceVectors(space=TEXT_SPACE, encoder_id=TEXT, vectors=_stack(texts, TEXT_DIMENSION)),
        SpaceVectors(space=IMAGE_SPACE, encoder_id=IMAGE, vectors=_stack(images, IMAGE_DIMENSION)),
    ]
    xy = PROJECTOR.project(_stack(images, IMAGE_DIMENSION))
    strange = [r.series_key in provisional for r in seen]
    flags = np.array(strange, dtype=np.bool_) if provisional else None
    points = [Points(projection=PROJECTION.version, xy=xy, is_provisional=flags)]
    return writer.write(write_id, rows, spaces[0 if text else 1 :], points)


def _stack(parts: list[np.ndarray], dimension: int) -> np.ndarray:
    return np.concatenate([np.empty((0, dimension), np.float32), *parts])


def snapshot_of(records: Mapping[str, Mapping[str, Any]], n_first: int) -> Snapshot:
    """A snapshot of two segments of series that say this, `n_first` of them in the first."""
    blobs = MemoryBlobs(ManualClock())
    writer, manifests = SegmentWriter(blobs, FlatFp16Vectors()), Manifests(blobs)
    commit(manifests, OPEN, commit_id="open", lineage=LINEAGE)
    keys = sorted(records)
    for number, part in enumerate((keys[:n_first], keys[n_first:])):
        rows = [row(key, 1, f"w{number}", record=records[key]) for key in part]
        segment = write_segment(writer, f"w{number}", rows)
        commit(manifests, AddSegment(segment=segment), commit_id=f"c{number}", lineage=LINEAGE)
    return Reader(blobs, FlatFp16Vectors()).refresh()
