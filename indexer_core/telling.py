"""What is told of looks, checks and commits: who works calls this, and knows no names of spans."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from indexer_core.assembly import Closed, NotClosed
from indexer_core.events import LookEvent
from indexer_core.look import REJECTED, Looked
from indexer_core.messages import SeriesCheck, SeriesReady
from indexer_core.ports import Clock
from indexer_core.telemetry import (
    COMMIT_DURATION,
    LOOKS,
    POISON,
    REJECTS,
    SERIES_INDEXED,
    SERIES_LAG,
    SILENT,
    Span,
    Telemetry,
    sender_of_check,
    sender_of_ready,
    span_id,
    trace_id,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """Telemetry, and the clock that spans are timed by."""

    clock: Clock
    telemetry: Telemetry = field(default=SILENT)

    def looked(self, event: LookEvent, looked: Looked, begun_s: float) -> None:
        """A blob was looked at.

        Only the first look at a series since its last check is a span: a series of 2,000 slices
        has one, and the check that it sent follows from it.
        """
        ended_s = self.clock.now_s()
        self.telemetry.measure(LOOKS, 1, {"outcome": looked.outcome})
        if looked.outcome == REJECTED:
            self.set_aside(looked.reason)
        happened_s = begun_s if event.time_s is None else min(event.time_s, begun_s)
        for series, token in looked.armed.items():
            trace, own = trace_id(series), sender_of_check(series, token)
            self.telemetry.tell(
                Span(
                    name="blob event",
                    trace=trace,
                    id=own,
                    start_s=happened_s,
                    end_s=ended_s,
                    attributes={"outcome": looked.outcome},
                )
            )
            if looked.read_s is not None and series == looked.series:
                from_s, to_s = looked.read_s
                self.telemetry.tell(
                    Span(name="read header", trace=trace, parent=own, start_s=from_s, end_s=to_s)
                )

    def checked(self, check: SeriesCheck, result: Closed | NotClosed, begun_s: float) -> None:
        """A check of a series was handled; a stale one did nothing, and is no span."""
        attributes: dict[str, str | int | bool] = {"forced": check.force}
        match result:
            case NotClosed(reason="stale"):
                return
            case NotClosed(reason=reason, token=token):
                own = sender_of_check(check.series, token) if token else None
                attributes["outcome"] = reason
            case Closed(ready=ready):
                own = parent_of_series(ready)
                attributes |= {"outcome": "closed", "revision": ready.revision}
        self.telemetry.tell(
            Span(
                name="series check",
                trace=trace_id(check.series),
                id=own,
                parent=sender_of_check(check.series, check.token),
                start_s=begun_s,
                end_s=self.clock.now_s(),
                attributes=attributes,
            )
        )

    def committed(
        self, parents: Sequence[tuple[SeriesReady, str]], manifest: int, begun_s: float
    ) -> None:
        """Series were committed together, each as a part of that span."""
        ended_s = self.clock.now_s()
        self.telemetry.measure(COMMIT_DURATION, max(0.0, ended_s - begun_s))
        for ready, parent in parents:
            lag: Mapping[str, float] = {}
            if ready.uploaded_s is not None:
                lag = {"lag_s": max(0.0, ended_s - ready.uploaded_s)}
                self.telemetry.measure(SERIES_LAG, lag["lag_s"])
            self.telemetry.tell(
                Span(
                    name="commit",
                    trace=trace_id(ready.series),
                    parent=parent,
                    start_s=begun_s,
                    end_s=ended_s,
                    attributes={"series": len(parents), "manifest": manifest, **lag},
                )
            )

    def settled(self, outcome: str, count: int = 1) -> None:
        """So many series came to this."""
        self.telemetry.measure(SERIES_INDEXED, count, {"outcome": outcome})

    def set_aside(self, code: str) -> None:
        """A blob, a message or a series was set aside."""
        self.telemetry.measure(REJECTS, 1, {"code": code})

    def poisoned(self, queue: str, code: str) -> None:
        """A message of a queue was given up, and set aside."""
        self.telemetry.measure(POISON, 1, {"queue": queue})
        self.set_aside(code)


def parent_of_series(ready: SeriesReady) -> str:
    """The span that handed this content on."""
    return sender_of_ready(ready.series, ready.revision, ready.digest)


def span_of_try(message_id: str, dequeue_count: int) -> str:
    """The span of one try of a message; the parts of that try are below it."""
    return span_id("try", message_id, dequeue_count)
