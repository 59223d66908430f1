"""Every alert: when it is asked for, how bad it is, and which limits it keeps."""

from collections.abc import Mapping
from dataclasses import dataclass

QUERIES = "Microsoft.Insights/scheduledQueryRules"
METRICS = "Microsoft.Insights/metricAlerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What must be said of one.

    frequency, window: ISO 8601. range: of the query, where it looks further back than its window;
    two days are the most that Azure lets it. limits: parameters of the main template whose values
    the query holds, with their defaults.
    """

    type: str = QUERIES
    severity: int
    frequency: str
    window: str
    range: str | None = None
    limits: Mapping[str, int]


ALERTS: Mapping[str, Alert] = {
    "poison": Alert(severity=1, frequency="PT5M", window="PT15M", limits={"poisonLimit": 0}),
    "poison-length": Alert(severity=2, frequency="PT15M", window="PT1H", limits={"poisonLimit": 0}),
    "failed-series": Alert(
        severity=2, frequency="PT15M", window="PT1H", limits={"failedSeriesLimit": 10}
    ),
    "rejects": Alert(
        severity=2,
        frequency="PT15M",
        window="PT1H",
        limits={"looksAtLeast": 20, "rejectPercent": 5},
    ),
    "lag": Alert(severity=2, frequency="PT15M", window="PT1H", limits={"lagLimitS": 1800}),
    "stalled": Alert(severity=1, frequency="PT15M", window="PT6H", limits={"stalledMinutes": 60}),
    "run-duration": Alert(
        severity=3,
        frequency="PT15M",
        window="PT1H",
        range="P2D",
        limits={"slowBatchS": 900, "spikeFactor": 3, "spikeFloorS": 60},
    ),
    "gpu-spend": Alert(
        severity=2,
        frequency="PT1H",
        window="P1D",
        limits={"workerHoursPerDay": 12, "workerCostPerDay": 50},
    ),
    "search-errors": Alert(
        severity=1,
        frequency="PT5M",
        window="PT15M",
        limits={"failedCallsAtLeast": 5, "failedCallsPercent": 5},
    ),
    "silent": Alert(severity=1, frequency="PT15M", window="PT6H", limits={"silentMinutes": 30}),
    "dead-letters": Alert(
        type=METRICS,
        severity=1,
        frequency="PT5M",
        window="PT15M",
        limits={"deadLetterLimit": 0},
    ),
    "dropped-events": Alert(
        type=METRICS,
        severity=1,
        frequency="PT5M",
        window="PT15M",
        limits={"deadLetterLimit": 0},
    ),
    "worker-never-rests": Alert(
        type=METRICS, severity=2, frequency="PT1H", window="PT6H", limits={}
    ),
}
"""By name, without what ends the names of resources."""

NEEDS_WORKER = frozenset({"worker-never-rests"})
"""Alerts that are not there before the worker is."""
