"""A home of the index that follows the manifests as far as a test says, without Milvus."""

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import ManifestExpiredError, UnavailableError
from indexer_core.index.reader import Reader
from indexer_core.snapshot_index import SnapshotIndex


class FollowedSnapshots:
    """`indexer_core.vector_index.IndexHome` over segments.

    applied: the manifest that it is equal to, 0 for none. floor: the lowest one that it keeps.
    """

    def __init__(self, blobs) -> None:
        self.applied = 0
        self.floor = 0
        self._reader = Reader(blobs, FlatFp16Vectors())

    def refresh(self):
        if not self.applied:
            return None
        self._reader.refresh()
        return SnapshotIndex(self._reader.at(self.applied))

    def at(self, number):
        if number > self.applied:
            raise UnavailableError("not followed yet")
        if number < self.floor:
            raise ManifestExpiredError("not kept any more")
        return SnapshotIndex(self._reader.at(number))

    def close(self):
        """Nothing is open."""
