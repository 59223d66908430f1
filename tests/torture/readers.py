"""What readers do: follow the index, and check everything that can be seen in it."""

import time
from collections.abc import Iterator

import numpy as np

from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import NotFoundError
from indexer_core.index.commit import Manifests
from indexer_core.index.manifest import Manifest
from indexer_core.index.pins import Pins
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import row_at
from indexer_core.search import search_text
from indexer_core.selection import select
from tests.torture.actors import READER_PAUSE_S, Actor
from tests.torture.content import FILES, OWN_TEXT, TEXT_DIMENSION, content_of, vector_of
from tests.torture.inspection import check_segment, gone, gone_back


def reads(actor: Actor) -> Iterator[None]:
    """Follow the index and check everything that can be seen in it."""
    manifests = Manifests(actor.blobs)
    reader = Reader(actor.blobs, FILES, files=actor.files(), searched=("text",))
    seen = _Seen(actor)
    keepsakes = _Keepsakes(actor, manifests)
    while True:
        snapshot = reader.refresh()
        try:
            # It opens files that were not needed yet, of a manifest that may expire meanwhile.
            with manifests.unless_expired(snapshot.manifest):
                seen.check(snapshot, reader)
        except NotFoundError:
            actor.journal.note("overtaken", manifest=snapshot.manifest.number)
        keepsakes.step(reader)
        time.sleep(actor.chance.uniform(0, READER_PAUSE_S))
        yield


class _Seen:
    """What a reader has seen: from one manifest to the next nothing may go back."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._number = 0
        self._segments: set[str] = set()
        self._best: dict[str, tuple[tuple[int, int, str], bool]] = {}

    def check(self, snapshot: Snapshot, reader: Reader) -> None:
        manifest = snapshot.manifest
        if manifest.number < self._number:
            self._bad(f"manifest {manifest.number} after {self._number}")
        if manifest.number == self._number:
            return
        self._number = manifest.number
        for segment in snapshot.segments:
            if segment.loaded.segment.id not in self._segments:
                self._segments.add(segment.loaded.segment.id)
                for wrong in check_segment(segment.loaded, manifest):
                    self._bad(wrong)
        self._check_winners(reader, manifest)
        self._check_search(snapshot)

    def _check_winners(self, reader: Reader, manifest: Manifest) -> None:
        winners = {key: (place.order, place.alive) for key, place in reader.winners()}
        for wrong in gone_back(winners, self._best, manifest):
            self._bad(wrong)
        for key, order in gone(winners, self._best, manifest):
            self._actor.journal.note(
                "gone",
                manifest=self._number,
                key=key,
                order=order,
                forgotten=manifest.forgotten_before,
            )
        changed = {k: best for k, best in winners.items() if self._best.get(k) != best}
        if changed:
            self._actor.journal.note("seen", manifest=self._number, rows=changed)
        self._best = winners

    def _check_search(self, snapshot: Snapshot) -> None:
        live = list(snapshot.rows())
        if not live:
            return
        segment, row = self._actor.chance.choice(live)
        content = content_of(row_at(segment.loaded.table, row))
        query = vector_of(content.texts[OWN_TEXT], TEXT_DIMENSION)
        hit = search_text(snapshot, query, select(snapshot), top=1)[0]
        if hit.key != content.key or not np.isclose(hit.score, 1.0, atol=2e-3):
            self._bad(f"searching a text of {content} found {hit.key} with {hit.score}")

    def _bad(self, what: str) -> None:
        self._actor.journal.note("bad", what=f"manifest {self._number}: {what}")


class _Keepsakes:
    """Pins of a reader: what was found at a pinned manifest is found there for as long."""

    def __init__(self, actor: Actor, manifests: Manifests) -> None:
        self._actor = actor
        self._manifests = manifests
        self._pins = Pins(manifests, SystemClock(), RandomIds())
        self._prefix = f"reader{actor.spec.place}-"
        self._kept: dict[str, tuple[int, dict[str, str]]] = {}

    def step(self, reader: Reader) -> None:
        if self._actor.happens("pin", 0.1) and len(self._kept) < 3:
            self._pin(reader)
        if self._kept and self._actor.happens("look", 0.1):
            self._check(reader, self._actor.chance.choice(sorted(self._kept)))
        if self._actor.happens("unpin", 0.05):
            self._unpin()

    def _pin(self, reader: Reader) -> None:
        snapshot = reader.snapshot
        if snapshot.manifest.number == 0:
            return
        name = f"{self._prefix}{RandomIds().new_id()[:20]}"
        with self._actor.doing("pin"):
            try:
                self._pins.pin(name, snapshot.manifest.number)
            except NotFoundError:
                return  # it took so long that the manifest has expired
            self._kept[name] = (snapshot.manifest.number, _found(snapshot))

    def _check(self, reader: Reader, name: str) -> None:
        number, found = self._kept[name]
        now = reader.at(number)
        hidden = now.manifest.suppressed
        before = {key: digest for key, digest in found.items() if key not in hidden}
        after = {key: digest for key, digest in _found(now).items() if key in before}
        if before != after:
            self._actor.journal.note("bad", what=f"pinned manifest {number} has changed")
        self._actor.journal.note("looked back", manifest=number)

    def _unpin(self) -> None:
        """Take a name off, one that an earlier process has left there first."""
        names = {
            name
            for names in self._manifests.newest().pins.values()
            for name in names
            if name.startswith(self._prefix)
        }
        for name in sorted(names - self._kept.keys()) + sorted(self._kept):
            with self._actor.doing("unpin"):
                self._kept.pop(name, None)
                self._pins.unpin(name)
            return


def _found(snapshot: Snapshot) -> dict[str, str]:
    """Digest by key of what is searchable."""
    rows = ((live.loaded.table, row) for live, row in snapshot.rows())
    return {
        table.column("seriesKey")[row].as_py(): table.column("digest")[row].as_py()
        for table, row in rows
    }
