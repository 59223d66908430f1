"""How many requests run at once, and for how long somebody waits for one."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import Event, Lock
from typing import TypeVar

from function_app.api.messages import ApiError

_T = TypeVar("_T")


class Gate:
    """Runs requests, a limited number at once; others wait for a place, and not for long.

    One that passes its time limit is answered at once and goes on to its end in its thread: no
    thread can be ended from outside. It keeps its place until then, so slow ones cannot pile up.
    """

    def __init__(self, n_at_once: int, limit_s: float, *, wait_s: float = 0.0) -> None:
        self._limit_s = limit_s
        self._wait_s = wait_s
        self._places = _Places(n_at_once)
        self._threads = ThreadPoolExecutor(n_at_once, thread_name_prefix="request")

    def run(self, task: Callable[[], _T]) -> _T:
        """What the task returns or raises.

        Raises
        ------
        ApiError
            There is no place, or the time limit has passed.
        """
        if not self._places.take(self._wait_s):
            raise ApiError("busy")
        try:
            future = self._threads.submit(task)
        except RuntimeError as error:  # closed
            self._places.give_back()
            raise ApiError("unavailable") from error
        future.add_done_callback(lambda _: self._places.give_back())
        try:
            return future.result(timeout=self._limit_s)
        except FutureTimeoutError as error:
            if future.done():  # it was the task's own
                raise
            raise ApiError("timeLimit") from error

    def close(self) -> None:
        """Let what runs end, and start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Places:
    """So many at once; who waits first is next. A semaphore gives places to whoever is quickest."""

    def __init__(self, n_free: int) -> None:
        self._n_free = n_free
        self._waiting: deque[Event] = deque()
        self._lock = Lock()

    def take(self, wait_s: float) -> bool:
        """Take a place; False where none came in time."""
        turn = Event()
        with self._lock:
            if self._n_free:
                self._n_free -= 1
                return True
            self._waiting.append(turn)
        if turn.wait(wait_s):
            return True
        with self._lock:
            if turn.is_set():  # at the last moment
                return True
            self._waiting.remove(turn)
            return False

    def give_back(self) -> None:
        """Let the next one have it."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._n_free += 1
