"""What becomes of messages: committed and acknowledged, kept for another try, or set aside.

Publish, then acknowledge: a crash in between means that the messages come back and find their
revision in the index.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import wait

from gpu_worker.loading import Job, Overtaken
from gpu_worker.preparing import Prepared
from gpu_worker.telling import log_ids, span_of
from gpu_worker.timing import stage
from gpu_worker.worker import Worker
from indexer_core.announcements import Announcement, series_indexed, series_rejected
from indexer_core.entries import Due
from indexer_core.errors import (
    ConflictError,
    CorruptIndexError,
    IndexerError,
    InvalidInputError,
    UnavailableError,
    UnknownOutcomeError,
)
from indexer_core.events import look_message
from indexer_core.messages import SeriesReady, parse_ready
from indexer_core.ports import QueueMessage

log = logging.getLogger(__name__)

Outcomes = dict[str, str]
"""From a message's id to what became of it."""


def take(messages: Iterable[QueueMessage], worker: Worker, outcomes: Outcomes) -> list[Job]:
    """The jobs of messages that are still due; others are acknowledged or set aside here."""
    parsed = [job for message in messages for job in _parsed(message, worker, outcomes)]
    return list(still_due(parsed, worker, outcomes))


def still_due(jobs: Sequence[Job], worker: Worker, outcomes: Outcomes) -> Iterator[Job]:
    """Those of which the index lacks the revision, as it is now."""
    dues = worker.indexer.dues([job.ready for job in jobs])
    for job, due in zip(jobs, dues, strict=True):
        if due.action != "index":
            _pass_over(job, due, worker, outcomes)
        elif job.message.dequeue_count > worker.settings.max_tries:
            # Nobody came to say why: the worker died of it, or took longer than it may.
            _set_aside(job, "it was tried too often and never finished", worker, outcomes)
        else:
            yield job


def newest_of_each(jobs: Sequence[Job]) -> tuple[list[Job], list[Job]]:
    """The highest revision of every series, and the other messages of the batch.

    Two contents of one revision (a marker was lost) must not be written by one commit: nothing
    would order them.
    """
    newest: dict[str, Job] = {}
    for job in jobs:
        known = newest.get(job.ready.series)
        if known is None or known.ready.revision < job.ready.revision:
            newest[job.ready.series] = job
    return list(newest.values()), [job for job in jobs if newest[job.ready.series] is not job]


def commit(items: Sequence[Prepared], worker: Worker, outcomes: Outcomes) -> int:
    """One commit for all; where that fails for what is in it, one for each.

    Returns
    -------
    int
        Number of the newest manifest that was written, 0 where none was.
    """
    if not items:
        return 0
    begun_s = worker.telling.clock.now_s()
    try:
        with stage("write"):
            manifest = worker.indexer.write([item.entry for item in items], "index")
    except (ConflictError, CorruptIndexError, UnavailableError, UnknownOutcomeError):
        raise
    except Exception as error:  # noqa: BLE001 - one series must not sink its batch
        if len(items) > 1:
            return max(commit([item], worker, outcomes) for item in items)
        _fail(items[0].job, error, worker, outcomes)
        return 0
    parents = [(item.job.ready, span_of(item.job)) for item in items]
    worker.telling.committed(parents, manifest.number, begun_s)
    worker.announcer.announce([_indexed(item.job.ready, manifest.number) for item in items])
    _acknowledge_all([item.job for item in items], worker)
    outcomes.update((item.job.message.id, "indexed") for item in items)
    return manifest.number


def _acknowledge_all(jobs: Sequence[Job], worker: Worker) -> None:
    def acknowledge(job: Job) -> None:
        worker.rejects.heal_series(job.ready.series)
        worker.ready.delete(job.message)

    if worker.errands is None:
        for job in jobs:
            acknowledge(job)
        return
    errands = [worker.errands.submit(acknowledge, job) for job in jobs]
    wait(errands)
    for errand in errands:
        errand.result()


def judge_again(jobs: Iterable[Job], worker: Worker, outcomes: Outcomes) -> None:
    """Messages that waited for another one of their series: by now done, or they come back."""
    for job in jobs:
        for _ in still_due([job], worker, outcomes):
            worker.ready.extend(job.message, 0.0)
            outcomes[job.message.id] = "postponed"


def decline(job: Job, error: Exception, worker: Worker, outcomes: Outcomes) -> None:
    """What becomes of a series that cannot go on to the commit."""
    match error:
        case Overtaken(url=url):
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
            _fail(job, error, worker, outcomes)


def _parsed(message: QueueMessage, worker: Worker, outcomes: Outcomes) -> Iterator[Job]:
    try:
        yield Job(message=message, ready=parse_ready(message.body))
    except InvalidInputError as error:
        worker.rejects.message("series-ready", message.body, str(error))
        _poison(message, "message", worker, outcomes)


def _pass_over(job: Job, due: Due, worker: Worker, outcomes: Outcomes) -> None:
    if due.action == "taken":
        worker.assembly.outrank(job.ready, due.taken)
    if due.action == "done":
        # The commit was made, but perhaps nobody was told: a crash before the acknowledgement.
        worker.announcer.announce([_indexed(job.ready, worker.indexer.manifest_number)])
    worker.ready.delete(job.message)
    outcomes[job.message.id] = due.action


def _indexed(ready: SeriesReady, manifest: int) -> Announcement:
    return series_indexed(ready.series, ready.revision, ready.digest, manifest)


def _fail(job: Job, error: Exception, worker: Worker, outcomes: Outcomes) -> None:
    kind = error.kind if isinstance(error, IndexerError) else type(error).__name__
    if job.message.dequeue_count >= worker.settings.max_tries:
        # Only our own messages are known to hold no patient attribute.
        told = str(error) if isinstance(error, IndexerError) else kind
        _set_aside(job, f"it failed every time it was tried: {told}", worker, outcomes)
        return
    log.warning("series kept for another try kind=%s", kind, extra=log_ids(job))
    worker.ready.extend(job.message, worker.settings.retry_s)
    outcomes[job.message.id] = "failed"


def _set_aside(job: Job, reason: str, worker: Worker, outcomes: Outcomes) -> None:
    worker.rejects.series(job.ready, reason)
    worker.announcer.announce([series_rejected(job.ready.series, job.ready.revision, "poison")])
    log.warning("series set aside", extra=log_ids(job))
    _poison(job.message, "poison", worker, outcomes)


def _poison(message: QueueMessage, code: str, worker: Worker, outcomes: Outcomes) -> None:
    # Acknowledged last: a crash before that means a second copy of the same poison, never none.
    worker.poison.send(message.body)
    worker.ready.delete(message)
    worker.telling.poisoned("series-ready", code)
    outcomes[message.id] = "poison"
