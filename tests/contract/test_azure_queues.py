"""Azure's queues: the contract on a live Azurite whose clock the tests set ahead."""

import base64

import pytest

from indexer_core.adapters.azure.queues import MAX_BODY_BYTES, AzureQueue
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.testing.contracts.queues import VISIBILITY_S, WorkQueueContract, only
from tests.support.azurite import fresh_name

pytestmark = pytest.mark.azurite


class TestAzureQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, storage, azurite):
        self._azurite = azurite
        return AzureQueue(storage.create_queue(fresh_name("queue")))

    @pytest.fixture
    def twin(self, queue, storage):
        return AzureQueue(storage.queue(queue._queue.queue_name))

    def pass_time(self, clock, seconds):
        self._azurite.advance(seconds)

    def test_body_lies_in_the_queue_as_the_functions_host_expects_it(self, queue):
        queue.send("größer")
        (stored,) = queue._queue.peek_messages()
        assert base64.b64decode(stored.content).decode() == "größer"

    @pytest.mark.parametrize("body", ['{"a": 1}', "[]", "not base64!", "größer"])
    def test_plain_message_of_another_program_is_read(self, queue, body):
        queue._queue.send_message(body)
        assert only(queue.receive(1, VISIBILITY_S)).body == body

    def test_extension_keeps_a_plain_message_as_it_was_sent(self, queue):
        queue._queue.send_message('{"a": 1}')
        message = only(queue.receive(1, VISIBILITY_S))
        assert queue.extend(message, 0) is not None
        assert [m.content for m in queue._queue.peek_messages()] == ['{"a": 1}']

    def test_body_that_does_not_fit_is_refused_with_its_limit(self, queue):
        queue.send("x" * MAX_BODY_BYTES)
        with pytest.raises(InvalidInputError, match=r"49153 bytes .* at most 49152"):
            queue.send("x" * (MAX_BODY_BYTES + 1))
        with pytest.raises(InvalidInputError):
            queue.send("ü" * (MAX_BODY_BYTES // 2 + 1))
        assert queue.length() == 1

    def test_fractions_of_a_second_are_rounded_up(self, queue, azurite):
        queue.send("a", delay_s=0.2)
        assert len(queue.receive(1, VISIBILITY_S)) == 0
        azurite.advance(1.1)
        assert only(queue.receive(1, 0.2)).body == "a"
        assert len(queue.receive(1, VISIBILITY_S)) == 0

    def test_message_does_not_expire(self, queue, azurite):
        queue.send("a")
        azurite.advance(30 * 24 * 3600)
        assert only(queue.receive(1, VISIBILITY_S)).body == "a"

    def test_more_than_azure_gives_at_once_is_no_error(self, queue):
        for i in range(40):
            queue.send(str(i))
        assert len(queue.receive(100, VISIBILITY_S)) == 32
        assert len(queue.receive(0, VISIBILITY_S)) == 0
        assert len(queue.receive(100, VISIBILITY_S)) == 8
        assert queue.length() == 40

    def test_delay_beyond_a_week_is_refused(self, queue):
        with pytest.raises(InvalidInputError, match="7 days"):
            queue.send("a", delay_s=8 * 24 * 3600)

    def test_queue_that_is_missing_is_unavailable(self, storage):
        queue = AzureQueue(storage.queue(fresh_name("none")))
        for call in (lambda: queue.send("a"), lambda: queue.receive(1, 1), queue.length):
            with pytest.raises(UnavailableError, match="create it"):
                call()
