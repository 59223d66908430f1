"""Whatever goes wrong around a thumbnail: rows have theirs in the end, and nothing else stays."""

from functools import cache

import pytest

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.index.upkeep import Upkeep
from indexer_core.testing.faults import FaultPlan, PassThrough, WrappedBlobs, WriteFault
from indexer_core.thumbnails import PREFIX, Thumbnails, thumbnail_name
from tests.support.pipeline import Pipeline, slice_of, survive

A_MONTH_S = 30 * 86_400.0


class About:
    """An `Around` that says what the writes are about."""

    def __init__(self, subject, around):
        self.subject = subject
        self.around = around

    def read(self, operation, call):
        return self.around.read(operation, call)

    def write(self, operation, call):
        return self.around.write(f"{self.subject} {operation}", call)


def started(pipeline, plan=None):
    blobs = WrappedBlobs(pipeline.index, About(PREFIX, plan or PassThrough()))
    return pipeline.process(plan, thumbnails=Thumbnails(blobs, lambda picture: picture.tobytes()))


def names(pipeline):
    return {entry.name for entry in pipeline.index.list(PREFIX)}


def expected(pipeline):
    """Of each row that can be found: it has pixels, and shows no text."""
    return {
        thumbnail_name(key, row.revision, row.digest)
        for key, row in pipeline.live().items()
        if row.image_count
    }


def upkeep_of(pipeline):
    return Upkeep(pipeline.index, FlatFp16Vectors(), clock=pipeline.clock, ids=pipeline.ids)


def changed(plan=None):
    """Three series, of which one changes and one goes away, by a process that may die."""
    pipeline = Pipeline()
    for series in ("stays", "changes", "goes"):
        pipeline.upload(f"{series}.dcm", slice_of(series=series))
    pipeline.upload("report.dcm", slice_of(series="report", pixels=False))
    process = started(pipeline, plan)
    if not survive(lambda: pipeline.settle(process)):
        pipeline.clock.advance(700.0)
        pipeline.settle(started(pipeline))
    pipeline.upload("changes.dcm", slice_of(series="changes", value=7))
    pipeline.remove("goes.dcm")
    if not survive(lambda: pipeline.settle(process)):
        pipeline.clock.advance(700.0)
        pipeline.settle(started(pipeline))
    return pipeline


@cache
def thumbnail_writes():
    """Which of the writes of a faultless run are about thumbnails, and the commits around them."""
    plan = FaultPlan()
    changed(plan)
    about = [n for n, operation in enumerate(plan.operations, 1) if PREFIX in operation]
    assert len(about) == 4
    return sorted({n + step for n in about for step in (0, 1)})


@pytest.mark.parametrize("fault", list(WriteFault), ids=lambda fault: fault.name.lower())
def test_every_row_has_its_thumbnail_whatever_write_fails(fault):
    for at in thumbnail_writes():
        plan = FaultPlan(at, fault)
        pipeline = changed(plan)
        assert plan.has_struck
        assert len(expected(pipeline)) == 2
        assert expected(pipeline) <= names(pipeline), plan.operations[-1]
        assert pipeline.problems() == []


def test_those_of_rows_that_can_be_searched_no_more_are_collected_and_no_others():
    pipeline = changed()
    assert len(names(pipeline)) == 4
    keeper = upkeep_of(pipeline)
    keeper.collect()
    assert len(names(pipeline)) == 4
    pipeline.clock.advance(A_MONTH_S)
    told = keeper.collect(dry_run=True)
    assert len(names(pipeline)) == 4
    done = keeper.collect()
    assert done.n_files == told.n_files >= 2
    assert names(pipeline) == expected(pipeline)
    assert keeper.collect().n_files == 0


def test_a_collection_with_a_limit_says_that_there_is_more_to_do():
    pipeline = changed()
    pipeline.clock.advance(A_MONTH_S)
    keeper = upkeep_of(pipeline)
    for _ in range(100):
        if keeper.collect(limit=1).is_complete:
            break
    assert names(pipeline) == expected(pipeline)


@pytest.mark.parametrize("fault", [WriteFault.CRASH_BEFORE, WriteFault.CRASH_AFTER])
def test_a_collection_that_is_killed_is_carried_on(fault):
    for at in (1, 2):
        pipeline = changed()
        pipeline.clock.advance(A_MONTH_S)
        upkeep_of(pipeline).compact()
        plan = FaultPlan(at, fault)
        blobs = WrappedBlobs(pipeline.index, plan)
        killed = Upkeep(blobs, FlatFp16Vectors(), clock=pipeline.clock, ids=pipeline.ids)
        assert not survive(killed.collect)
        upkeep_of(pipeline).collect()
        assert names(pipeline) == expected(pipeline)
