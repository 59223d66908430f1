"""The map in force as columns: where every series is, and what it is drawn as."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from indexer_core.index.loaded import LiveSegment
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import IMAGE_SPACE

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MapPoints:
    """Every series that has a place, by key.

    Parameters
    ----------
    keys, modalities, regions
        Series key, modality ("" where it has none) and body region of each.
    points : ndarray of float32, shape (n, 2)
    is_provisional : ndarray of bool, shape (n,)
        Placed among its neighbours, because the map does not know its kind.
    """

    keys: tuple[str, ...]
    modalities: tuple[str, ...]
    regions: tuple[str, ...]
    points: NDArray[np.float32]
    is_provisional: NDArray[np.bool_]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.keys)


def map_points(snapshot: Snapshot) -> MapPoints:
    """The points of a snapshot on its map, in the order of their keys."""
    projection = snapshot.manifest.projection
    version = "" if projection is None else projection.version
    tables = [table for s in snapshot.segments if (table := _table(s, version)) is not None]
    if not tables:
        return MapPoints(
            keys=(),
            modalities=(),
            regions=(),
            points=np.empty((0, 2), dtype=np.float32),
            is_provisional=np.empty(0, dtype=np.bool_),
        )
    table = pa.concat_tables(tables).sort_by("key").combine_chunks()
    x, y, flags = (
        table.column(name).to_numpy(zero_copy_only=False) for name in ("x", "y", "provisional")
    )
    return MapPoints(
        keys=tuple(table.column("key").to_pylist()),
        modalities=tuple(table.column("modality").to_pylist()),
        regions=tuple(table.column("region").to_pylist()),
        points=np.column_stack([x, y]).astype(np.float32, copy=False),
        is_provisional=flags.astype(np.bool_, copy=False),
    )


def _table(segment: LiveSegment, version: str) -> pa.Table | None:
    loaded = segment.loaded
    rows = np.flatnonzero(segment.live & (loaded.counts(IMAGE_SPACE) > 0)).astype(np.int64)
    points = loaded.points(version)
    if not len(rows) or points is None:
        return None
    here = points.taken(loaded.rows.starts(IMAGE_SPACE)[rows])
    flags = here.is_provisional
    taken = {
        name: loaded.rows.column(column).take(pa.array(rows)).cast(pa.string())
        for name, column in (("modality", "modality"), ("region", "bodyRegion"))
    }
    return pa.table(
        {
            "key": loaded.rows.keys_of(rows).cast(pa.string()),
            "modality": pc.fill_null(taken["modality"], ""),
            "region": pc.fill_null(taken["region"], UNKNOWN),
            "x": here.xy[:, 0],
            "y": here.xy[:, 1],
            "provisional": np.zeros(len(rows), dtype=np.bool_) if flags is None else flags,
        }
    )
