"""What the processes do: writers, mergers, collectors, purges. Each runs until it is killed."""

import json
import logging
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from indexer_core import text_cache
from indexer_core.adapters.file_cache import MappedFiles
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import (
    ConflictError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.erasure import Segments, suppress
from indexer_core.index.files import ImmutableFiles, StoredFiles, read_file
from indexer_core.index.manifest import FileRef
from indexer_core.index.rows import table_of
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.indexing import Indexer
from indexer_core.ports import BlobStore
from indexer_core.purge import Hiding, PurgeableStore, PurgePolicy, Purger
from indexer_core.purge_receipts import State
from indexer_core.purge_stores import TextVectors
from indexer_core.text_cache import CachedTextEncoder, TextVectorCache
from tests.torture.content import (
    FILES,
    IMAGE_DIMENSION,
    PURGED,
    TEXT_DIMENSION,
    TEXT_ENCODER,
    Content,
    Rules,
    TextEncoder,
)
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
# To the same end where the processor is short: what there is one or two of comes first.
NICENESS = {"writer": 5, "reader": 5, "merger": 3}
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

    def run(self, steps: Callable[["Actor"], Iterator[None]]) -> None:
        """Work until a file named `stop` is there; whatever goes wrong is written down."""
        os.nice(NICENESS.get(self.spec.role, 0))
        try:
            work = steps(self)
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
        key = f"{PURGED}{actor.spec.number}-{number}"
        for part in range(2):
            ids.begin(f"{actor.spec.name}/{number}.{part}")
            content = Content(key=key, revision=part + 1, tag="p", alive=True)
            _commit(actor, indexer, ids, RECIPES[0], ((content,), RandomIds().new_id()))
        with actor.doing("purge"):
            actor.journal.note("purge", key=key)
            purger.request(frozenset({key}), "series")
