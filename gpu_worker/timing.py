"""Where the time of a batch goes: seconds by stage, over all threads that work on it.

Stages overlap, so their seconds add up to more than passes on the clock. A stage within a stage
counts for itself alone: texts that are embedded while a segment is written are no writing time.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock

STAGES = ("take", "fetch", "decode", "see", "describe", "thumbnail", "texts", "write", "settle")
"""In the order in which a series meets them."""


class Timings:
    """Seconds that went into one batch; any number of threads add to it.

    Parameters
    ----------
    clock
        Seconds since whenever.
    beat
        Called whenever a stage ends.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.perf_counter,
        beat: Callable[[], None] = lambda: None,
    ) -> None:
        self.clock = clock
        self._beat = beat
        self._seconds = dict.fromkeys(STAGES, 0.0)
        self._gpu_s = 0.0
        self._lock = Lock()

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by stage so far."""
        with self._lock:
            return dict(self._seconds)

    @property
    def gpu_s(self) -> float:
        """Seconds so far in which a model ran on a GPU for this batch."""
        with self._lock:
            return self._gpu_s

    @contextmanager
    def running(self) -> Iterator[None]:
        """What this thread does meanwhile is done for this batch."""
        token = _CURRENT.set(_Frame(timings=self))
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def add(self, stage: str, seconds: float, *, on_gpu: bool = False) -> None:
        """Count seconds of a stage that has ended."""
        self._beat()
        with self._lock:
            self._seconds[stage] += seconds
            if on_gpu:
                self._gpu_s += seconds


@dataclass(slots=True)
class _Frame:
    timings: Timings
    within_s: float = 0.0
    """Of stages inside this one."""


_CURRENT: ContextVar[_Frame | None] = ContextVar("stage", default=None)


@contextmanager
def stage(name: str, *, on_gpu: bool = False) -> Iterator[None]:
    """Count what is done meanwhile as this stage of the batch that this thread works for, if any.

    An encoder times itself this way without being told for whom it works.
    """
    around = _CURRENT.get()
    if around is None:
        yield
        return
    frame = _Frame(timings=around.timings)
    token = _CURRENT.set(frame)
    started_s = frame.timings.clock()
    try:
        yield
    finally:
        elapsed_s = frame.timings.clock() - started_s
        _CURRENT.reset(token)
        around.within_s += elapsed_s
        frame.timings.add(name, elapsed_s - frame.within_s, on_gpu=on_gpu)
