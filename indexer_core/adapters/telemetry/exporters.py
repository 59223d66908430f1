"""Where OpenTelemetry sends to: Application Insights, a receiver of OTLP over HTTP, or both."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass

from opentelemetry.sdk.metrics.export import MetricExporter
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


class Watched(SpanExporter):
    """Says once when nothing is taken any more, and once when it is again.

    The exporters' own loggers, which say it at every try, are silenced.
    """

    def __init__(self, inner: SpanExporter, place: str) -> None:
        self._inner = inner
        self._place = place
        self._is_failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send."""
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001 - whatever it is, nothing was sent
            result = SpanExportResult.FAILURE
        is_failing = result is not SpanExportResult.SUCCESS
        if is_failing and not self._is_failing:
            log.warning("telemetry is not taken by=%s", self._place)
        elif self._is_failing and not is_failing:
            log.info("telemetry is taken again by=%s", self._place)
        self._is_failing = is_failing
        return result

    def shutdown(self) -> None:
        """End."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter itself keeps back."""
        return self._inner.force_flush(timeout_millis)


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
    return Exporters(
        spans=Watched(AzureMonitorTraceExporter(**options), "ApplicationInsights"),
        metrics=AzureMonitorMetricExporter(**options),
    )


def _otlp(endpoint: str) -> Exporters:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    # Headers, which may hold a key, come from OTEL_EXPORTER_OTLP_HEADERS as for any other program.
    return Exporters(
        spans=Watched(OTLPSpanExporter(f"{endpoint}/v1/traces", timeout=_TIMEOUT_S), "OTLP"),
        metrics=OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", timeout=_TIMEOUT_S),
    )
