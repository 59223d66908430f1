"""Messages in hand: kept hidden from others while they are worked on, and given back at the end.

Every extension of a message gives it a new receipt, which alone can extend or delete it further.
So there is one place that knows the newest receipt of everything in hand.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Event, Lock, Thread

from indexer_core.errors import IndexerError
from indexer_core.ports import QueueMessage, WorkQueue

log = logging.getLogger(__name__)

BEATS_PER_VISIBILITY = 3
"""Two extensions may fail in a row before a message is seen by others."""

Beat = Callable[[Callable[[], None], float], AbstractContextManager[None]]
"""Calls a function every so many seconds while its context lasts."""


class HeldMessages:
    """A queue of which what was received is in hand until it is deleted or given back.

    Implements `indexer_core.ports.WorkQueue`. A message that is no longer ours (it took longer than
    its visibility, or the answer to an extension got lost) is forgotten: whatever is still done
    with it is harmless, and whoever has it now finds the work done.

    Parameters
    ----------
    queue
        The queue itself.
    visibility_s
        How long an extension hides a message.
    """

    def __init__(self, queue: WorkQueue, visibility_s: float) -> None:
        self._queue = queue
        self._visibility_s = visibility_s
        self._held: dict[str, QueueMessage] = {}
        self._lock = Lock()

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        """Enqueue; the message becomes visible after `delay_s`."""
        self._queue.send(body, delay_s=delay_s)

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Up to `max_messages` visible messages, from now on in hand."""
        messages = self._queue.receive(max_messages, visibility_s)
        with self._lock:
            self._held.update((message.id, message) for message in messages)
        return messages

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        """Give the message back: others see it after `visibility_s`."""
        return self._queue.extend(self._released(message), visibility_s)

    def delete(self, message: QueueMessage) -> bool:
        """Acknowledge; False when the message is no longer ours."""
        return self._queue.delete(self._released(message))

    def length(self) -> int:
        """Approximate number of messages, invisible ones included."""
        return self._queue.length()

    def renew(self) -> None:
        """Hide everything in hand from others for another while."""
        for id_ in self._ids():
            with self._lock:  # for one message at a time: the worker may want to acknowledge
                message = self._held.get(id_)
                if message is not None:
                    self._renew(message)

    def hand_back(self, message: QueueMessage, delay_s: float = 0.0) -> None:
        """Give back a message that was not started; that does not count as a try.

        A new copy of it where it was never seen before: only such messages share a batch.
        """
        if message.dequeue_count > 1:
            self.extend(message, delay_s)
            return
        self._queue.send(message.body, delay_s=delay_s)
        self.delete(message)

    def hand_back_fresh(self, delay_s: float) -> None:
        """Give back what was never seen before, after a batch that nothing in it is to blame for.

        The others come back when their visibility ends: one of them may have ended the batch.
        """
        with self._lock:
            messages = [held for held in self._held.values() if held.dequeue_count == 1]
        for message in messages:
            with suppress(IndexerError):  # the store may still be down: it comes back by itself
                self.hand_back(message, delay_s)

    def let_go(self) -> None:
        """Give back everything in hand, started or not: this process ends now."""
        for id_ in self._ids():
            with self._lock:
                message = self._held.pop(id_, None)
                if message is not None:
                    self._extended(message, 0.0)

    def _released(self, message: QueueMessage) -> QueueMessage:
        """The message with its newest receipt; from here on nothing extends it any more."""
        with self._lock:
            return self._held.pop(message.id, message)

    def _ids(self) -> list[str]:
        with self._lock:
            return list(self._held)

    def _renew(self, message: QueueMessage) -> None:
        renewed = self._extended(message, self._visibility_s)
        if isinstance(renewed, QueueMessage):
            self._held[message.id] = renewed
        elif renewed is None:
            log.warning("message lost to another worker dequeue_count=%d", message.dequeue_count)
            del self._held[message.id]

    def _extended(
        self, message: QueueMessage, visibility_s: float
    ) -> QueueMessage | IndexerError | None:
        try:
            return self._queue.extend(message, visibility_s)
        except IndexerError as error:  # the next beat tries again; else the message comes back
            log.warning("visibility not changed kind=%s", error.kind)
            return error


class Shift:
    """A worker's time at work: what it has in hand meanwhile, and whether it is to end.

    Parameters
    ----------
    beat
        What extends the visibility of messages in hand from time to time.
    """

    def __init__(self, beat: Beat | None = None) -> None:
        self._beat = beat or in_thread
        self._ending = Event()
        self._held: HeldMessages | None = None

    @property
    def is_ending(self) -> bool:
        """Whether nothing new is to be started."""
        return self._ending.is_set()

    def end(self) -> None:
        """Start nothing new; what is under way is finished."""
        self._ending.set()

    def rest(self, seconds: float) -> None:
        """Wait, unless the shift ends meanwhile."""
        self._ending.wait(seconds)

    @contextmanager
    def hold(self, queue: WorkQueue, visibility_s: float) -> Iterator[HeldMessages]:
        """The queue, of which received messages stay hidden while this lasts."""
        held = HeldMessages(queue, visibility_s)
        self._held = held
        try:
            with self._beat(held.renew, visibility_s / BEATS_PER_VISIBILITY):
                yield held
        finally:
            self._held = None

    def let_go(self) -> None:
        """Give back whatever is in hand; for the end of a process in the middle of a batch."""
        if self._held is not None:
            self._held.let_go()


@contextmanager
def in_thread(call: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call every so many seconds from a thread of its own."""
    over = Event()

    def beat() -> None:
        while not over.wait(every_s):
            call()

    thread = Thread(target=beat, name="visibility", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
