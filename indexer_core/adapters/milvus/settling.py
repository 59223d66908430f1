"""Making the collections equal to a snapshot, some series at a time, whatever is there now."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from indexer_core.adapters.milvus.collections import (
    Collections,
    OneCollection,
    counts_at,
    in_batches,
    later_than,
)
from indexer_core.adapters.milvus.contents import Contents, Part, ids_of, n_entities, parts_of
from indexer_core.adapters.milvus.entities import Entity
from indexer_core.adapters.milvus.ledger import Entry
from indexer_core.adapters.milvus.schema import DIED, FOREVER, ID, KEY, SERIES
from indexer_core.errors import CorruptIndexError
from indexer_core.index.changes import Changes
from indexer_core.index.reader import Snapshot

Told = Callable[[int, int], None]
"""Is told how many series of how many are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settler:
    """Writes the series of a snapshot into one generation.

    Parameters
    ----------
    kinds
        Of its collections.
    batch
        Series that are looked at together.
    before_reviving
        Is called before a version that had died counts again: earlier states lose it.
    """

    collections: Collections
    generation: str
    kinds: tuple[str, ...]
    batch: int
    before_reviving: Callable[[], None]

    def of(self, kind: str) -> OneCollection:
        """One of the collections."""
        return self.collections.of(self.generation, kind)

    def has_later(self, entry: Entry) -> bool:
        """Whether there is what was written for later manifests than any that was tried.

        Whatever changes is in the collection of series.
        """
        last = max(entry.position.applied, *entry.following.attempts, 0)
        return any(self.of(SERIES).has(where) for where in later_than(last))

    def lacks(self, snapshot: Snapshot) -> bool:
        """Whether any collection has not as many entities as a snapshot that it should be equal to.

        A deletion leaves no other trace.
        """
        counts = counts_at(snapshot.manifest.number)
        return any(self.of(kind).count(counts) != n_entities(snapshot, kind) for kind in self.kinds)

    def take_back(self, number: int, contents: Contents, told: Told) -> set[str]:
        """Leave nothing of what was written for later manifests than this; the series it was of.

        What the snapshot hides, by now perhaps, is not brought back to life: it may be deleted.
        """
        born, died = later_than(number)
        keys: set[str] = set()
        for kind in self.kinds:
            for batch in self.of(kind).delete(born):
                keys.update(each[KEY] for each in batch)
                told(len(keys), len(keys))
            for batch in self.of(kind).batches(died):
                shown = [each[ID] for each in batch if each[KEY] not in contents.suppressed]
                self.of(kind).set_death(shown, FOREVER)
                keys.update(each[KEY] for each in batch)
                told(len(keys), len(keys))
        return keys

    def sweep(self, number: int, told: Told) -> None:
        """Delete what had died by this manifest."""
        done = 0
        for kind in self.kinds:
            for batch in self.of(kind).delete(f"{DIED} <= {number}"):
                done += len(batch)
                told(done, done)

    def erase(self, keys: Collection[str]) -> None:
        """Delete all versions of some series."""
        for kind in self.kinds if keys else ():
            self.of(kind).delete_series(keys)

    def fill(self, contents: Contents, told: Told) -> None:
        """Write all of a snapshot into collections that are empty."""
        done = 0
        for part in contents.parts(self.batch):
            for kind in self.kinds:
                self.of(kind).put(contents.entities(kind, part, contents.number))
            done += len(part.rows)
            told(done, contents.n_series)

    def settle(self, contents: Contents, keys: Collection[str]) -> None:
        """Make what counts of some series be what the snapshot says, whatever is there.

        All versions go of those that are suppressed, or have no row any more. Milvus looks through
        the collections for them: it is for few series.
        """
        parts, rest = self._erased(contents, keys)
        for kind in self.kinds if rest else ():
            self._settle(contents, kind, parts, self.of(kind).of_series(rest))

    def replace(
        self, contents: Contents, keys: Collection[str], before: Sequence[Part], was: str | None
    ) -> None:
        """The same of series of which it is known what counts: it costs what they are.

        Parameters
        ----------
        before, was
            The rows of these series that count in the collections, and under which map.
        """
        parts, rest = self._erased(contents, keys)
        for kind in self.kinds if rest else ():
            try:
                old = {one for part in before for ids in ids_of(kind, part, was) for one in ids}
            except CorruptIndexError:  # the file of their places has gone with its manifest
                self.settle(contents, rest)
                return
            ids = sorted(old | _wanted(contents, kind, parts))
            there = [each for each in self.of(kind).of_ids(ids) if each[KEY] in rest]
            self._settle(contents, kind, parts, there)

    def settle_changed(
        self,
        contents: Contents,
        changes: Changes,
        unsure: Collection[str],
        was: str | None,
        told: Told,
    ) -> None:
        """The same of those that changed, and of some of which it is not known what counts.

        Parameters
        ----------
        was
            The map before the changes.
        """
        sure = changes.keys - set(unsure) - contents.suppressed
        done = 0
        for some in in_batches(sorted(sure), self.batch):
            rows = parts_of(changes.counted[key] for key in some if key in changes.counted)
            self.replace(contents, some, rows, was)
            done += len(some)
            told(done, len(sure))
        for some in in_batches(sorted(unsure), self.batch):
            self.settle(contents, some)
            told(done, len(sure))
        if changes.is_other_map:
            self.settle_all(contents, told)

    def settle_all(self, contents: Contents, told: Told) -> None:
        """The same of every series of the snapshot, and of whatever else is there.

        It goes through the snapshot, then through the collections, once each.
        """
        done = 0
        for part in contents.parts(self.batch):
            for kind in self.kinds:
                ids = sorted(_wanted(contents, kind, [part]))
                self._settle(contents, kind, [part], self.of(kind).of_ids(ids))
            done += len(part.rows)
            told(done, contents.n_series)
        for kind in self.kinds:
            for batch in self.of(kind).batches(f"{DIED} == {FOREVER}"):
                self._clear(contents, kind, batch)
                told(done, contents.n_series)

    def _clear(self, contents: Contents, kind: str, batch: Sequence[Entity]) -> None:
        """Let those of some entities die that the snapshot does not have."""
        keys = {each[KEY] for each in batch}
        parts, rowless = contents.of(keys)
        wanted = _wanted(contents, kind, parts)
        extra = [each for each in batch if each[ID] not in wanted]
        erased = rowless | contents.suppressed
        self.erase({each[KEY] for each in extra if each[KEY] in erased})
        dead = [each[ID] for each in extra if each[KEY] not in erased]
        self.of(kind).set_death(sorted(dead), contents.number)

    def _erased(self, contents: Contents, keys: Collection[str]) -> tuple[list[Part], set[str]]:
        """Delete those that are to have no version; the rows of the others, and their keys."""
        parts, rowless = contents.of(keys)
        erased = rowless | (set(keys) & contents.suppressed)
        self.erase(erased)
        return parts, set(keys) - erased

    def _settle(
        self, contents: Contents, kind: str, parts: Sequence[Part], there: Sequence[Entity]
    ) -> None:
        wanted = _wanted(contents, kind, parts)
        counting = {each[ID] for each in there if each[DIED] == FOREVER}
        missing = wanted - counting
        if not missing.isdisjoint(each[ID] for each in there):
            self.before_reviving()
        for part in parts if missing else ():
            self.of(kind).put(contents.entities(kind, part, contents.number, missing))
        self.of(kind).set_death(sorted(counting - wanted), contents.number)


def _wanted(contents: Contents, kind: str, parts: Sequence[Part]) -> set[str]:
    return {one for part in parts for ids in contents.ids(kind, part) for one in ids}
