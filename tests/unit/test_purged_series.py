"""Of a series that is closed for good no event leaves anything, until it is opened again."""

import pytest

from indexer_core.assembly import MARKER, NotClosed
from indexer_core.errors import CorruptIndexError
from indexer_core.messages import SeriesCheck, SeriesReady
from indexer_core.sealed import check_row_version
from indexer_core.testing.faults import FaultPlan, PassThrough, SimulatedCrash, WriteFault
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import House

X, Y = (series_key("inbox", uid("study"), uid("study", name)) for name in "xy")


@pytest.fixture
def house():
    return House()


def look(house, name="1.dcm", around=None):
    return house.program(around).look(house.url(name))


def put(house, series, value=0, name="1.dcm"):
    house.inbox.overwrite(name, dicom_object(series=series, value=value))


def instances(house, series):
    return [row for row in house.instances.query(series) if row.key != MARKER]


def traces(house) -> list:
    """Whatever tells of a blob: its URL, in any table."""
    tables = (house.blobs, house.instances, house.open_series, house.rejects)
    return [row for table in tables for row in table.scan() if "mem://" in str(row.values)]


def test_a_look_at_a_blob_of_it_keeps_nothing(house):
    house.program().assembly.close_for_good(X)
    put(house, "x")
    assert [look(house).outcome, look(house).outcome] == ["purged", "purged"]
    assert traces(house) == []
    assert house.checks.length() == 0
    assert list(house.program().assembly.open_keys()) == []


def test_a_blob_that_moves_into_it_leaves_its_old_series(house):
    put(house, "y")
    look(house)
    house.settle(house.program())
    house.program().assembly.close_for_good(X)
    put(house, "x")
    assert look(house).outcome == "purged"
    house.settle(house.program())
    assert traces(house) == []
    assert house.newest()[Y].instances == ()


def test_a_blob_that_moves_out_of_it_is_seen(house):
    house.program().assembly.close_for_good(X)
    put(house, "x")
    look(house)
    put(house, "y")
    assert look(house).outcome == "changed"
    house.settle(house.program())
    assert [i.url for i in house.newest()[Y].instances] == [house.url("1.dcm")]
    (row,) = house.blobs.scan()
    assert row.values["url"] == house.url("1.dcm")


def test_what_was_set_aside_heals_without_a_trace(house):
    house.inbox.overwrite("1.dcm", b"junk")
    look(house)
    house.program().assembly.close_for_good(X)
    put(house, "x")
    assert look(house).outcome == "purged"
    assert traces(house) == []


def test_whatever_is_under_way_is_not_handed_on(house):
    put(house, "x")
    look(house)
    assembly = house.program().assembly
    token = assembly.marker(X).values["token"]
    assembly.close_for_good(X)
    assert assembly.check(SeriesCheck(series=X, token=token)) == NotClosed(reason="stale")
    assert assembly.check(SeriesCheck(series=X, token="", force=True)) == NotClosed(reason="stale")
    assembly.force(X)
    assembly.arm(X)
    assembly.recall(SeriesReady(series=X, revision=1, digest="d"))
    assembly.outrank(SeriesReady(series=X, revision=1, digest="d"), 7)
    assert not assembly.resend(X)
    assert not assembly.sweep(older_than_s=0)
    house.settle(house.program())
    assert house.handed.ready == []
    assert list(assembly.open_keys()) == []


def test_opened_again_its_next_content_outranks_what_was_there(house):
    put(house, "x")
    look(house)
    house.settle(house.program())
    assembly = house.program().assembly
    assembly.close_for_good(X)
    assembly.close_for_good(X)
    assert assembly.reopen(X)
    assert not assembly.reopen(X)
    house.settle(house.program())
    assert [ready.revision for ready in house.handed.ready] == [1, 2]


def test_opened_again_after_its_rows_have_gone_it_waits_for_a_look(house):
    put(house, "x")
    look(house)
    house.settle(house.program())
    house.program().assembly.close_for_good(X)
    for row in instances(house, X):
        house.instances.delete(row)
    assert house.program().assembly.reopen(X)
    house.settle(house.program())
    assert [ready.revision for ready in house.handed.ready] == [1]
    # The row of the blob would call it unchanged; the instance row that is missing tells.
    look(house)
    house.settle(house.program())
    assert [ready.revision for ready in house.handed.ready] == [1, 2]


def test_a_series_that_nobody_has_seen_can_be_closed(house):
    house.program().assembly.close_for_good(X)
    assert house.program().assembly.is_purged(X)
    assert not house.program().assembly.is_purged(Y)


def test_older_software_refuses_it(house):
    house.program().assembly.close_for_good(X)
    with pytest.raises(CorruptIndexError):
        check_row_version(house.instances.get(X, MARKER).values, 1, "a series marker")
    house.program().assembly.reopen(X)
    check_row_version(house.instances.get(X, MARKER).values, 1, "a series marker")


@pytest.mark.parametrize("fault", [WriteFault.CRASH_BEFORE, WriteFault.CRASH_AFTER])
def test_a_look_that_is_killed_at_any_write_ends_without_a_trace_the_next_time(fault):
    for at in range(1, 20):
        house = House()
        put(house, "y")
        look(house)
        house.program().assembly.close_for_good(X)
        put(house, "x")
        plan = FaultPlan(at, fault)
        try:
            look(house, around=plan)
        except SimulatedCrash:
            assert look(house).outcome == "purged"
        house.settle(house.program())
        assert traces(house) == []
        assert [instance for a in house.newest().values() for instance in a.instances] == []
        if not plan.has_struck:
            break
    assert at > 3


class Between(PassThrough):
    """Runs something once before the k-th write."""

    def __init__(self, at, meanwhile) -> None:
        self.at, self.meanwhile, self.n_writes = at, meanwhile, 0

    def write(self, operation, call):
        self.n_writes += 1
        if self.n_writes == self.at:
            self.meanwhile()
        return call()


def test_a_look_that_is_overtaken_by_a_move_into_it_leaves_nothing_in_the_old_series():
    for at in range(1, 20):
        house = House()
        house.program().assembly.close_for_good(X)
        put(house, "y")

        def move(house=house) -> None:
            put(house, "x")
            assert look(house).outcome == "purged"

        between = Between(at, move)
        look(house, around=between)
        if between.n_writes < at:
            break
        house.settle(house.program())
        assert traces(house) == []
        assert [instance for a in house.newest().values() for instance in a.instances] == []
    assert at > 3
