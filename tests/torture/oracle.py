"""What must be true in the end, by the journals alone, and whether it is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.index.commit import Manifests
from indexer_core.index.files import read_file
from indexer_core.index.manifest import Manifest
from indexer_core.index.reader import Reader
from indexer_core.index.rows import table_of
from indexer_core.index.verify import verify
from indexer_core.index.write_ids import is_behind
from indexer_core.ports import BlobStore
from tests.torture.content import FILES, Content, content_of
from tests.torture.inspection import Best, Order, check_segment, outranks
from tests.torture.journal import Event

_NOTHING: Order = (0, 0, "")


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
        yield from self._judge_winners(winners, told, manifest)
        yield from outranks(winners, self.seen, manifest)
        for segment in snapshot.segments:
            yield from check_segment(segment.loaded, manifest)
        yield from self._judge_visibility(manifest)
        yield from self._judge_purges(blobs, manifest)
        seen = verify(blobs, FILES)
        yield from seen.problems
        yield from (f"{name} is an orphan that outlived the collector" for name in seen.orphans)
        named = {file.name for kept in Manifests(blobs).history() for file in kept.files()}
        yield from (f"{name} was deleted and is named" for name in sorted(self.deleted & named))

    def _judge_winners(
        self, winners: Mapping[str, Best], told: Mapping[str, Content], manifest: Manifest
    ) -> Iterator[str]:
        recipes = {recipe.digest: recipe.number for recipe in manifest.recipes}
        for key, (lowest, possible) in self._expected(recipes).items():
            if key in self.purged and key in manifest.suppressed:
                continue
            if key not in winners and lowest == _NOTHING:
                continue
            if key not in winners:
                forgotten = manifest.forgotten_before
                if not any(
                    not content.alive and order >= lowest and is_behind(order[2], forgotten)
                    for order, content in possible.items()
                ):
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

    def _expected(
        self, recipes: Mapping[str, int]
    ) -> dict[str, tuple[Order, dict[Order, Content]]]:
        """By series: the highest row acknowledged, and every row that may have been written."""
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
