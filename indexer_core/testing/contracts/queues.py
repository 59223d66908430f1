"""The contract of `indexer_core.ports.WorkQueue`."""

from abc import ABC, abstractmethod

import pytest

from indexer_core.ports import QueueMessage, WorkQueue
from indexer_core.testing.memory import ManualClock

VISIBILITY_S = 30.0


def only(messages: object) -> QueueMessage:
    """The single message of a receive."""
    assert isinstance(messages, tuple | list)
    (message,) = messages
    assert isinstance(message, QueueMessage)
    return message


class WorkQueueContract(ABC):
    """What every queue does.

    Subclasses give the fixtures `queue` and `twin`, both on the fixture `clock` where they can;
    an adapter whose clock is a server's overrides `pass_time`.
    """

    @pytest.fixture
    def clock(self) -> ManualClock:
        """The queue's clock."""
        return ManualClock()

    @pytest.fixture
    @abstractmethod
    def queue(self, clock: ManualClock) -> WorkQueue:
        """An empty queue."""

    @pytest.fixture
    @abstractmethod
    def twin(self, queue: WorkQueue, clock: ManualClock) -> WorkQueue:
        """A second handle on the same queue."""

    def pass_time(self, clock: ManualClock, seconds: float) -> None:
        """Let the queue's time pass."""
        clock.advance(seconds)

    def test_empty_queue_gives_nothing(self, queue: WorkQueue) -> None:
        assert len(queue.receive(32, VISIBILITY_S)) == 0
        assert queue.length() == 0

    def test_message_arrives_unchanged(self, queue: WorkQueue, twin: WorkQueue) -> None:
        body = '{"text": "größer \\u0000 日本 <&>", "n": 1}'
        queue.send(body)
        message = only(twin.receive(1, VISIBILITY_S))
        assert message.body == body
        assert message.dequeue_count == 1
        assert message.id
        assert message.receipt

    def test_messages_come_in_send_order_up_to_the_maximum(self, queue: WorkQueue) -> None:
        for i in range(7):
            queue.send(str(i))
        assert [m.body for m in queue.receive(5, VISIBILITY_S)] == ["0", "1", "2", "3", "4"]
        assert [m.body for m in queue.receive(5, VISIBILITY_S)] == ["5", "6"]

    def test_received_message_is_hidden_from_others(
        self, queue: WorkQueue, twin: WorkQueue
    ) -> None:
        queue.send("a")
        only(queue.receive(1, VISIBILITY_S))
        assert len(twin.receive(1, VISIBILITY_S)) == 0
        assert queue.length() == 1

    def test_undeleted_message_returns_with_a_higher_count(
        self, queue: WorkQueue, clock: ManualClock
    ) -> None:
        queue.send("a")
        first = only(queue.receive(1, VISIBILITY_S))
        self.pass_time(clock, VISIBILITY_S + 1)
        second = only(queue.receive(1, VISIBILITY_S))
        assert (second.id, second.body, second.dequeue_count) == (first.id, "a", 2)
        assert second.receipt != first.receipt

    def test_deleted_message_never_returns(self, queue: WorkQueue, clock: ManualClock) -> None:
        queue.send("a")
        message = only(queue.receive(1, VISIBILITY_S))
        assert queue.delete(message) is True
        assert queue.delete(message) is False
        self.pass_time(clock, VISIBILITY_S + 1)
        assert len(queue.receive(1, VISIBILITY_S)) == 0
        assert queue.length() == 0

    def test_stale_receipt_neither_deletes_nor_extends(
        self, queue: WorkQueue, twin: WorkQueue, clock: ManualClock
    ) -> None:
        queue.send("a")
        stale = only(queue.receive(1, VISIBILITY_S))
        self.pass_time(clock, VISIBILITY_S + 1)
        current = only(twin.receive(1, VISIBILITY_S))
        assert queue.delete(stale) is False
        assert queue.extend(stale, VISIBILITY_S) is None
        assert queue.length() == 1
        assert twin.delete(current) is True

    def test_late_delete_counts_while_nobody_else_received(
        self, queue: WorkQueue, clock: ManualClock
    ) -> None:
        queue.send("a")
        message = only(queue.receive(1, VISIBILITY_S))
        self.pass_time(clock, VISIBILITY_S + 1)
        assert queue.delete(message) is True
        assert queue.length() == 0

    def test_extended_message_stays_hidden_under_a_new_receipt(
        self, queue: WorkQueue, clock: ManualClock
    ) -> None:
        queue.send("a")
        received = only(queue.receive(1, VISIBILITY_S))
        self.pass_time(clock, VISIBILITY_S - 1)
        extended = queue.extend(received, VISIBILITY_S)
        assert extended is not None
        assert (extended.id, extended.body, extended.dequeue_count) == (received.id, "a", 1)
        assert extended.receipt != received.receipt
        self.pass_time(clock, VISIBILITY_S - 1)
        assert len(queue.receive(1, VISIBILITY_S)) == 0
        assert queue.delete(received) is False
        assert queue.delete(extended) is True

    def test_extending_to_nothing_hands_the_message_back(self, queue: WorkQueue) -> None:
        queue.send("a")
        received = only(queue.receive(1, VISIBILITY_S))
        assert queue.extend(received, 0) is not None
        assert only(queue.receive(1, VISIBILITY_S)).dequeue_count == 2

    def test_delayed_message_waits(self, queue: WorkQueue, clock: ManualClock) -> None:
        queue.send("late", delay_s=10)
        queue.send("now")
        assert only(queue.receive(5, 100)).body == "now"
        assert queue.length() == 2
        self.pass_time(clock, 11)
        assert only(queue.receive(5, 100)).body == "late"

    def test_equal_bodies_are_two_messages(self, queue: WorkQueue) -> None:
        queue.send("a")
        queue.send("a")
        first, second = queue.receive(5, VISIBILITY_S)
        assert first.id != second.id
        assert queue.delete(first) is True
        assert queue.length() == 1

    def test_large_body_arrives(self, queue: WorkQueue) -> None:
        # 48 KiB: what fits Azure's 64 KiB after base64.
        body = "x" * 48 * 1024
        queue.send(body)
        assert only(queue.receive(1, VISIBILITY_S)).body == body
