"""The fault wrappers do to an adapter exactly what they say."""

import pytest

from indexer_core.errors import UnavailableError, UnknownOutcomeError
from indexer_core.ports import BlobRange, PreconditionFailed, Written
from indexer_core.testing.contracts.blobs import BlobStoreContract
from indexer_core.testing.contracts.queues import WorkQueueContract
from indexer_core.testing.contracts.rows import RowStoreContract
from indexer_core.testing.faults import (
    FaultPlan,
    PassThrough,
    RequestCounts,
    SimulatedCrash,
    StaleBlobs,
    StaleRows,
    TruncatingBlobs,
    WrappedBlobs,
    WrappedQueue,
    WrappedRows,
    WriteFault,
)
from indexer_core.testing.memory import MemoryBlobs, MemoryQueue, MemoryRows


class TestWrappedBlobs(BlobStoreContract):
    @pytest.fixture
    def store(self):
        return WrappedBlobs(MemoryBlobs(), FaultPlan())

    @pytest.fixture
    def twin(self, store):
        return StaleBlobs(store._inner)

    def stored_bytes(self, store, name):
        found = store._inner.get(name)
        return None if found is None else found.data

    def store_bytes(self, store, name, data):
        store._inner.overwrite(name, data)


class TestWrappedQueue(WorkQueueContract):
    @pytest.fixture
    def queue(self, clock):
        return WrappedQueue(MemoryQueue(clock), RequestCounts())

    @pytest.fixture
    def twin(self, queue):
        return WrappedQueue(queue._inner, PassThrough())


class TestWrappedRows(RowStoreContract):
    @pytest.fixture
    def rows(self):
        return WrappedRows(MemoryRows(), FaultPlan())

    @pytest.fixture
    def twin(self, rows):
        return StaleRows(rows._inner)


def write_thrice(plan):
    """Three writes through one plan; returns the stores beneath."""
    blobs, rows, queue = MemoryBlobs(), MemoryRows(), MemoryQueue()

    def write():
        WrappedBlobs(blobs, plan).put_if_absent("a", b"1")
        WrappedRows(rows, plan).insert("p", "k", {})
        WrappedQueue(queue, plan).send("m")

    def written():
        return (blobs.get("a") is not None, rows.get("p", "k") is not None, queue.length() == 1)

    return write, written


def test_plan_without_a_place_counts_writes():
    plan = FaultPlan()
    write, written = write_thrice(plan)
    write()
    assert plan.operations == ["blobs.put_if_absent", "rows.insert", "queue.send"]
    assert written() == (True, True, True)
    assert not plan.has_struck


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize(
    ("fault", "error", "happens"),
    [
        (WriteFault.UNAVAILABLE, UnavailableError, False),
        (WriteFault.DISK_FULL, UnavailableError, False),
        (WriteFault.LOST_REQUEST, UnknownOutcomeError, False),
        (WriteFault.LOST_RESPONSE, UnknownOutcomeError, True),
        (WriteFault.CRASH_BEFORE, SimulatedCrash, False),
        (WriteFault.CRASH_AFTER, SimulatedCrash, True),
    ],
)
def test_write_goes_wrong_at_its_turn(at, fault, error, happens):
    plan = FaultPlan(at=at, fault=fault)
    write, written = write_thrice(plan)
    with pytest.raises(error):
        write()
    assert plan.has_struck
    assert written() == tuple(i < at or (i == at and happens) for i in (1, 2, 3))


def test_dead_process_reads_and_writes_nothing_more():
    plan = FaultPlan(at=1, fault=WriteFault.CRASH_BEFORE)
    store = WrappedBlobs(MemoryBlobs(), plan)
    with pytest.raises(SimulatedCrash):
        store.put_if_absent("a", b"1")
    with pytest.raises(SimulatedCrash):
        store.get("a")
    with pytest.raises(SimulatedCrash):
        store.delete("a")
    assert plan.n_writes == 1


def test_crash_is_not_caught_by_handlers_of_exceptions():
    assert not issubclass(SimulatedCrash, Exception)


def test_full_disk_stays_full_but_lets_delete():
    store = WrappedBlobs(MemoryBlobs(), FaultPlan(at=2, fault=WriteFault.DISK_FULL))
    store.put_if_absent("a", b"1")
    for name in ("b", "c"):
        with pytest.raises(UnavailableError):
            store.put_if_absent(name, b"1")
    assert store.delete("a") is True
    assert store.get("b") is None


def test_other_faults_strike_once():
    store = WrappedBlobs(MemoryBlobs(), FaultPlan(at=1, fault=WriteFault.UNAVAILABLE))
    with pytest.raises(UnavailableError):
        store.put_if_absent("a", b"1")
    assert isinstance(store.put_if_absent("a", b"1"), Written)


def test_requests_and_bytes_are_counted():
    counts = RequestCounts()
    store = WrappedBlobs(MemoryBlobs(), counts)
    store.put_if_absent("a", b"0123456789")
    store.get_range("a", 0, 4)
    store.get_range("a", 4, 4)
    store.get("a")
    store.get("b")
    assert counts.requests == {"blobs.put_if_absent": 1, "blobs.get_range": 2, "blobs.get": 2}
    assert (counts.n_requests, counts.read_bytes, store.written_bytes) == (5, 18, 10)


def test_cut_ranges_are_shorter_than_asked_for():
    blobs = MemoryBlobs()
    etag = blobs.overwrite("a", b"0123456789").etag
    store = TruncatingBlobs(blobs, keep_bytes=3)
    assert store.get_range("a", 2, 6) == BlobRange(data=b"234", etag=etag, size_bytes=10)
    assert store.get_range("a", 2, 6, if_match="other") == PreconditionFailed()
    assert store.get("a").data == b"0123456789"


def test_frozen_blobs_show_the_past_while_writes_reach_the_present():
    blobs = MemoryBlobs()
    old = blobs.overwrite("a/1", b"old").etag
    store = StaleBlobs(blobs)
    store.freeze()
    assert isinstance(store.put_if_match("a/1", b"new", old), Written)
    assert isinstance(store.put_if_absent("a/2", b"x"), Written)
    assert store.put_if_absent("a/2", b"x") == PreconditionFailed()
    assert store.get("a/1") == BlobRange(data=b"old", etag=old, size_bytes=3)
    assert store.get_range("a/1", 1, 9, if_match=old).data == b"ld"
    assert store.get_range("a/1", 1, 9, if_match="new") == PreconditionFailed()
    assert store.properties("a/1").etag == old
    assert store.get("a/2") is store.properties("a/2") is store.get_range("a/2", 0, 1) is None
    assert [entry.name for entry in store.list("a/")] == ["a/1"]
    store.thaw()
    assert store.get("a/1").data == b"new"
    assert [entry.name for entry in store.list("a/")] == ["a/1", "a/2"]


def test_frozen_rows_show_the_past_while_writes_reach_the_present():
    rows = MemoryRows()
    rows.insert("p", "1", {"a": "old"})
    store = StaleRows(rows)
    store.freeze()
    stale = store.get("p", "1")
    assert isinstance(store.merge(stale, {"a": "new"}), Written)
    assert store.merge(stale, {"a": "newer"}) == PreconditionFailed()
    store.insert("p", "2", {})
    assert store.get("p", "1").values == {"a": "old"}
    assert [row.key for row in store.query("p")] == [row.key for row in store.scan()] == ["1"]
    store.thaw()
    assert store.get("p", "1").values == {"a": "new"}
    assert len(list(store.query("p"))) == len(list(store.scan())) == 2
