"""The worker's loop: what becomes of every message, whatever is wrong with it or its series."""

from dataclasses import replace

import pytest

from gpu_worker.loop import WorkerSettings
from indexer_core.errors import CorruptIndexError, UnavailableError
from indexer_core.instance_lists import list_name
from indexer_core.messages import SeriesReady, dump_ready
from indexer_core.pixels.decode import DEFAULT_LIMITS
from indexer_core.testing.faults import FaultPlan, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import RETRY_S, VISIBILITY_S, Pipeline, slice_of

MAX_TRIES = 5


def key_of(series):
    return series_key("inbox", uid("study"), uid("study", series))


@pytest.fixture
def pipeline():
    return Pipeline()


def assemble(pipeline, *series, value=0):
    """Upload a slice of each series and close them: their messages wait for the worker."""
    for name in series:
        pipeline.upload(f"{name}.dcm", slice_of(series=name, value=value, SeriesDescription=name))
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    return process


def message(pipeline, series):
    """The body of the message that waits for the worker."""
    [body] = [
        queued.message.body
        for queued in pipeline.queues["ready"]._queued.values()
        if key_of(series) in queued.message.body
    ]
    return body


def outcomes(report):
    return sorted(report.outcomes.values())


def work_until_empty(pipeline, process):
    found = []
    for _ in range(30):
        report = process.work()
        if report is not None:
            found.append(report)
        elif not pipeline.queues["ready"].length():
            return found
        pipeline.clock.advance(RETRY_S)
    raise AssertionError("the queue never empties")


def failing_on(description):
    def before(texts):
        if any(description in text for text in texts):
            raise ValueError("cannot embed this")

    return before


def test_a_batch_is_one_commit(pipeline):
    process = assemble(pipeline, "a", "b", "c")
    process.opened()
    before = pipeline.n_commits()
    assert outcomes(process.work()) == ["indexed"] * 3
    assert pipeline.n_commits() == before + 1
    assert process.work() is None


def test_duplicates_inside_a_batch_are_all_acknowledged_and_written_once(pipeline):
    process = assemble(pipeline, "a")
    for _ in range(3):
        pipeline.queues["ready"].send(message_of := message_body(pipeline))
    assert message_of
    report = process.work()
    assert outcomes(report) == ["done", "done", "done", "indexed"]
    assert pipeline.queues["ready"].length() == 0
    assert pipeline.image_encoder.n_series == 1


def message_body(pipeline):
    return next(iter(pipeline.queues["ready"]._queued.values())).message.body


def test_a_redelivered_message_is_acknowledged_without_a_commit(pipeline):
    process = assemble(pipeline, "a")
    body = message(pipeline, "a")
    process.work()
    commits = pipeline.n_commits()
    pipeline.queues["ready"].send(body)
    assert outcomes(process.work()) == ["done"]
    assert pipeline.n_commits() == commits
    assert pipeline.image_encoder.n_series == 1


def test_of_two_revisions_in_a_batch_only_the_newer_is_embedded(pipeline):
    assemble(pipeline, "a")
    process = assemble(pipeline, "a", value=7)
    assert outcomes(process.work()) == ["indexed", "taken"]
    assert pipeline.queues["ready"].length() == 0
    assert pipeline.image_encoder.n_series == 1
    assert pipeline.live()[key_of("a")].revision == 2
    process.drain()
    assert pipeline.live()[key_of("a")].revision == 2


def test_two_contents_of_one_revision_in_a_batch_end_in_the_present_one(pipeline):
    """The marker was lost while its message was on its way."""
    assemble(pipeline, "a")
    table = pipeline.rows["instances"]
    table.delete(table.get(key_of("a"), "_series"))
    process = assemble(pipeline, "a", value=7)
    assert pipeline.queues["ready"].length() == 2
    pipeline.settle(process)
    row = pipeline.live()[key_of("a")]
    assert row.digest == process.assembly.marker(key_of("a")).values["digest"]
    assert row.revision == process.assembly.marker(key_of("a")).values["revision"]
    assert pipeline.problems() == []


def test_a_late_message_of_a_content_that_came_back_changes_nothing(pipeline):
    process = assemble(pipeline, "a")
    late = message(pipeline, "a")
    for value in (7, 0):
        assemble(pipeline, "a", value=value)
        pipeline.settle(process)
    before = pipeline.live(), pipeline.n_commits(), pipeline.image_encoder.n_series
    pipeline.queues["ready"].send(late)
    pipeline.settle(process)
    assert (pipeline.live(), pipeline.n_commits(), pipeline.image_encoder.n_series) == before


def test_a_series_that_cannot_be_seen_leaves_its_batch_and_ends_with_its_reason(pipeline):
    process = assemble(pipeline, "a", "bad", "c")
    n_seen = 0

    def before(stacks):
        nonlocal n_seen
        n_seen += 1
        if n_seen == 2 or n_seen > 3:
            raise ValueError("planted-secret")

    pipeline.image_encoder.before = before
    reports = work_until_empty(pipeline, process)
    assert outcomes(reports[0]) == ["failed", "indexed", "indexed"]
    assert [outcomes(report) for report in reports[1:]] == [["failed"]] * 3 + [["poison"]]
    [reject] = pipeline.rejects("series")
    assert reject["reason"] == "it failed every time it was tried: ValueError"
    assert reject["body"] == pipeline.queues["poison"].receive(1, 60.0)[0].body
    assert set(pipeline.live()) == {key_of("a"), key_of("c")}


def test_a_series_that_cannot_be_written_leaves_its_batch_and_ends_with_its_reason(pipeline):
    process = assemble(pipeline, "anna", "bad", "carla")
    pipeline.text_encoder.before = failing_on("bad")
    reports = work_until_empty(pipeline, process)
    assert outcomes(reports[0]) == ["failed", "indexed", "indexed"]
    assert outcomes(reports[-1]) == ["poison"]
    assert len(pipeline.live()) == 2
    assert [r["reason"] for r in pipeline.rejects("series")] == [
        "it failed every time it was tried: ValueError"
    ]


def test_a_message_seen_before_is_worked_on_alone(pipeline):
    process = assemble(pipeline, "a", "b")
    pipeline.queues["ready"].receive(32, VISIBILITY_S)
    pipeline.clock.advance(VISIBILITY_S + 1)
    process.opened()
    before = pipeline.n_commits()
    assert outcomes(process.work()) == ["indexed"] * 2
    assert pipeline.n_commits() == before + 2


def test_a_message_that_kills_every_worker_is_set_aside(pipeline):
    process = assemble(pipeline, "a")
    for _ in range(MAX_TRIES):
        pipeline.queues["ready"].receive(32, VISIBILITY_S)
        pipeline.clock.advance(VISIBILITY_S + 1)
    assert outcomes(process.work()) == ["poison"]
    [reject] = pipeline.rejects("series")
    assert reject["reason"] == "it was tried too often and never finished"
    assert pipeline.queues["poison"].length() == 1
    assert pipeline.queues["ready"].length() == 0


def test_a_later_revision_settles_what_was_set_aside(pipeline):
    process = assemble(pipeline, "bad")
    pipeline.text_encoder.before = failing_on("bad")
    work_until_empty(pipeline, process)
    assert len(pipeline.rejects("series")) == 1
    pipeline.text_encoder.before = lambda texts: None
    assemble(pipeline, "bad", value=7).work()
    assert pipeline.rejects("series") == []
    assert set(pipeline.live()) == {key_of("bad")}


@pytest.mark.parametrize("body", ["no json", "{}", '{"format_version": 99}', "[]"])
def test_a_message_that_is_none_of_ours_is_set_aside_at_once(pipeline, body):
    pipeline.queues["ready"].send(body)
    assert outcomes(pipeline.process().work()) == ["poison"]
    [reject] = pipeline.rejects("message")
    assert (reject["body"], reject["queue"]) == (body, "series-ready")
    assert reject["reason"]
    assert pipeline.queues["poison"].receive(1, 60.0)[0].body == body


def test_a_missing_instance_list_is_the_fault_of_its_series_only(pipeline):
    process = assemble(pipeline, "a", "b")
    digest = process.assembly.marker(key_of("a")).values["digest"]
    assert pipeline.index.delete(list_name(key_of("a"), digest))
    reports = work_until_empty(pipeline, process)
    assert outcomes(reports[0]) == ["failed", "indexed"]
    assert outcomes(reports[-1]) == ["poison"]
    assert "missing" in pipeline.rejects("series")[0]["reason"]
    assert set(pipeline.live()) == {key_of("b")}


def test_a_damaged_index_stops_the_worker_and_sets_nothing_aside(pipeline):
    assemble(pipeline, "a").work()
    process = assemble(pipeline, "b")
    [rows] = [e.name for e in pipeline.index.list("segments/") if e.name.endswith("rows.arrow")]
    pipeline.index.overwrite(rows, b"damaged")
    for _ in range(MAX_TRIES + 2):
        with pytest.raises(CorruptIndexError):
            pipeline.process().work()
        pipeline.clock.advance(VISIBILITY_S + 1)
    assert process.queues["ready"].length() == 1
    assert pipeline.rejects("series") == []


def test_a_store_that_cannot_answer_sends_the_whole_batch_back(pipeline):
    assemble(pipeline, "a", "b")
    faulty = pipeline.process(FaultPlan(4, WriteFault.DISK_FULL))
    faulty.opened()
    with pytest.raises(UnavailableError):
        faulty.work()
    pipeline.clock.advance(VISIBILITY_S + 1)
    assert outcomes(pipeline.process().work()) == ["indexed"] * 2
    assert pipeline.rejects("series") == []


def test_a_blob_of_a_source_that_is_no_longer_configured_ends_with_its_reason(pipeline):
    assemble(pipeline, "a")
    process = pipeline.process(sources=Nowhere())
    reports = work_until_empty(pipeline, process)
    assert outcomes(reports[-1]) == ["poison"]
    assert "outside the configured sources" in pipeline.rejects("series")[0]["reason"]


def test_a_series_whose_object_is_too_large_is_indexed_by_its_header_without_fetching_it(pipeline):
    assemble(pipeline, "a")
    small = replace(DEFAULT_LIMITS, max_object_bytes=100)
    fetched = []

    def decode(data, *_):
        fetched.append(data)

    process = pipeline.process(settings=WorkerSettings(limits=small), decode=decode)
    assert outcomes(process.work()) == ["indexed"]
    assert fetched == []
    [row] = pipeline.live().values()
    assert "pixelsUnavailable" in row.record["flags"]
    assert row.image_count == 0


class Nowhere:
    def locate(self, url):
        return None


def test_a_suppressed_series_is_acknowledged_without_a_commit(pipeline):
    process = assemble(pipeline, "a")
    process.work()
    process.indexer.suppress(frozenset({key_of("a")}))
    commits = pipeline.n_commits()
    assemble(pipeline, "a", value=7)
    assert outcomes(process.work()) == ["suppressed"]
    assert pipeline.n_commits() == commits
    process.indexer.restore(frozenset({key_of("a")}))
    process.assembly.resend(key_of("a"))
    pipeline.settle(process)
    assert pipeline.live()[key_of("a")].revision == 2


def test_an_index_that_is_ahead_is_outranked(pipeline):
    process = assemble(pipeline, "a")
    process.work()
    ahead = SeriesReady(series=key_of("a"), revision=1, digest="0" * 64)
    pipeline.queues["ready"].send(dump_ready(ahead))
    assert outcomes(process.work()) == ["taken"]
    assert pipeline.is_idle  # the marker has moved on: nothing is sent again
