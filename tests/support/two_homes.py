"""One index, answered from its segments and from a Milvus that follows it."""

from collections.abc import Mapping, Sequence
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
)
from tests.support.some_series import Made

SEGMENTS, MILVUS = "segments", "milvus"


class TwoHomes:
    """An index in memory, and a Milvus in a folder."""

    def __init__(self, uri: str) -> None:
        self.shelf = Followed(connect(MilvusSettings(uri=uri)))
        self.milvus_settings = MilvusSettings(uri=uri, prefix=self.shelf.prefix)
        self.milvus = MilvusHome(self.milvus_settings, self.shelf.blobs)

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
