"""Queues: the contract on memory and SQLite, and SQLite among processes."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from indexer_core.adapters.sqlite.queue import SqliteQueue
from indexer_core.testing.contracts.queues import VISIBILITY_S, WorkQueueContract, only
from indexer_core.testing.memory import MemoryQueue, SequentialIds
from indexer_core.testing.processes import QUEUE_NAME, in_processes, receive_all, send_one

N_PROCESSES = 3
N_MESSAGES = 150


class TestMemoryQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, clock):
        return MemoryQueue(clock, SequentialIds(clock))

    @pytest.fixture
    def twin(self, queue):
        return queue


class TestSqliteQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, tmp_path, clock):
        queue = SqliteQueue(
            tmp_path / "not" / "yet" / "state.db", QUEUE_NAME, clock, SequentialIds()
        )
        yield queue
        queue.close()

    @pytest.fixture
    def twin(self, queue, clock):
        twin = SqliteQueue(queue._file._path, QUEUE_NAME, clock, SequentialIds(series=1))
        yield twin
        twin.close()

    def test_queues_of_one_file_are_apart(self, queue, clock):
        other = SqliteQueue(queue._file._path, "checks", clock, SequentialIds(series=2))
        queue.send("a")
        other.send("b")
        assert only(other.receive(5, VISIBILITY_S)).body == "b"
        assert queue.length() == 1
        assert other.delete(only(queue.receive(5, VISIBILITY_S))) is False
        other.close()

    def test_messages_survive_a_restart(self, queue, clock):
        queue.send("a")
        queue.send("b", delay_s=10)
        first = only(queue.receive(5, VISIBILITY_S))
        queue.close()
        again = SqliteQueue(queue._file._path, QUEUE_NAME, clock, SequentialIds(series=3))
        assert again.length() == 2
        assert again.delete(first) is True
        clock.advance(11)
        assert only(again.receive(5, VISIBILITY_S)).body == "b"
        again.close()

    def test_each_message_reaches_one_of_many_processes(self, queue, clock):
        for i in range(N_MESSAGES):
            queue.send(str(i))
        received = in_processes(
            receive_all, [(queue._file._path, 10 + i) for i in range(N_PROCESSES)]
        )
        bodies = [body for part in received for body in part]
        assert sorted(bodies, key=int) == [str(i) for i in range(N_MESSAGES)]
        assert queue.length() == 0

    def test_many_processes_create_the_file_at_once(self, tmp_path, clock):
        path = tmp_path / "fresh.db"
        in_processes(send_one, [(path, i) for i in range(N_PROCESSES)])
        queue = SqliteQueue(path, QUEUE_NAME, clock, SequentialIds())
        assert queue.length() == N_PROCESSES
        queue.close()

    def test_threads_share_one_handle(self, queue):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(queue.send, map(str, range(40))))
            parts = list(pool.map(lambda _: queue.receive(15, VISIBILITY_S), range(4)))
        bodies = [message.body for part in parts for message in part]
        assert sorted(bodies, key=int) == [str(i) for i in range(40)]
