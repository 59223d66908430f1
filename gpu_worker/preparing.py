"""A batch on its way to the commit: loaded on many threads, seen together, described.

Loading goes on while a model looks at what was loaded before, and pictures are handed to it in
batches across series: as many as are there when it is free, up to what fits. So it is never kept
waiting for a full batch, and the batches grow where it is what the others wait for.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from gpu_worker.halving import runs_on_gpu
from gpu_worker.loading import InOrder, Job, Loaded, load
from gpu_worker.seeing import NOTHING_SEEN, Seen, Subject, see
from gpu_worker.telling import part
from gpu_worker.timing import Timings, stage
from gpu_worker.worker import Worker
from indexer_core.entries import Entry
from indexer_core.errors import UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A series that only needs to be written."""

    job: Job
    entry: Entry


@dataclass(frozen=True, slots=True)
class NotStarted:
    """It was over before it was this job's turn."""


Result = Prepared | NotStarted | Exception


class Preparation:
    """The series of one batch, one job each; loading begins at once."""

    def __init__(self, jobs: Sequence[Job], worker: Worker, timings: Timings) -> None:
        self.jobs = jobs
        self._worker = worker
        self._timings = timings
        self.on_gpu = any(map(runs_on_gpu, (*worker.image_encoders, worker.classifier)))
        self._is_abandoned = False
        fitting = worker.settings.loaded_bytes // max(1, worker.sight.series_bytes)
        most = min(worker.settings.loaded, max(1, fitting))
        self._loads = InOrder(worker.threads, self._load, jobs, most)

    def results(self) -> list[tuple[Job, Result]]:
        """What became of each job, in order; to be called once, on any one thread."""
        results: dict[int, Result | Future[Result]] = {}
        waiting: dict[int, Loaded] = {}
        with self._timings.running():
            for number, loaded in enumerate(self._loads):
                if isinstance(loaded, Loaded):
                    waiting[number] = loaded
                else:
                    results[number] = loaded
                is_full = len(waiting) >= self._worker.together.limit
                if waiting and (is_full or not self._loads.is_next_ready):
                    results.update(self._seen_together(waiting))
                    waiting = {}
        return [(job, _done(results[number])) for number, job in enumerate(self.jobs)]

    def abandon(self) -> None:
        """Nobody wants the results any more."""
        self._is_abandoned = True
        self._loads.cancel()

    @property
    def _is_over(self) -> bool:
        return self._is_abandoned or self._worker.shift.is_ending

    def _load(self, job: Job) -> Loaded | Result:
        if self._is_over:
            return NotStarted()
        with self._timings.running():
            try:
                with part(self._worker.telling, "load", [job]):
                    loaded = load(job, self._worker)
                if loaded.subject is None:
                    return self._prepared(loaded, NOTHING_SEEN)
                if self._worker.together.most > 1:
                    return loaded
                with part(self._worker.telling, "embed", [job]):
                    [seen] = self._looked([loaded.subject])
                return self._prepared(loaded, seen)
            except Exception as error:  # noqa: BLE001 - one series must not sink its batch
                return error

    def _seen_together(self, group: dict[int, Loaded]) -> Mapping[int, Result | Future[Result]]:
        if self._is_over:
            return dict.fromkeys(group, NotStarted())
        subjects = [loaded.subject for loaded in group.values() if loaded.subject is not None]
        with part(self._worker.telling, "embed", [loaded.job for loaded in group.values()]):
            seen = self._seen_each(subjects)
        return {
            number: one if isinstance(one, Exception) else self._described(loaded, one)
            for (number, loaded), one in zip(group.items(), seen, strict=True)
        }

    def _seen_each(self, subjects: Sequence[Subject]) -> Sequence[Seen | Exception]:
        """What is seen of each, or why nothing is: one of them must not sink the others."""
        try:
            return self._worker.together.over(subjects, self._looked)
        except UnavailableError as error:
            return [error] * len(subjects)
        except Exception as error:  # noqa: BLE001 - whose it is shows when each is seen alone
            if len(subjects) == 1:
                return [error]
            return [seen for subject in subjects for seen in self._seen_each([subject])]

    def _looked(self, subjects: Sequence[Subject]) -> list[Seen]:
        with stage("see", on_gpu=self.on_gpu):
            return see(subjects, self._worker.sight)

    def _described(self, loaded: Loaded, seen: Seen) -> Result | Future[Result]:
        """What is left to do of a series that was seen: no model has to wait for it."""

        def describe() -> Result:
            try:
                with self._timings.running():
                    return self._prepared(loaded, seen)
            except Exception as error:  # noqa: BLE001 - one series must not sink its batch
                return error

        errands = self._worker.errands
        return describe() if errands is None else errands.submit(describe)

    def _prepared(self, loaded: Loaded, seen: Seen) -> Prepared:
        with stage("describe"), part(self._worker.telling, "classify", [loaded.job]):
            entry = self._worker.indexer.entry(
                loaded.job.ready, loaded.assembled, seen.images, loaded.flags, seen.findings
            )
        if self._worker.thumbnails is not None and loaded.subject is not None:
            # Before the commit: a row that can be found has its picture.
            with stage("thumbnail"):
                self._worker.thumbnails.keep(entry, next(iter(loaded.subject.stacks.values())))
        return Prepared(job=loaded.job, entry=entry)


def _done(result: Result | Future[Result]) -> Result:
    return result.result() if isinstance(result, Future) else result
