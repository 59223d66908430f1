"""What the programs tell of their work: measurements, and one trace per series (docs/adr/0036).

A program is handed a `Telemetry` and tells it numbers and finished spans. Nothing is sent unless an
adapter does, and `SILENT` does nothing at all.

Ids are computed, not carried: whoever knows a series knows its trace, and a message names the span
that sent it by what it holds anyway. So no message has a field for them, what is tried again finds
the same parent, and a message of an older version has its place, too.

Attributes are few, declared here, and hold numbers or words of our own: never a UID, a URL, a name
or a text that came from outside.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

FUNCTIONS_ROLE = "dicom-indexer-functions"
WORKER_ROLE = "dicom-indexer-worker"


class Kind(StrEnum):
    """How measurements of one name add up."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A name under which numbers are told, and the attributes that each of them has.

    buckets: upper bounds of a histogram, in its unit.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
# Of waiting: from seconds to a day, dense where a quiet period and a batch usually end.
_WAITING = (5, 10, 20, 30, 45, 60, 90, 120, 180, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
_DAY_S = 86_400

LOOKS = Metric(
    name="dicom_indexer.looks",
    kind=Kind.COUNTER,
    unit="1",
    meaning="blobs that were looked at",
    attributes=("outcome",),
)
REJECTS = Metric(
    name="dicom_indexer.rejects",
    kind=Kind.COUNTER,
    unit="1",
    meaning="blobs, messages and series that were set aside",
    attributes=("code",),
)
POISON = Metric(
    name="dicom_indexer.poison",
    kind=Kind.COUNTER,
    unit="1",
    meaning="messages that failed every time they were tried, or are none of ours",
    attributes=("queue",),
)
SERIES_INDEXED = Metric(
    name="dicom_indexer.series.indexed",
    kind=Kind.COUNTER,
    unit="1",
    meaning="messages about series by what became of them: indexed, failed (tried again later) ...",
    attributes=("outcome",),
)
SERIES_LAG = Metric(
    name="dicom_indexer.series.lag",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="from the newest blob event of a series to the commit of what it brought",
    buckets=(*_WAITING, _DAY_S),
)
BATCH_DURATION = Metric(
    name="dicom_indexer.batch.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="from receiving a batch to its last acknowledgement",
    buckets=_SECONDS,
)
COMMIT_DURATION = Metric(
    name="dicom_indexer.commit.duration",
    kind=Kind.HISTOGRAM,
    unit="s",
    meaning="of one commit: texts embedded, segment and manifest written",
    buckets=_SECONDS,
)
WORKER_SECONDS = Metric(
    name="dicom_indexer.worker.seconds",
    kind=Kind.COUNTER,
    unit="s",
    meaning="in which the worker had a batch in hand; GPU seconds where device is cuda",
    attributes=("device",),
)
WORKER_COST = Metric(
    name="dicom_indexer.worker.cost",
    kind=Kind.COUNTER,
    unit="USD",
    meaning="the same seconds at the price of an hour that INDEXER_HOURLY_PRICE gives",
)
QUEUE_DEPTH = Metric(
    name="dicom_indexer.queue.depth",
    kind=Kind.GAUGE,
    unit="1",
    meaning="messages in a queue, hidden ones included, as the storage service counts them",
    attributes=("queue",),
)
METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        LOOKS,
        REJECTS,
        POISON,
        SERIES_INDEXED,
        SERIES_LAG,
        BATCH_DURATION,
        COMMIT_DURATION,
        WORKER_SECONDS,
        WORKER_COST,
        QUEUE_DEPTH,
    )
}

SPANS: Mapping[str, tuple[str, ...]] = {
    "blob event": ("outcome",),
    "read header": (),
    "series check": ("outcome", "revision", "forced"),
    "series": ("outcome", "revision", "tries"),
    "load": ("error",),
    "embed": ("error", "series"),
    "classify": ("error",),
    "commit": ("error", "series", "manifest", "lag_s"),
}
"""Names of spans, in the order in which a series meets them, with the attributes they may have.

series: how many are worked on together. lag_s: as `SERIES_LAG`, of this one series: Azure Monitor
keeps no buckets of a histogram, so percentiles there are those of this attribute.
"""

Attributes = Mapping[str, str | int | float | bool]

OTHER = "other"
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}", re.ASCII)


def harmless(attributes: Attributes, names: Sequence[str]) -> dict[str, str | int | float | bool]:
    """Of these attributes those that may leave the program: known names, numbers and words.

    Whatever else slipped in, a UID, a URL or a text with spaces or digits, becomes `OTHER`.
    """
    found = {name: attributes[name] for name in names if name in attributes}
    return {
        name: value if not isinstance(value, str) or _WORD.fullmatch(value) else OTHER
        for name, value in found.items()
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of the work on one series, told when it is over.

    Parameters
    ----------
    name
        One of `SPANS`.
    trace
        Of the series: `trace_id`.
    id, parent
        Parts of the work name each other by these: `span_id`. Without an id, any fresh one will
        do; without a parent it is where the trace begins.
    start_s, end_s
        Seconds since the Unix epoch.
    attributes
        Only those that `SPANS` lists for the name.
    failed
        Whether it ended by an error.
    """

    name: str
    trace: str
    start_s: float
    end_s: float
    id: str | None = None
    parent: str | None = None
    attributes: Attributes = field(default_factory=dict)
    failed: bool = False


class Telemetry(Protocol):
    """Takes what is told; never fails, and never makes anybody wait."""

    def measure(
        self, metric: Metric, value: float = 1, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Tell a number: added to a counter, counted by a histogram, kept by a gauge."""

    def tell(self, span: Span) -> None:
        """Tell a part of the work on a series that is over."""

    def flush(self, patience_s: float) -> None:
        """Send what was told so far, within this time; what takes longer is sent later or lost."""


class Silent:
    """Tells nobody."""

    def measure(
        self, metric: Metric, value: float = 1, attributes: Mapping[str, str] | None = None
    ) -> None:
        """Nothing."""

    def tell(self, span: Span) -> None:
        """Nothing."""

    def flush(self, patience_s: float) -> None:
        """Nothing."""


SILENT: Telemetry = Silent()


def trace_id(series: str) -> str:
    """The trace of a series, of all that ever happens to it: 32 hexadecimal digits, not all zero.

    It tells no more of a series than its key, of which it is a hash.
    """
    return _id("trace", series, 32)


def span_id(kind: str, *parts: str | int) -> str:
    """The id of a span that others know by what they hold: 16 hexadecimal digits, not all zero."""
    return _id(kind, json.dumps(parts), 16)


def sender_of_check(series: str, token: str) -> str:
    """The span that sent a check of a series: a look, or a check that came too early."""
    return span_id("check", series, token)


def sender_of_ready(series: str, revision: int, digest: str) -> str:
    """The span that handed a content of a series on: the check that closed it."""
    return span_id("ready", series, revision, digest)


def _id(kind: str, text: str, n_digits: int) -> str:
    digits = hashlib.sha256(f"dicom-indexer {kind}\0{text}".encode()).hexdigest()[:n_digits]
    # W3C Trace Context, section 3.2.2: all zeros are no id.
    return digits if digits.strip("0") else "1".rjust(n_digits, "0")
