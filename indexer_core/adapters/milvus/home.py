"""Where states of an index on Milvus come from: its position says which can be searched."""

from dataclasses import replace

from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import connect, count, translated
from indexer_core.adapters.milvus.expressions import in_state
from indexer_core.adapters.milvus.index import MilvusIndex
from indexer_core.adapters.milvus.position import Position, read_position
from indexer_core.adapters.milvus.reading import StateReader
from indexer_core.adapters.milvus.schema import SERIES, Names
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import ManifestExpiredError, UnavailableError
from indexer_core.ports import BlobReader


class MilvusHome:
    """States of the collections that a follower keeps (`indexer_core.vector_index.IndexHome`).

    Parameters
    ----------
    blobs
        Where the position lies, beside the manifests.
    """

    def __init__(self, settings: MilvusSettings, blobs: BlobReader) -> None:
        self._settings = settings
        self._blobs = blobs
        self._client: MilvusClient | None = None
        self._position = Position()
        self._newest: StateReader | None = None
        self._index: MilvusIndex | None = None

    def refresh(self) -> MilvusIndex | None:
        """The newest state that was followed, the same one while it is; None before the first.

        Raises
        ------
        UnavailableError
            Milvus cannot be reached, or the collections are not there.
        CorruptIndexError
            The position cannot be read.
        """
        position = read_position(self._blobs, self._settings.prefix)
        if position != self._position or self._index is None:
            self._open(position)
        return self._index

    def at(self, number: int) -> MilvusIndex:
        """The state of an earlier manifest: one of those that the position names.

        Series that were suppressed or purged since are in no state any more.

        Raises
        ------
        ManifestExpiredError
            It is not one of them, or not any more.
        UnavailableError
            It has not been followed yet, or as of `refresh`.
        """
        index, position, newest = self.refresh(), self._position, self._newest
        if index is None or newest is None or number > position.applied:
            raise UnavailableError(
                f"manifest {number} is not on Milvus yet: it holds those up to {position.applied}"
            )
        if number not in position.states:
            kept = ", ".join(map(str, position.states))
            raise ManifestExpiredError(
                f"manifest {number} is not kept on Milvus: it holds {kept}; others can be asked of "
                "the segments while those are kept"
            )
        if number == position.applied:
            return index
        series = newest.names.collection(SERIES)
        n_series = count(newest.client, series, in_state(number))
        return MilvusIndex(replace(newest, number=number, n_series=n_series))

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()

    def _open(self, position: Position) -> None:
        if not position.generation:
            self._position, self._newest, self._index = position, None, None
            return
        if self._client is None:
            self._client = connect(self._settings)
        names = Names(prefix=self._settings.prefix, generation=position.generation)
        if position.generation != self._position.generation:
            with translated():
                for kind in (SERIES, *position.spaces):
                    self._client.load_collection(names.collection(kind))
        self._newest = StateReader(
            client=self._client,
            names=names,
            number=position.applied,
            spaces=position.spaces,
            projection_version=position.projection_version,
            n_series=position.n_series,
        )
        self._index = MilvusIndex(self._newest)
        self._position = position
