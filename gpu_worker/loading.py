"""From a message to what is to be seen: the instance list, the bytes, the prepared slices."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from gpu_worker.seeing import Subject
from gpu_worker.timing import stage
from gpu_worker.worker import Worker
from indexer_core.errors import NotFoundError
from indexer_core.instance_lists import AssembledInstance, AssembledSeries
from indexer_core.look import content_of
from indexer_core.messages import SeriesReady
from indexer_core.pixels.errors import PixelError, PixelProblem
from indexer_core.pixels.recipe import PixelLimits, PixelRecipe
from indexer_core.pixels.stack import PixelSource, Slice, Stack, stacks_of
from indexer_core.ports import BlobRange, PreconditionFailed, QueueMessage

Stacks = Mapping[PixelRecipe, NDArray[np.float32]]
"""Of a series, by recipe: `indexer_core.pixels.stack.Stack.slices`."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A message whose series the index lacks."""

    message: QueueMessage
    ready: SeriesReady


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A series that is ready to be seen; `subject` is None where there is nothing to see."""

    job: Job
    assembled: AssembledSeries
    subject: Subject | None = None
    flags: tuple[str, ...] = ()


class Overtaken(Exception):  # noqa: N818 - not an error: the blob changed, and is looked at again
    """A blob of the series is no longer what was assembled."""

    def __init__(self, url: str) -> None:
        super().__init__("a blob is no longer the version that was assembled")
        self.url = url


def load(job: Job, worker: Worker) -> Loaded:
    """Fetch and decode the slices that represent a series.

    Raises
    ------
    Overtaken
        A blob changed meanwhile.
    IndexerError
        The instance list or a blob cannot be had.
    """
    with stage("fetch"):
        assembled = worker.assembly.load(job.ready)
    if not _with_pixels(assembled):
        return Loaded(job=job, assembled=assembled)
    # Labels are those of the modality; where nothing is labelled, nobody needs to know it.
    modality = worker.indexer.modality_of(assembled) if worker.classifier else ""
    stacks = _stacks(assembled, worker.sight.recipes(modality), worker)
    if stacks is None:
        return Loaded(job=job, assembled=assembled, flags=("pixelsUnavailable",))
    return Loaded(job=job, assembled=assembled, subject=Subject(stacks=stacks, modality=modality))


def slices_again(
    ready: SeriesReady, recipe: PixelRecipe, worker: Worker
) -> NDArray[np.float32] | None:
    """The slices that represent a content that was indexed; None where it has no pixels.

    Raises
    ------
    Overtaken
        A blob is no longer the version that was assembled.
    IndexerError
        The instance list or a blob cannot be had.
    """
    assembled = worker.assembly.load(ready)
    stacks = _stacks(assembled, (recipe,), worker) if _with_pixels(assembled) else None
    return None if stacks is None else stacks[recipe]


def _with_pixels(assembled: AssembledSeries) -> list[AssembledInstance]:
    return [instance for instance in assembled.used if instance.facts.has_pixels]


def _stacks(
    assembled: AssembledSeries, recipes: Sequence[PixelRecipe], worker: Worker
) -> Stacks | None:
    """The prepared slices by every recipe, or None: a series is seen by all who look, or not."""
    with stage("describe"):
        anatomy = worker.indexer.anatomy_of(assembled)
    sources = [
        PixelSource(facts=instance.facts, fetch=_fetch(worker, instance))
        for instance in _with_pixels(assembled)
    ]

    def decode(
        data: bytes, frames: Sequence[int] | None, recipe: PixelRecipe, limits: PixelLimits
    ) -> Sequence[Slice]:
        with stage("decode"):
            return worker.decode(data, frames, recipe, limits)

    found = stacks_of(sources, recipes, worker.settings.limits, decode, anatomy)
    seen = {recipe: stack.slices for recipe, stack in found.items() if isinstance(stack, Stack)}
    return seen if len(seen) == len(found) else None


def _fetch(worker: Worker, instance: AssembledInstance) -> Callable[[], bytes]:
    """Reads exactly the version that was assembled, or one with the same stored content hash."""

    def fetch() -> bytes:
        with stage("fetch"):
            return _fetched(worker, instance)

    return fetch


def _fetched(worker: Worker, instance: AssembledInstance) -> bytes:
    located = worker.sources.locate(instance.url)
    if located is None:
        # No look could settle this: it would not be allowed there either.
        raise NotFoundError("a blob of the series is outside the configured sources")
    properties = located.store.properties(located.name)
    if properties is None or instance.content not in (content_of(properties), properties.etag):
        raise Overtaken(instance.url)
    if properties.size_bytes > worker.settings.limits.max_object_bytes:
        raise PixelError(PixelProblem.TOO_LARGE)
    found = located.store.get_range(
        located.name, 0, properties.size_bytes, if_match=properties.etag
    )
    if isinstance(found, BlobRange):
        return found.data
    assert found is None or isinstance(found, PreconditionFailed)
    raise Overtaken(instance.url)


class InOrder(Generic[Item, Result]):
    """Results of a call for each item, in order, computed on other threads while one waits.

    Back-pressure: no more than `most` items are under way or wait to be taken. The first ones are
    handed to the threads at once, so that they work before anybody asks. One thread takes the
    results; another one may cancel.
    """

    def __init__(
        self,
        pool: Executor,
        call: Callable[[Item], Result],
        items: Sequence[Item],
        most: int,
    ) -> None:
        self._pool = pool
        self._call = call
        self._waiting = deque(items)
        self._futures: deque[Future[Result]] = deque()
        self._lock = Lock()
        for _ in range(most):
            self._submit()

    def __iter__(self) -> Iterator[Result]:
        while (future := self._next()) is not None:
            result = future.result()
            self._submit()
            yield result

    @property
    def is_next_ready(self) -> bool:
        """Whether the next result would be had without waiting."""
        with self._lock:
            return bool(self._futures) and self._futures[0].done()

    def cancel(self) -> None:
        """Start no more of them; who waits for a result that will never be is told so.

        `concurrent.futures.CancelledError` is what it is told.
        """
        with self._lock:
            self._waiting.clear()
            for future in self._futures:
                future.cancel()

    def _next(self) -> Future[Result] | None:
        with self._lock:
            return self._futures.popleft() if self._futures else None

    def _submit(self) -> None:
        with self._lock:
            if self._waiting:
                self._futures.append(self._pool.submit(self._call, self._waiting.popleft()))
