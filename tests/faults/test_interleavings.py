"""Two handles in one thread: whatever happens between any two writes, the end is the same."""

from collections.abc import Callable
from typing import TypeVar

import pytest

from indexer_core.assembly import MARKER
from indexer_core.look import content_of
from indexer_core.messages import parse_check
from indexer_core.testing.faults import PassThrough, SimulatedCrash
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import QUIET_S, House

T = TypeVar("T")
X, Y = (series_key("inbox", uid("study"), uid("study", name)) for name in "xy")
MAX_WRITES = 12


class Between(PassThrough):
    """Runs something once before the k-th write, and may be killed just after that write."""

    def __init__(self, at: int, meanwhile: Callable[[], None], *, crash: bool) -> None:
        self.at, self.meanwhile, self.crash = at, meanwhile, crash
        self.n_writes = 0

    def write(self, operation: str, call: Callable[[], T]) -> T:
        self.n_writes += 1
        if self.n_writes != self.at:
            return call()
        self.meanwhile()
        result = call()
        if self.crash:
            raise SimulatedCrash
        return result


def change(house: House, how: str) -> None:
    if how == "gone":
        house.inbox.delete("1.dcm")
    elif how == "junk":
        house.inbox.overwrite("1.dcm", b"junk")
    else:
        series, value = ("y", 0) if how == "moved" else ("x", 7)
        house.inbox.overwrite("1.dcm", dicom_object(series=series, value=value, instance=1))


def assert_rows_say_what_is_there(house: House) -> None:
    """Instance rows, and what was handed on last, equal the blobs of the inbox."""
    program = house.program()
    house.settle(program)
    house.clock.advance(10_000)
    program.assembly.sweep(older_than_s=300.0)
    house.settle(program)
    live = {
        (row.partition, row.values["url"], row.values["content"])
        for row in house.instances.scan()
        if row.key != MARKER
    }
    expected = set()
    for entry in house.inbox.list():
        data = house.inbox.get(entry.name).data
        series = next((s for s, n in ((X, b"x"), (Y, b"y")) if _uid_of(n) in data), None)
        if series is not None:
            expected.add((series, house.url(entry.name), content_of(entry.properties)))
    assert live == expected
    handed = {
        (key, instance.url, instance.content)
        for key, assembled in house.newest().items()
        for instance in assembled.instances
    }
    assert handed == expected
    assert list(program.assembly.open_keys()) == []


def _uid_of(series: bytes) -> bytes:
    return uid("study", series.decode()).encode()


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("how", ["moved", "gone", "replaced", "junk"])
@pytest.mark.parametrize("first", ["new", "known"])
def test_a_look_overtaken_at_any_write_leaves_nothing_wrong_behind(first, how, crash):
    for at in range(1, MAX_WRITES):
        house = House()
        if first == "known":
            house.inbox.overwrite("1.dcm", dicom_object(series="y", instance=1))
            house.program().look(house.url("1.dcm"), "1")
        house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1))

        def overtake(house: House = house) -> None:
            change(house, how)
            house.program().look(house.url("1.dcm"), "3")

        between = Between(at, overtake, crash=crash)
        try:
            house.program(between).look(house.url("1.dcm"), "2")
        except SimulatedCrash:
            house.program().look(house.url("1.dcm"), "2")  # not acknowledged: it comes back
        if between.n_writes < at:
            break
        assert_rows_say_what_is_there(house)
    assert at > 3, "the look made hardly any write"


@pytest.mark.parametrize("crash", [False, True])
@pytest.mark.parametrize("how", ["late slice", "moved", "gone", "replaced"])
def test_a_change_at_any_write_of_a_check_is_not_lost(how, crash):
    for at in range(1, MAX_WRITES):
        house = House()
        house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1))
        house.program().look(house.url("1.dcm"))
        house.clock.advance(QUIET_S + 1)

        def meanwhile(house: House = house) -> None:
            name = "1.dcm"
            if how == "late slice":
                name = "2.dcm"
                house.inbox.overwrite(name, dicom_object(series="x", instance=2))
            else:
                change(house, how)
            house.program().look(house.url(name))

        between = Between(at, meanwhile, crash=crash)
        [message] = house.checks.receive(1, 60.0)
        try:
            house.program(between).assembly.check(parse_check(message.body))
            house.checks.delete(message)
        except SimulatedCrash:
            pass  # the message becomes visible again
        if between.n_writes < at:
            break
        assert_rows_say_what_is_there(house)
    assert at > 3


@pytest.mark.parametrize("crash", [False, True])
def test_a_check_at_any_write_of_a_look_loses_no_slice(crash):
    for at in range(1, MAX_WRITES):
        house = House()
        house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1))
        house.program().look(house.url("1.dcm"))
        house.inbox.overwrite("2.dcm", dicom_object(series="x", instance=2))

        def meanwhile(house: House = house) -> None:
            house.clock.advance(QUIET_S + 1)
            house.run_checks(house.program())

        between = Between(at, meanwhile, crash=crash)
        try:
            house.program(between).look(house.url("2.dcm"))
        except SimulatedCrash:
            house.program().look(house.url("2.dcm"))
        if between.n_writes < at:
            break
        assert_rows_say_what_is_there(house)
    assert at > 2


def test_two_checks_of_one_series_hand_on_one_content():
    for at in range(1, MAX_WRITES):
        house = House()
        house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1))
        house.program().look(house.url("1.dcm"))
        house.clock.advance(QUIET_S + 1)
        [message] = house.checks.receive(1, 60.0)
        check = parse_check(message.body)

        def again(house: House = house, check=check) -> None:
            house.program().assembly.check(check)

        between = Between(at, again, crash=False)
        house.program(between).assembly.check(check)
        if between.n_writes < at:
            break
        assert {(r.revision, r.digest) for r in house.handed.ready} == {
            (1, house.handed.ready[0].digest)
        }
        assert_rows_say_what_is_there(house)


def test_a_lost_marker_comes_back_past_the_revision_that_the_index_holds():
    house = House()
    house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1))
    house.program().look(house.url("1.dcm"))
    house.settle(house.program())
    house.instances.delete(house.instances.get(X, MARKER))
    house.handed.taken[X] = 5  # the index holds other content at revision 5
    house.inbox.overwrite("1.dcm", dicom_object(series="x", instance=1, value=3))
    house.program().look(house.url("1.dcm"))
    assert_rows_say_what_is_there(house)
    assert house.handed.ready[-1].revision == 6
