"""What each queue-triggered function does, free of any host: the local runner calls the same.

A handler returns when its message is done with, and raises when the message must come back.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from indexer_core.assembly import Assembly, Closed, NotClosed
from indexer_core.errors import IndexerError, InvalidInputError
from indexer_core.events import LookEvent, parse_events
from indexer_core.index.upkeep import Upkeep
from indexer_core.look import Looked, Looker
from indexer_core.messages import SeriesCheck, parse_check
from indexer_core.ports import WorkQueue
from indexer_core.rejects import Rejects
from indexer_core.telemetry import QUEUE_DEPTH
from indexer_core.telling import Telling

log = logging.getLogger(__name__)

_FLUSH_S = 3.0

ParseEvents = Callable[[str], tuple[LookEvent, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that the handlers need.

    parse: reads the messages of ``blob-events``. upkeep: what the timer keeps the index in shape
    with, where no worker may be there to do it. queues: those whose depth the timer tells, by name.
    """

    looker: Looker
    assembly: Assembly
    rejects: Rejects
    telling: Telling
    parse: ParseEvents = parse_events
    upkeep: Upkeep | None = None
    queues: Mapping[str, WorkQueue] = field(default_factory=dict)


def ingest(body: str, services: Services) -> tuple[Looked, ...]:
    """A message of ``blob-events``: look at the blobs that it names."""
    try:
        events = services.parse(body)
    except InvalidInputError as error:
        # It can never succeed: it must not burn five retries.
        services.rejects.message("blob-events", body, str(error))
        services.telling.set_aside("message")
        return (Looked(outcome="rejected", reason="notAnEvent"),)
    looked = tuple(_looked(event, services) for event in events)
    log.info("ingest outcomes=%s", ",".join(look.outcome for look in looked))
    return looked


def series_check(body: str, services: Services) -> Closed | NotClosed | None:
    """A message of ``series-check``: close the series if it is quiet; None for a bad message."""
    return series_checks([body], services)[0]


def series_checks(bodies: Sequence[str], services: Services) -> list[Closed | NotClosed | None]:
    """Several messages of ``series-check``; what they close is handed on together."""
    begun_s = services.telling.clock.now_s()
    checks = [_parsed_check(body, services) for body in bodies]
    results = iter(services.assembly.check_all([check for check in checks if check is not None]))
    answers = [None if check is None else next(results) for check in checks]
    for check, answer in zip(checks, answers, strict=True):
        if check is not None and answer is not None:
            services.telling.checked(check, answer, begun_s)
        match answer:
            case Closed(ready=ready):
                log.info("series_check outcome=closed revision=%d", ready.revision)
            case NotClosed(reason=reason):
                log.info("series_check outcome=%s", reason)
            case None:
                log.info("series_check outcome=rejected")
    return answers


def poison(queue: str, body: str, services: Services) -> None:
    """A message that failed every time: file it with its reason; it is kept for `replay`."""
    services.rejects.message(queue, body, "it failed every time it was tried")
    services.telling.poisoned(queue, "message")
    log.warning("poison queue=%s", queue)


def sweep(services: Services, older_than_s: float) -> int:
    """The timer: send what may have got lost; the number of checks sent."""
    n_sent = services.assembly.sweep(older_than_s)
    log.info("sweep checks=%d", n_sent)
    _tell_depths(services)
    if services.upkeep is not None:
        services.upkeep.when_idle()
    return n_sent


def _tell_depths(services: Services) -> None:
    telemetry = services.telling.telemetry
    for name, queue in services.queues.items():
        with suppress(IndexerError):  # nobody's work depends on it
            telemetry.measure(QUEUE_DEPTH, queue.length(), {"queue": name})
    # An instance may be stopped as soon as it has nothing to do.
    telemetry.flush(_FLUSH_S)


def _looked(event: LookEvent, services: Services) -> Looked:
    begun_s = services.telling.clock.now_s()
    looked = services.looker.look(event)
    services.telling.looked(event, looked, begun_s)
    return looked


def _parsed_check(body: str, services: Services) -> SeriesCheck | None:
    try:
        return parse_check(body)
    except InvalidInputError as error:
        services.rejects.message("series-check", body, str(error))
        services.telling.set_aside("message")
        return None
