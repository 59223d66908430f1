"""Proving that collections hold the state that the position names: by ids, some by content."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import every, load, translated
from indexer_core.adapters.milvus.collections import PER_REQUEST, in_batches
from indexer_core.adapters.milvus.contents import Contents, Part
from indexer_core.adapters.milvus.entities import Entity
from indexer_core.adapters.milvus.position import Position, read_position
from indexer_core.adapters.milvus.schema import BORN, DIED, ID, KEY, SERIES, Names
from indexer_core.errors import NotFoundError, UnavailableError
from indexer_core.index.commit import Manifests
from indexer_core.index.files import ImmutableFiles
from indexer_core.index.reader import Reader
from indexer_core.ports import BlobStore, VectorFiles

_ATTEMPTS = 3
_BATCH = 500
_TOLD = 10
_LIFE = (ID, KEY, BORN, DIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Entities of one collection.

    Parameters
    ----------
    n_equal
        Those that are there as they should be.
    n_missing
        Those that are not there.
    n_extra
        Those that are there and should not, or twice.
    n_hidden
        Those of suppressed series, of whatever version.
    n_different
        Those with another content, of the ones that were looked into.
    """

    n_equal: int
    n_missing: int
    n_extra: int
    n_hidden: int
    n_different: int

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.n_missing or self.n_extra or self.n_hidden or self.n_different)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was found of the state of a manifest; `series`: keys of some series that differ."""

    number: int
    collections: Mapping[str, Compared] = field(default_factory=dict)
    series: tuple[str, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether the collections are equal to the manifest."""
        return all(found.is_equal for found in self.collections.values())


def verify(
    client: MilvusClient,
    blobs: BlobStore,
    vector_files: VectorFiles,
    *,
    prefix: str,
    files: ImmutableFiles | None = None,
    look_into: int = 1,
) -> Proof:
    """Compare what can be searched with the manifest that it is said to be.

    Every entity is compared by its id; memory is that of a batch, beside the rows of the index.
    Nothing is written, and a follower may go on meanwhile.

    Parameters
    ----------
    look_into
        Series of each batch of 500 whose entities are compared field by field, vectors included.

    Raises
    ------
    NotFoundError
        Nothing was followed yet, or the manifest has expired since.
    UnavailableError
        Milvus does not answer, or a follower kept moving on.
    """
    manifests = Manifests(blobs)
    for _ in range(_ATTEMPTS):
        position = read_position(blobs, prefix)
        if not position.generation:
            raise NotFoundError("nothing was followed yet: dicom-indexer milvus follow does it")
        manifest = manifests.at(position.applied)
        reader = Reader(blobs, vector_files, files=files, follows=False)
        with manifests.unless_expired(manifest):
            contents = Contents(reader.adopt(manifest), reader)
            compared = {
                kind: _Comparison(client, prefix, position, contents, kind)
                for kind in (SERIES, *position.spaces)
            }
            for each in compared.values():
                each.compare(look_into)
        now = read_position(blobs, prefix)
        if now.generation == position.generation and position.applied in now.states:
            # What was suppressed meanwhile is gone from this state, too.
            hidden = manifests.newest(manifest).suppressed - contents.suppressed
            return _proof(contents.number, compared, hidden)
    raise UnavailableError("a follower kept moving on: verify again, or stop it first")


def _proof(number: int, compared: Mapping[str, "_Comparison"], hidden: frozenset[str]) -> Proof:
    series = {key for one in compared.values() for key in one.differing} - hidden
    return Proof(
        number=number,
        collections={kind: one.told(hidden) for kind, one in compared.items()},
        series=tuple(sorted(series)[:_TOLD]),
    )


class _Comparison:
    """One collection against what it should hold."""

    def __init__(
        self, client: MilvusClient, prefix: str, position: Position, contents: Contents, kind: str
    ) -> None:
        self._client = client
        names = Names(prefix=prefix, generation=position.generation)
        self._name = names.collection(kind)
        load(client, [self._name])
        self._contents = contents
        self._kind = kind
        self._n = dict.fromkeys(("equal", "seen", "extra", "hidden", "different"), 0)
        self._missing: list[str] = []
        self.differing: set[str] = set()

    def compare(self, look_into: int) -> None:
        """Go through the snapshot, then through what else the collection has."""
        for part in self._contents.parts(_BATCH):
            self._compare_part(part, look_into)
        for batch in every(self._client, self._name, f"{BORN} >= 0", _LIFE):
            self._compare_there(batch)

    def told(self, hidden: frozenset[str]) -> Compared:
        """What was found, without what is missing of some series."""
        return Compared(
            n_equal=self._n["equal"],
            n_missing=sum(key not in hidden for key in self._missing),
            # What is there twice is found once by its id, and seen twice.
            n_extra=self._n["extra"] + max(0, self._n["seen"] - self._n["equal"]),
            n_hidden=self._n["hidden"],
            n_different=self._n["different"],
        )

    def _compare_part(self, part: Part, look_into: int) -> None:
        keys = part.loaded.rows.keys_at(part.rows)
        of_rows = self._contents.ids(self._kind, part)
        there = {each[ID] for each in self._of([one for ids in of_rows for one in ids], _LIFE)}
        for key, ids in zip(keys, of_rows, strict=True):
            missing = [one for one in ids if one not in there]
            self._n["equal"] += len(ids) - len(missing)
            self._missing += [key] * len(missing)
            self.differing.update([key] * bool(missing))
        if look_into:
            self._look_into(Part(loaded=part.loaded, rows=part.rows[:look_into]))

    def _compare_there(self, batch: Sequence[Entity]) -> None:
        """Entities that the snapshot does not show."""
        suppressed = self._contents.suppressed
        parts, _ = self._contents.of({each[KEY] for each in batch})
        wanted = {
            one for part in parts for ids in self._contents.ids(self._kind, part) for one in ids
        }
        for each in batch:
            if each[KEY] in suppressed:
                self._n["hidden"] += 1
            elif not self._counts(each):
                continue
            elif each[ID] in wanted:
                self._n["seen"] += 1
                continue
            else:
                self._n["extra"] += 1
            self.differing.add(each[KEY])

    def _look_into(self, part: Part) -> None:
        wanted = {each[ID]: each for each in self._contents.entities(self._kind, part, 0)}
        for each in self._of(list(wanted), ("*",)):
            if _content(each) != _content(wanted[each[ID]]):
                self._n["different"] += 1
                self.differing.add(each[KEY])

    def _of(self, ids: Sequence[str], fields: Sequence[str]) -> Iterator[Entity]:
        """Entities of these ids that count."""
        for some in in_batches(ids, PER_REQUEST):
            with translated():
                found = self._client.query(self._name, ids=some, output_fields=list(fields))
            yield from (dict(each) for each in found if self._counts(each))

    def _counts(self, entity: Entity) -> bool:
        return bool(entity[BORN] <= self._contents.number < entity[DIED])


def _content(entity: Entity) -> dict[str, Any]:
    """What an entity holds, its life aside, so that it can be compared."""
    return {name: _value(value) for name, value in entity.items() if name not in (BORN, DIED)}


def _value(value: Any) -> Any:
    if isinstance(value, str | int | float | None):
        return value
    values = list(value)
    is_vector = bool(values) and not isinstance(values[0], str)
    return np.array(values, dtype=np.float32).tolist() if is_vector else values
