"""The event side over in-memory ports: blobs in, hand-overs out."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from indexer_core.assembly import Assembly, AssemblySettings
from indexer_core.events import LookEvent
from indexer_core.instance_lists import AssembledSeries
from indexer_core.look import Looked, Looker
from indexer_core.messages import SeriesReady, parse_check
from indexer_core.rejects import Rejects
from indexer_core.sources import Located, Sources
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
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

PREFIX = "mem://inbox/"
QUIET_S = 30.0


@dataclass
class MemorySource:
    store: MemoryBlobs

    def locate(self, url: str) -> Located | None:
        if not url.startswith(PREFIX):
            return None
        name = url.removeprefix(PREFIX)
        return Located(scope="inbox", url=url, name=name, store=self.store)


@dataclass
class Handed:
    """Records what the assembly handed on; `taken` answers like an index that is ahead."""

    ready: list[SeriesReady] = field(default_factory=list)
    contents: dict[tuple[str, str], AssembledSeries] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)

    def __call__(self, closed: Sequence[tuple[SeriesReady, AssembledSeries]]) -> list[int | None]:
        return [self._one(ready, assembled) for ready, assembled in closed]

    def _one(self, ready: SeriesReady, assembled: AssembledSeries) -> int | None:
        taken = self.taken.get(ready.series)
        if taken is not None and ready.revision <= taken:
            return taken
        self.ready.append(ready)
        self.contents[ready.series, ready.digest] = assembled
        return None


class House:
    """Stores that outlive programs; `program` builds one over them, faulty if asked."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.ids = SequentialIds()
        self.inbox = MemoryBlobs(self.clock)
        self.lists = MemoryBlobs(self.clock)
        self.blobs = MemoryRows()
        self.instances = MemoryRows()
        self.open_series = MemoryRows()
        self.rejects = MemoryRows()
        self.checks = MemoryQueue(self.clock, self.ids)
        self.handed = Handed()

    def program(self, plan: FaultPlan | None = None) -> "Program":
        around = plan or PassThrough()
        instances = WrappedRows(self.instances, around)
        assembly = Assembly(
            instances=instances,
            open_series=WrappedRows(self.open_series, around),
            checks=WrappedQueue(self.checks, around),
            lists=WrappedBlobs(self.lists, around),
            hand=self.handed,
            clock=self.clock,
            ids=self.ids,
            settings=AssemblySettings(quiet_s=QUIET_S, max_wait_s=600.0),
        )
        looker = Looker(
            sources=Sources([MemorySource(self.inbox)]),
            blobs=WrappedRows(self.blobs, around),
            instances=instances,
            rejects=Rejects(WrappedRows(self.rejects, around), self.clock),
            assembly=assembly,
            clock=self.clock,
            patient_secret=b"secret",
        )
        return Program(assembly=assembly, looker=looker)

    def url(self, name: str) -> str:
        return PREFIX + name

    def run_checks(self, program: "Program") -> None:
        """Receive every visible check, over and over, until none is left."""
        while messages := self.checks.receive(32, 60.0):
            for message in messages:
                program.assembly.check(parse_check(message.body))
                self.checks.delete(message)

    def settle(self, program: "Program") -> None:
        """Let the quiet period pass until nothing is on its way."""
        for _ in range(50):
            if not self.checks.length():
                return
            self.clock.advance(QUIET_S + 1)
            self.run_checks(program)
        raise AssertionError("checks never end")

    def newest(self) -> dict[str, AssembledSeries]:
        """The content last handed on of every series, by its highest revision."""
        best: dict[str, SeriesReady] = {}
        for ready in self.handed.ready:
            if ready.series not in best or ready.revision >= best[ready.series].revision:
                best[ready.series] = ready
        return {key: self.handed.contents[key, ready.digest] for key, ready in best.items()}


@dataclass
class Program:
    assembly: Assembly
    looker: Looker

    def look(self, url: str, sequencer: str | None = None) -> Looked:
        return self.looker.look(LookEvent(url=url, sequencer=sequencer))
