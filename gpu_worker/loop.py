"""The worker's loop: receive a batch, see, describe, embed, commit once, acknowledge.

Publish, then acknowledge: a crash in between means that the messages come back and find their
revision in the index. An ordinary failure drops only its series from the batch; a message that was
seen before is worked on alone, so that one poison cannot sink the batch that it travels in. A store
that cannot answer, or a damaged index, is no series' fault: it ends the batch, nothing is set aside
for it, and the messages come back.

While a batch is worked on, its messages stay hidden from others. Where one slips away all the same,
two workers write the same revision, of which readers see one. When the shift ends, what was started
is finished and the rest is handed back.

Between batches the worker keeps the index in shape (`indexer_core.index.upkeep`), when no message
is in hand.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from gpu_worker.background import Keeper
from gpu_worker.seeing import NOTHING_SEEN, PixelClassifier, Sight, Subject, see
from gpu_worker.visibility import HeldMessages, Shift
from indexer_core.announcements import Announcement, Announcer, series_indexed, series_rejected
from indexer_core.assembly import Assembly
from indexer_core.entries import Entry
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    IndexerError,
    InvalidInputError,
    NotFoundError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.events import look_message
from indexer_core.indexing import Indexer
from indexer_core.instance_lists import AssembledInstance, AssembledSeries
from indexer_core.look import content_of
from indexer_core.messages import SeriesReady, parse_ready
from indexer_core.pixels.decode import DEFAULT_LIMITS
from indexer_core.pixels.errors import PixelError, PixelProblem, PixelsUnavailable
from indexer_core.pixels.recipe import PixelLimits
from indexer_core.pixels.stack import Decode, PixelSource, Stack, slices_from_bytes, stack_of
from indexer_core.ports import (
    BlobRange,
    ImageEncoder,
    PreconditionFailed,
    QueueMessage,
    WorkQueue,
)
from indexer_core.rejects import Rejects
from indexer_core.sources import Sources

log = logging.getLogger(__name__)

_SHORTEST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """batch: series per commit. visibility_s: how long a message is hidden while it is worked on.

    retry_s: a message that failed comes back after this. max_tries: one that failed this often is
    set aside with its reason. limits: what the pixels of an object may cost.
    """

    batch: int = 32
    visibility_s: float = 600.0
    retry_s: float = 30.0
    max_tries: int = 5
    limits: PixelLimits = DEFAULT_LIMITS


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """Everything that the loop needs."""

    ready: WorkQueue
    poison: WorkQueue
    looks: WorkQueue
    rejects: Rejects
    assembly: Assembly
    indexer: Indexer
    sources: Sources
    image_encoders: tuple[ImageEncoder, ...]
    announcer: Announcer
    threads: Executor
    classifier: PixelClassifier | None = None
    decode: Decode = slices_from_bytes
    upkeep: Keeper | None = None
    settings: WorkerSettings = field(default_factory=WorkerSettings)
    shift: Shift = field(default_factory=Shift)

    @property
    def sight(self) -> Sight:
        """What looks at pixels, as of the last look at the index."""
        return Sight(
            encoders=self.image_encoders,
            wanted=self.indexer.image_encoder_ids,
            classifier=self.classifier,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """Outcomes of one batch: message id -> ``indexed``, ``done``, ``overtaken``, ``failed``, ..."""

    outcomes: dict[str, str]
    manifest: int
    elapsed_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    message: QueueMessage
    ready: SeriesReady
    assembled: AssembledSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    job: _Job
    entry: Entry


@dataclass(frozen=True, slots=True)
class _NotStarted:
    """The shift ended before it was this job's turn."""


class _Overtaken(Exception):  # noqa: N818 - not an error: the blob changed, and is looked at again
    def __init__(self, url: str) -> None:
        super().__init__("a blob is no longer the version that was assembled")
        self.url = url


def work_once(worker: Worker) -> BatchReport | None:
    """Work on one batch; None when the queue has nothing visible.

    Raises
    ------
    IndexerError
        This worker cannot write this index (other encoders, a newer format): it takes nothing, so
        that its own unfitness does not use up the tries of the messages.
    """
    worker.indexer.check_fitness()
    with worker.shift.hold(worker.ready, worker.settings.visibility_s) as held:
        messages = held.receive(worker.settings.batch, worker.settings.visibility_s)
        if not messages:
            return None
        try:
            report = _report(messages, held, worker)
        except (ConflictError, UnavailableError, UnknownOutcomeError):
            held.hand_back_fresh(worker.settings.retry_s)
            raise
    if worker.upkeep is not None and not worker.shift.is_ending:
        worker.upkeep.after_batch()
    return report


def run(worker: Worker, *, until_idle: bool = False) -> None:
    """Work until the shift ends; with `until_idle`, until nothing is left in the queue.

    Raises
    ------
    IndexerError
        This worker cannot go on: another encoder, or a damaged index.
    """
    pause_s = _SHORTEST_PAUSE_S
    while not worker.shift.is_ending:
        try:
            if work_once(worker) is not None:
                pause_s = _SHORTEST_PAUSE_S
                continue
            _keep_up(worker)
            if until_idle and not worker.ready.length():
                return
        except (ConflictError, UnavailableError, UnknownOutcomeError) as error:
            # Its messages come back.
            log.warning("batch ended early kind=%s", error.kind)
        worker.shift.rest(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _keep_up(worker: Worker) -> None:
    """Upkeep while there is nothing else to do."""
    if worker.upkeep is not None:
        worker.upkeep.when_idle(lambda: worker.shift.is_ending or worker.ready.length() > 0)


def _report(messages: Sequence[QueueMessage], held: HeldMessages, worker: Worker) -> BatchReport:
    worker = replace(worker, ready=held)
    fresh = [message for message in messages if message.dequeue_count == 1]
    outcomes: dict[str, str] = {}
    started_s = time.monotonic()
    manifest = 0
    for batch in (fresh, *([message] for message in messages if message.dequeue_count > 1)):
        if worker.shift.is_ending:
            for message in batch:
                _hand_back(message, held, outcomes)
        elif batch:
            manifest = max(manifest, _work_on(batch, held, worker, outcomes))
    elapsed_s = time.monotonic() - started_s
    log.info(
        "batch series=%d indexed=%d failed=%d manifest=%d elapsed_s=%.3f",
        len(outcomes),
        sum(outcome == "indexed" for outcome in outcomes.values()),
        sum(outcome == "failed" for outcome in outcomes.values()),
        manifest,
        elapsed_s,
    )
    return BatchReport(outcomes=outcomes, manifest=manifest, elapsed_s=elapsed_s)


def _hand_back(message: QueueMessage, held: HeldMessages, outcomes: dict[str, str]) -> None:
    held.hand_back(message)
    outcomes[message.id] = "handedBack"


def _work_on(
    messages: Sequence[QueueMessage], held: HeldMessages, worker: Worker, outcomes: dict[str, str]
) -> int:
    taken = [job for message in messages for job in _take(message, worker, outcomes)]
    jobs, others = _newest_of_each(taken)
    prepared = []
    for job, done in zip(jobs, worker.threads.map(_attempt(worker), jobs), strict=True):
        match done:
            case _Prepared():
                prepared.append(done)
            case _NotStarted():
                _hand_back(job.message, held, outcomes)
            case _:
                _decline(job, done, worker, outcomes)
    number = _commit(prepared, worker, outcomes)
    for job in others:
        _judge_again(job, worker, outcomes)
    return number


def _newest_of_each(jobs: Sequence[_Job]) -> tuple[list[_Job], list[_Job]]:
    """The highest revision of every series, and the other messages of the batch.

    Two contents of one revision (a marker was lost) must not be written by one commit: nothing
    would order them.
    """
    newest: dict[str, _Job] = {}
    for job in jobs:
        known = newest.get(job.ready.series)
        if known is None or known.ready.revision < job.ready.revision:
            newest[job.ready.series] = job
    return list(newest.values()), [job for job in jobs if newest[job.ready.series] is not job]


def _commit(items: Sequence[_Prepared], worker: Worker, outcomes: dict[str, str]) -> int:
    """One commit for all; where that fails for what is in it, one for each."""
    if not items:
        return 0
    try:
        manifest = worker.indexer.write([item.entry for item in items], "index")
    except (ConflictError, CorruptIndexError, UnavailableError, UnknownOutcomeError):
        raise
    except Exception as error:  # noqa: BLE001 - one series must not sink its batch
        if len(items) > 1:
            return max(_commit([item], worker, outcomes) for item in items)
        _fail(items[0].job.message, items[0].job.ready, error, worker, outcomes)
        return 0
    worker.announcer.announce([_indexed(item.job.ready, manifest.number) for item in items])
    for item in items:
        worker.rejects.heal_series(item.job.ready.series)
        worker.ready.delete(item.job.message)
        outcomes[item.job.message.id] = "indexed"
    return manifest.number


def _judge_again(job: _Job, worker: Worker, outcomes: dict[str, str]) -> None:
    """A message that waited for another one of its series: by now it is done, or comes back."""
    for _ in _take(job.message, worker, outcomes):
        worker.ready.extend(job.message, 0.0)
        outcomes[job.message.id] = "postponed"


def _take(message: QueueMessage, worker: Worker, outcomes: dict[str, str]) -> Iterator[_Job]:
    """The job of a message that is still due; others are acknowledged or set aside here."""
    try:
        ready = parse_ready(message.body)
    except InvalidInputError as error:
        worker.rejects.message("series-ready", message.body, str(error))
        _poison(message, worker, outcomes)
        return
    due = worker.indexer.due(ready)
    if due.action == "index":
        if message.dequeue_count > worker.settings.max_tries:
            # Nobody came to say why: the worker died of it, or took longer than it may.
            reason = "it was tried too often and never finished"
            _set_aside(message, ready, reason, worker, outcomes)
            return
        try:
            assembled = worker.assembly.load(ready)
        except (CorruptIndexError, InvalidInputError) as error:
            _fail(message, ready, error, worker, outcomes)
            return
        yield _Job(message=message, ready=ready, assembled=assembled)
        return
    if due.action == "taken":
        worker.assembly.outrank(ready, due.taken)
    if due.action == "done":
        # The commit was made, but perhaps nobody was told: a crash before the acknowledgement.
        worker.announcer.announce([_indexed(ready, worker.indexer.manifest_number)])
    worker.ready.delete(message)
    outcomes[message.id] = due.action


def _indexed(ready: SeriesReady, manifest: int) -> Announcement:
    return series_indexed(ready.series, ready.revision, ready.digest, manifest)


def _attempt(worker: Worker) -> Callable[[_Job], _Prepared | _NotStarted | Exception]:
    def attempt(job: _Job) -> _Prepared | _NotStarted | Exception:
        if worker.shift.is_ending:
            return _NotStarted()
        try:
            return _prepare(job, worker)
        except Exception as error:  # noqa: BLE001 - one series must not sink its batch
            return error

    return attempt


def _prepare(job: _Job, worker: Worker) -> _Prepared:
    instances = [i for i in job.assembled.used if i.facts.has_pixels]
    seen = NOTHING_SEEN
    flags = []
    if instances:
        sources = [
            PixelSource(facts=instance.facts, fetch=_fetch(worker, instance))
            for instance in instances
        ]
        stack = stack_of(
            sources,
            limits=worker.settings.limits,
            decode=worker.decode,
            anatomy=worker.indexer.anatomy_of(job.assembled),
        )
        if isinstance(stack, PixelsUnavailable):
            flags.append("pixelsUnavailable")
        else:
            [seen] = see([_subject(job, stack, worker)], worker.sight)
    entry = worker.indexer.entry(job.ready, job.assembled, seen.images, flags, seen.findings)
    return _Prepared(job=job, entry=entry)


def _subject(job: _Job, stack: Stack, worker: Worker) -> Subject:
    # Labels are those of the modality; where nothing is labelled, nobody needs to know it.
    modality = worker.indexer.modality_of(job.assembled) if worker.classifier else ""
    return Subject(slices=stack.slices, modality=modality)


def _fetch(worker: Worker, instance: AssembledInstance) -> Callable[[], bytes]:
    """Reads exactly the version that was assembled, or one with the same stored content hash."""

    def fetch() -> bytes:
        located = worker.sources.locate(instance.url)
        if located is None:
            # No look could settle this: it would not be allowed there either.
            raise NotFoundError("a blob of the series is outside the configured sources")
        properties = located.store.properties(located.name)
        if properties is None or instance.content not in (
            content_of(properties),
            properties.etag,
        ):
            raise _Overtaken(instance.url)
        if properties.size_bytes > worker.settings.limits.max_object_bytes:
            raise PixelError(PixelProblem.TOO_LARGE)
        found = located.store.get_range(
            located.name, 0, properties.size_bytes, if_match=properties.etag
        )
        if isinstance(found, BlobRange):
            return found.data
        assert found is None or isinstance(found, PreconditionFailed)
        raise _Overtaken(instance.url)

    return fetch


def _decline(job: _Job, error: Exception, worker: Worker, outcomes: dict[str, str]) -> None:
    """What becomes of a series that cannot go on to the commit."""
    match error:
        case _Overtaken(url=url):
            # The blob may be back to what it was when it is looked at: its series is then
            # unchanged, and would not be handed on again by itself.
            worker.assembly.recall(job.ready)
            worker.looks.send(look_message(url))
            worker.ready.delete(job.message)
            outcomes[job.message.id] = "overtaken"
        case UnavailableError() | UnknownOutcomeError():
            # Storage is down: not the fault of this series, so it does not count as a try.
            worker.ready.send(job.message.body, delay_s=worker.settings.retry_s)
            worker.ready.delete(job.message)
            outcomes[job.message.id] = "unavailable"
        case _:
            _fail(job.message, job.ready, error, worker, outcomes)


def _fail(
    message: QueueMessage,
    ready: SeriesReady,
    error: Exception,
    worker: Worker,
    outcomes: dict[str, str],
) -> None:
    kind = error.kind if isinstance(error, IndexerError) else type(error).__name__
    if message.dequeue_count >= worker.settings.max_tries:
        # Only our own messages are known to hold no patient attribute.
        told = str(error) if isinstance(error, IndexerError) else kind
        reason = f"it failed every time it was tried: {told}"
        _set_aside(message, ready, reason, worker, outcomes)
        return
    log.warning("series kept for another try kind=%s", kind)
    worker.ready.extend(message, worker.settings.retry_s)
    outcomes[message.id] = "failed"


def _set_aside(
    message: QueueMessage,
    ready: SeriesReady,
    reason: str,
    worker: Worker,
    outcomes: dict[str, str],
) -> None:
    worker.rejects.series(ready, reason)
    worker.announcer.announce([series_rejected(ready.series, ready.revision, "poison")])
    _poison(message, worker, outcomes)


def _poison(message: QueueMessage, worker: Worker, outcomes: dict[str, str]) -> None:
    # Acknowledged last: a crash before that means a second copy of the same poison, never none.
    worker.poison.send(message.body)
    worker.ready.delete(message)
    outcomes[message.id] = "poison"
