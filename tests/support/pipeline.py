"""The whole pipeline over in-memory ports: events, assembly, worker and index."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import cache

import numpy as np

from function_app.handlers import Services, ingest, series_check
from gpu_worker.loop import BatchReport, Worker, WorkerSettings, work_once
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.announcements import Announcement
from indexer_core.assembly import Assembly, AssemblySettings
from indexer_core.descriptor import ImageDescriptor
from indexer_core.encoders import FindEncoder, nowhere
from indexer_core.entries import Describer
from indexer_core.errors import IndexerError
from indexer_core.events import look_message
from indexer_core.handover import HandOver
from indexer_core.index.commit import Manifests
from indexer_core.index.reader import Reader
from indexer_core.index.rows import IndexRow, row_at
from indexer_core.index.verify import verify
from indexer_core.indexing import Indexer
from indexer_core.look import Looker
from indexer_core.ports import ImageEncoder, WorkQueue
from indexer_core.rejects import Rejects
from indexer_core.rules import load_rules
from indexer_core.sources import Sources
from indexer_core.telling import Telling
from indexer_core.templates import load_templates
from indexer_core.testing.faults import (
    Around,
    PassThrough,
    SimulatedCrash,
    WrappedBlobs,
    WrappedQueue,
    WrappedRows,
)
from indexer_core.testing.memory import (
    ManualClock,
    MemoryBlobs,
    MemoryQueue,
    MemoryRows,
    SequentialIds,
)
from indexer_core.testing.telemetry import Recorded
from tests.support.dicom import dicom_object
from tests.support.house import PREFIX, QUIET_S, MemorySource
from tests.support.segments import unit_vectors

MAX_WAIT_S = 600.0
VISIBILITY_S = 60.0
RETRY_S = 10.0


slice_of = cache(dicom_object)
"""`dicom_object`, each made once."""


class Inline(Executor):
    """Runs at once, in the thread that asks."""

    def submit(self, fn, /, *args, **kwargs):
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherRules(Describer):
    """Makes the same records under another name, as an edited rule that decides nothing would."""

    name: str

    @property
    def digest(self) -> str:
        return self.name


@cache
def describer() -> Describer:
    return Describer(
        rules=load_rules(()),
        templates=load_templates(()),
        image_encoder_id=ImageDescriptor().encoder_id,
    )


def renamed_describer(name: str) -> OtherRules:
    known = describer()
    return OtherRules(
        rules=known.rules,
        templates=known.templates,
        image_encoder_id=known.image_encoder_id,
        name=name,
    )


class Meanwhile(PassThrough):
    """Runs something else once, right after the n-th read or write of that name."""

    def __init__(self, operation: str, then: Callable[[], object], nth: int = 1) -> None:
        self._operation = operation
        self._then = then
        self._left = nth

    def read(self, operation, call):
        answer = call()
        if operation == self._operation:
            answer = list(answer) if isinstance(answer, Iterator) else answer
            self._count()
            return iter(answer) if isinstance(answer, list) else answer
        return answer

    def write(self, operation, call):
        answer = call()
        if operation == self._operation:
            self._count()
        return answer

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._then()


class HashTextEncoder:
    """Unit vectors that follow from the text; counts what it is asked."""

    encoder_id = "hash-text"
    dimension = 8

    def __init__(self) -> None:
        self.texts: Counter[str] = Counter()
        self.before: Callable[[list[str]], None] = lambda texts: None

    def encode(self, texts):
        self.before(list(texts))
        self.texts.update(texts)
        rows = [unit_vectors(text, 1, self.dimension) for text in texts]
        return np.concatenate([np.empty((0, self.dimension), np.float32), *rows])


_DESCRIPTOR = ImageDescriptor()


@cache
def _described(shape: tuple[int, ...], pixels: bytes):
    return _DESCRIPTOR.encode([np.frombuffer(pixels, np.float32).reshape(shape)])[0]


class CountingImageEncoder:
    """The image descriptor; counts the series that it sees and calls `before` each.

    The same pixels are described once per test session: thousands of runs share their images.
    """

    encoder_id = _DESCRIPTOR.encoder_id
    dimension = _DESCRIPTOR.dimension
    recipe = _DESCRIPTOR.recipe

    def __init__(self) -> None:
        self.n_series = 0
        self.before: Callable[[list[np.ndarray]], None] = lambda stacks: None

    def encode(self, stacks):
        self.before(list(stacks))
        self.n_series += len(stacks)
        return np.stack([_described(stack.shape, stack.tobytes()) for stack in stacks])


class Inbox(MemoryBlobs):
    """Users' blobs; something may happen between a look at properties and the read."""

    meanwhile: Callable[[], None] | None = None

    def get_range(self, name, offset, length, *, if_match=None):
        then, self.meanwhile = self.meanwhile, None
        if then is not None:
            then()
        return super().get_range(name, offset, length, if_match=if_match)


class Announced:
    """Keeps what was announced."""

    def __init__(self) -> None:
        self.all: list[Announcement] = []

    def announce(self, announcements: Sequence[Announcement]) -> None:
        self.all.extend(announcements)


class Pipeline:
    """Stores and queues that outlive processes; `process` starts one over them, faulty if asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds(self.clock)
        self.inbox = Inbox(self.clock)
        self.index = MemoryBlobs(self.clock)
        self.rows = {name: MemoryRows() for name in ("blobs", "instances", "open", "rejects")}
        self.queues = {
            name: MemoryQueue(self.clock, self.ids)
            for name in ("events", "checks", "ready", "poison")
        }
        self.announcer = Announced()
        self.telemetry = Recorded()
        self.telling = Telling(clock=self.clock, telemetry=self.telemetry)
        self.text_encoder = HashTextEncoder()
        self.image_encoder = CountingImageEncoder()
        self.find_encoder: FindEncoder = nowhere
        self.further_image_encoders: tuple[ImageEncoder, ...] = ()
        self.describer: Describer = describer()

    def copy(self) -> "Pipeline":
        """Another one with the same stores and queues, each going its own way from here."""
        other = Pipeline()
        other.clock.advance(self.clock.now_s() - other.clock.now_s())
        other.ids._given = self.ids._given
        pairs = [(self.inbox, other.inbox), (self.index, other.index)]
        pairs += [(self.rows[name], other.rows[name]) for name in self.rows]
        for mine, others in pairs:
            others._written = mine._written
            getattr(others, "_blobs", getattr(others, "_rows", {})).update(
                getattr(mine, "_blobs", getattr(mine, "_rows", {}))
            )
        for name, queue in self.queues.items():
            other.queues[name]._queued.update(queue._queued)
        return other

    def process(self, plan: Around | None = None, **worker: object) -> "Process":
        return Process(self, plan, **worker)

    def upload(self, name: str, data: bytes, *, tell: bool = True) -> None:
        self.inbox.overwrite(name, data)
        if tell:
            self.tell(name)

    def remove(self, name: str) -> None:
        self.inbox.delete(name)
        self.tell(name)

    def tell(self, name: str) -> None:
        self.queues["events"].send(look_message(PREFIX + name))

    @property
    def is_idle(self) -> bool:
        return not any(self.queues[name].length() for name in ("events", "checks", "ready"))

    def settle(self, process: "Process") -> None:
        """Let time pass until nothing is on its way and no series is open."""
        for _ in range(60):
            process.drain()
            self.clock.advance(MAX_WAIT_S + 1)
            if self.is_idle:
                if not list(process.assembly.open_keys()):
                    return
                process.assembly.sweep(older_than_s=300.0)
        raise AssertionError("it never settles")

    def reader(self) -> Reader:
        reader = Reader(self.index, FlatFp16Vectors())
        reader.refresh()
        return reader

    def live(self) -> dict[str, IndexRow]:
        """The searchable rows; every series once."""
        rows: dict[str, IndexRow] = {}
        for segment, number in self.reader().snapshot.rows():
            row = row_at(segment.loaded.table, number)
            assert row.series_key not in rows
            rows[row.series_key] = row
        return rows

    def contents(self) -> dict[str, tuple]:
        """What is searchable, without what a retry may change: revision and write id."""
        return {
            key: (row.digest, row.blobs, {**row.record, "revision": None}, row.facts)
            for key, row in self.live().items()
        }

    def n_commits(self) -> int:
        return Manifests(self.index).newest().number

    def problems(self) -> list[str]:
        return verify(self.index, FlatFp16Vectors()).problems

    def rejects(self, kind: str) -> list[dict]:
        """What was set aside of a kind: ``blob``, ``series`` or ``message``."""
        rows = [dict(row.values) for row in self.rows["rejects"].scan()]
        return [row for row in rows if _kind_of(row) == kind]


def _kind_of(reject: dict) -> str:
    return "blob" if "url" in reject else {"poison": "series"}.get(reject["code"], "message")


class Process:
    """One process: functions and worker."""

    def __init__(self, house: Pipeline, plan: Around | None, **worker: object) -> None:
        around = plan or PassThrough()
        self.house = house
        self.queues = {name: WrappedQueue(queue, around) for name, queue in house.queues.items()}
        rows = {name: WrappedRows(table, around) for name, table in house.rows.items()}
        rejects = Rejects(rows["rejects"], house.clock)
        blobs = WrappedBlobs(house.index, around)
        image_encoders = (house.image_encoder, *house.further_image_encoders)
        self.indexer = Indexer(
            blobs=blobs,
            vector_files=FlatFp16Vectors(),
            text_encoder=house.text_encoder,
            find_encoder=house.find_encoder,
            image_encoder_ids=[encoder.encoder_id for encoder in image_encoders],
            image_dimension=house.image_encoder.dimension,
            describer=house.describer,
            clock=house.clock,
            ids=house.ids,
        )
        self._opened = False
        self.assembly = Assembly(
            instances=rows["instances"],
            open_series=rows["open"],
            checks=self.queues["checks"],
            lists=blobs,
            hand=HandOver(
                ready=self.queues["ready"],
                indexer=self.opened,
                announcer=house.announcer,
                telling=house.telling,
            ),
            clock=house.clock,
            ids=house.ids,
            settings=AssemblySettings(quiet_s=QUIET_S, max_wait_s=MAX_WAIT_S),
        )
        sources = Sources([MemorySource(house.inbox)])
        looker = Looker(
            sources=sources,
            blobs=rows["blobs"],
            instances=rows["instances"],
            rejects=rejects,
            assembly=self.assembly,
            clock=house.clock,
            patient_secret=b"secret",
        )
        self.services = Services(
            looker=looker, assembly=self.assembly, rejects=rejects, telling=house.telling
        )
        self._worker = {
            "ready": self.queues["ready"],
            "poison": self.queues["poison"],
            "looks": self.queues["events"],
            "rejects": rejects,
            "assembly": self.assembly,
            "sources": sources,
            "image_encoders": image_encoders,
            "threads": Inline(),
            "announcer": house.announcer,
            "telling": house.telling,
            "settings": WorkerSettings(visibility_s=VISIBILITY_S, retry_s=RETRY_S),
            **worker,
        }

    def opened(self) -> Indexer:
        if not self._opened:
            self.indexer.open()
            self._opened = True
        return self.indexer

    def work(self) -> BatchReport | None:
        """One batch of the worker."""
        return work_once(self.worker())

    def worker(self, **changes: object) -> Worker:
        """What the worker's loop needs, some of it changed."""
        return Worker(indexer=self.opened(), **{**self._worker, **changes})

    def drain(self) -> None:
        """Handle what is visible, over and over; what is not acknowledged comes back later."""
        while self.events() | self.checks() | self._works():
            pass

    def events(self) -> bool:
        return self._each("events", lambda body: ingest(body, self.services))

    def checks(self) -> bool:
        return self._each("checks", lambda body: series_check(body, self.services))

    def _works(self) -> bool:
        return sum(1 for _ in self._batches()) > 0

    def _batches(self) -> Iterator[BatchReport]:
        while (report := self.work()) is not None:
            yield report

    def _each(self, name: str, handle: Callable[[str], object]) -> bool:
        queue: WorkQueue = self.queues[name]
        n_handled = 0
        while messages := queue.receive(32, VISIBILITY_S):
            for message in messages:
                n_handled += 1
                handle(message.body)
                queue.delete(message)
        return n_handled > 0


def survive(step: Callable[[], object]) -> bool:
    """Whether a process survives a step; else its messages come back to the next process."""
    try:
        step()
    except (SimulatedCrash, IndexerError):
        return False
    return True
