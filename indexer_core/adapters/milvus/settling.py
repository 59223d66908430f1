"""Making the collections equal to a snapshot, some series at a time, whatever is there now."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from indexer_core.adapters.milvus.collections import Collections, OneCollection, later_than
from indexer_core.adapters.milvus.contents import Contents, Part
from indexer_core.adapters.milvus.schema import DIED, FOREVER, ID, KEY

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

    def take_back(self, number: int) -> set[str]:
        """Leave nothing of what was written for later manifests than this; the series it was of."""
        born, died = later_than(number)
        keys: set[str] = set()
        for kind in self.kinds:
            found = self.of(kind).that(born)
            if found:
                self.of(kind).delete(born)
            reset = self.of(kind).that(died)
            self.of(kind).set_death([each[ID] for each in reset], FOREVER)
            keys.update(each[KEY] for each in (*found, *reset))
        return keys

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
        """Make what counts of some series be what the snapshot says.

        All versions go of those that are suppressed, or have no row any more.
        """
        parts, rowless = contents.of(keys)
        erased = rowless | (set(keys) & contents.suppressed)
        self.erase(erased)
        rest = set(keys) - erased
        for kind in self.kinds if rest else ():
            self._settle(contents, kind, rest, parts)

    def settle_all(self, contents: Contents, told: Told) -> None:
        """The same of every series of the snapshot, and of whatever else is there."""
        done = 0
        for part in contents.parts(self.batch):
            self.settle(contents, part.loaded.rows.keys_at(part.rows))
            done += len(part.rows)
            told(done, contents.n_series)
        for kind in self.kinds:
            for keys in self._strangers(contents, kind):
                self.settle(contents, keys)

    def _settle(
        self, contents: Contents, kind: str, keys: Collection[str], parts: list[Part]
    ) -> None:
        wanted = {one for part in parts for ids in contents.ids(kind, part) for one in ids}
        there = self.of(kind).of_series(keys)
        counting = {each[ID] for each in there if each[DIED] == FOREVER}
        missing = wanted - counting
        if not missing.isdisjoint(each[ID] for each in there):
            self.before_reviving()
        for part in parts if missing else ():
            self.of(kind).put(contents.entities(kind, part, contents.number, missing))
        self.of(kind).set_death(sorted(counting - wanted), contents.number)

    def _strangers(self, contents: Contents, kind: str) -> Iterator[set[str]]:
        """Series with entities that do not count in the snapshot, some at a time."""
        for batch in self.of(kind).batches(f"{DIED} == {FOREVER}"):
            keys = {each[KEY] for each in batch}
            parts, _ = contents.of(keys)
            strange = keys.difference(*(part.loaded.rows.keys_at(part.rows) for part in parts))
            if strange:
                yield strange
