"""The worker and its queue: what is in hand stays hidden, and what is not started is given back."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest

from gpu_worker.loop import Worker, WorkerSettings, run
from gpu_worker.visibility import BEATS_PER_VISIBILITY, HeldMessages, Shift, in_thread
from gpu_worker.wiring import BATCH, GRACE, VISIBILITY, read_program_settings
from indexer_core.errors import (
    CorruptIndexError,
    InvalidInputError,
    UnavailableError,
)
from indexer_core.testing.faults import FaultPlan, WrappedQueue, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryQueue, SequentialIds
from indexer_core.uids import series_key
from tests.support.dicom import uid
from tests.support.pipeline import RETRY_S, VISIBILITY_S, Pipeline, slice_of


class Beats:
    """A beat that the test gives."""

    def __init__(self):
        self.call = None
        self.every_s = None

    @contextmanager
    def __call__(self, call, every_s):
        self.call, self.every_s = call, every_s
        yield
        self.call = None


class Heart:
    """Lets time pass in the middle of a batch, with or without a beat."""

    def __init__(self, pipeline):
        self.clock = pipeline.clock
        self.beats = Beats()
        self.shift = Shift(self.beats)

    def live(self, seconds):
        """Let time pass, with all the beats of that time."""
        for _ in range(int(seconds // self.beats.every_s)):
            self.clock.advance(self.beats.every_s)
            self.beats.call()


@pytest.fixture
def pipeline():
    return Pipeline()


@pytest.fixture
def heart(pipeline):
    return Heart(pipeline)


def key_of(series):
    return series_key("inbox", uid("study"), uid("study", series))


def assemble(pipeline, *series, value=0):
    for name in series:
        pipeline.upload(f"{name}.dcm", slice_of(series=name, value=value, SeriesDescription=name))
    process = pipeline.process()
    process.events()
    pipeline.clock.advance(700.0)
    process.checks()


def meanwhile(pipeline, then):
    """Do this once, when the first series is looked at."""
    left = [then]

    def before(_stacks):
        if left:
            left.pop()()

    pipeline.image_encoder.before = before


def outcomes(report):
    return sorted(report.outcomes.values())


def waiting(pipeline):
    return [queued.message for queued in pipeline.queues["ready"]._queued.values()]


# --- Visibility ---------------------------------------------------------------------------------


def test_a_long_batch_stays_hidden_from_other_workers(pipeline, heart):
    assemble(pipeline, "a", "b")
    seen = []

    def long_work():
        heart.live(10 * VISIBILITY_S)
        seen.append(pipeline.process().work())

    meanwhile(pipeline, long_work)
    process = pipeline.process(shift=heart.shift)
    assert outcomes(process.work()) == ["indexed"] * 2
    assert seen == [None]
    assert pipeline.queues["ready"].length() == 0
    assert heart.beats.every_s == VISIBILITY_S / BEATS_PER_VISIBILITY


def test_messages_that_wait_for_their_turn_stay_hidden_too(pipeline, heart):
    assemble(pipeline, "a", "b")
    pipeline.queues["ready"].receive(32, 1.0)
    pipeline.clock.advance(2.0)  # seen before: each is worked on alone
    seen = []

    def long_work():
        heart.live(10 * VISIBILITY_S)
        seen.append(pipeline.process().work())

    meanwhile(pipeline, long_work)
    assert outcomes(pipeline.process(shift=heart.shift).work()) == ["indexed"] * 2
    assert seen == [None]
    assert pipeline.queues["ready"].length() == 0


def test_nothing_is_extended_any_more_once_it_is_acknowledged_or_given_back():
    clock = ManualClock()
    plan = FaultPlan()
    queue = WrappedQueue(MemoryQueue(clock, SequentialIds()), plan)
    held = HeldMessages(queue, 60.0)
    for body in "abc":
        held.send(body)
    deleted, given_back, kept = held.receive(3, 60.0)
    held.delete(deleted)
    held.extend(given_back, 10.0)
    before = plan.operations.count("queue.extend")
    held.renew()
    assert plan.operations.count("queue.extend") == before + 1
    clock.advance(10.0)
    assert [message.id for message in held.receive(3, 60.0)] == [given_back.id]
    clock.advance(50.0)
    assert [message.id for message in held.receive(3, 60.0)] == [kept.id]


def test_a_message_that_was_extended_is_acknowledged_by_its_newest_receipt():
    queue = MemoryQueue()
    held = HeldMessages(queue, 60.0)
    held.send("a")
    [message] = held.receive(1, 60.0)
    held.renew()
    held.renew()
    assert not queue.delete(message)  # the first receipt is worth nothing now
    assert held.delete(message)
    assert queue.length() == 0


@pytest.mark.parametrize("fault", [WriteFault.UNAVAILABLE, WriteFault.LOST_REQUEST])
def test_an_extension_that_fails_is_made_up_for_by_the_next(fault):
    clock = ManualClock()
    queue = MemoryQueue(clock)
    queue.send("a")
    held = HeldMessages(WrappedQueue(queue, FaultPlan(2, fault)), 60.0)
    [message] = held.receive(1, 60.0)
    for _ in range(5):
        clock.advance(20.0)
        held.renew()
        assert queue.receive(1, 60.0) == ()
    assert held.delete(message)


def test_a_lost_receipt_ends_in_one_row_and_no_message(pipeline, heart):
    """The extension took place and its answer, the only valid receipt, was lost."""
    assemble(pipeline, "a")
    # The receive is the first write that the worker makes, the extension the second.
    plan = FaultPlan(2, WriteFault.LOST_RESPONSE)
    pipeline.process().opened()
    process = pipeline.process(
        shift=heart.shift, ready=WrappedQueue(pipeline.queues["ready"], plan)
    )
    meanwhile(pipeline, lambda: heart.live(VISIBILITY_S))
    assert outcomes(process.work()) == ["indexed"]
    assert plan.has_struck
    assert len(waiting(pipeline)) == 1
    pipeline.clock.advance(VISIBILITY_S + 1)
    assert outcomes(pipeline.process().work()) == ["done"]
    assert waiting(pipeline) == []
    assert pipeline.live()[key_of("a")].revision == 1
    assert pipeline.problems() == []


def test_two_workers_on_one_message_write_one_searchable_row(pipeline, heart):
    """No beat came through for longer than the visibility."""
    assemble(pipeline, "a", "b")
    other = pipeline.process()

    def stall():
        pipeline.clock.advance(VISIBILITY_S + 1)
        assert outcomes(other.work()) == ["indexed"] * 2

    meanwhile(pipeline, stall)
    assert outcomes(pipeline.process(shift=heart.shift).work()) == ["indexed"] * 2
    assert waiting(pipeline) == []
    assert {key: row.revision for key, row in pipeline.live().items()} == {
        key_of("a"): 1,
        key_of("b"): 1,
    }
    assert pipeline.problems() == []


def test_a_message_that_another_worker_has_now_is_committed_and_left_to_it(pipeline, heart):
    assemble(pipeline, "a")
    queue = pipeline.queues["ready"]
    taken = []

    def stall():
        pipeline.clock.advance(VISIBILITY_S + 1)
        taken.extend(queue.receive(32, VISIBILITY_S))
        heart.beats.call()  # finds out, and says so

    meanwhile(pipeline, stall)
    assert outcomes(pipeline.process(shift=heart.shift).work()) == ["indexed"]
    assert queue.delete(taken[0])  # nobody deleted it behind the other's back


def test_a_store_that_fails_in_mid_batch_gives_the_batch_back_soon_and_counts_no_try(pipeline):
    assemble(pipeline, "a", "b")
    pipeline.process().opened()
    for _ in range(WorkerSettings().max_tries + 2):
        plan = FaultPlan(1, WriteFault.UNAVAILABLE)
        process = pipeline.process()
        process.indexer._maker._writer._blobs = Failing(plan, pipeline.index)
        with pytest.raises(UnavailableError):
            process.work()
        assert {message.dequeue_count for message in waiting(pipeline)} == {0}
        pipeline.clock.advance(RETRY_S)
    assert outcomes(pipeline.process().work()) == ["indexed"] * 2
    assert waiting(pipeline) == []


class Failing:
    """A store that takes no segment."""

    def __init__(self, plan, inner):
        self._plan = plan
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def put_if_absent(self, name, data):
        return self._plan.write("blobs.put_if_absent", lambda: None)


def test_the_beat_comes_from_a_thread_until_the_batch_is_over():
    beats = Event()
    with in_thread(beats.set, 0.001):
        assert beats.wait(30.0)
    beats.clear()
    assert not beats.is_set()


def test_a_batch_that_is_over_in_time_is_never_extended(pipeline):
    assemble(pipeline, "a")
    plan = FaultPlan()
    process = pipeline.process(ready=WrappedQueue(pipeline.queues["ready"], plan))
    process.work()
    assert "queue.extend" not in plan.operations


# --- The end of a shift -------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
def test_an_ending_shift_finishes_what_was_started_and_hands_back_the_rest(pipeline, threads):
    assemble(pipeline, *"abcdefgh")
    shift = Shift(Beats())
    meanwhile(pipeline, shift.end)
    with ThreadPoolExecutor(threads) as pool:
        process = pipeline.process(shift=shift, threads=pool)
        found = outcomes(process.work())
    assert found.count("indexed") >= 1
    assert found.count("indexed") + found.count("handedBack") == 8
    assert found.count("handedBack") >= 8 - threads - 1
    # Visible at once, and not counted as tried: the next worker makes one batch of them.
    assert {message.dequeue_count for message in waiting(pipeline)} <= {0}
    before = pipeline.n_commits()
    assert outcomes(pipeline.process().work()) == ["indexed"] * found.count("handedBack")
    assert pipeline.n_commits() == before + 1
    assert len(pipeline.live()) == 8
    assert {row.revision for row in pipeline.live().values()} == {1}
    assert waiting(pipeline) == []


def test_a_message_seen_before_keeps_its_count_when_it_is_handed_back(pipeline):
    assemble(pipeline, "a", "b")
    pipeline.queues["ready"].receive(32, 1.0)
    pipeline.clock.advance(2.0)
    shift = Shift(Beats())
    meanwhile(pipeline, shift.end)
    assert outcomes(pipeline.process(shift=shift).work()) == ["handedBack", "indexed"]
    assert [message.dequeue_count for message in waiting(pipeline)] == [2]
    assert outcomes(pipeline.process().work()) == ["indexed"]


def test_a_batch_that_was_received_as_the_shift_ended_is_handed_back_whole(pipeline):
    assemble(pipeline, "a", "b")
    shift = Shift(Beats())
    shift.end()
    assert outcomes(pipeline.process(shift=shift).work()) == ["handedBack"] * 2
    assert outcomes(pipeline.process().work()) == ["indexed"] * 2


def test_a_process_that_ends_in_the_middle_gives_back_what_it_has_in_hand(pipeline, heart):
    assemble(pipeline, "a", "b")

    def end():
        heart.beats.call()  # the receipts are no longer those that were received
        heart.shift.let_go()
        assert outcomes(pipeline.process().work()) == ["indexed"] * 2

    meanwhile(pipeline, end)
    pipeline.process(shift=heart.shift).work()
    assert waiting(pipeline) == []
    assert len(pipeline.live()) == 2


def test_letting_go_of_nothing_does_nothing():
    Shift().let_go()


# --- The loop -----------------------------------------------------------------------------------


class Naps(Shift):
    """Lets the clock run where the worker would wait."""

    def __init__(self, clock, most=50):
        super().__init__(Beats())
        self.clock = clock
        self.naps = []
        self.most = most

    def rest(self, seconds):
        self.naps.append(seconds)
        self.clock.advance(seconds)
        if len(self.naps) >= self.most:
            self.end()


def worker_of(pipeline, shift, plan=None):
    process = pipeline.process(plan, shift=shift)
    return Worker(indexer=process.indexer, **process._worker)


def test_an_idle_worker_waits_longer_and_longer(pipeline):
    pipeline.process().opened()
    shift = Naps(pipeline.clock, most=8)
    run(worker_of(pipeline, shift))
    assert shift.naps == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_until_idle_waits_for_what_others_have_in_hand(pipeline):
    assemble(pipeline, "a")
    pipeline.process().opened()
    pipeline.queues["ready"].receive(1, 40.0)
    shift = Naps(pipeline.clock)
    run(worker_of(pipeline, shift), until_idle=True)
    assert sum(shift.naps) >= 40.0
    assert list(pipeline.live()) == [key_of("a")]
    assert waiting(pipeline) == []


@pytest.mark.parametrize("fault", [WriteFault.UNAVAILABLE, WriteFault.LOST_RESPONSE])
def test_the_loop_outlives_a_store_that_fails_at_any_write(pipeline, fault):
    assemble(pipeline, "a", "b")
    pipeline.process().opened()
    at, struck = 0, True
    while struck:
        at += 1
        house = pipeline.copy()
        plan = FaultPlan(at, fault)
        # Opened before the trouble begins: a worker that cannot start is started again.
        run(worker_of(house, Naps(house.clock, most=500), plan), until_idle=True)
        struck = plan.has_struck
        assert {key: row.revision for key, row in house.live().items()} == {
            key_of("a"): 1,
            key_of("b"): 1,
        }
        assert waiting(house) == []
        assert house.problems() == []
        assert house.rejects("series") == []
    assert at > 5


def test_a_damaged_index_ends_the_loop(pipeline):
    assemble(pipeline, "a")
    pipeline.process().opened()
    newest = max(entry.name for entry in pipeline.index.list("manifests/"))
    pipeline.index.overwrite(newest, b"damaged")
    with pytest.raises(CorruptIndexError):
        run(worker_of(pipeline, Naps(pipeline.clock)))


# --- Settings and log lines ---------------------------------------------------------------------

ENVIRONMENT = {
    "IndexerStorage": "devaccount",
    "INDEXER_SOURCES": '[{"scope": "s", "account": "devaccount", "container": "inbox"}]',
    "INDEXER_PATIENT_KEY": "MDEyMzQ1Njc4OWFiY2RlZg==",
}


def test_settings_of_the_worker_have_defaults():
    settings = read_program_settings(ENVIRONMENT)
    assert settings.worker == WorkerSettings()
    assert settings.grace_s == 25.0


def test_settings_of_the_worker_are_read():
    changed = {BATCH: "4", VISIBILITY: "90", GRACE: "0.5"}
    settings = read_program_settings(ENVIRONMENT | changed)
    assert (settings.worker.batch, settings.worker.visibility_s) == (4, 90.0)
    assert settings.grace_s == 0.5


@pytest.mark.parametrize("name", [BATCH, VISIBILITY, GRACE])
@pytest.mark.parametrize("value", ["x", "-1", "nan", "inf"])
def test_a_setting_that_cannot_be_used_is_named_and_not_repeated(name, value):
    with pytest.raises(InvalidInputError, match=name) as raised:
        read_program_settings(ENVIRONMENT | {name: value})
    assert f"'{value}'" not in str(raised.value)


def test_missing_settings_are_all_named():
    with pytest.raises(InvalidInputError, match=r"IndexerStorage.*SOURCES.*PATIENT_KEY"):
        read_program_settings({})
