"""One index, answered from its segments and from a Milvus that follows it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from indexer_core.adapters.milvus.client import connect
from indexer_core.adapters.milvus.follower import APPLIED
from indexer_core.adapters.milvus.home import MilvusHome
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.index.commit import Committed
from indexer_core.index.reader import Reader
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import IMAGE_SPACE, TEXT_SPACE, Points, SegmentWriter, SpaceVectors
from indexer_core.index.updates import AddSegment
from indexer_core.snapshot_index import SnapshotIndex
from tests.support.following import Followed
from tests.support.segments import (
    IMAGE,
    IMAGE_DIMENSION,
    PROJECTION,
    PROJECTOR,
    TEXT,
    TEXT_DIMENSION,
    unit_vectors,
)

SEGMENTS, MILVUS = "segments", "milvus"
RESTRICTED = "south"


@dataclass(frozen=True, kw_only=True)
class Made:
    """A series.

    look: what its vectors follow from; series of one look have the same. n_images: image vectors.
    """

    record: Mapping[str, Any] = field(default_factory=dict)
    look: str
    n_images: int = 1
    is_provisional: bool = False

    @property
    def texts(self) -> np.ndarray:
        """Its text vectors as the index keeps them: float32 (5, dimension)."""
        return _kept(unit_vectors(f"text {self.look}", 5, TEXT_DIMENSION))

    @property
    def images(self) -> np.ndarray:
        """Its image vectors likewise."""
        return _kept(unit_vectors(f"image {self.look}", self.n_images, IMAGE_DIMENSION))


def _record(chance: random.Random) -> dict[str, Any]:
    return {
        "scope": chance.choice(["north", "North", RESTRICTED]),
        "studyInstanceUid": chance.choice(["1.1", "1.2", "1.3", ""]),
        "patientKey": chance.choice(["p1", "p2", "P2", None]),
        "modality": chance.choice(["MR", "mr", "CT", "US", None, ""]),
        "plane": chance.choice(["axial", "coronal", "unknown", None]),
        "model": chance.choice(["Gyro_scan 5%", "gyroscan", "Discovery", "unknown"]),
        "bodyPart": chance.choice([{"term": "Knee"}, {"term": "skull"}, None]),
        "sequence": chance.sample(["T1", "t1", "FLAIR"], chance.randint(0, 2)),
        "flags": chance.choice([[], ["sliceGap"], ["burnedInRisk", "sliceGap"]]),
        "hasPixels": chance.choice([True, False]),
        "ageYears": chance.choice([None, 30.0, 41.0, 60.0, 75.5]),
        "instances": chance.choice([1, 2, 3, 200]),
        "studyDate": chance.choice([None, "2018-03-01", "2019-05-17", "2019-12-31", "2020-01-01"]),
    }


def some_series() -> dict[str, Made]:
    """Series of every kind, and forty that look the same."""
    chance = random.Random(3)
    plain = {
        f"{number:02x}" * 32: Made(
            record=_record(chance),
            look=f"look{number} {chance.choice(['brain', 'knee', 'spine'])}",
            n_images=chance.choice([0, 1, 1, 2]),
            is_provisional=chance.random() < 0.2,
        )
        for number in range(70)
    }
    twins = {f"twin{number:03}": Made(record={"sex": "F"}, look="twin") for number in range(40)}
    return {**plain, **twins}


class TwoHomes:
    """An index in memory, and a Milvus in a folder."""

    def __init__(self, uri: str) -> None:
        self.shelf = Followed(connect(MilvusSettings(uri=uri)))
        settings = MilvusSettings(uri=uri, prefix=self.shelf.prefix)
        self.milvus = MilvusHome(settings, self.shelf.blobs)

    def add(self, series: Mapping[str, Made | None], revision: int = 1) -> int:
        """Commit a segment of these; None: removed. The number of the manifest."""
        write_id = self.shelf.ids.new_id()
        rows = [_row(key, made, revision, write_id) for key, made in series.items()]
        there = [made for made in series.values() if made is not None]
        texts, images = [made.texts for made in there], [made.images for made in there]
        strange = [[made.is_provisional] * made.n_images for made in there]
        spaces = [
            SpaceVectors(space=TEXT_SPACE, encoder_id=TEXT, vectors=_stack(texts, TEXT_DIMENSION)),
            SpaceVectors(
                space=IMAGE_SPACE, encoder_id=IMAGE, vectors=_stack(images, IMAGE_DIMENSION)
            ),
        ]
        points = Points(
            projection=PROJECTION.version,
            xy=PROJECTOR.project(_stack(images, IMAGE_DIMENSION)),
            is_provisional=np.array([flag for flags in strange for flag in flags], dtype=np.bool_),
        )
        writer = SegmentWriter(self.shelf.blobs, self.shelf.files)
        segment = writer.write(write_id, rows, spaces, [points])
        assert isinstance(self.shelf.commit(AddSegment(segment=segment)), Committed)
        return self.shelf.newest.number

    def follow(self) -> None:
        """Let Milvus follow to the newest manifest."""
        step = self.shelf.follower().step()
        assert (step.outcome, step.number) == (APPLIED, self.shelf.newest.number)

    def newest(self, home: str) -> Any:
        """The newest state, from one of the homes."""
        if home == MILVUS:
            return self.milvus.refresh()
        return SnapshotIndex(self._reader().refresh())

    def at(self, home: str, number: int) -> Any:
        """An earlier state."""
        if home == MILVUS:
            return self.milvus.at(number)
        return SnapshotIndex(self._reader().at(number))

    def close(self) -> None:
        """Let go of Milvus."""
        self.milvus.close()
        self.shelf.client.close()

    def _reader(self) -> Reader:
        return Reader(self.shelf.blobs, self.shelf.files)


def _row(key: str, made: Made | None, revision: int, write_id: str) -> IndexRow:
    if made is None:
        return IndexRow(
            series_key=key, revision=revision, recipe=1, write_id=write_id, digest="", alive=False
        )
    record = {
        "seriesKey": key,
        "seriesInstanceUid": f"1.2.{key}",
        "studyInstanceUid": "",
        "revision": revision,
        "sequence": [],
        "flags": [],
        "texts": [f"{made.look} {number}" for number in range(5)],
        "evidence": {},
        **made.record,
    }
    return IndexRow(
        series_key=key,
        revision=revision,
        recipe=1,
        write_id=write_id,
        digest=f"{key}{revision}",
        alive=True,
        record=record,
        facts={"format_version": 1},
        blobs=("mem://a",),
        text_count=5,
        image_count=made.n_images,
    )


def _stack(parts: Sequence[np.ndarray], dimension: int) -> np.ndarray:
    return np.concatenate([np.empty((0, dimension), np.float32), *parts])


def _kept(vectors: np.ndarray) -> np.ndarray:
    return vectors.astype(np.float16).astype(np.float32)
