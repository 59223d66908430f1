"""What the processes do: writers, mergers, collectors, readers. Each runs until it is killed."""

import json
import logging
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from indexer_core import text_cache
from indexer_core.adapters.file_cache import MappedFiles
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import (
    ConflictError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.erasure import Segments, suppress
from indexer_core.index.files import ImmutableFiles, StoredFiles, read_file
from indexer_core.index.manifest import FileRef, Manifest
from indexer_core.index.pins import Pins
from indexer_core.index.reader import Reader, Snapshot
from indexer_core.index.rows import row_at, table_of
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.indexing import Indexer
from indexer_core.ports import BlobStore
from indexer_core.purge import Hiding, PurgeableStore, PurgePolicy, Purger
from indexer_core.purge_receipts import State
from indexer_core.purge_stores import TextVectors
from indexer_core.search import search_text, select
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache
from tests.torture.content import (
    FILES,
    IMAGE_DIMENSION,
    OWN_TEXT,
    TEXT_DIMENSION,
    TEXT_ENCODER,
    Content,
    Rules,
    TextEncoder,
    content_of,
    vector_of,
)
from tests.torture.inspection import check_segment, outranks
from tests.torture.journal import Journal
from tests.torture.store import Fate, TortureBlobs

# So that files are joined, and deleted, in short runs, too.
text_cache.MAX_FILES = 12

KEYS = tuple(f"s{number:02d}" for number in range(40))
RECIPES = ("rules a", "rules b")
UPKEEP = UpkeepSettings(
    merge=MergePolicy(fan_in=4, smallest_bytes=1 << 13),
    retention=RetentionPolicy(keep_s=2.0, keep_newest=4, grace_s=0.7),
    tombstone_s=12.0,
)
# So that on any machine the collector, alone and killed like all others, keeps up with the writers.
WRITER_PAUSE_S, MERGER_PAUSE_S, COLLECTOR_PAUSE_S, READER_PAUSE_S = 0.25, 0.3, 0.1, 0.3
PURGING = PurgePolicy(grace_s=0.3, clock_margin_s=0.1)
# Harmless: the same work is done again, by this process or by the next one.
EXPECTED = (ConflictError, UnavailableError, UnknownOutcomeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A process to start. place: of its role, so that it can be told from others."""

    role: str
    place: int
    number: int
    folder: str
    die_at: str | None = None
    sleep_at: str | None = None

    @property
    def name(self) -> str:
        return f"{self.number:06d}-{self.role}-{self.place}"


@dataclass(slots=True)
class Actor:
    """A process at work."""

    spec: Spec
    journal: Journal = field(init=False)
    blobs: TortureBlobs = field(init=False)
    chance: random.Random = field(init=False)

    def __post_init__(self) -> None:
        folder = Path(self.spec.folder)
        self.journal = Journal(folder / "journals" / f"{self.spec.name}.jsonl")
        self.chance = random.Random(self.spec.number)
        fate = Fate(die_at=self.spec.die_at, sleep_at=self.spec.sleep_at)
        self.blobs = TortureBlobs(folder / "index", self.journal, fate, self.spec.number)

    def run(self) -> None:
        """Work until a file named `stop` is there; whatever goes wrong is written down."""
        try:
            work = _STEPS[self.spec.role](self)
            while not (Path(self.spec.folder) / "stop").exists():
                next(work)
        except BaseException:
            self.journal.note("bad", what=traceback.format_exc())
            raise

    def truth(self, file: FileRef) -> bytes:
        """A file as it is, whatever this process sees of it."""
        return read_file(FolderBlobs(Path(self.spec.folder) / "index"), file)

    def happens(self, operation: str, probability: float) -> bool:
        """Whether to do something now; often, when this process is to die at it."""
        if (self.spec.die_at or "").startswith(f"{operation}."):
            probability = 0.7
        return self.chance.random() < probability

    @contextmanager
    def doing(self, operation: str) -> Iterator[None]:
        """Name the points of what is done within."""
        self.blobs.operation = operation
        try:
            yield
        except EXPECTED as error:
            self.journal.note("put off", operation=operation, why=type(error).__name__)
        finally:
            self.blobs.operation = "start"

    def files(self) -> ImmutableFiles:
        """How files of segments are opened: every other process maps them."""
        if self.spec.place % 2:
            return MappedFiles(FolderBlobs(Path(self.spec.folder) / "index").path_of)
        return StoredFiles(self.blobs)


# Writers


class _Ids:
    """Fresh ids, each written down before anybody can use it."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._ids = RandomIds()
        self.operation = ""
        self.given: list[str] = []

    def new_id(self) -> str:
        fresh = self._ids.new_id()
        self.given.append(fresh)
        self._journal.note("id", op=self.operation, id=fresh)
        return fresh

    def begin(self, operation: str) -> None:
        self.operation, self.given = operation, []


def indexer_of(blobs: BlobStore, ids: Any, recipe: str, files: ImmutableFiles | None) -> Indexer:
    """An index writer as a program has it, with encoders that make vectors up."""
    cache = TextVectorCache(blobs, ids, encoder_id=TEXT_ENCODER, dimension=TEXT_DIMENSION)
    return Indexer(
        blobs=blobs,
        vector_files=FILES,
        text_encoder=CachedTextEncoder(TextEncoder(), cache),
        image_dimension=IMAGE_DIMENSION,
        describer=Rules(recipe),
        clock=SystemClock(),
        ids=ids,
        files=files,
    )


def writes(actor: Actor) -> Iterator[None]:
    """Commit new contents, repeat old ones, hide series and show them again.

    Revisions rise with time, but not in the order of the commits, and two writers may give the same
    one to different contents, as after a lost marker.
    """
    journal, chance, place = actor.journal, actor.chance, actor.spec.place
    ids = _Ids(journal)
    recipe = RECIPES[place % 2]
    indexer = indexer_of(actor.blobs, ids, recipe, actor.files())
    while True:
        with actor.doing("open"):
            indexer.open()
            break
        yield
    unfinished = _unfinished(actor)
    past: list[_Batch] = []
    hidden: dict[str, bool] = {}
    own = [key for number, key in enumerate(KEYS) if number % 8 == place]
    for number in range(1_000_000):
        ids.begin(f"{actor.spec.name}/{number}")
        if unfinished:
            _commit(actor, indexer, ids, recipe, unfinished.pop())
        elif actor.happens("hide", 0.04) or actor.happens("show", 0.04):
            key = chance.choice(own)
            hidden[key] = not hidden.get(key, False)
            _suppress(actor, indexer, ids.operation, key, hidden=hidden[key])
        else:
            again = past and chance.random() < 0.25
            batch = chance.choice(past) if again else _new_batch(actor, number)
            if _commit(actor, indexer, ids, recipe, batch):
                past = [*past[-8:], batch]
        time.sleep(chance.uniform(0, WRITER_PAUSE_S))
        yield


_Batch = tuple[tuple[Content, ...], str]
"""Contents, and a write id of the moment when they were prepared."""


def _new_batch(actor: Actor, number: int) -> _Batch:
    chance = actor.chance
    now = int(time.time() * 10)
    keys = chance.sample(KEYS, chance.randint(1, 5))
    contents = tuple(
        Content(
            key=key,
            revision=now + chance.randint(-4, 4),
            tag=f"{'abcd'[actor.spec.place]}{actor.spec.number}-{number}",
            alive=chance.random() > 0.15,
        )
        for key in keys
    )
    return contents, RandomIds().new_id()


def _unfinished(actor: Actor) -> list[_Batch]:
    """What the process before this one had begun: its messages come back."""
    folder = Path(actor.spec.folder) / "journals"
    names = sorted(folder.glob(f"*-writer-{actor.spec.place}.jsonl"))[:-1]
    last: dict[str, _Batch] = {}
    for line in names[-1].read_text().splitlines() if names else ():
        event = json.loads(line)
        if event["e"] == "op":
            rows = tuple(Content(*row) for row in event["rows"])
            last = {event["op"]: (rows, event["prepared"])}
        elif event["e"] == "ack":
            last.pop(event["op"], None)
    return list(last.values())


def _commit(actor: Actor, indexer: Indexer, ids: _Ids, recipe: str, batch: _Batch) -> bool:
    contents, prepared = batch
    rows = [list(asdict(content).values()) for content in contents]
    actor.journal.note("op", op=ids.operation, rows=rows, recipe=recipe, prepared=prepared)
    with actor.doing("commit"):
        entries = [content.entry(prepared) for content in contents]
        manifest = indexer.write(entries, "index")
        written = next((s for s in manifest.segments if s.id in ids.given), None)
        # None where all of it is hidden, or was merged before a lost answer could be made up for.
        if written is not None:
            keys = table_of(actor.truth(written.rows), written.rows.name).column("seriesKey")
            actor.journal.note("ack", op=ids.operation, write_id=written.id, keys=keys.to_pylist())
        return True
    return False


def _suppress(actor: Actor, indexer: Indexer, op: str, key: str, *, hidden: bool) -> None:
    actor.journal.note("hide", op=op, key=key, hidden=hidden)
    with actor.doing("hide" if hidden else "show"):
        change = indexer.suppress if hidden else indexer.restore
        change(frozenset({key}))
        actor.journal.note("hidden", op=op, key=key, hidden=hidden)


# Mergers and collectors


class _Merges(logging.Handler):
    """Writes down what became of every merge."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.INFO)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg.startswith("merge segments"):
            self._journal.note("merge", made=bool(record.args[1]))


def upkeep_of(actor: Actor) -> Upkeep:
    return Upkeep(
        actor.blobs,
        FILES,
        clock=SystemClock(),
        ids=RandomIds(),
        settings=UPKEEP,
        files=actor.files(),
    )


def merges(actor: Actor) -> Iterator[None]:
    """Merge whatever is to be merged."""
    log = logging.getLogger("indexer_core.index.upkeep")
    log.setLevel(logging.INFO)
    log.addHandler(_Merges(actor.journal))
    log.propagate = False
    upkeep = upkeep_of(actor)
    while True:
        with actor.doing("merge"):
            upkeep.compact(full=actor.chance.random() < 0.05)
        time.sleep(actor.chance.uniform(0, MERGER_PAUSE_S))
        yield


def collects(actor: Actor) -> Iterator[None]:
    """Expire manifests and delete files, far more often than anybody should."""
    upkeep = upkeep_of(actor)
    while True:
        with actor.doing("collect"):
            upkeep.collect(limit=actor.chance.choice((None, None, 60)))
        time.sleep(actor.chance.uniform(0, COLLECTOR_PAUSE_S))
        yield


# Purges


def purger_of(blobs: BlobStore, policy: PurgePolicy) -> Purger:
    """What erases series from this index: there are no other stores."""
    clock, ids = SystemClock(), RandomIds()
    manifests = Manifests(blobs)

    def stores(behind_s: float) -> list[PurgeableStore]:
        segments = Segments(blobs, FILES, clock=clock, ids=ids, behind_s=behind_s)
        return [TextVectors(blobs, ids), segments]

    return Purger(
        blobs,
        hiding=Hiding(
            hide=lambda series: suppress(manifests, series, clock=clock, ids=ids),
            close=lambda key: None,
            hidden=lambda: manifests.newest().suppressed,
        ),
        stores=stores,
        scrub=lambda: None,
        clock=clock,
        ids=ids,
        policy=policy,
    )


def purges(actor: Actor) -> Iterator[None]:
    """Write series of its own, and erase them from everything that is retained."""
    ids = _Ids(actor.journal)
    indexer = indexer_of(actor.blobs, ids, RECIPES[0], actor.files())
    purger = purger_of(actor.blobs, PURGING)
    for number in range(1_000_000):
        pending = True
        while pending:  # by whomever: processes that were killed, or the other one at work
            with actor.doing("purge"):
                erased = purger.carry_on()
                pending = any(purge.state is not State.DONE for purge in erased)
                for _ in erased if not pending else ():
                    actor.journal.note("purged")
            time.sleep(0.1)
            yield
        key = f"purged-{actor.spec.number}-{number}"
        for part in range(2):
            ids.begin(f"{actor.spec.name}/{number}.{part}")
            content = Content(key=key, revision=part + 1, tag="p", alive=True)
            _commit(actor, indexer, ids, RECIPES[0], ((content,), RandomIds().new_id()))
        with actor.doing("purge"):
            actor.journal.note("purge", key=key)
            purger.request(frozenset({key}), "series")


# Readers


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
            with manifests.unless_expired(snapshot.manifest.number):
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
        for wrong in outranks(winners, self._best, manifest):
            self._bad(wrong)
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
        hit = search_text(snapshot, query, select(snapshot, ()), top=1)[0]
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


_STEPS = {
    "writer": writes,
    "merger": merges,
    "collector": collects,
    "purger": purges,
    "reader": reads,
}
