"""Whatever write fails, and however: after the redelivery the index is that of a faultless run."""

import os
from functools import cache

import pytest

from indexer_core.testing.faults import FaultPlan, WriteFault
from tests.support.pipeline import Pipeline, Process, slice_of, survive


def _first_uploads(pipeline):
    pipeline.upload("ct/1.dcm", slice_of(series="ct", instance=1))
    pipeline.upload("ct/2.dcm", slice_of(series="ct", instance=2))
    pipeline.upload("sr/1.dcm", slice_of(series="sr", instance=1, pixels=False))
    pipeline.upload("notes.txt", b"not an image")


def _changes(pipeline):
    pipeline.upload("ct/3.dcm", slice_of(series="ct", instance=3))  # a late slice
    pipeline.upload("ct/1.dcm", slice_of(series="xa", instance=1))  # moved to a new series
    pipeline.remove("sr/1.dcm")
    pipeline.upload("notes.txt", slice_of(series="ct", instance=4, pixels=False))


NAMES = ("uploads", "changes")


@cache
def _with_uploads() -> Pipeline:
    pipeline = Pipeline()
    _first_uploads(pipeline)
    pipeline.settle(pipeline.process())
    return pipeline


def _run(name: str, plan: FaultPlan) -> Pipeline:
    """Do a step by a process that dies of its fault, and finish by another one."""
    if name == "uploads":
        pipeline = Pipeline()
        _first_uploads(pipeline)
    else:
        pipeline = _with_uploads().copy()
        _changes(pipeline)
    process = pipeline.process(plan)
    if not survive(lambda: pipeline.settle(process)):
        pipeline.clock.advance(700.0)
        pipeline.settle(pipeline.process())
    return pipeline


@cache
def _faultless(name: str) -> tuple[Pipeline, int]:
    plan = FaultPlan()
    return _run(name, plan), plan.n_writes


@cache
def _expected(name: str) -> tuple[dict, list[str]]:
    pipeline, _ = _faultless(name)
    return pipeline.contents(), [reject["code"] for reject in pipeline.rejects("blob")]


def _turns(fault: WriteFault, n_writes: int) -> range:
    """Every write; nightly for every fault, else those that all mean "not done" take turns."""
    alike = [WriteFault.UNAVAILABLE, WriteFault.LOST_REQUEST, WriteFault.CRASH_BEFORE]
    if fault not in alike or os.environ.get("HYPOTHESIS_PROFILE") == "nightly":
        return range(1, n_writes + 1)
    return range(1 + alike.index(fault), n_writes + 1, len(alike))


@pytest.mark.parametrize("fault", list(WriteFault), ids=lambda fault: fault.name.lower())
@pytest.mark.parametrize("name", NAMES)
def test_any_write_may_fail_and_nothing_is_lost_or_doubled(name, fault):
    _, n_writes = _faultless(name)
    contents, codes = _expected(name)
    assert n_writes > 40
    for at in _turns(fault, n_writes):
        plan = FaultPlan(at, fault)
        pipeline = _run(name, plan)
        assert plan.has_struck
        assert pipeline.contents() == contents, plan.operations[-1]
        assert pipeline.problems() == [], plan.operations[-1]
        assert pipeline.queues["poison"].length() == 0
        assert [reject["code"] for reject in pipeline.rejects("blob")] == codes


def test_the_faultless_run_is_what_is_in_the_inbox():
    before, after = (_faultless(name)[0] for name in NAMES)
    assert sorted(len(row.blobs) for row in before.live().values()) == [1, 2]
    assert sorted(len(row.blobs) for row in after.live().values()) == [1, 3]
    assert [r["code"] for r in before.rejects("blob")] == ["notDicom"]
    assert after.rejects("blob") == []


def test_a_process_is_worth_its_name():
    """Two processes share nothing but the stores."""
    pipeline = Pipeline()
    first, second = pipeline.process(), pipeline.process()
    assert isinstance(first, Process)
    _first_uploads(pipeline)
    first.events()
    pipeline.clock.advance(700.0)
    second.checks()
    first.work()
    assert second.work() is None
    assert len(pipeline.live()) == 2
