"""Interleavings of two handles in one thread: what one does while the other is in the middle."""

import pytest

from indexer_core.testing.faults import FaultPlan, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import Meanwhile, Pipeline, slice_of

X, Y = (series_key("inbox", uid("study"), uid("study", name)) for name in "xy")


@pytest.fixture
def pipeline():
    return Pipeline()


def assemble(pipeline):
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    return process


def blobs(pipeline):
    return {key: len(row.blobs) for key, row in pipeline.live().items()}


def test_a_blob_deleted_between_look_and_write_is_not_indexed(pipeline):
    pipeline.upload("1.dcm", slice_of(series="x"))
    process = assemble(pipeline)
    commits = (process.opened(), pipeline.n_commits())[1]
    pipeline.inbox.delete("1.dcm")  # its event is still on its way
    assert list(process.work().outcomes.values()) == ["overtaken"]
    assert pipeline.n_commits() == commits
    pipeline.settle(process)  # the worker's own look suffices
    assert pipeline.live() == {}
    assert pipeline.problems() == []


def test_a_blob_deleted_while_the_worker_reads_it_is_not_indexed(pipeline):
    pipeline.upload("1.dcm", slice_of(series="x"))
    process = assemble(pipeline)
    pipeline.inbox.meanwhile = lambda: pipeline.inbox.delete("1.dcm")
    assert list(process.work().outcomes.values()) == ["overtaken"]
    pipeline.settle(process)
    assert pipeline.live() == {}


@pytest.mark.parametrize("away", ["deleted", "overwritten"])
def test_a_blob_that_is_back_before_it_is_looked_at_is_indexed_all_the_same(pipeline, away):
    """Its digest is what it was, so nothing but the worker knows that its message is gone."""
    data = slice_of(series="x")
    pipeline.upload("1.dcm", data)
    process = assemble(pipeline)
    if away == "deleted":
        pipeline.inbox.delete("1.dcm")
    else:
        pipeline.upload("1.dcm", slice_of(series="x", value=7))
    assert list(process.work().outcomes.values()) == ["overtaken"]
    pipeline.upload("1.dcm", data)
    pipeline.settle(process)
    assert blobs(pipeline) == {X: 1}
    assert pipeline.live()[X].revision == 1


def test_a_blob_that_moves_from_one_series_to_another_during_a_slow_look_is_in_the_other(pipeline):
    pipeline.upload("1.dcm", slice_of(series="x"))
    pipeline.upload("2.dcm", slice_of(series="x", instance=2))
    slow, quick = pipeline.process(), pipeline.process()

    def overwrite():
        pipeline.upload("1.dcm", slice_of(series="y"))
        quick.events()

    pipeline.inbox.meanwhile = overwrite
    slow.events()
    pipeline.settle(slow)
    assert blobs(pipeline) == {X: 1, Y: 1}


@pytest.mark.parametrize("operation", ["rows.get", "rows.insert", "rows.merge", "queue.send"])
@pytest.mark.parametrize("nth", range(1, 8))
@pytest.mark.parametrize("to", ["y", "junk", "gone"])
def test_a_look_overtaken_at_any_of_its_steps_leaves_nothing_behind(pipeline, operation, nth, to):
    pipeline.upload("1.dcm", slice_of(series="x"))
    quick = pipeline.process()

    def overtake():
        if to == "gone":
            pipeline.remove("1.dcm")
        else:
            pipeline.upload("1.dcm", b"junk" if to == "junk" else slice_of(series="y"))
        quick.events()

    slow = pipeline.process(Meanwhile(operation, overtake, nth))
    slow.events()
    pipeline.settle(quick)
    if pipeline.inbox.properties("1.dcm") is None:
        assert blobs(pipeline) == {}
    elif to == "junk" and pipeline.inbox.get("1.dcm").data == b"junk":
        assert blobs(pipeline) == {}
        assert len(pipeline.rejects("blob")) == 1
    else:
        assert sum(blobs(pipeline).values()) == 1
        assert pipeline.rejects("blob") == []


def test_two_checks_at_once_hand_one_content_on(pipeline):
    pipeline.upload("1.dcm", slice_of(series="x"))
    pipeline.process().events()
    pipeline.clock.advance(700.0)
    quick = pipeline.process()

    def late_slice():
        pipeline.upload("2.dcm", slice_of(series="x", instance=2))
        quick.events()
        pipeline.clock.advance(700.0)
        quick.checks()

    stalled = pipeline.process(Meanwhile("rows.query", late_slice))
    stalled.checks()
    pipeline.settle(quick)
    row = pipeline.live()[X]
    assert (len(row.blobs), row.revision) == (2, 1)
    assert pipeline.image_encoder.n_series == 1


def test_the_same_check_received_twice_hands_one_content_on(pipeline):
    pipeline.upload("1.dcm", slice_of(series="x"))
    pipeline.process().events()
    pipeline.clock.advance(700.0)
    [received] = pipeline.queues["checks"].receive(1, 0.0)
    stalled = pipeline.process(Meanwhile("rows.query", pipeline.process().checks))
    stalled.checks()
    pipeline.queues["checks"].delete(received)
    pipeline.settle(pipeline.process())
    assert pipeline.live()[X].revision == 1
    assert pipeline.image_encoder.n_series == 1


@pytest.mark.parametrize("pixels", [True, False])
def test_a_lost_marker_goes_past_the_index(pipeline, pixels):
    process = pipeline.process()
    for value in ("a", "b", "c"):
        data = slice_of(series="x", pixels=pixels, SeriesDescription=value)
        pipeline.upload("1.dcm", data)
        pipeline.settle(process)
    assert pipeline.live()[X].revision == 3
    table = pipeline.rows["instances"]
    table.delete(table.get(X, "_series"))
    pipeline.upload("1.dcm", slice_of(series="x", pixels=pixels, SeriesDescription="d"))
    pipeline.settle(process)
    row = pipeline.live()[X]
    assert row.revision == 4
    assert row.record["descriptions"] != []
    assert process.assembly.marker(X).values["digest"] == row.digest


def test_a_lost_marker_of_an_unchanged_series_costs_nothing(pipeline):
    process = pipeline.process()
    for value in (1, 2):
        pipeline.upload("1.dcm", slice_of(series="x", value=value))
        pipeline.settle(process)
    before = pipeline.live(), pipeline.n_commits(), pipeline.image_encoder.n_series
    table = pipeline.rows["instances"]
    table.delete(table.get(X, "_series"))
    pipeline.tell("1.dcm")
    pipeline.settle(process)
    assert (pipeline.live(), pipeline.n_commits(), pipeline.image_encoder.n_series) == before


@pytest.mark.parametrize("fault", [WriteFault.LOST_RESPONSE, WriteFault.CRASH_AFTER])
def test_a_commit_whose_answer_is_lost_is_made_once(pipeline, fault):
    pipeline.upload("1.dcm", slice_of(series="x"))
    assemble(pipeline).opened()
    commits = pipeline.n_commits()
    quiet = FaultPlan()
    pipeline.copy().process(quiet).work()
    puts = [n for n, name in enumerate(quiet.operations, 1) if name == "blobs.put_if_absent"]
    plan = FaultPlan(puts[-1], fault)
    faulty = pipeline.process(plan)
    try:
        faulty.work()
    except BaseException:  # noqa: BLE001 - a killed process
        assert fault is WriteFault.CRASH_AFTER
    assert plan.has_struck
    assert pipeline.n_commits() == commits + 1
    pipeline.clock.advance(700.0)
    pipeline.settle(pipeline.process())
    assert pipeline.n_commits() == commits + 1
    assert pipeline.image_encoder.n_series == 1
