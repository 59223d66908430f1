"""Telemetry by OpenTelemetry, to Application Insights and to receivers of OTLP over HTTP.

Nothing of OpenTelemetry is imported unless a setting asks for it.
"""

import logging

from indexer_core.telemetry import SILENT, Telemetry
from indexer_core.telemetry_settings import TelemetrySettings

log = logging.getLogger(__name__)


def telemetry_of(settings: TelemetrySettings, role: str) -> Telemetry:
    """What sends to where the settings say, under the name of a program.

    Where it cannot be set up, that is told once, and the program works without it.
    """
    if not settings.is_on:
        return SILENT
    try:
        from indexer_core.adapters.telemetry.exporters import exporters_of
        from indexer_core.adapters.telemetry.sending import OpenTelemetry

        return OpenTelemetry(role, exporters_of(settings), share=settings.share)
    except Exception as error:  # noqa: BLE001 - work goes on without it
        # Only the type: texts of others may repeat a connection string.
        log.error("telemetry cannot be sent error=%s", type(error).__name__)  # noqa: TRY400
        return SILENT
