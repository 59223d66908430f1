"""Telemetry that keeps what it was told, for tests to read."""

from collections import defaultdict
from collections.abc import Mapping

from indexer_core.telemetry import METRICS, SPANS, Metric, Span, harmless


class Recorded:
    """Implements `indexer_core.telemetry.Telemetry`; refuses what nobody has declared."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)
        """By name of the metric and value of its attribute, "" where it has none."""

    def measure(
        self, metric: Metric, value: float = 1, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Keep a number."""
        told = dict(attributes or {})
        assert METRICS[metric.name] is metric
        assert tuple(told) == metric.attributes
        assert harmless(told, metric.attributes) == told, told
        self.values[metric.name, "".join(told.values())].append(value)

    def tell(self, span: Span) -> None:
        """Keep a span."""
        assert set(span.attributes) <= set(SPANS[span.name])
        assert harmless(span.attributes, SPANS[span.name]) == span.attributes, span
        assert span.start_s <= span.end_s
        self.spans.append(span)

    def flush(self, patience_s: float) -> None:
        """Nothing is left to send."""

    def total(self, metric: Metric, attribute: str = "") -> float:
        """The sum of what was measured."""
        return sum(self.values[metric.name, attribute])
