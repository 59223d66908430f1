"""The worker and the upkeep of its index: who sleeps, who merges, who collects, and when."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from function_app.handlers import sweep
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.errors import ConflictError
from indexer_core.index.collect import DAY_S, RetentionPolicy
from indexer_core.index.commit import Manifests
from indexer_core.index.compaction import MergePolicy
from indexer_core.index.segment import PREFIX
from indexer_core.index.upkeep import Upkeep, UpkeepSettings
from indexer_core.messages import parse_ready
from indexer_core.testing.memory import ManualClock, SequentialIds
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import Meanwhile, Pipeline, slice_of

SETTINGS = UpkeepSettings(
    merge=MergePolicy(fan_in=3, smallest_bytes=1 << 20),
    retention=RetentionPolicy(keep_s=0.0, keep_newest=1, grace_s=600.0),
)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


def key_of(series: str) -> str:
    return series_key("inbox", uid("study"), uid("study", series))


def upkeep(pipeline: Pipeline) -> Upkeep:
    return Upkeep(
        pipeline.index,
        FlatFp16Vectors(),
        clock=pipeline.clock,
        ids=pipeline.ids,
        settings=SETTINGS,
    )


def assembled(pipeline: Pipeline, series: str, around=None, **worker: object):
    pipeline.upload(f"{series}.dcm", slice_of(series=series, SeriesDescription=series))
    process = pipeline.process(around, **worker)
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()
    return process


def orphans(pipeline: Pipeline) -> set[str]:
    named = {f.name for m in Manifests(pipeline.index).history() for f in m.files()}
    return {entry.name for entry in pipeline.index.list(PREFIX)} - named


def sleep_through_a_collection(pipeline: Pipeline) -> Callable[[], None]:
    """What others do while a writer sleeps: its files are collected with some other garbage."""

    def sleep() -> None:
        pipeline.clock.advance(7200.0)
        pipeline.index.put_if_absent(f"{PREFIX}{'0' * 32}-garbage.rows", b"garbage")
        assert upkeep(pipeline).collect().n_files > 0

    return sleep


def test_a_writer_that_slept_through_a_collection_at_any_write_writes_again_by_itself():
    n_rewritten = 0
    for nth in range(1, 20):
        pipeline = Pipeline()
        assembled(pipeline, "a").work()
        slept = []

        def sleep(pipeline: Pipeline = pipeline, slept: list = slept) -> None:
            sleep_through_a_collection(pipeline)()
            slept.append(1)

        assembled(pipeline, "b")
        process = pipeline.process(Meanwhile("blobs.put_if_absent", sleep, nth))
        process.work()
        if not slept:
            break
        n_rewritten += bool(slept)
        assert set(pipeline.live()) == {key_of("a"), key_of("b")}
        assert pipeline.problems() == []
        pipeline.clock.advance(7200.0)
        upkeep(pipeline).collect()
        assert orphans(pipeline) == set()
        assert set(pipeline.live()) == {key_of("a"), key_of("b")}
    assert n_rewritten >= 5
    assert nth < 19


def test_a_writer_whose_clock_is_far_behind_says_so_and_loses_nothing(pipeline):
    process = assembled(pipeline, "a")
    process.opened()
    sleep_through_a_collection(pipeline)()
    behind = ManualClock(pipeline.clock.now_s() - DAY_S)
    process.indexer._ids = SequentialIds(behind, series=7)
    with pytest.raises(ConflictError, match="clock"):
        process.work()
    pipeline.clock.advance(100.0)
    process.indexer._ids = pipeline.ids
    assert list(process.work().outcomes.values()) == ["indexed"]


def test_what_was_prepared_before_its_deletion_was_forgotten_is_not_written(pipeline):
    process = assembled(pipeline, "a")
    [message] = pipeline.queues["ready"].receive(1, 1.0)
    ready = parse_ready(message.body)
    slept = process.opened().entry(ready, process.assembly.load(ready), {})
    pipeline.clock.advance(5.0)
    process.work()
    pipeline.remove("a.dcm")
    pipeline.settle(process)
    pipeline.clock.advance(15 * DAY_S)
    assert upkeep(pipeline).compact(full=True).n_rows[1] == 0
    with pytest.raises(ConflictError, match="forgotten"):
        process.indexer.write([slept], "index")
    assert pipeline.live() == {}
    # The message itself may come again: its blob is looked at first.
    pipeline.queues["ready"].send(message.body)
    pipeline.settle(process)
    assert pipeline.live() == {}
    assert pipeline.problems() == []


def test_the_worker_keeps_the_number_of_segments_small(pipeline):
    kept = upkeep(pipeline)
    for number in range(12):
        assembled(pipeline, f"s{number}", upkeep=kept).work()
        assert len(Manifests(pipeline.index).newest().segments) <= 3
    assert len(pipeline.live()) == 12
    assert pipeline.problems() == []
    reasons = [m.lineage.reason for m in Manifests(pipeline.index).history()]
    assert "merge" in reasons


def test_the_worker_merges_only_when_its_messages_are_acknowledged(pipeline):
    waiting = []

    class Watched(Upkeep):
        def after_batch(self) -> None:
            waiting.append(pipeline.queues["ready"].length())
            super().after_batch()

    kept = Watched(pipeline.index, FlatFp16Vectors(), clock=pipeline.clock, ids=pipeline.ids)
    assert list(assembled(pipeline, "a", upkeep=kept).work().outcomes.values()) == ["indexed"]
    assert waiting == [0]


def test_a_worker_goes_on_although_the_index_cannot_be_merged(pipeline, caplog):
    kept = upkeep(pipeline)
    for number in range(2):
        assembled(pipeline, f"s{number}", upkeep=kept).work()
    (first, _) = Manifests(pipeline.index).newest().segments
    damaged = first.vectors[0].file.name
    pipeline.index.overwrite(damaged, b"x" + pipeline.index.get(damaged).data[1:])
    for number in range(2, 7):
        report = assembled(pipeline, f"s{number}", upkeep=kept).work()
        assert list(report.outcomes.values()) == ["indexed"]
    told = [record for record in caplog.records if "given up" in record.message]
    assert [damaged in record.message for record in told] == [True]


def test_a_merge_during_a_reprocess_loses_no_series(pipeline):
    from tests.support.pipeline import renamed_describer

    for number in range(4):
        assembled(pipeline, f"s{number}").work()
    pipeline.describer = renamed_describer("other rules")
    process = pipeline.process()
    outdated = list(process.opened().outdated())
    assert len(outdated) == 4
    process.indexer.reprocess(outdated[:1])
    assert upkeep(pipeline).compact(full=True).n_merges == 1
    process.indexer.reprocess(outdated[1:])
    assert {row.recipe for row in pipeline.live().values()} == {2}
    assert len(pipeline.live()) == 4


def test_the_timer_keeps_the_index_where_no_worker_is(pipeline):
    process = pipeline.process()
    for number in range(4):
        pipeline.upload(f"{number}.dcm", slice_of(series=f"s{number}", instance=number))
        pipeline.settle(process)
    assert len(Manifests(pipeline.index).newest().segments) == 4
    services = replace(process.services, upkeep=upkeep(pipeline))
    sweep(services, older_than_s=300.0)
    assert len(Manifests(pipeline.index).newest().segments) == 2
    assert len(pipeline.live()) == 4
