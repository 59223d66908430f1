"""Where OpenTelemetry sends to: Application Insights, a receiver of OTLP over HTTP, or both."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from indexer_core.telemetry_settings import TelemetrySettings

log = logging.getLogger(__name__)

# Azure's exporter tells its makers of itself, asks them for settings, and adds a metric of its own
# to ours. Nothing of that is wanted.
_NOT_WANTED = (
    "APPLICATIONINSIGHTS_STATSBEAT_DISABLED_ALL",
    "APPLICATIONINSIGHTS_SDKSTATS_DISABLED",
    "APPLICATIONINSIGHTS_CONTROLPLANE_DISABLED",
    "APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED",
)
_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporters:
    """What sends to one place."""

    spans: SpanExporter
    metrics: MetricExporter


class Watch:
    """Says once when a place takes something no more, and once when it takes everything again.

    The exporters' own loggers, which say it at every try, are silenced.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._not_taken: set[str] = set()
        self._lock = Lock()

    def see(self, kind: str, *, is_taken: bool) -> None:
        """Spans, or metrics, were sent; any thread may say so."""
        with self._lock:
            was_ill = bool(self._not_taken)
            (self._not_taken.discard if is_taken else self._not_taken.add)(kind)
            is_ill = bool(self._not_taken)
        if is_ill and not was_ill:
            log.warning("telemetry is not taken by=%s", self._place)
        elif was_ill and not is_ill:
            log.info("telemetry is taken again by=%s", self._place)


class WatchedSpans(SpanExporter):
    """Sends spans, and tells a watch what became of them."""

    def __init__(self, inner: SpanExporter, watch: Watch) -> None:
        self._inner = inner
        self._watch = watch

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send."""
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001 - whatever it is, nothing was sent
            result = SpanExportResult.FAILURE
        self._watch.see("spans", is_taken=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        """End."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter itself keeps back."""
        return self._inner.force_flush(timeout_millis)


class WatchedMetrics(MetricExporter):
    """Sends metrics, and tells a watch what became of them."""

    def __init__(self, inner: MetricExporter, watch: Watch) -> None:
        # What a reader asks of an exporter: sums since the last time, or since the start.
        super().__init__(
            inner._preferred_temporality,  # noqa: SLF001 - the SDK has no other way
            inner._preferred_aggregation,  # noqa: SLF001
        )
        self._inner = inner
        self._watch = watch

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        """Send."""
        try:
            result = self._inner.export(metrics_data, timeout_millis, **kwargs)
        except Exception:  # noqa: BLE001 - whatever it is, nothing was sent
            result = MetricExportResult.FAILURE
        self._watch.see("metrics", is_taken=result is MetricExportResult.SUCCESS)
        return result

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """End."""
        self._inner.shutdown(timeout_millis, **kwargs)

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        """Send what the exporter itself keeps back."""
        return self._inner.force_flush(timeout_millis)


def watched(place: str, spans: SpanExporter, metrics: MetricExporter) -> Exporters:
    """What sends to one place, whose outage is told once, whatever it takes no more."""
    watch = Watch(place)
    return Exporters(spans=WatchedSpans(spans, watch), metrics=WatchedMetrics(metrics, watch))


def exporters_of(settings: TelemetrySettings) -> Sequence[Exporters]:
    """What sends to the places that the settings name.

    Raises
    ------
    ImportError
        The packages of the extra `azure` are not installed.
    ValueError
        The connection string cannot be used.
    """
    return [
        *([_insights(settings)] if settings.connection_string else []),
        *([_otlp(settings.otlp_endpoint)] if settings.otlp_endpoint else []),
    ]


def _insights(settings: TelemetrySettings) -> Exporters:
    for name in _NOT_WANTED:
        os.environ[name] = "true"
    from azure.identity import ManagedIdentityCredential
    from azure.monitor.opentelemetry.exporter import (
        AzureMonitorMetricExporter,
        AzureMonitorTraceExporter,
    )

    identity = ManagedIdentityCredential(client_id=settings.client_id)
    options = {
        "connection_string": settings.connection_string,
        "credential": identity if settings.by_identity else None,
        # What cannot be sent is lost: no copies of it on disks.
        "disable_offline_storage": True,
        "timeout": _TIMEOUT_S,
    }
    return watched(
        "ApplicationInsights",
        AzureMonitorTraceExporter(**options),
        AzureMonitorMetricExporter(**options),
    )


def _otlp(endpoint: str) -> Exporters:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # Headers, which may hold a key, come from OTEL_EXPORTER_OTLP_HEADERS as for any other program.
    return watched(
        "OTLP",
        OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_TIMEOUT_S),
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=_TIMEOUT_S),
    )
