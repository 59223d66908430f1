"""Whoever is told of work: never fails, never makes anybody wait, and lets nothing slip through."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from indexer_core.adapters.telemetry import telemetry_of
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


@pytest.fixture(params=["silent", "receiver", "refused", "hanging"])
def telemetry(request):
    match request.param:
        case "silent":
            yield SILENT
        case "receiver":
            with receiving() as receiver:
                yield telemetry_of(TelemetrySettings(otlp_endpoint=receiver.address), "tests")
        case "refused":
            with Unreachable() as address:
                yield telemetry_of(TelemetrySettings(otlp_endpoint=address), "tests")
        case "hanging":
            with Hanging() as address:
                yield telemetry_of(TelemetrySettings(otlp_endpoint=address), "tests")


def test_an_outage_of_the_receiver_is_told_once(caplog):
    caplog.set_level("INFO")
    with Unreachable() as address:
        telemetry = telemetry_of(TelemetrySettings(otlp_endpoint=address), "tests")
        for _ in range(3):
            telemetry.tell(span())
            telemetry.flush(60)
    told = [record.getMessage() for record in caplog.records]
    assert told == ["telemetry is not taken by=OTLP"]


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
