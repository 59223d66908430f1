"""`indexer_core.telemetry.Telemetry` by the SDK of OpenTelemetry, with providers of its own.

Nothing global is set, so no library of the program sends anything by it. What is told is queued and
sent from threads of the SDK; a full queue drops, and who tells never waits.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock, Thread
from uuid import uuid4

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from indexer_core import __version__
from indexer_core.adapters.telemetry.exporters import Exporters
from indexer_core.telemetry import METRICS, SPANS, Kind, Metric, Span, harmless

log = logging.getLogger(__name__)

_SPANS_EVERY_S = 5.0
_METRICS_EVERY_S = 60.0
# What a message starts; Application Insights counts these as requests, the others as dependencies.
_STARTED_BY_A_MESSAGE = frozenset({"blob event", "series check", "series"})
# They tell of every try that fails, with addresses and stacks; `exporters.Watch` tells once.
_NOISY = ("opentelemetry", "azure.monitor.opentelemetry")


class OpenTelemetry:
    """Sends what it is told.

    Parameters
    ----------
    role
        Name of the program.
    exporters
        Where it is sent.
    share
        Of the series, whose traces are sent.
    """

    def __init__(self, role: str, exporters: Sequence[Exporters], *, share: float = 1.0) -> None:
        for name in _NOISY:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        resource = Resource.create(
            {
                "service.name": role,
                "service.version": __version__,
                # Two workers at once count apart.
                "service.instance.id": uuid4().hex,
            }
        )
        self._ids = _GivenIds()
        self._tracers = TracerProvider(
            # By the id of the trace alone, so that all programs decide alike.
            sampler=TraceIdRatioBased(share),
            resource=resource,
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        for each in exporters:
            self._tracers.add_span_processor(
                BatchSpanProcessor(each.spans, schedule_delay_millis=1000 * _SPANS_EVERY_S)
            )
        self._meters = MeterProvider(
            [
                PeriodicExportingMetricReader(
                    each.metrics, export_interval_millis=1000 * _METRICS_EVERY_S
                )
                for each in exporters
            ],
            resource=resource,
            shutdown_on_exit=False,
        )
        self._tracer = self._tracers.get_tracer("dicom_indexer", __version__)
        meter = self._meters.get_meter("dicom_indexer", __version__)
        self._counters = {
            metric.name: meter.create_counter(metric.name, metric.unit, metric.meaning)
            for metric in _of(Kind.COUNTER)
        }
        self._histograms = {
            metric.name: meter.create_histogram(
                metric.name,
                metric.unit,
                metric.meaning,
                explicit_bucket_boundaries_advisory=metric.buckets,
            )
            for metric in _of(Kind.HISTOGRAM)
        }
        self._gauges = {
            metric.name: meter.create_gauge(metric.name, metric.unit, metric.meaning)
            for metric in _of(Kind.GAUGE)
        }
        self._exporters = exporters
        self._flushing: Thread | None = None
        self._lock = Lock()

    def measure(
        self, metric: Metric, value: float = 1, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Tell a number; see `indexer_core.telemetry.Telemetry`."""
        with _whatever_happens():
            told = harmless(attributes or {}, metric.attributes)
            match metric.kind:
                case Kind.COUNTER:
                    self._counters[metric.name].add(value, told)
                case Kind.HISTOGRAM:
                    self._histograms[metric.name].record(value, told)
                case Kind.GAUGE:
                    self._gauges[metric.name].set(value, told)

    def tell(self, span: Span) -> None:
        """Tell a part of the work; see `indexer_core.telemetry.Telemetry`."""
        with _whatever_happens(), self._ids.given(span):
            kind = SpanKind.CONSUMER if span.name in _STARTED_BY_A_MESSAGE else SpanKind.INTERNAL
            told = self._tracer.start_span(
                span.name,
                context=_below(span),
                kind=kind,
                attributes=harmless(span.attributes, SPANS[span.name]),
                start_time=_ns(min(span.start_s, span.end_s)),
            )
            if span.failed:
                told.set_status(StatusCode.ERROR)
            told.end(end_time=_ns(span.end_s))

    def flush(self, patience_s: float) -> None:
        """Send what was told so far; see `indexer_core.telemetry.Telemetry`.

        The SDK's own limits of time do not hold, so it is done in a thread that is not waited for
        any longer; while one is at it there is no second one.
        """
        with self._lock:
            if self._flushing is None or not self._flushing.is_alive():
                self._flushing = Thread(target=self._flush, name="flush-telemetry", daemon=True)
                self._flushing.start()
            flushing = self._flushing
        flushing.join(patience_s)

    def close(self) -> None:
        """End its threads; what was not sent is lost. For processes that go on without it."""
        for each in self._exporters:  # first, so that none waits to try again
            with _whatever_happens():
                each.spans.shutdown()
            with _whatever_happens():
                each.metrics.shutdown()
        with _whatever_happens():
            self._tracers.shutdown()
        with _whatever_happens():
            self._meters.shutdown()

    def _flush(self) -> None:
        with _whatever_happens():
            self._tracers.force_flush()
        with _whatever_happens():
            self._meters.force_flush()


class _GivenIds(RandomIdGenerator):
    """Ids that are given, and random ones where none are."""

    def __init__(self) -> None:
        self._span: ContextVar[Span | None] = ContextVar("span", default=None)

    @contextmanager
    def given(self, span: Span) -> Iterator[None]:
        """What is started meanwhile, by this thread, gets the ids of this span."""
        token = self._span.set(span)
        try:
            yield
        finally:
            self._span.reset(token)

    def generate_trace_id(self) -> int:
        """The id of the trace."""
        span = self._span.get()
        return super().generate_trace_id() if span is None else int(span.trace, 16)

    def generate_span_id(self) -> int:
        """The id of the span."""
        span = self._span.get()
        return super().generate_span_id() if span is None or not span.id else int(span.id, 16)


def _below(span: Span) -> Context:
    """A context in which the parent is current; without one, an empty one."""
    if span.parent is None:
        return Context()
    parent = SpanContext(
        int(span.trace, 16),
        int(span.parent, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent), Context())


def _of(kind: Kind) -> list[Metric]:
    return [metric for metric in METRICS.values() if metric.kind is kind]


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)


@contextmanager
def _whatever_happens() -> Iterator[None]:
    """Telemetry that fails is no reason for work to fail."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - see above
        log.debug("telemetry failed error=%s", type(error).__name__)
