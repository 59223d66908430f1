"""Work queues of a storage account.

Bodies are base64 in the queue, as Event Grid writes them and as the Functions host expects them of
every queue of an app; what comes in may be plain too. Messages never expire by themselves.
"""

import base64
import binascii
import math
from collections.abc import Sequence

from azure.core.exceptions import HttpResponseError
from azure.storage.queue import QueueClient
from azure.storage.queue import QueueMessage as AzureMessage

from indexer_core.adapters.azure.clients import READING
from indexer_core.adapters.azure.errors import Service, code_of, translated
from indexer_core.errors import InvalidInputError
from indexer_core.ports import QueueMessage

MAX_BODY_BYTES = 48 * 1024
"""64 KiB is Azure's limit of a message, and base64 makes four bytes of three."""
MAX_DELAY_S = 7 * 24 * 3600
_MAX_RECEIVED = 32
_NO_LONGER_OURS = frozenset({"MessageNotFound", "PopReceiptMismatch"})


def encoded(body: str) -> str:
    """The text that lies in the queue for a body.

    Raises
    ------
    InvalidInputError
        The body does not fit a message.
    """
    data = body.encode()
    if len(data) > MAX_BODY_BYTES:
        raise InvalidInputError(
            f"a message of {len(data)} bytes does not fit an Azure queue:"
            f" at most {MAX_BODY_BYTES} (64 KiB after base64)"
        )
    return base64.b64encode(data).decode("ascii")


def decoded(content: str) -> str:
    """The body of a text from the queue: base64 of UTF-8 where it is that, else as it is."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except (binascii.Error, ValueError):
        return content


def _whole_seconds(seconds: float) -> int:
    """Azure counts whole seconds: rounded up, so that nothing becomes visible early."""
    return min(max(math.ceil(seconds), 0), MAX_DELAY_S)


class AzureQueue:
    """Implements `indexer_core.ports.WorkQueue` as a queue of a storage account.

    Parameters
    ----------
    queue
        From `indexer_core.adapters.azure.clients.AzureStorage`: its messages are not encoded by
        the SDK, and its retries fit.

    Notes
    -----
    Times are rounded up to whole seconds, of Azure's clock. A send whose answer is lost raises
    `UnknownOutcomeError`; sending again may make two messages, which every consumer bears. A
    receive whose answer is lost is not repeated: it would hide further messages.
    """

    def __init__(self, queue: QueueClient) -> None:
        self._queue = queue

    def send(self, body: str, *, delay_s: float = 0.0) -> None:
        """Enqueue; the message becomes visible after `delay_s`."""
        content = encoded(body)
        if delay_s > MAX_DELAY_S:
            raise InvalidInputError("a message of an Azure queue is delayed by 7 days at most")
        with translated(Service.QUEUES, writing=True):
            self._queue.send_message(
                content, visibility_timeout=_whole_seconds(delay_s), time_to_live=-1
            )

    def receive(self, max_messages: int, visibility_s: float) -> Sequence[QueueMessage]:
        """Up to `max_messages` (at most 32) visible messages, hidden for `visibility_s`."""
        wanted = min(max_messages, _MAX_RECEIVED)
        if wanted < 1:
            return ()
        hidden_s = max(_whole_seconds(visibility_s), 1)
        with translated(Service.QUEUES):
            found = self._queue.receive_messages(
                max_messages=wanted, messages_per_page=wanted, visibility_timeout=hidden_s
            )
            return tuple(_received(message) for message in next(found.by_page(), ()))

    def extend(self, message: QueueMessage, visibility_s: float) -> QueueMessage | None:
        """Hide for `visibility_s` from now, with a new receipt; None when it is no longer ours."""
        with translated(Service.QUEUES, writing=True):
            try:
                # Without content, so that what lies in the queue stays as it was sent.
                updated = self._queue.update_message(
                    message.id, message.receipt, visibility_timeout=_whole_seconds(visibility_s)
                )
            except HttpResponseError as exc:
                if code_of(exc) in _NO_LONGER_OURS:
                    return None
                raise
        return QueueMessage(
            id=message.id,
            receipt=str(updated.pop_receipt),
            body=message.body,
            dequeue_count=message.dequeue_count,
        )

    def delete(self, message: QueueMessage) -> bool:
        """Acknowledge; False when the message is no longer ours."""
        with translated(Service.QUEUES, writing=True):
            try:
                self._queue.delete_message(message.id, message.receipt)
            except HttpResponseError as exc:
                if code_of(exc) in _NO_LONGER_OURS:
                    return False
                raise
        return True

    def length(self) -> int:
        """Approximate number of messages, invisible ones included."""
        with translated(Service.QUEUES):
            return self._queue.get_queue_properties(**READING).approximate_message_count or 0


def _received(message: AzureMessage) -> QueueMessage:
    return QueueMessage(
        id=str(message.id),
        receipt=str(message.pop_receipt),
        body=decoded(str(message.content)),
        dequeue_count=message.dequeue_count or 1,
    )
