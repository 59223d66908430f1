"""Batches in hand together: one is committed while the next is fetched and seen."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Barrier, Event

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_worker.loop import WorkerSettings, batches, run
from gpu_worker.visibility import Shift
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.pixels.stack import stack_of_object
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    SimulatedCrash,
    WrappedQueue,
    WriteFault,
)
from tests.support.pipeline import RETRY_S, VISIBILITY_S, Pipeline, slice_of
from tests.support.worker_batches import (
    LONG_S,
    N_OPENING,
    assemble,
    key_of,
    n_in_hand,
    outcomes,
    revisions,
    waiting,
    worker_of,
)


@pytest.fixture
def pipeline():
    return Pipeline()


# --- What is done together -----------------------------------------------------------------------


def test_the_next_batch_is_seen_while_one_is_committed(pipeline):
    assemble(pipeline, *"abcd")
    is_next_seen = Event()
    n_seen = 0

    def before_seeing(_stacks):
        nonlocal n_seen
        n_seen += 1
        if n_seen == 3:
            is_next_seen.set()

    met = []
    pipeline.image_encoder.before = before_seeing
    # Embedding belongs to the commit of the first batch: it waits for the second to be seen.
    pipeline.text_encoder.before = lambda _texts: met.append(is_next_seen.wait(LONG_S))
    with ThreadPoolExecutor(2) as pool:
        reports = list(batches(worker_of(pipeline, threads=pool)))
    assert met[0]
    assert [outcomes(report) for report in reports] == [["indexed"] * 2] * 2
    assert pipeline.n_commits() == N_OPENING + 2


def test_what_is_loaded_is_seen_together_while_more_is_loaded(pipeline):
    assemble(pipeline, *"abcdef")
    sizes, gate = [], Event()
    pipeline.image_encoder.before = lambda stacks: (sizes.append(len(stacks)), gate.wait(LONG_S))
    n_read = 0

    def decode(data, frames, recipe, limits):
        nonlocal n_read
        n_read += 1
        if n_read == 6:
            gate.set()  # the rest was loaded while the first ones were looked at
        return real(data, frames, recipe, limits)

    real = worker_of(pipeline).decode
    with ThreadPoolExecutor(1) as pool:
        worker = worker_of(pipeline, batch=6, together=4, threads=pool, decode=decode)
        [report] = list(batches(worker))
    assert outcomes(report) == ["indexed"] * 6
    assert sum(sizes) == 6
    assert max(sizes) <= 4
    assert len(sizes) < 6


def test_no_more_than_two_batches_are_in_hand(pipeline):
    assemble(pipeline, *"abcdefgh")
    most = 0

    def look(_texts):
        nonlocal most
        most = max(most, n_in_hand(pipeline))

    pipeline.text_encoder.before = look
    assert len(list(batches(worker_of(pipeline)))) == 4
    assert most == 4
    assert waiting(pipeline) == []


def test_no_more_series_wait_to_be_seen_than_are_allowed(pipeline):
    assemble(pipeline, *"abcdefgh")
    n_decoded = n_seen = most = 0

    def decode(data, frames, recipe, limits):
        nonlocal n_decoded, most
        n_decoded += 1
        most = max(most, n_decoded - n_seen)
        return real(data, frames, recipe, limits)

    def see(stacks):
        nonlocal n_seen
        n_seen += len(stacks)

    pipeline.image_encoder.before = see
    real = worker_of(pipeline).decode
    limits = WorkerSettings(batch=8, loaded=3, visibility_s=VISIBILITY_S)
    worker = worker_of(pipeline, together=2, settings=limits, decode=decode)
    assert outcomes(next(batches(worker))) == ["indexed"] * 8
    assert most <= 3 + 2  # three on their way, two that are taken


def test_a_batch_that_is_not_full_has_none_taken_ahead(pipeline):
    """What comes while it is worked on is one batch later, not several small ones."""
    assemble(pipeline, *"abc")
    left = [lambda: assemble(pipeline, *"defgh")]
    in_hand = []
    pipeline.image_encoder.before = lambda stacks: left.pop()() if left else None
    pipeline.text_encoder.before = lambda texts: in_hand.append(n_in_hand(pipeline))
    reports = list(batches(worker_of(pipeline, settings=WorkerSettings(visibility_s=10_000.0))))
    assert in_hand == [3, 5]
    assert [len(report.outcomes) for report in reports] == [3, 5]


def test_a_message_that_was_seen_before_has_nothing_else_under_way(pipeline):
    assemble(pipeline, *"ab")
    pipeline.queues["ready"].receive(32, VISIBILITY_S)
    pipeline.clock.advance(VISIBILITY_S + 1)
    assemble(pipeline, *"cdef")
    queue = pipeline.queues["ready"]
    in_hand = []

    def look(_stacks):
        counts = [
            queued.message.dequeue_count
            for queued in queue._queued.values()
            if queued.visible_at_s > pipeline.clock.now_s()
        ]
        in_hand.append(sorted(counts))

    pipeline.image_encoder.before = look
    reports = list(batches(worker_of(pipeline)))
    assert sum(len(report.outcomes) for report in reports) == 6
    assert len(revisions(pipeline)) == 6
    # The two are received together, as ever; no fresh one is in hand along with them.
    assert [counts for counts in in_hand if 2 in counts] == [[2, 2], [2]]


def test_what_is_committed_is_acknowledged_at_once_and_not_one_after_the_other(pipeline):
    assemble(pipeline, *"abc")
    meeting = Barrier(3, timeout=LONG_S)

    class Slow(WrappedQueue):
        def delete(self, message):
            meeting.wait()
            return super().delete(message)

    queue = Slow(pipeline.queues["ready"], PassThrough())
    with ThreadPoolExecutor(3) as errands:
        [report] = batches(worker_of(pipeline, batch=4, ready=queue, errands=errands))
    assert outcomes(report) == ["indexed"] * 3
    assert waiting(pipeline) == []


def test_an_acknowledgement_that_fails_is_told_when_the_others_are_done(pipeline):
    assemble(pipeline, *"abc")
    deleted = []

    class Failing(WrappedQueue):
        def delete(self, message):
            deleted.append(message.id)
            if len(deleted) == 1:
                raise UnavailableError("gone")
            return super().delete(message)

    queue = Failing(pipeline.queues["ready"], PassThrough())
    with ThreadPoolExecutor(1) as errands:
        worker = worker_of(pipeline, batch=4, ready=queue, errands=errands)
        with pytest.raises(UnavailableError):
            list(batches(worker))
    assert len(deleted) == 3
    assert len(waiting(pipeline)) == 1
    pipeline.clock.advance(VISIBILITY_S + 1)
    assert [outcomes(report) for report in batches(worker_of(pipeline))] == [["done"]]


# --- The same rows, whatever is in hand together -------------------------------------------------

KINDS = st.sampled_from(["pixels", "report", "undecodable", "bad", "twice", "newer"])


def upload(house, number, kind):
    name = f"s{number}"
    if kind == "report":
        house.upload(f"{name}.dcm", slice_of(series=name, pixels=False))
    elif kind == "undecodable":
        house.upload(f"{name}.dcm", slice_of(series=name, SamplesPerPixel=2))
    else:
        house.upload(f"{name}.dcm", slice_of(series=name, value=number, SeriesDescription=kind))


def filled(kinds):
    house = Pipeline()

    def refuse(texts):
        if any("bad" in text for text in texts):
            raise ValueError("cannot embed this")

    house.text_encoder.before = refuse
    process = house.process()
    for number, kind in enumerate(kinds):
        upload(house, number, kind)
    process.events()
    house.clock.advance(700.0)
    process.checks()
    queue = house.queues["ready"]
    bodies = [queued.message.body for queued in queue._queued.values()]
    for number, kind in enumerate(kinds):
        if kind == "twice":
            queue.send(next(body for body in bodies if key_of(f"s{number}") in body))
        if kind == "newer":
            house.upload(f"s{number}.dcm", slice_of(series=f"s{number}", value=99))
    process.events()
    house.clock.advance(700.0)
    process.checks()
    return house


def worked_out(house, **how):
    with ThreadPoolExecutor(3) as pool, ThreadPoolExecutor(2) as errands:
        worker = worker_of(house, threads=pool, errands=errands, **how)
        for _ in range(8):
            for _ in batches(worker):
                pass
            house.clock.advance(RETRY_S + 1)
    assert waiting(house) == []
    assert house.problems() == []
    return house


@given(
    kinds=st.lists(KINDS, min_size=1, max_size=9),
    batch=st.integers(1, 4),
    together=st.integers(1, 5),
    ahead=st.integers(1, 3),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_index_is_that_of_one_batch_after_the_other(kinds, batch, together, ahead):
    one = worked_out(filled(kinds), batch=batch, ahead=0)
    other = worked_out(filled(kinds), batch=batch, ahead=ahead, together=together)
    assert other.contents() == one.contents()
    assert revisions(other) == revisions(one)
    assert vectors(other) == vectors(one)
    told = [
        sorted(reject["reason"] for reject in house.rejects("series")) for house in (other, one)
    ]
    assert told[0] == told[1]
    assert len(told[0]) == kinds.count("bad")


def vectors(house):
    reader = house.reader()
    space = house.image_encoder.encoder_id
    return {
        key: reader.image_of(place, space)[0].tobytes()
        for key, place in reader.winners()
        if place.alive and reader.row(place).image_count
    }


def test_the_same_message_in_two_batches_is_written_once(pipeline):
    assemble(pipeline, *"ab")
    queue = pipeline.queues["ready"]
    for body in [queued.message.body for queued in queue._queued.values()]:
        queue.send(body)
    reports = list(batches(worker_of(pipeline)))
    assert [outcomes(report) for report in reports] == [["indexed"] * 2, ["done"] * 2]
    assert pipeline.n_commits() == N_OPENING + 1
    assert waiting(pipeline) == []


def test_two_contents_of_one_revision_in_two_batches_end_in_the_present_one(pipeline):
    """The marker was lost while its message was on its way."""
    assemble(pipeline, "a")
    table = pipeline.rows["instances"]
    table.delete(table.get(key_of("a"), "_series"))
    assemble(pipeline, "a", value=7)
    assert pipeline.queues["ready"].length() == 2
    process = pipeline.process()
    for _ in range(5):
        run(worker_of(pipeline, batch=1, shift=Naps(pipeline.clock)), until_idle=True)
        pipeline.settle(process)
    row = pipeline.live()[key_of("a")]
    marker = process.assembly.marker(key_of("a")).values
    assert (row.digest, row.revision) == (marker["digest"], marker["revision"])
    assert pipeline.problems() == []


# --- Trouble -------------------------------------------------------------------------------------


class Naps(Shift):
    """Lets the clock run where the worker would wait."""

    def __init__(self, clock):
        super().__init__(Silence())
        self.clock = clock

    def rest(self, seconds):
        self.clock.advance(seconds)


class Silence:
    """Beats that never come."""

    def __call__(self, call, every_s):
        return closing(self)

    def close(self):
        pass


@pytest.mark.parametrize(
    "fault", [WriteFault.UNAVAILABLE, WriteFault.LOST_RESPONSE, WriteFault.LOST_REQUEST]
)
def test_a_store_that_fails_at_any_write_loses_nothing(pipeline, fault):
    assemble(pipeline, *"abc")
    at, struck = 0, True
    while struck:
        at += 1
        house = pipeline.copy()
        plan = FaultPlan(at, fault)
        run(worker_of(house, plan, batch=1, shift=Naps(house.clock)), until_idle=True)
        struck = plan.has_struck
        assert revisions(house) == {key_of(name): 1 for name in "abc"}
        assert waiting(house) == []
        assert house.problems() == []
        assert house.rejects("series") == []
    assert at > 10


@pytest.mark.parametrize("fault", [WriteFault.CRASH_BEFORE, WriteFault.CRASH_AFTER])
def test_a_process_that_dies_at_any_write_loses_nothing(pipeline, fault):
    assemble(pipeline, *"abc")
    at, struck = 0, True
    while struck:
        at += 1
        house = pipeline.copy()
        plan = FaultPlan(at, fault)
        try:
            run(worker_of(house, plan, batch=1, shift=Naps(house.clock)), until_idle=True)
        except SimulatedCrash:
            house.clock.advance(VISIBILITY_S + 1)
            run(worker_of(house, batch=1, shift=Naps(house.clock)), until_idle=True)
        struck = plan.has_struck
        assert revisions(house) == {key_of(name): 1 for name in "abc"}
        assert waiting(house) == []
        assert house.problems() == []
    assert at > 10


@pytest.mark.parametrize("killer", "adf")
def test_what_kills_every_process_is_set_aside_alone(pipeline, killer):
    """All that waited behind it in the process that died were tried, too."""
    names = "abcdef"
    for number, name in enumerate(names):
        assemble(pipeline, name, RescaleIntercept=20 * number)
    bad = stack_of_object(pipeline.inbox.get(f"{killer}.dcm").data).slices

    def before(stacks):
        if any(np.array_equal(stack, bad) for stack in stacks):
            raise SimulatedCrash

    pipeline.image_encoder.before = before
    for _ in range(20):
        with suppress(SimulatedCrash):
            run(worker_of(pipeline, batch=6, shift=Naps(pipeline.clock)), until_idle=True)
            break
        pipeline.clock.advance(VISIBILITY_S + 1)
    assert waiting(pipeline) == []
    assert sorted(revisions(pipeline)) == sorted(key_of(n) for n in names if n != killer)
    [reject] = pipeline.rejects("series")
    assert key_of(killer) in reject["body"]
    assert reject["reason"] == "it was tried too often and never finished"


def test_what_was_taken_ahead_is_given_back_by_a_store_that_fails(pipeline):
    assemble(pipeline, *"abcd")

    def fail(_texts):
        raise UnavailableError("gone")

    pipeline.text_encoder.before = fail
    with pytest.raises(UnavailableError):
        list(batches(worker_of(pipeline)))
    assert [message.dequeue_count for message in waiting(pipeline)] == [0] * 4
    pipeline.text_encoder.before = lambda texts: None
    pipeline.clock.advance(RETRY_S)
    assert sum(len(report.outcomes) for report in batches(worker_of(pipeline))) == 4


def test_who_asks_for_no_more_batches_gives_back_what_was_taken_ahead(pipeline):
    assemble(pipeline, "d")
    queue = pipeline.queues["ready"]
    [seen] = queue.receive(1, 1.0)
    pipeline.clock.advance(2.0)
    assemble(pipeline, *"abc")
    queue._queued[seen.id] = queue._queued.pop(seen.id)  # the last one to be received
    with closing(batches(worker_of(pipeline))) as reports:
        assert outcomes(next(reports)) == ["indexed"] * 2
        assert n_in_hand(pipeline) == 2
    # Visible at once; only what was seen before is counted as tried.
    assert n_in_hand(pipeline) == 0
    assert sorted(message.dequeue_count for message in waiting(pipeline)) == [0, 2]
    assert sum(len(report.outcomes) for report in batches(worker_of(pipeline))) == 2
    assert len(revisions(pipeline)) == 4


def test_an_index_that_no_longer_fits_is_told_when_what_is_in_hand_is_done(pipeline):
    assemble(pipeline, *"abcd")
    worker = worker_of(pipeline)
    check, n_checks = worker.indexer.check_fitness, 0

    def check_fitness():
        nonlocal n_checks
        n_checks += 1
        if n_checks > 1:
            raise InvalidInputError("the index holds other vectors")
        check()

    worker.indexer.check_fitness = check_fitness
    reports = batches(worker)
    assert outcomes(next(reports)) == ["indexed"] * 2
    with pytest.raises(InvalidInputError):
        next(reports)
    assert [message.dequeue_count for message in waiting(pipeline)] == [0] * 2


@pytest.mark.parametrize("together", [1, 3])
def test_a_shift_that_ends_finishes_what_was_begun_and_gives_back_the_rest(pipeline, together):
    assemble(pipeline, *"abcdefgh")
    shift = Shift(Silence())
    pipeline.image_encoder.before = lambda stacks: shift.end()
    worker = worker_of(pipeline, together=together, shift=shift)
    found = [outcome for report in batches(worker) for outcome in outcomes(report)]
    assert found.count("indexed") >= 1
    assert set(found) <= {"indexed", "handedBack"}
    assert len(revisions(pipeline)) == found.count("indexed")
    assert [message.dequeue_count for message in waiting(pipeline)] == [0] * (
        8 - found.count("indexed")
    )
