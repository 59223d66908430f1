"""What the worker tells of its batches, and of the parts of the work on each series."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from indexer_core.errors import IndexerError
from indexer_core.messages import SeriesReady
from indexer_core.ports import QueueMessage
from indexer_core.telemetry import (
    BATCH_DURATION,
    SPANS,
    WORKER_COST,
    WORKER_SECONDS,
    Span,
    trace_id,
)
from indexer_core.telling import Telling, parent_of_series, span_of_try

_HOUR_S = 3600.0
INTERRUPTED = "interrupted"
"""What came of a series when the batch ended before anything did; its message comes back."""
_FAILED = frozenset({"failed", "poison", "unavailable", INTERRUPTED})


class OfSeries(Protocol):
    """A message, and the series that it is about."""

    @property
    def message(self) -> QueueMessage:
        """The message."""

    @property
    def ready(self) -> SeriesReady:
        """What it says."""


@contextmanager
def part(telling: Telling, name: str, jobs: Sequence[OfSeries]) -> Iterator[None]:
    """Tell what is done meanwhile as this part of the work on each of the series."""
    begun_s = telling.clock.now_s()
    attributes: dict[str, str | int] = {"series": len(jobs)} if "series" in SPANS[name] else {}
    try:
        yield
    except Exception as error:
        ours = error if isinstance(error, IndexerError) else None
        attributes["error"] = ours.kind.value if ours else type(error).__name__
        raise
    finally:
        ended_s = telling.clock.now_s()
        for job in jobs:
            telling.telemetry.tell(
                Span(
                    name=name,
                    trace=trace_id(job.ready.series),
                    parent=span_of(job),
                    start_s=begun_s,
                    end_s=ended_s,
                    attributes=attributes,
                    failed="error" in attributes,
                )
            )


def tell_series(
    telling: Telling, jobs: Sequence[OfSeries], outcomes: Mapping[str, str], begun_s: float
) -> None:
    """Tell what came of one try of each of these series."""
    ended_s = telling.clock.now_s()
    for job in jobs:
        outcome = outcomes.get(job.message.id, INTERRUPTED)
        telling.telemetry.tell(
            Span(
                name="series",
                trace=trace_id(job.ready.series),
                id=span_of(job),
                parent=parent_of_series(job.ready),
                start_s=begun_s,
                end_s=ended_s,
                attributes={
                    "outcome": outcome,
                    "revision": job.ready.revision,
                    "tries": job.message.dequeue_count,
                },
                failed=outcome in _FAILED,
            )
        )


def tell_batch(
    telling: Telling,
    outcomes: Mapping[str, str],
    *,
    elapsed_s: float,
    busy_s: float,
    device: str,
    hourly_price: float | None,
) -> None:
    """Tell of a batch that was settled, or that has ended before it was.

    Parameters
    ----------
    outcomes
        Message id -> outcome.
    elapsed_s
        Since it was received.
    busy_s
        Since it was received or the one before it was settled, whichever came last: batches
        overlap, and their seconds of the machine must not.
    device
        That models ran on: ``cuda`` or ``cpu``.
    hourly_price
        Of the machine, in USD.
    """
    for outcome in sorted(set(outcomes.values())):
        telling.settled(outcome, sum(found == outcome for found in outcomes.values()))
    telling.telemetry.measure(BATCH_DURATION, elapsed_s)
    telling.telemetry.measure(WORKER_SECONDS, busy_s, {"device": device})
    if hourly_price is not None:
        telling.telemetry.measure(WORKER_COST, busy_s / _HOUR_S * hourly_price)


def span_of(job: OfSeries) -> str:
    """The span of this try of a series."""
    return span_of_try(job.message.id, job.message.dequeue_count)


def log_ids(job: OfSeries) -> dict[str, str]:
    """What leads from a line of the log to this try: `extra` of the logger's methods."""
    return {"trace": trace_id(job.ready.series), "span": span_of(job)}
