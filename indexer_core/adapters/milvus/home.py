"""Where states of an index on Milvus come from: its position says which can be searched.

A follower deletes series that are suppressed, and it may be behind, or not run at all. So the
newest manifest is looked at, too: what it hides is in no state that is handed out, from that
moment on.
"""

from dataclasses import replace
from math import inf
from time import monotonic

from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import connect, is_exact, load
from indexer_core.adapters.milvus.expressions import MAX_NAMES
from indexer_core.adapters.milvus.index import MilvusIndex
from indexer_core.adapters.milvus.position import Position, read_position
from indexer_core.adapters.milvus.reading import StateReader
from indexer_core.adapters.milvus.schema import SERIES, VECTOR, Names
from indexer_core.adapters.milvus.settings import MilvusSettings
from indexer_core.errors import ManifestExpiredError, UnavailableError
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import EMPTY, Manifest
from indexer_core.ports import BlobStore

_LOOK_S = 10.0
"""A Milvus that was started anew has let go of its collections: how often they are looked at."""


class MilvusHome:
    """States of the collections that a follower keeps (`indexer_core.vector_index.IndexHome`).

    Parameters
    ----------
    blobs
        Where the position lies, beside the manifests.
    """

    def __init__(self, settings: MilvusSettings, blobs: BlobStore) -> None:
        self._settings = settings
        self._blobs = blobs
        self._manifests = Manifests(blobs)
        self._manifest = EMPTY
        self._client: MilvusClient | None = None
        self._position = Position()
        self._hidden: frozenset[str] = frozenset()
        self._deleted: tuple[int, frozenset[str]] = 0, frozenset()
        """What a follower has deleted, as a manifest of this number hides it.

        Remembered while that manifest is the newest: later it expires where nobody follows, and
        then all that was ever hidden would count as hidden since.
        """
        self._looked_s = -inf
        self._approximate: frozenset[str] = frozenset()
        self._newest: StateReader | None = None
        self._index: MilvusIndex | None = None

    def refresh(self) -> MilvusIndex | None:
        """The newest state that was followed, the same one while it is; None before the first.

        Raises
        ------
        UnavailableError
            Milvus cannot be reached, or the collections are not there; or so much was hidden since
            that it has to be followed first.
        CorruptIndexError
            The position or the newest manifest cannot be read.
        """
        position = read_position(self._blobs, self._settings.prefix)
        self._manifest = self._manifests.newest(self._manifest)
        hidden = self._hidden_since(position)
        is_same = (position, hidden) == (self._position, self._hidden) and self._index is not None
        if is_same and self._newest is not None and monotonic() - self._looked_s > _LOOK_S:
            approximate = self._approximate
            self._look(self._newest.client, self._newest.names, position)
            is_same = approximate == self._approximate
        if not is_same:
            self._open(position, hidden)
        return self._index

    def at(self, number: int) -> MilvusIndex:
        """The state of an earlier manifest: one of those that the position names.

        Series that were suppressed or purged since are in no state.

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
        return MilvusIndex(replace(newest, number=number).counted(), self._confirm)

    def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            self._client.close()

    def _confirm(self, reader: StateReader) -> None:
        position = read_position(self._blobs, self._settings.prefix)
        # Collections that were replaced stay as they are until they are dropped.
        is_same = position.generation == reader.names.generation
        if is_same and reader.number not in position.states:
            raise ManifestExpiredError(
                f"manifest {reader.number} was given up on Milvus meanwhile: ask again"
            )

    def _hidden_since(self, position: Position) -> frozenset[str]:
        """What the newest manifest hides and a follower has not deleted yet."""
        newest, applied = self._manifest, position.applied
        if newest.number == applied:
            self._deleted = applied, newest.suppressed
        if newest.number <= applied or not position.generation:
            return frozenset()
        if self._deleted[0] != applied:
            then = self._manifests.read(applied)
            # Where that has expired nobody knows any more what it hid.
            known = then.suppressed if isinstance(then, Manifest) else frozenset()
            self._deleted = applied, known
        hidden = newest.suppressed - self._deleted[1]
        if len(hidden) > MAX_NAMES:
            raise UnavailableError("so many series were hidden that Milvus has to follow first")
        return hidden

    def _look(self, client: MilvusClient, names: Names, position: Position) -> None:
        """See that the collections can be asked, and how they are searched."""
        load(client, map(names.collection, (SERIES, *position.spaces)))
        self._approximate = frozenset(
            space
            for space in position.spaces
            if not is_exact(client, names.collection(space), VECTOR)
        )
        self._looked_s = monotonic()

    def _open(self, position: Position, hidden: frozenset[str]) -> None:
        if not position.generation:
            self._position, self._newest, self._index = position, None, None
            return
        if self._client is None:
            self._client = connect(self._settings)
        names = Names(prefix=self._settings.prefix, generation=position.generation)
        if position.generation != self._position.generation:
            self._look(self._client, names, position)
        newest = StateReader(
            client=self._client,
            names=names,
            number=position.applied,
            spaces=position.spaces,
            projection_version=position.projection_version,
            n_series=position.n_series,
            hidden=hidden,
            approximate=self._approximate,
        )
        self._newest = newest.counted() if hidden else newest
        self._index = MilvusIndex(self._newest, self._confirm)
        self._position, self._hidden = position, hidden
