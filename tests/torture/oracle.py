"""What must be true in the end, by the journals alone, and whether it is."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.index.commit import Manifests
from indexer_core.index.files import read_file
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.rows import table_of
from indexer_core.index.verify import verify
from indexer_core.ports import BlobStore
from tests.torture.content import FILES, Content, content_of
from tests.torture.inspection import (
    Best,
    Order,
    check_segment,
    gone,
    gone_back,
    is_forgotten,
)
from tests.torture.journal import Event

_NOTHING: Order = (0, 0, "")

_Expected = Mapping[str, tuple[Order, Mapping[Order, Content]]]
"""By series: the highest row acknowledged, and every row that may have been written."""


@dataclass(slots=True)
class Operation:
    """A commit that was begun.

    ids: every write id that it may have used. acknowledged: the series that it is known to have
    written, under `write_id`; hidden ones are left out.
    """

    rows: tuple[Content, ...]
    recipe: str
    ids: list[str] = field(default_factory=list)
    acknowledged: frozenset[str] = frozenset()
    write_id: str = ""


@dataclass(slots=True)
class Oracle:
    """What the journals say."""

    operations: dict[str, Operation] = field(default_factory=dict)
    seen: dict[str, Best] = field(default_factory=dict)
    hiding: dict[str, list[tuple[str, bool, bool]]] = field(default_factory=dict)
    """By series, in order: (operation, hidden, whether it was acknowledged)."""
    deleted: set[str] = field(default_factory=set)
    purged: set[str] = field(default_factory=set)
    bad: list[str] = field(default_factory=list)
    missed: list[tuple[str, str, Order, str]] = field(default_factory=list)
    """What readers saw no more: (who, series, its row in force before, fence of deletions)."""

    def learn(self, process: str, event: Event) -> None:
        """Take an event in."""
        match event:
            case {"e": "op", "op": op, "rows": rows, "recipe": recipe}:
                contents = tuple(Content(*row) for row in rows)
                self.operations[op] = Operation(rows=contents, recipe=recipe)
            case {"e": "id", "op": op, "id": fresh} if op in self.operations:
                self.operations[op].ids.append(fresh)
            case {"e": "ack", "op": op, "write_id": write_id, "keys": keys}:
                self.operations[op].acknowledged = frozenset(keys)
                self.operations[op].write_id = write_id
            case {"e": "hide", "op": op, "key": key, "hidden": hidden}:
                self.hiding.setdefault(key, []).append((op, hidden, False))
            case {"e": "hidden", "op": op, "key": key, "hidden": hidden}:
                self.hiding[key][-1] = (op, hidden, True)
            case {"e": "seen", "rows": rows}:
                self._see(rows)
            case {"e": "gone", "key": key, "order": order, "forgotten": forgotten}:
                self.missed.append((process, key, (order[0], order[1], order[2]), forgotten))
            case {"e": "deleted", "name": name}:
                self.deleted.add(name)
            case {"e": "purge", "key": key}:
                self.purged.add(key)
            case {"e": "bad", "what": what}:
                self.bad.append(f"{process}: {what}")

    def _see(self, rows: Mapping[str, tuple[list[int | str], bool]]) -> None:
        for key, (order, alive) in rows.items():
            best: Best = (tuple(order), alive)  # type: ignore[assignment]
            if key not in self.seen or self.seen[key][0] < best[0]:
                self.seen[key] = best

    def judge(self, folder: Path) -> Iterator[str]:
        """Everything that is wrong with the index that is left."""
        blobs = FolderBlobs(folder / "index")
        reader = Reader(blobs, FILES)
        snapshot = reader.refresh()
        manifest = snapshot.manifest
        places = dict(reader.winners())
        winners = {key: (place.order, place.alive) for key, place in places.items()}
        told = {key: content_of(reader.row(place)) for key, place in places.items()}
        expected = self._expected({recipe.digest: recipe.number for recipe in manifest.recipes})
        yield from self._judge_winners(winners, told, manifest, expected)
        yield from gone_back(winners, self.seen, manifest)
        missing = [
            ("in the end", key, order, manifest.forgotten_before)
            for key, order in gone(winners, self.seen, manifest)
        ]
        yield from self._judge_missing([*self.missed, *missing], expected)
        for segment in snapshot.segments:
            yield from check_segment(segment.loaded, manifest)
        yield from self._judge_visibility(manifest)
        yield from self._judge_purges(blobs, manifest)
        seen = verify(blobs, FILES)
        yield from seen.problems
        yield from (f"{name} is an orphan that outlived the collector" for name in seen.orphans)
        named = {file.name for kept in Manifests(blobs).history() for file in kept.files()}
        yield from (f"{name} was deleted and is named" for name in sorted(self.deleted & named))

    def _judge_missing(
        self, missing: Iterable[tuple[str, str, Order, str]], expected: _Expected
    ) -> Iterator[str]:
        """Only a deletion that outranked what a reader saw may have taken it away."""
        for who, key, order, forgotten in missing:
            _, possible = expected.get(key, (_NOTHING, {}))
            deletions = (written for written, content in possible.items() if not content.alive)
            if not is_forgotten(deletions, order, forgotten):
                yield f"{who}: {key} has gone with its row {order}"

    def _judge_winners(
        self,
        winners: Mapping[str, Best],
        told: Mapping[str, Content],
        manifest: Manifest,
        expected: _Expected,
    ) -> Iterator[str]:
        for key, (lowest, possible) in expected.items():
            if key in self.purged and key in manifest.suppressed:
                continue
            if key not in winners and lowest == _NOTHING:
                continue
            if key not in winners:
                deletions = (order for order, content in possible.items() if not content.alive)
                if not is_forgotten(deletions, lowest, manifest.forgotten_before):
                    yield f"{key} is gone; acknowledged up to {lowest}"
                continue
            order, alive = winners[key]
            if order < lowest:
                yield f"{key} is at {order}, but {lowest} was acknowledged"
            if order not in possible:
                yield f"{key} is at {order}, which nobody wrote"
            elif possible[order].alive != alive:
                yield f"{key} at {order} has the wrong alive flag"
            elif alive and told[key] != possible[order]:
                yield f"{key} at {order} holds {told[key]}, not {possible[order]}"

    def _expected(self, recipes: Mapping[str, int]) -> _Expected:
        expected: dict[str, tuple[Order, dict[Order, Content]]] = {}
        for operation in self.operations.values():
            recipe = recipes.get(operation.recipe, 0)
            for content in operation.rows:
                lowest, possible = expected.get(content.key, (_NOTHING, {}))
                for write_id in operation.ids:
                    possible[content.revision, recipe, write_id] = content
                if content.key in operation.acknowledged:
                    lowest = max(lowest, (content.revision, recipe, operation.write_id))
                expected[content.key] = (lowest, possible)
        return expected

    def _judge_visibility(self, manifest: Manifest) -> Iterator[str]:
        """Hidden series are those whose last acknowledged change, or a later one, says so."""
        for key, changes in self.hiding.items():
            last = max((n for n, (_, _, done) in enumerate(changes) if done), default=-1)
            allowed = {hidden for _, hidden, _ in changes[max(last, 0) :]}
            if last < 0:
                allowed.add(False)
            if (key in manifest.suppressed) not in allowed:
                yield f"{key} is hidden or shown against what was acknowledged last"

    def _judge_purges(self, blobs: BlobStore, newest: Manifest) -> Iterator[str]:
        """Of a purged series nothing is left, in no manifest that is retained."""
        gone = self.purged & newest.suppressed
        rows = {s.rows.name: s.rows for m in Manifests(blobs).history() for s in m.segments}
        for name, file in rows.items():
            keys = table_of(read_file(blobs, file), name).column("seriesKey").to_pylist()
            yield from (f"{name} holds {key}, which was purged" for key in gone & set(keys))
