"""Directs a run: starts the processes, decides where each dies, and when there has been enough."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from queue import Queue
from tempfile import TemporaryDirectory
from threading import Thread

from indexer_core.adapters.folder import FolderBlobs
from indexer_core.adapters.system import RandomIds, SystemClock
from indexer_core.errors import IndexerError
from indexer_core.index.upkeep import Upkeep
from indexer_core.purge import ALONE
from tests.torture.actors import RECIPES, UPKEEP, Spec, indexer_of, purger_of
from tests.torture.content import FILES
from tests.torture.journal import Event, Journals
from tests.torture.oracle import Oracle

ROOT = Path(__file__).parents[2]
ROLES = ("writer",) * 4 + ("merger",) * 2 + ("collector",) + ("purger",) * 2 + ("reader",) * 2
MINIMUMS = {
    "conflicts": 50,
    "lost answers": 20,
    "abandoned merges": 5,
    "deleted files": 10,
    "slept and written again": 1,
    "reader checks": 50,
    "purges": 1,
}
# What a commit, a merge and a collection write; whatever else is met must be died at, too.
REQUIRED = frozenset(
    f"{operation}.{kind}.{moment}"
    for operation, kinds in {
        "commit": ("rows", "text", "image", "points", "manifest", "cache"),
        "merge": ("rows", "text", "image", "points", "manifest"),
        "collect": ("mark", "manifest", "stub", "file-deleted"),
        "hide": ("manifest",),
        "show": ("manifest",),
        "purge": ("receipt", "rows", "text", "image", "points", "manifest", "stub", "file-deleted"),
        "pin": ("manifest",),
        "unpin": ("manifest",),
        "any": ("hint",),
    }.items()
    for kind in kinds
    for moment in ("before", "during", "after")
    if not (kind.endswith("-deleted") and moment == "during")
)
_OPERATIONS = {
    "writer": ("commit", "hide", "show", "open", "any"),
    "merger": ("merge", "any"),
    "collector": ("collect", "any"),
    "purger": ("purge", "any"),
    "reader": ("pin", "unpin"),
}
_SLEEPS = {"writer": "commit.manifest.before", "merger": "merge.manifest.before"}
_ROOM_BYTES = 1 << 28
_POLL_S = 0.1
# Counted in commits, not in seconds: on a slow machine they must come on with their work, too.
_COMMITS_PER_KILL = 6
_PAUSE_EVERY_S = 3.0
_MAX_PAUSE_S = 2.5
_STOPPING_S = 60.0


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder for a run: in memory, where there is one. What is killed here loses no power."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and shutil.disk_usage(memory).free > _ROOM_BYTES
    with TemporaryDirectory(prefix="torture-", dir=memory if has_room else None) as folder:
        yield Path(folder) / "run"


@dataclass(slots=True)
class Report:
    """What a run has seen, and what was wrong in the end."""

    counts: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    reached: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def missing(self) -> list[str]:
        """What it must have seen and has not: without that, it proves nothing."""
        points = sorted((self.reached | REQUIRED) - self.kills.keys())
        few = [
            f"{self.counts[what]} of {minimum} {what}"
            for what, minimum in MINIMUMS.items()
            if self.counts[what] < minimum
        ]
        return [*few, *(f"no kill at {point}" for point in points)]

    def lines(self) -> Iterator[str]:
        """The report for people."""
        yield f"{self.elapsed_s:.0f} s, {len(self.kills)} points died at"
        for what, count in sorted(self.counts.items()):
            yield f"{count:>8} {what}"
        for what in self.missing:
            yield f"VACUOUS: {what}"
        for problem in self.problems:
            yield f"WRONG: {problem}"


@dataclass(slots=True)
class _Process:
    pid: int
    spec: Spec
    paused_until_s: float | None = None


class Director:
    """One run over a folder of its own."""

    def __init__(self, folder: Path, seed: int, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._say = say
        self._journals = Journals(folder / "journals")
        self._oracle = Oracle()
        self._report = Report()
        self._running: dict[int, _Process] = {}
        self._starting: dict[int, Spec] = {}
        self._said: Queue[dict[str, int]] = Queue()
        self._n_started = 0
        self._slept: dict[str, str] = {}

    def run(self, at_least_s: float, at_most_s: float) -> Report:
        """Go on for a time, and until it has seen enough or too much time has passed."""
        (self._folder / "journals").mkdir(parents=True)
        self._make_index()
        begun_s = time.monotonic()
        with self._zygote() as zygote:
            self._direct(zygote, begun_s, at_least_s, at_most_s)
        self._learn()
        self._report.elapsed_s = time.monotonic() - begun_s
        self._finish()
        return self._report

    def _make_index(self) -> None:
        blobs = FolderBlobs(self._folder / "index")
        for recipe in RECIPES:
            indexer_of(blobs, RandomIds(), recipe, None).open()

    def _direct(
        self, zygote: subprocess.Popen[str], begun_s: float, at_least_s: float, at_most_s: float
    ) -> None:
        for place, role in enumerate(ROLES):
            self._start(zygote, role, place - ROLES.index(role))
        next_kill = 0.0
        next_pause_s = next_word_s = begun_s
        while True:
            now_s = time.monotonic()
            elapsed_s = now_s - begun_s
            self._learn()
            if self._oracle.bad or elapsed_s >= at_most_s:
                break
            if elapsed_s >= at_least_s and not self._report.missing:
                break
            if self._report.counts["commits"] >= next_kill:
                next_kill = self._report.counts["commits"] + self._chance.expovariate(
                    1 / _COMMITS_PER_KILL
                )
                self._kill_one()
            if now_s >= next_pause_s:
                next_pause_s = now_s + self._chance.expovariate(1 / _PAUSE_EVERY_S)
                self._pause_one(now_s)
            self._resume(now_s)
            self._restart(zygote)
            if now_s >= next_word_s:
                next_word_s = now_s + 10
                self._say(self._word(elapsed_s))
            time.sleep(_POLL_S)
        self._stop()

    def _word(self, elapsed_s: float) -> str:
        counts = self._report.counts
        return (
            f"{elapsed_s:4.0f} s: {counts['commits']} commits, {counts['merges']} merges, "
            f"{counts['deleted files']} files deleted, {counts['kills']} kills at "
            f"{len(self._report.kills)} points; {len(self._report.missing)} still to be seen"
        )

    # Processes

    @contextmanager
    def _zygote(self) -> Iterator[subprocess.Popen[str]]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = ["nice", "-n", "13", sys.executable, "-m", "tests.torture.zygote"]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as zygote:
            Thread(target=self._listen, args=(zygote,), daemon=True).start()
            yield zygote
            assert zygote.stdin is not None
            zygote.stdin.close()
            zygote.wait(_STOPPING_S)

    def _listen(self, zygote: subprocess.Popen[str]) -> None:
        assert zygote.stdout is not None
        for line in zygote.stdout:
            self._said.put(json.loads(line))

    def _start(self, zygote: subprocess.Popen[str], role: str, place: int) -> None:
        self._n_started += 1
        spec = Spec(
            role=role,
            place=place,
            number=self._n_started,
            folder=str(self._folder),
            die_at=self._point_for(role),
            sleep_at=self._sleep_for(role),
        )
        self._starting[spec.number] = spec
        assert zygote.stdin is not None
        zygote.stdin.write(json.dumps(asdict(spec)) + "\n")
        zygote.stdin.flush()

    def _point_for(self, role: str) -> str | None:
        """Where a new process shall die: where none has died yet, as long as there are such.

        Each of them is first left to one process: some are met rarely, and while all waited for the
        same one, nobody would die at the others. Once all are taken, more may wait for each.
        """
        known = sorted(self._report.reached | REQUIRED)
        mine = [point for point in known if point.partition(".")[0] in _OPERATIONS[role]]
        specs = (*self._starting.values(), *(each.spec for each in self._running.values()))
        left = {spec.die_at for spec in specs}
        missing = [point for point in mine if not self._report.kills[point]]
        if missing and self._chance.random() < 0.8:
            return self._chance.choice([p for p in missing if p not in left] or missing)
        return self._chance.choice(mine) if self._chance.random() < 0.3 else None

    def _sleep_for(self, role: str) -> str | None:
        """One of a role sleeps at a time; it is not killed before it has."""
        is_sleeping = any(
            process.spec.role == role and process.spec.sleep_at
            for process in self._running.values()
        )
        return _SLEEPS.get(role) if not is_sleeping and self._chance.random() < 0.3 else None

    def _hear(self) -> list[Spec]:
        """Take in what the zygote said; the processes that have ended."""
        ended = []
        while not self._said.empty():
            said = self._said.get()
            if "number" in said:
                spec = self._starting.pop(said["number"])
                self._running[said["pid"]] = _Process(said["pid"], spec)
                continue
            spec = self._running.pop(said["pid"]).spec
            ended.append(spec)
            if said["status"] == -signal.SIGKILL:
                self._report.counts["kills"] += 1
            elif said["status"]:
                self._oracle.bad.append(f"{spec.name} ended with status {said['status']}")
        return ended

    def _restart(self, zygote: subprocess.Popen[str]) -> None:
        for spec in self._hear():
            self._start(zygote, spec.role, spec.place)

    def _kill_one(self) -> None:
        """Not one that sleeps, or that is on its way to a point where nobody has died yet."""
        spare = [
            process
            for process in self._running.values()
            if process.spec.sleep_at is None
            and (process.spec.die_at is None or self._report.kills[process.spec.die_at])
        ]
        if spare:
            self._signal(self._chance.choice(spare), signal.SIGKILL)

    def _pause_one(self, now_s: float) -> None:
        """Nobody may rely on being fast: a virtual machine may stand still for a while."""
        if self._running:
            process = self._chance.choice(list(self._running.values()))
            self._signal(process, signal.SIGSTOP)
            process.paused_until_s = now_s + self._chance.uniform(0.1, _MAX_PAUSE_S)
            self._report.counts["pauses"] += 1

    def _resume(self, now_s: float) -> None:
        for process in list(self._running.values()):
            if process.paused_until_s is not None and now_s >= process.paused_until_s:
                self._signal(process, signal.SIGCONT)
                process.paused_until_s = None

    def _signal(self, process: _Process, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.kill(process.pid, number)

    def _stop(self) -> None:
        (self._folder / "stop").touch()
        until_s = time.monotonic() + _STOPPING_S
        while self._running or self._starting:
            self._resume(float("inf"))
            self._hear()
            is_late = time.monotonic() >= until_s
            for process in self._running.values():
                if is_late or process.spec.sleep_at is not None:
                    self._signal(process, signal.SIGKILL)
            time.sleep(_POLL_S)

    def _wake(self, name: str) -> None:
        """It has slept: from now on it is like any other."""
        for process in self._running.values():
            if process.spec.name == name:
                process.spec = replace(process.spec, sleep_at=None)

    # What they write down

    def _learn(self) -> None:
        for process, event in self._journals.news():
            self._oracle.learn(process, event)
            self._count(process, event)

    def _count(self, process: str, event: Event) -> None:
        counts = self._report.counts
        match event:
            case {"e": "reach", "point": point}:
                self._report.reached.add(point)
            case {"e": "die", "point": point}:
                self._report.kills[point] += 1
            case {"e": "conflict"}:
                counts["conflicts"] += 1
            case {"e": "lost", "commit": True}:
                counts["lost answers"] += 1
            case {"e": "lost"}:
                counts["other lost answers"] += 1
            case {"e": "merge", "made": made}:
                counts["merges" if made else "abandoned merges"] += 1
            case {"e": "deleted", "name": name} if name.startswith("segments/"):
                counts["deleted files"] += 1
            case {"e": "slept", "write_id": write_id}:
                counts["slept past the fence"] += 1
                self._slept[process] = write_id
                self._wake(process)
            case {"e": "ack", "write_id": write_id}:
                counts["commits"] += 1
                if self._slept.pop(process, write_id) != write_id:
                    counts["slept and written again"] += 1
            case {"e": "purged"}:
                counts["purges"] += 1
            case {"e": "seen"}:
                counts["reader checks"] += 1
            case {"e": "looked back" | "overtaken" | "put off" as what}:
                counts[what] += 1

    # The end

    def _finish(self) -> None:
        """Collect what was left behind, then ask the oracle; once more after merging it all."""
        blobs = FolderBlobs(self._folder / "index")
        blobs.sweep_temporary(time.time() + 1)
        upkeep = Upkeep(blobs, FILES, clock=SystemClock(), ids=RandomIds(), settings=UPKEEP)
        problems = self._oracle.bad
        try:
            purger_of(blobs, ALONE).carry_on()
            for full in (False, True):
                upkeep.compact(full=full)
                time.sleep(UPKEEP.retention.keep_s + UPKEEP.retention.grace_s)
                upkeep.collect()
                problems += [f"in the end: {what}" for what in self._oracle.judge(self._folder)]
        except IndexerError as error:
            problems.append(f"in the end: {type(error).__name__}: {error}")
        self._report.problems = problems
