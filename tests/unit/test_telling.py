"""What is told of a series, by the pipeline in memory."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpu_worker.loop import WorkerSettings
from indexer_core.assembly import MARKER
from indexer_core.errors import UnavailableError
from indexer_core.events import parse_events
from indexer_core.messages import SeriesReady, dump_ready, parse_ready
from indexer_core.telemetry import (
    BATCH_DURATION,
    LOOKS,
    POISON,
    REJECTS,
    SERIES_INDEXED,
    SERIES_LAG,
    WORKER_COST,
    WORKER_SECONDS,
    trace_id,
)
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import MAX_WAIT_S, QUIET_S, RETRY_S, Pipeline, slice_of

HEX = "a" * 64
EVENT = {
    "eventType": "Microsoft.Storage.BlobCreated",
    "data": {"api": "PutBlob", "url": "https://a/b/c"},
}


def test_messages_of_older_programs_have_no_time_of_upload():
    body = dump_ready(SeriesReady(series=HEX, revision=2, digest=HEX))
    assert "uploaded" not in body
    assert parse_ready(body).uploaded_s is None


@given(st.floats(min_value=0, allow_infinity=False))
def test_the_time_of_an_upload_travels_and_decides_nothing(uploaded_s):
    ready = SeriesReady(series=HEX, revision=2, digest=HEX, uploaded_s=uploaded_s)
    assert parse_ready(dump_ready(ready)).uploaded_s == uploaded_s
    assert ready == SeriesReady(series=HEX, revision=2, digest=HEX)


@pytest.mark.parametrize("value", ['"now"', "-1.0", "true", "1e999", "[1.0]", "NaN"])
def test_a_series_whose_time_is_none_is_worked_on_all_the_same(value):
    ready = SeriesReady(series=HEX, revision=1, digest=HEX, uploaded_s=5.0)
    found = parse_ready(dump_ready(ready).replace("5.0", value))
    assert (found, found.uploaded_s) == (ready, None)


@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60.0),
        ("1970-01-01T00:01:00.5000000Z", 60.5),
        ("1970-01-01T01:01:00+01:00", 60.0),
        ("1970-01-01T00:01:00", 60.0),
        ("yesterday", None),
        (17, None),
        ("0001-01-01T00:00:00Z", None),
        ("9999-99-99T00:00:00Z", None),
    ],
)
@pytest.mark.parametrize("name", ["eventTime", "time"])
def test_the_time_of_an_event_is_read_where_there_is_one(name, time, seconds):
    [event] = parse_events(json.dumps({**EVENT, name: time}))
    assert event.time_s == seconds


@pytest.fixture
def pipeline():
    return Pipeline()


def key_of(series):
    return series_key("inbox", uid("study"), uid("study", series))


def assemble(pipeline, process):
    """Look at what was told, wait, and close the series."""
    process.events()
    pipeline.clock.advance(MAX_WAIT_S + 1)
    process.checks()


def upload(pipeline, series, instance=1, **attributes):
    pipeline.upload(
        f"{series}{instance}.dcm", slice_of(series=series, instance=instance, **attributes)
    )


def names_of(pipeline, series):
    return [
        span.name for span in pipeline.telemetry.spans if span.trace == trace_id(key_of(series))
    ]


def test_lag_is_from_the_newest_upload_to_the_commit(pipeline):
    process = pipeline.process()
    upload(pipeline, "a", 1)
    process.events()
    pipeline.clock.advance(20)
    upload(pipeline, "a", 2)
    assemble(pipeline, process)
    pipeline.clock.advance(100)
    process.work()
    assert pipeline.telemetry.values[SERIES_LAG.name, ""] == [MAX_WAIT_S + 1 + 100]


def test_a_deletion_a_resent_series_and_one_without_an_upload_have_no_lag(pipeline):
    process = pipeline.process()
    upload(pipeline, "a", 1)
    upload(pipeline, "a", 2)
    assemble(pipeline, process)
    process.work()
    pipeline.clock.advance(3600)
    pipeline.remove("a1.dcm")
    assemble(pipeline, process)
    process.work()
    process.assembly.resend(key_of("a"))
    process.checks()
    process.work()
    pipeline.remove("a2.dcm")
    pipeline.settle(process)
    assert not pipeline.live()
    assert len(pipeline.telemetry.values[SERIES_LAG.name, ""]) == 1
    assert pipeline.telemetry.total(SERIES_INDEXED, "removed") == 1


def lags(pipeline):
    return pipeline.telemetry.values[SERIES_LAG.name, ""]


def test_a_deletion_soon_after_a_commit_has_no_lag_and_a_further_slice_has(pipeline):
    process = pipeline.process()
    upload(pipeline, "a", 1)
    upload(pipeline, "a", 2)
    assemble_soon(pipeline, process)
    process.work()
    pipeline.clock.advance(5)
    pipeline.remove("a1.dcm")
    assemble_soon(pipeline, process)
    pipeline.clock.advance(500)
    process.work()
    assert lags(pipeline) == [QUIET_S + 1]
    upload(pipeline, "a", 3)
    assemble_soon(pipeline, process)
    process.work()
    assert lags(pipeline) == [QUIET_S + 1] * 2


def test_a_deletion_does_not_bring_back_what_was_counted(pipeline):
    """The newest blob goes first: those that are left are older than what was counted."""
    process = pipeline.process()
    upload(pipeline, "a", 1)
    process.events()
    pipeline.clock.advance(1)
    upload(pipeline, "a", 2)
    upload(pipeline, "a", 3)
    assemble_soon(pipeline, process)
    process.work()
    for name in ("a3.dcm", "a2.dcm"):
        pipeline.remove(name)
        assemble_soon(pipeline, process)
        process.work()
    assert lags(pipeline) == [QUIET_S + 1]


def assemble_soon(pipeline, process):
    process.events()
    pipeline.clock.advance(QUIET_S + 1)
    process.checks()


def test_what_could_not_be_handed_on_at_once_is_as_late_as_it_is(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    process.events()
    pipeline.clock.advance(QUIET_S + 1)
    ready = pipeline.queues["ready"]
    send, ready.send = ready.send, not_now
    with pytest.raises(UnavailableError):
        process.checks()
    ready.send = send
    pipeline.clock.advance(1000)
    process.checks()
    process.work()
    assert lags(pipeline) == [QUIET_S + 1 + 1000]


def not_now(body, *, delay_s=0.0):
    raise UnavailableError("nobody is there")


def test_what_could_not_be_read_has_its_lag_when_it_is_indexed_after_all(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    assemble_soon(pipeline, process)
    [message] = pipeline.queues["ready"].receive(1, 0.0)
    process.assembly.recall(parse_ready(message.body))
    pipeline.queues["ready"].delete(message)
    pipeline.clock.advance(1000)
    process.assembly.force(key_of("a"))
    process.checks()
    process.work()
    assert lags(pipeline) == [QUIET_S + 1 + 1000]


def test_what_was_committed_and_is_resent_has_no_lag(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    assemble_soon(pipeline, process)
    process.work()
    for _ in range(2):
        process.assembly.resend(key_of("a"))
        process.checks()
        process.work()
    assert len(lags(pipeline)) == 1


def test_markers_of_older_programs_are_read(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    assemble_soon(pipeline, process)
    process.work()
    rows = pipeline.rows["instances"]
    marker = rows.get(key_of("a"), MARKER)
    older = {
        name: value
        for name, value in marker.values.items()
        if name not in {"uploaded_s", "counted_s"}
    }
    rows.delete(marker)
    rows.insert(key_of("a"), MARKER, {**older, "unsent": True})
    process.assembly.force(key_of("a"))
    process.checks()
    process.work()
    assert len(lags(pipeline)) == 1
    pipeline.clock.advance(3600)
    upload(pipeline, "a", 2)
    assemble_soon(pipeline, process)
    process.work()
    assert lags(pipeline) == [QUIET_S + 1] * 2


def test_only_the_first_slice_since_a_check_is_a_span(pipeline):
    process = pipeline.process()
    for instance in range(1, 20):
        upload(pipeline, "a", instance)
    pipeline.settle(process)
    assert names_of(pipeline, "a").count("blob event") == 1
    assert pipeline.telemetry.total(LOOKS, "changed") == 19
    pipeline.clock.advance(3600)
    pipeline.remove("a3.dcm")
    pipeline.settle(process)
    events = [span for span in pipeline.telemetry.spans if span.name == "blob event"]
    assert [span.attributes["outcome"] for span in events] == ["changed", "gone"]
    assert len({span.trace for span in events}) == 1


def test_a_slice_that_moves_to_another_series_is_told_of_in_both(pipeline):
    process = pipeline.process()
    upload(pipeline, "a", 1)
    pipeline.settle(process)
    pipeline.upload("a1.dcm", slice_of(series="b", instance=1))
    pipeline.settle(process)
    assert names_of(pipeline, "a").count("blob event") == 2
    assert names_of(pipeline, "b").count("blob event") == 1


def test_every_parent_is_a_span_that_was_told(pipeline):
    process = pipeline.process()
    for series in ("a", "b", "c"):
        upload(pipeline, series)
    pipeline.settle(process)
    spans = {span.id: span for span in pipeline.telemetry.spans if span.id}
    roots = [span.name for span in pipeline.telemetry.spans if span.parent is None]
    assert roots == ["blob event"] * 3
    for span in pipeline.telemetry.spans:
        if span.parent is not None:
            assert spans[span.parent].trace == span.trace


def test_what_is_set_aside_is_counted_by_its_code(pipeline):
    process = pipeline.process()
    pipeline.upload("x.dcm", b"no DICOM at all")
    pipeline.queues["events"].send("no event")
    pipeline.queues["checks"].send("no check")
    pipeline.queues["ready"].send("no series")
    pipeline.settle(process)
    total = pipeline.telemetry.total
    assert (total(REJECTS, "notDicom"), total(REJECTS, "message")) == (1, 3)
    assert total(POISON, "series-ready") == 1
    assert total(LOOKS, "rejected") == 1


def test_a_series_that_fails_every_time_is_poison_in_the_end(pipeline):
    process = pipeline.process(settings=WorkerSettings(retry_s=RETRY_S, max_tries=2))
    upload(pipeline, "a")
    assemble(pipeline, process)
    pipeline.image_encoder.encode = fail
    pipeline.settle(process)
    total = pipeline.telemetry.total
    assert (total(SERIES_INDEXED, "failed"), total(SERIES_INDEXED, "poison")) == (1, 1)
    assert (total(POISON, "series-ready"), total(REJECTS, "poison")) == (1, 1)
    tries = [span for span in pipeline.telemetry.spans if span.name == "series"]
    assert [(span.attributes["tries"], span.failed) for span in tries] == [(1, True), (2, True)]
    embeds = [span for span in pipeline.telemetry.spans if span.name == "embed"]
    assert {span.attributes["error"] for span in embeds} == {"ValueError"}


def fail(stacks):
    raise ValueError("Planted^Name")


def test_a_batch_that_ends_early_says_so(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    assemble(pipeline, process)
    process.indexer.write = unavailable
    with pytest.raises(UnavailableError):
        process.work()
    [span] = [span for span in pipeline.telemetry.spans if span.name == "series"]
    assert (span.attributes["outcome"], span.failed) == ("interrupted", True)
    assert "commit" not in names_of(pipeline, "a")
    assert pipeline.telemetry.total(SERIES_INDEXED, "interrupted") == 1
    assert len(pipeline.telemetry.values[BATCH_DURATION.name, ""]) == 1
    assert pipeline.telemetry.values[WORKER_SECONDS.name, "cpu"][0] > 0


def test_what_was_done_in_a_batch_that_ended_early_keeps_its_outcome(pipeline):
    process = pipeline.process()
    pipeline.queues["ready"].send("no series")
    upload(pipeline, "a")
    assemble(pipeline, process)
    process.indexer.write = unavailable
    with pytest.raises(UnavailableError):
        process.work()
    total = pipeline.telemetry.total
    assert (total(SERIES_INDEXED, "poison"), total(SERIES_INDEXED, "interrupted")) == (1, 1)


def unavailable(entries, reason):
    raise UnavailableError("nobody is there")


def test_seconds_are_told_and_their_cost_where_there_is_a_price(pipeline):
    process = pipeline.process()
    upload(pipeline, "a")
    assemble(pipeline, process)
    process.work()
    [busy_s] = pipeline.telemetry.values[WORKER_SECONDS.name, "cpu"]
    [elapsed_s] = pipeline.telemetry.values[BATCH_DURATION.name, ""]
    assert busy_s >= elapsed_s > 0
    assert not pipeline.telemetry.total(WORKER_COST)
    priced = pipeline.process(settings=WorkerSettings(hourly_price=3600.0))
    upload(pipeline, "b")
    assemble(pipeline, priced)
    priced.work()
    _, priced_s = pipeline.telemetry.values[WORKER_SECONDS.name, "cpu"]
    assert pipeline.telemetry.total(WORKER_COST) == pytest.approx(priced_s)
