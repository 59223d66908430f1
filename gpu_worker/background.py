"""Upkeep in a thread of its own: a long merge keeps no message waiting."""

import logging
from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Protocol

log = logging.getLogger(__name__)

_POLL_S = 0.2


class Keeper(Protocol):
    """What the loop asks to keep the index in shape; `indexer_core.index.upkeep.Upkeep` is one."""

    def after_batch(self) -> None:
        """A batch has been committed and acknowledged."""

    def when_idle(self, is_over: Callable[[], bool]) -> None:
        """There is nothing else to do, until `is_over`."""


class Keepers:
    """Several keepers as one, in turn."""

    def __init__(self, *keepers: Keeper) -> None:
        self._keepers = keepers

    def after_batch(self) -> None:
        """Ask each."""
        for keeper in self._keepers:
            keeper.after_batch()

    def when_idle(self, is_over: Callable[[], bool]) -> None:
        """Ask each."""
        for keeper in self._keepers:
            keeper.when_idle(is_over)


class BackgroundKeeper:
    """Lets another keeper do in one thread what it is asked for in another.

    The thread is a daemon: the process may end in the middle of a merge, as it may be killed.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._asked = Event()
        self._rests = Event()
        self._ended = Event()
        self._lock = Lock()
        self._thread: Thread | None = None

    def after_batch(self) -> None:
        """Have it done soon."""
        with self._lock:
            if self._ended.is_set():
                return
            self._rests.clear()
            self._asked.set()
            if self._thread is None:
                self._thread = Thread(target=self._work, name="upkeep", daemon=True)
                self._thread.start()

    def when_idle(self, is_over: Callable[[], bool]) -> None:
        """Have it done soon; it does not end with the idleness."""
        del is_over
        self.after_batch()

    @property
    def is_busy(self) -> bool:
        """Whether something that was asked for is not done."""
        return self._thread is not None and not self._rests.is_set()

    def finish(self, is_over: Callable[[], bool] = lambda: False) -> None:
        """Wait until all that was asked for is done, or `is_over`."""
        while self.is_busy and not is_over():
            self._rests.wait(_POLL_S)

    def _work(self) -> None:
        try:
            while self._asked.wait():
                self._asked.clear()
                self._keeper.when_idle(self._ended.is_set)
                with self._lock:
                    if not self._asked.is_set():
                        self._rests.set()
        except BaseException:
            # A bug, or no memory: new series are indexed all the same.
            log.exception("upkeep ended")
        finally:
            self._ended.set()
            self._rests.set()
