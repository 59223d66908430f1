"""What each queue-triggered function does, free of any host: the local runner calls the same.

A handler returns when its message is done with, and raises when the message must come back.
"""

import hashlib
import logging
from dataclasses import dataclass

from indexer_core.assembly import Assembly, Closed, NotClosed, parse_check
from indexer_core.errors import InvalidInputError
from indexer_core.events import parse_events
from indexer_core.look import Looked, Looker
from indexer_core.ports import Clock, RowStore

log = logging.getLogger(__name__)

MESSAGES = "messages"
"""Partition of the rejects table for messages, beside one per scope for blobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that the handlers need."""

    looker: Looker
    assembly: Assembly
    rejects: RowStore
    clock: Clock


def ingest(body: str, services: Services) -> tuple[Looked, ...]:
    """A message of ``blob-events``: look at the blobs that it names."""
    try:
        events = parse_events(body)
    except InvalidInputError as error:
        # It can never succeed: it must not burn five retries.
        reject_message(services, "blob-events", body, str(error))
        return (Looked(outcome="rejected", reason="notAnEvent"),)
    looked = tuple(services.looker.look(event) for event in events)
    log.info("ingest outcomes=%s", ",".join(look.outcome for look in looked))
    return looked


def series_check(body: str, services: Services) -> Closed | NotClosed | None:
    """A message of ``series-check``: close the series if it is quiet; None for a bad message."""
    try:
        check = parse_check(body)
    except InvalidInputError as error:
        reject_message(services, "series-check", body, str(error))
        return None
    result = services.assembly.check(check)
    match result:
        case Closed(ready=ready):
            log.info("series_check outcome=closed revision=%d", ready.revision)
        case NotClosed(reason=reason):
            log.info("series_check outcome=%s", reason)
    return result


def sweep(services: Services, older_than_s: float) -> int:
    """The timer: send what may have got lost; the number of checks sent."""
    n_sent = services.assembly.sweep(older_than_s)
    log.info("sweep checks=%d", n_sent)
    return n_sent


def reject_message(services: Services, queue: str, body: str, reason: str) -> None:
    """File a message that cannot be handled, with its reason and its body for a replay."""
    key = hashlib.sha256(f"{queue} {body}".encode()).hexdigest()
    values = {
        "code": "message",
        "queue": queue,
        "body": body,
        "reason": reason,
        "rejected_s": services.clock.now_s(),
    }
    row = services.rejects.get(MESSAGES, key)
    if row is None:
        services.rejects.insert(MESSAGES, key, values)
    else:
        services.rejects.merge(row, values)
