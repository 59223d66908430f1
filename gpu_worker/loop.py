"""The worker's loop: receive a batch, see, describe, embed, commit once, acknowledge.

While one batch is embedded and committed, the next one is fetched, decoded and seen; both are in
hand, and stay hidden from others. There are never more: what is ahead waits.

An ordinary failure drops only its series from the batch; a message that was seen before is worked
on alone, with nothing else under way, so that one poison cannot sink the batch that it travels in.
A store that cannot answer, or a damaged index, is no series' fault: it ends the batch, nothing is
set aside for it, and the messages come back.

Where a message slips away all the same, two workers write the same revision, of which readers see
one. When the shift ends, what was started is finished and the rest is handed back.

Between batches the worker keeps the index in shape (`indexer_core.index.upkeep`).
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace

from gpu_worker.loading import Job
from gpu_worker.preparing import NotStarted, Preparation, Prepared, Result
from gpu_worker.settling import (
    Outcomes,
    commit,
    decline,
    judge_again,
    newest_of_each,
    still_due,
    take,
)
from gpu_worker.telling import INTERRUPTED, tell_batch, tell_series
from gpu_worker.timing import STAGES, Timings, stage
from gpu_worker.visibility import HeldMessages
from gpu_worker.worker import BatchReport, Worker, WorkerSettings
from indexer_core.errors import ConflictError, IndexerError, UnavailableError, UnknownOutcomeError
from indexer_core.ports import QueueMessage

__all__ = ["BatchReport", "Worker", "WorkerSettings", "batches", "run", "work_once"]

log = logging.getLogger(__name__)

_SHORTEST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0
# Storage is not there, or others are in the way: nothing in the batch is to blame.
_NOBODYS_FAULT = (ConflictError, UnavailableError, UnknownOutcomeError)

Prepare = Callable[[Preparation], Callable[[], list[tuple[Job, Result]]]]
"""Starts a preparation; what it returns waits for the results."""


def work_once(worker: Worker) -> BatchReport | None:
    """Work on one batch; None when the queue has nothing visible.

    Raises
    ------
    IndexerError
        This worker cannot write this index (other encoders, a newer format): it takes nothing, so
        that its own unfitness does not use up the tries of the messages.
    """
    with _hands(worker, _in_this_thread) as hands:
        if not hands.take_up():
            return None
        report = hands.finish()
    _after_batch(worker)
    return report


def batches(worker: Worker) -> Iterator[BatchReport]:
    """Work on batch after batch, until the queue has nothing visible or the shift ends.

    Who stops asking for more gives back what was taken ahead.

    Raises
    ------
    IndexerError
        As `work_once`.
    """
    if worker.settings.ahead == 0:
        while not worker.shift.is_ending and (report := work_once(worker)) is not None:
            yield report
        return
    with ThreadPoolExecutor(1, "seeing") as seeing, _hands(worker, _on(seeing)) as hands:
        while hands.is_busy or not worker.shift.is_ending:
            if not hands.take_up(1 + worker.settings.ahead):
                return
            report = hands.finish()
            _after_batch(worker)
            yield report


def run(worker: Worker, *, until_idle: bool = False) -> None:
    """Work until the shift ends; with `until_idle`, until nothing is left in the queue.

    Raises
    ------
    IndexerError
        This worker cannot go on: another encoder, or a damaged index.
    """
    pause_s = _SHORTEST_PAUSE_S
    while not worker.shift.is_ending:
        worker.pulse.beat()
        try:
            for _ in batches(worker):
                pause_s = _SHORTEST_PAUSE_S
            _keep_up(worker)
            if until_idle and not worker.ready.length():
                return
        except _NOBODYS_FAULT as error:
            # Its messages come back.
            log.warning("batch ended early kind=%s", error.kind)
        worker.shift.rest(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _after_batch(worker: Worker) -> None:
    if worker.upkeep is not None and not worker.shift.is_ending:
        worker.upkeep.after_batch()


def _keep_up(worker: Worker) -> None:
    """Upkeep while there is nothing else to do."""
    if worker.upkeep is not None and not worker.shift.is_ending:
        worker.upkeep.when_idle(lambda: worker.shift.is_ending or worker.ready.length() > 0)


def _on(seeing: ThreadPoolExecutor) -> Prepare:
    def prepare(preparation: Preparation) -> Callable[[], list[tuple[Job, Result]]]:
        future: Future[list[tuple[Job, Result]]] = seeing.submit(preparation.results)
        return future.result

    return prepare


@contextmanager
def _hands(worker: Worker, prepare: Prepare) -> Iterator["_Hands"]:
    """What is in hand, and given back where it cannot be finished."""
    with worker.shift.hold(worker.ready, worker.settings.visibility_s) as held:
        hands = _Hands(replace(worker, ready=held), held, prepare)
        try:
            yield hands
        except _NOBODYS_FAULT:
            hands.drop()
            held.hand_back_fresh(worker.settings.retry_s)
            raise
        except GeneratorExit:
            # Nobody wants the batches that were taken up and not finished.
            hands.drop()
            held.hand_back_fresh(0.0)
            held.let_go()
            raise
        except BaseException:
            hands.drop()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """Series that one commit writes; `others` are messages of the same series."""

    others: Sequence[Job]
    preparation: Preparation
    results: Callable[[], list[tuple[Job, Result]]]
    n_finished_before: int
    begun_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """Messages that were received together; those that were seen before wait for their turn."""

    messages: Sequence[QueueMessage]
    work: _Work
    alone: Sequence[QueueMessage]
    is_full: bool
    outcomes: Outcomes
    timings: Timings
    started_s: float


class _Hands:
    """Batches in hand: the oldest is finished first; all others are being prepared meanwhile."""

    def __init__(self, worker: Worker, held: HeldMessages, prepare: Prepare) -> None:
        self._worker = worker
        self._held = held
        self._prepare = prepare
        self._batches: deque[_Batch] = deque()
        self._n_finished = 0
        self._settled_s = 0.0

    @property
    def is_busy(self) -> bool:
        """Whether there is something to finish."""
        return bool(self._batches)

    def take_up(self, most: int = 1) -> bool:
        """Receive until `most` batches are in hand, or no more is to be had; whether any is."""
        while not self._batches or (len(self._batches) < most and self._has_room):
            messages = self._received()
            if not messages:
                break
            self._batches.append(self._begun(messages))
        return self.is_busy

    def finish(self) -> BatchReport:
        """Settle the oldest batch; one that ends early is told of, too, and stays in hand."""
        batch = self._batches[0]
        try:
            manifest = self._settled_all(batch)
        except Exception:
            early = {message.id: INTERRUPTED for message in batch.messages}
            self._tell(batch, {**early, **batch.outcomes})
            raise
        self._batches.popleft()
        report = _reported(batch, manifest)
        self._tell(batch, report.outcomes)
        return report

    def _settled_all(self, batch: _Batch) -> int:
        with batch.timings.running():
            manifest = self._settled(batch.work, batch.outcomes)
            for message in batch.alone:
                if self._worker.shift.is_ending:
                    self._hand_back(message, batch.outcomes)
                    continue
                work = self._work_on([message], batch.outcomes, batch.timings, _in_this_thread)
                manifest = max(manifest, self._settled(work, batch.outcomes))
        return manifest

    def drop(self) -> None:
        """Do no more for what is in hand."""
        for batch in self._batches:
            batch.work.preparation.abandon()

    def _tell(self, batch: _Batch, outcomes: Outcomes) -> None:
        settled_s = time.monotonic()
        tell_batch(
            self._worker.telling,
            outcomes,
            elapsed_s=settled_s - batch.started_s,
            busy_s=settled_s - max(batch.started_s, self._settled_s),
            device="cuda" if batch.work.preparation.on_gpu else "cpu",
            hourly_price=self._worker.settings.hourly_price,
        )
        self._settled_s = settled_s

    @property
    def _has_room(self) -> bool:
        newest = self._batches[-1]
        # Only a full batch says that more is waiting: else what comes meanwhile is one batch later.
        return newest.is_full and not newest.alone and not self._worker.shift.is_ending

    def _received(self) -> Sequence[QueueMessage]:
        settings = self._worker.settings
        try:
            self._worker.indexer.check_fitness()
            return self._held.receive(settings.batch, settings.visibility_s)
        except IndexerError:
            if not self._batches:
                raise
            return ()  # told when it is the next one's turn

    def _begun(self, messages: Sequence[QueueMessage]) -> _Batch:
        timings, outcomes = Timings(beat=self._worker.pulse.beat), dict[str, str]()
        started_s = time.monotonic()
        fresh = [message for message in messages if message.dequeue_count == 1]
        with timings.running():
            work = self._work_on(fresh, outcomes, timings, self._prepare)
        return _Batch(
            messages=messages,
            work=work,
            alone=_in_turn([message for message in messages if message.dequeue_count > 1]),
            is_full=len(messages) >= self._worker.settings.batch,
            outcomes=outcomes,
            timings=timings,
            started_s=started_s,
        )

    def _work_on(
        self,
        messages: Sequence[QueueMessage],
        outcomes: Outcomes,
        timings: Timings,
        prepare: Prepare,
    ) -> _Work:
        begun_s = self._worker.telling.clock.now_s()
        if self._worker.shift.is_ending:
            for message in messages:
                self._hand_back(message, outcomes)
            messages = ()
        with stage("take"):
            jobs, others = newest_of_each(take(messages, self._worker, outcomes))
        preparation = Preparation(jobs, self._worker, timings)
        return _Work(
            others=others,
            preparation=preparation,
            results=prepare(preparation),
            n_finished_before=self._n_finished,
            begun_s=begun_s,
        )

    def _settled(self, work: _Work, outcomes: Outcomes) -> int:
        try:
            return self._settled_untold(work, outcomes)
        finally:
            jobs = [*work.preparation.jobs, *work.others]
            tell_series(self._worker.telling, jobs, outcomes, work.begun_s)

    def _settled_untold(self, work: _Work, outcomes: Outcomes) -> int:
        prepared = []
        results = work.results()
        with stage("settle"):
            for job, result in results:
                match result:
                    case Prepared():
                        prepared.append(result)
                    case NotStarted():
                        self._hand_back(job.message, outcomes)
                    case _:
                        decline(job, result, self._worker, outcomes)
            if self._n_finished > work.n_finished_before:
                prepared = self._still_due(prepared, outcomes)
            number = commit(prepared, self._worker, outcomes)
            judge_again(work.others, self._worker, outcomes)
        self._n_finished += 1
        return number

    def _still_due(self, prepared: Sequence[Prepared], outcomes: Outcomes) -> list[Prepared]:
        """Without what the batches have written that were in hand together with this one."""
        due = still_due([item.job for item in prepared], self._worker, outcomes)
        wanted = {job.message.id for job in due}
        return [item for item in prepared if item.job.message.id in wanted]

    def _hand_back(self, message: QueueMessage, outcomes: Outcomes) -> None:
        self._held.hand_back(message)
        outcomes[message.id] = "handedBack"


def _in_turn(messages: Sequence[QueueMessage]) -> list[QueueMessage]:
    """Those that were tried least come first; among equals the order turns round at every try.

    What kills the process takes a try from all that wait behind it. They come before it next time.
    """

    def by_id(message: QueueMessage) -> str:
        return message.id

    counts = sorted({message.dequeue_count for message in messages})
    return [
        message
        for count in counts
        for message in sorted(
            (one for one in messages if one.dequeue_count == count),
            key=by_id,
            reverse=count % 2 == 1,
        )
    ]


def _in_this_thread(preparation: Preparation) -> Callable[[], list[tuple[Job, Result]]]:
    return preparation.results


def _reported(batch: _Batch, manifest: int) -> BatchReport:
    report = BatchReport(
        outcomes=batch.outcomes,
        manifest=manifest,
        elapsed_s=time.monotonic() - batch.started_s,
        seconds=batch.timings.seconds,
        gpu_s=batch.timings.gpu_s,
    )
    log.info(
        "batch series=%d indexed=%d failed=%d manifest=%d elapsed_s=%.3f %s gpu_s_per_series=%.4f",
        len(report.outcomes),
        report.count("indexed"),
        report.count("failed"),
        manifest,
        report.elapsed_s,
        " ".join(f"{name}_s={report.seconds[name]:.3f}" for name in STAGES),
        report.gpu_s_per_series,
    )
    return report
