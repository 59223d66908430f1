"""Whoever is told of work: never fails, never makes anybody wait, and lets nothing slip through."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from indexer_core.adapters.telemetry import telemetry_of
from indexer_core.adapters.telemetry.exporters import Watched
from indexer_core.telemetry import METRICS, SILENT, SPANS, Span, span_id, trace_id
from indexer_core.telemetry_settings import TelemetrySettings
from tests.support.otlp import receiving

SERIES = "a" * 64
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
    watched = Watched(Moody(*moods), "somebody")
    assert [watched.export([]) for _ in moods] == [well, ill, ill, ill, well, well]
    assert [record.getMessage() for record in caplog.records] == [
        "telemetry is not taken by=somebody",
        "telemetry is taken again by=somebody",
    ]


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
