"""Whoever is told of work: never fails, never makes anybody wait, and lets nothing slip through."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest
from opentelemetry.sdk.metrics import Counter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExporter,
    MetricExportResult,
    MetricsData,
)
from opentelemetry.sdk.metrics.view import SumAggregation
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.adapters.telemetry.exporters import (
    Watch,
    WatchedMetrics,
    WatchedSpans,
    exporters_of,
    watched,
)
from indexer_core.telemetry import METRICS, SILENT, SPANS, Span, span_id, trace_id
from indexer_core.telemetry_settings import TelemetrySettings
from tests.support.otlp import receiving

SERIES = "a" * 64
OUTAGE = ["telemetry is not taken by=somebody", "telemetry is taken again by=somebody"]
PLANTED = "Planted^Name 1.2.840.99999.1"


class Unreachable:
    """A port that refuses."""

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            return f"http://127.0.0.1:{free.getsockname()[1]}"

    def __exit__(self, *_):
        pass


class Hanging:
    """A port that takes connections, and never answers."""

    def __enter__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(16)
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def opened():
    """Makes what tells a receiver, and ends it when the receiver is gone."""
    made = []

    def one(address, role="tests", **settings):
        made.append(telemetry_of(TelemetrySettings(otlp_endpoint=address, **settings), role))
        return made[-1]

    yield one
    for telemetry in made:
        telemetry.close()


PLACES = {"receiver": receiving, "refused": Unreachable, "hanging": Hanging}


@pytest.fixture(params=["silent", *PLACES])
def telemetry(request, opened):
    if request.param == "silent":
        yield SILENT
        return
    with PLACES[request.param]() as place:
        yield opened(getattr(place, "address", place))


def test_a_trace_is_sent_by_every_program_or_by_none(opened):
    """Of 200 series, told of by two programs; which half it is follows from their ids alone."""
    traces = [trace_id(str(number)) for number in range(200)]
    with receiving() as receiver:
        for role in ("first", "second"):
            telemetry = opened(receiver.address, role, share=0.5)
            for trace in traces:
                telemetry.tell(span("blob event", trace=trace, id=span_id("look", trace)))
                telemetry.tell(span(trace=trace, parent=span_id("look", trace)))
            telemetry.flush(60)
        found = receiver.traces()
    assert 60 < len(found) < 140
    assert set(found) < set(traces)
    for spans in found.values():
        assert sorted((one.role, one.name) for one in spans) == [
            (role, name) for role in ("first", "second") for name in ("blob event", "series")
        ]
        assert {one.parent for one in spans} == {"", span_id("look", spans[0].trace)}
        assert {one.id for one in spans} > {span_id("look", spans[0].trace)}


class Moody(SpanExporter):
    """Sends, does not, or fails, as it is told in turn."""

    def __init__(self, *moods):
        self.moods = iter(moods)

    def export(self, spans):
        mood = next(self.moods)
        if isinstance(mood, Exception):
            raise mood
        return mood


def test_an_outage_of_a_receiver_is_told_once_and_its_end_too(caplog):
    caplog.set_level("INFO")
    well, ill = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    moods = (well, ill, ValueError("Planted^Name"), ill, well, well)
    watched = WatchedSpans(Moody(*moods), Watch("somebody"))
    assert [watched.export([]) for _ in moods] == [well, ill, ill, ill, well, well]
    assert [record.getMessage() for record in caplog.records] == OUTAGE


class MoodyMetrics(MetricExporter):
    """The same of metrics."""

    def __init__(self, *moods):
        temporality = {Counter: AggregationTemporality.DELTA}
        super().__init__(temporality, {Counter: SumAggregation()})
        self.moods = iter(moods)

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        return Moody.export(self, metrics_data)

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass


def test_an_outage_that_only_metrics_notice_is_told_too(caplog):
    caplog.set_level("INFO")
    well, ill = MetricExportResult.SUCCESS, MetricExportResult.FAILURE
    moods = (well, ill, ValueError("Planted^Name"), well)
    inner = MoodyMetrics(*moods)
    both = watched("somebody", Moody(*[SpanExportResult.SUCCESS] * 4), inner)
    for _ in moods:  # spans are taken all the time: the outage is not over by that
        both.metrics.export(MetricsData([]))
        both.spans.export([])
    assert [record.getMessage() for record in caplog.records] == OUTAGE
    assert both.metrics._preferred_temporality == inner._preferred_temporality
    assert both.metrics._preferred_aggregation == inner._preferred_aggregation


def test_an_outage_that_both_notice_is_told_once(caplog):
    caplog.set_level("INFO")
    both = watched(
        "somebody",
        Moody(SpanExportResult.FAILURE, SpanExportResult.SUCCESS),
        MoodyMetrics(MetricExportResult.FAILURE, MetricExportResult.SUCCESS),
    )
    for _ in range(2):
        both.spans.export([])
        both.metrics.export(MetricsData([]))
    assert [record.getMessage() for record in caplog.records] == OUTAGE


def test_whatever_is_sent_anywhere_is_watched():
    settings = TelemetrySettings(
        connection_string=f"InstrumentationKey={UUID(int=1)}", otlp_endpoint="http://127.0.0.1:1"
    )
    for each in exporters_of(settings):
        assert isinstance(each.spans, WatchedSpans)
        assert isinstance(each.metrics, WatchedMetrics)
        each.spans.shutdown()
        each.metrics.shutdown()


def span(name="series", **changes):
    fields = {"name": name, "trace": trace_id(SERIES), "start_s": 10.0, "end_s": 11.0}
    return Span(**{**fields, **changes})


def test_everything_that_is_declared_can_be_told(telemetry):
    for metric in METRICS.values():
        telemetry.measure(metric, 1, dict.fromkeys(metric.attributes, "word"))
    for name, attributes in SPANS.items():
        telemetry.tell(span(name, attributes=dict.fromkeys(attributes, 1)))
    telemetry.flush(0.5)


def test_nobody_who_tells_fails_whatever_is_told(telemetry):
    for metric in METRICS.values():
        telemetry.measure(metric, float("nan"), {"unknown": PLANTED})
    telemetry.tell(span("no such name"))
    telemetry.tell(span(trace="not hexadecimal"))
    telemetry.tell(span(start_s=12.0, end_s=11.0))
    telemetry.tell(span(id="", parent="x"))
    telemetry.flush(0.5)


def test_who_tells_does_not_wait_for_what_is_sent(telemetry):
    """Far more than any queue holds, from several threads; a single try to send takes seconds."""

    def many(number):
        for each in range(1000):
            telemetry.tell(span(id=span_id("x", number, each)))
            telemetry.measure(METRICS["dicom_indexer.looks"], 1, {"outcome": "changed"})

    begun_s = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(many, range(4)))
    telemetry.flush(0.2)
    telemetry.flush(0.2)
    assert time.monotonic() - begun_s < 60  # seconds by far on any machine that is not stuck


def test_a_flush_ends_in_time_and_leaves_one_thread_at_most(telemetry):
    before = set(threading.enumerate())
    telemetry.tell(span())
    for _ in range(5):
        telemetry.flush(0.05)
    after = set(threading.enumerate()) - before
    assert sum(thread.name == "flush-telemetry" for thread in after) <= 1
