"""How many requests run at once, and for how long somebody waits for one."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from threading import BoundedSemaphore
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
        self._places = BoundedSemaphore(n_at_once)
        self._threads = ThreadPoolExecutor(n_at_once, thread_name_prefix="request")

    def run(self, task: Callable[[], _T]) -> _T:
        """What the task returns or raises.

        Raises
        ------
        ApiError
            There is no place, or the time limit has passed.
        """
        if not self._places.acquire(timeout=self._wait_s):
            raise ApiError("busy")
        try:
            future = self._threads.submit(task)
        except RuntimeError as error:  # closed
            self._places.release()
            raise ApiError("unavailable") from error
        future.add_done_callback(lambda _: self._places.release())
        try:
            return future.result(timeout=self._limit_s)
        except FutureTimeoutError as error:
            if future.done():  # it was the task's own
                raise
            raise ApiError("timeLimit") from error

    def close(self) -> None:
        """Let what runs end, and start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
