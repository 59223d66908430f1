"""Points as an index would give them, without an index."""

import numpy as np
from numpy.typing import NDArray

from gpu_worker.projection.archive import Archive
from indexer_core.index.manifest import FileRef, Lineage, Manifest, Projection

ENCODER = "image/made-up"

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]


def archive_of(
    vectors: Floats,
    points: Floats | None = None,
    is_provisional: Flags | None = None,
    *,
    version: str = "0.1",
) -> Archive:
    """Series with these vectors, the newest last; their places are those of map `version`."""
    n = len(vectors)
    keys = np.array([f"s{row:08d}" for row in range(n)])
    file = FileRef(name="projections/none", sha256="", size_bytes=0)
    return Archive(
        manifest=Manifest(
            number=7,
            commit_id="",
            lineage=Lineage(reason="", software="", created_s=0.0),
            projection=Projection(version=version, encoder_id=ENCODER, file=file),
        ),
        keys=keys,
        write_ids=keys,
        vectors=vectors,
        points=np.zeros((n, 2), np.float32) if points is None else points,
        is_provisional=np.zeros(n, np.bool_) if is_provisional is None else is_provisional,
    )


def joined(now: Archive, new: Floats, points: Floats, is_provisional: Flags) -> Archive:
    """The archive after a delta, on the same map."""
    assert now.manifest.projection is not None
    return archive_of(
        np.concatenate([now.vectors, new]),
        np.concatenate([now.points, points]),
        np.concatenate([now.is_provisional, is_provisional]),
        version=now.manifest.projection.version,
    )
