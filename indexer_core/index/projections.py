"""The files of map encoders beside the index."""

import hashlib

from indexer_core.index.manifest import FileRef, Projection
from indexer_core.ports import BlobStore
from indexer_core.projector import Projector

PREFIX = "projections/"


def put_projector(blobs: BlobStore, projector: Projector) -> Projection:
    """Leave a projector beside the index, before a manifest names it."""
    data = projector.to_bytes()
    digest = hashlib.sha256(data).hexdigest()
    name = f"{PREFIX}{digest}.projector"
    # Named by content: finding it there means that an earlier try left the same projector.
    blobs.put_if_absent(name, data)
    file = FileRef(name=name, sha256=digest, size_bytes=len(data))
    return Projection(version=projector.version, encoder_id=projector.encoder_id, file=file)
