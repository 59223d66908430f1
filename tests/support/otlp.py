"""A receiver of OTLP over HTTP, and an ingestion endpoint of Application Insights, on loopback."""

import gzip
import json
import threading
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ReceivedSpan:
    """A span as it was received; ids in hexadecimal, "" where there is no parent."""

    role: str
    name: str
    trace: str
    id: str
    parent: str
    start_s: float
    end_s: float
    attributes: dict
    failed: bool


@dataclass
class Receiver:
    """Everything that was posted, and what it says."""

    address: str
    bodies: list = field(default_factory=list)
    """(path, headers as text, body without its compression)."""
    new: threading.Condition = field(default_factory=threading.Condition)

    def spans(self):
        found = []
        for body in self._of("/v1/traces"):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                role = _plain(resource.resource.attributes)["service.name"]
                for scope in resource.scope_spans:
                    found += [_span(role, span) for span in scope.spans]
        return found

    def traces(self):
        """Spans by trace."""
        found = defaultdict(list)
        for span in self.spans():
            found[span.trace].append(span)
        return found

    def points(self):
        """(role, metric, attributes) -> newest point of each instance, as protobuf."""
        found = defaultdict(dict)
        for body in self._of("/v1/metrics"):
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                attributes = _plain(resource.resource.attributes)
                role, instance = attributes["service.name"], attributes["service.instance.id"]
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        data = getattr(metric, metric.WhichOneof("data"))
                        for point in data.data_points:
                            told = tuple(_plain(point.attributes).values())
                            found[role, metric.name, *told][instance] = point
        return found

    def total(self, role, name, *attributes):
        """The sum of a counter, or of what a histogram counted, over all instances."""
        points = self.points()[role, name, *attributes].values()
        return sum(getattr(point, "sum", 0) or point.as_double + point.as_int for point in points)

    def wait_for(self, condition, timeout_s=120.0):
        with self.new:
            assert self.new.wait_for(lambda: condition(self), timeout_s), len(self.bodies)

    def _of(self, path):
        return [body for found, _, body in list(self.bodies) if found == path]


@contextmanager
def receiving():
    """A receiver, until the end of the block."""
    receiver = Receiver("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            # Before it is answered: who sent it looks as soon as it has the answer.
            with receiver.new:
                receiver.bodies.append((self.path, str(self.headers), body))
                receiver.new.notify_all()
            # Of Application Insights; a receiver of OTLP wants nothing in particular.
            answer = b""
            if self.path.endswith("/track"):
                n_items = len(json.loads(body))
                answer = json.dumps(
                    {"itemsReceived": n_items, "itemsAccepted": n_items, "errors": []}
                ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


def tree(spans):
    """(depth, span) of one trace, children below their parents, in the order of time."""
    below = defaultdict(list)
    ids = {span.id for span in spans}
    for span in sorted(spans, key=lambda span: (span.start_s, -span.end_s)):
        below[span.parent if span.parent in ids else ""].append(span)

    def lines(parent, depth):
        for span in below[parent]:
            yield depth, span
            yield from lines(span.id, depth + 1)

    return list(lines("", 0))


def _span(role, span):
    return ReceivedSpan(
        role=role,
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        start_s=span.start_time_unix_nano / 1e9,
        end_s=span.end_time_unix_nano / 1e9,
        attributes=_plain(span.attributes),
        failed=span.status.code == 2,
    )


def _plain(attributes):
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in attributes}
