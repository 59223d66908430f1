"""The collections of one index as a follower writes them: every request under its claim.

What is sent twice is the same as what is sent once: entities are replaced by their ids, deaths are
set, deletions name what is to be gone.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from pymilvus import MilvusClient

from indexer_core.adapters.milvus.client import count, create, every, load, translated
from indexer_core.adapters.milvus.entities import Entity, key_of
from indexer_core.adapters.milvus.ledger import Entry, Ledger
from indexer_core.adapters.milvus.position import FollowedSpace
from indexer_core.adapters.milvus.schema import (
    BORN,
    DIED,
    FOREVER,
    ID,
    KEY,
    PLACE,
    SERIES,
    VECTOR,
    Names,
    series_schema,
    vector_schema,
)
from indexer_core.errors import UnavailableError

PER_REQUEST = 1_000
"""Entities that are written at once, at most."""
_MOST_UNANSWERED = 100_000
"""Series that are remembered because a write of them was not answered."""
_TRIES = 3
"""Of one request, before the step that it is of has failed."""
_GENERATION = r"g[0-9a-f]+(?:x[0-9a-f]+)?"


def generation_of(index_id: str, name: str) -> str:
    """A generation of the index with this id: two of them may have one prefix."""
    return f"g{index_id}x{name}"


def is_own(generation: str, index_id: str) -> bool:
    """Whether a generation is one of this index, not of another with the same prefix."""
    return bool(index_id) and generation.startswith(f"g{index_id}x")


class Collections:
    """The collections of one prefix.

    Parameters
    ----------
    timeout_s
        Of one request.
    """

    def __init__(
        self, client: MilvusClient, prefix: str, ledger: Ledger, *, timeout_s: float
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._ledger = ledger
        self._timeout_s = timeout_s
        self._unanswered_s = self._landed_s = 0.0
        self._unanswered: set[str] = set()

    def landed(self, number: int, digest: str) -> set[str]:
        """Series to look at again: a write of them was not answered, and may have come late.

        Where nobody knows which, because another process sent it, all is in doubt from now on;
        unless it was of an attempt for the manifest of this number and digest, which is gone on
        with: that looks at all of them.
        """
        if not self._ledger.has_landed():
            return set()
        entry = self._ledger.entry
        following = entry.following
        if (
            (following.attempts, following.attempted) == ((number,), digest)
            and following.moved_s
            and following.unanswered_s >= following.moved_s[-1]
        ):
            self._landed_s = following.unanswered_s
            return set()
        is_known = self._unanswered_s == following.unanswered_s
        if not is_known or len(self._unanswered) > _MOST_UNANSWERED:
            self._ledger.write(entry.noted(in_doubt=True, unanswered_s=0.0))
            return set()
        self._landed_s = self._unanswered_s
        if not self._unanswered:  # it was of collections as a whole
            self._ledger.write(self.looked_at(entry))
        return set(self._unanswered)

    def looked_at(self, entry: Entry) -> Entry:
        """The same once what `landed` last said was looked at."""
        if not self._landed_s or entry.following.unanswered_s != self._landed_s:
            return entry
        self._unanswered.clear()
        return entry.noted(unanswered_s=0.0)

    def generations(self) -> dict[str, set[str]]:
        """By generation the kinds of collections that are there."""
        return generations_of(self._client, self._prefix)

    def drop(self, generation: str, kinds: Iterable[str]) -> None:
        """Drop collections of a generation."""
        for kind in sorted(kinds):
            name = self._name(generation, kind)
            self._write(partial(self._client.drop_collection, name, timeout=self._timeout_s))

    def create_anew(self, generation: str, spaces: Mapping[str, FollowedSpace]) -> None:
        """Create those of a generation; what a killed attempt has left of them may be half made."""
        self.drop(generation, self.generations().get(generation, set()))
        self.create(generation, spaces)

    def create(self, generation: str, spaces: Mapping[str, FollowedSpace]) -> None:
        """Create those of a generation."""
        with self._writing():
            create(self._client, self._name(generation, SERIES), series_schema(), PLACE)
        for space, said in spaces.items():
            with self._writing():
                schema = vector_schema(said.dimension)
                create(self._client, self._name(generation, space), schema, VECTOR)

    def load(self, generation: str, kinds: Iterable[str]) -> None:
        """Make collections ready to be asked."""
        for kind in kinds:
            self._ledger.keep()
            load(self._client, [self._name(generation, kind)])

    def of(self, generation: str, kind: str) -> "OneCollection":
        """One of them."""
        return OneCollection(self._client, self._name(generation, kind), self._timeout_s, self)

    def _name(self, generation: str, kind: str) -> str:
        return Names(prefix=self._prefix, generation=generation).collection(kind)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with self._ledger.writing(), translated():
            yield

    def _write(self, request: Callable[[], object], keys: Iterable[str] = ()) -> None:
        """Make one request that changes something of some series, again where it fails."""
        for left in reversed(range(_TRIES)):
            try:
                with self._writing():
                    request()
            except UnavailableError:
                self._unanswered.update(keys)
                self._unanswered_s = self._ledger.note_unanswered()
                if not left:
                    raise
            else:
                return


class OneCollection:
    """A collection; see `Collections.of`."""

    def __init__(
        self, client: MilvusClient, name: str, timeout_s: float, whole: Collections
    ) -> None:
        self._client = client
        self._name = name
        self._timeout_s = timeout_s
        self._write = whole._write  # noqa: SLF001 - one class in two
        self._keep = whole._ledger.keep  # noqa: SLF001

    def of_series(self, keys: Collection[str]) -> list[Entity]:
        """Id, birth and death of all entities of some series."""
        return self.that(is_of(keys))

    def of_ids(self, ids: Sequence[str]) -> list[Entity]:
        """The same of the entities of these ids that are there: found without looking at others."""
        found: list[Entity] = []
        for some in in_batches(ids, PER_REQUEST):
            self._keep()
            with translated():
                there = self._client.query(
                    self._name,
                    ids=some,
                    output_fields=[ID, KEY, BORN, DIED],
                    timeout=self._timeout_s,
                )
            found += [dict(each) for each in there]
        return found

    def has(self, where: str) -> bool:
        """Whether it holds of any."""
        with translated():
            found = self._client.query(
                self._name, filter=where, output_fields=[ID], limit=1, timeout=self._timeout_s
            )
        return bool(found)

    def count(self, where: str) -> int:
        """How many entities an expression holds of."""
        return count(self._client, self._name, where)

    def that(self, where: str) -> list[Entity]:
        """The same of those that an expression holds of."""
        return [each for batch in self.batches(where) for each in batch]

    def batches(self, where: str) -> Iterator[list[Entity]]:
        """The same, batch by batch."""
        self._keep()
        for batch in every(self._client, self._name, where, (ID, KEY, BORN, DIED)):
            yield batch
            self._keep()

    def put(self, entities: Sequence[Entity]) -> None:
        """Write entities, in place of those of the same ids."""
        for some in in_batches(entities, PER_REQUEST):
            self._write(
                partial(self._client.upsert, self._name, some, timeout=self._timeout_s),
                [each[KEY] for each in some],
            )

    def set_death(self, ids: Sequence[str], died: int) -> None:
        """Say when some entities that are there have died."""
        for some in in_batches(ids, PER_REQUEST):
            changes = [{ID: each, DIED: died} for each in some]
            self._write(
                partial(
                    self._client.upsert,
                    self._name,
                    changes,
                    timeout=self._timeout_s,
                    partial_update=True,
                ),
                map(key_of, some),
            )

    def delete_series(self, keys: Collection[str]) -> None:
        """Delete all versions of some series."""
        for some in in_batches(sorted(keys), PER_REQUEST):
            where = is_of(some)
            self._write(
                partial(self._client.delete, self._name, filter=where, timeout=self._timeout_s),
                some,
            )

    def delete(self, where: str) -> Iterator[list[Entity]]:
        """Delete what an expression holds of, batch by batch: no request is for many entities."""
        for batch in self.batches(where):
            for some in in_batches([each[ID] for each in batch], PER_REQUEST):
                self._write(
                    partial(self._client.delete, self._name, ids=some, timeout=self._timeout_s),
                    map(key_of, some),
                )
            yield batch


def generations_of(client: MilvusClient, prefix: str) -> dict[str, set[str]]:
    """By generation the kinds of the collections with a prefix, this index's or not."""
    with translated():
        names = client.list_collections()
    pattern = re.compile(rf"{re.escape(prefix)}_({_GENERATION})_([a-z]+)")
    found: dict[str, set[str]] = {}
    for match in filter(None, map(pattern.fullmatch, names)):
        found.setdefault(match[1], set()).add(match[2])
    return found


def counts_at(number: int) -> str:
    """The expression of what a state sees."""
    return f"{BORN} <= {number} and {DIED} > {number}"


def later_than(number: int) -> tuple[str, str]:
    """Expressions of what was born after a state, and of what has died after it."""
    return f"{BORN} > {number}", f"{DIED} > {number} and {DIED} < {FOREVER}"


def in_batches(items: Sequence[Any], n: int) -> Iterator[list[Any]]:
    """`n` at most at a time."""
    for first in range(0, len(items), n):
        yield list(items[first : first + n])


def is_of(keys: Collection[str]) -> str:
    """The expression of all versions of some series."""
    return f"{KEY} in {json.dumps(sorted(keys))}"
