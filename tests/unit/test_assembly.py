"""Series assembly: checks, revisions, and what is handed on."""

import pytest

from indexer_core.assembly import Closed, NotClosed
from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.instance_lists import list_name, parse_list
from indexer_core.messages import (
    SeriesCheck,
    SeriesReady,
    dump_check,
    dump_ready,
    parse_check,
    parse_ready,
)
from indexer_core.uids import series_key
from tests.support.dicom import dicom_object, uid
from tests.support.house import QUIET_S, House

X = series_key("inbox", uid("study"), uid("study", "x"))


@pytest.fixture
def house():
    return House()


def upload(house, name="1.dcm", **attributes):
    house.inbox.overwrite(name, dicom_object(series="x", **attributes))
    house.program().look(house.url(name))


def settled(house, **attributes):
    upload(house, **attributes)
    house.settle(house.program())
    return house.handed.ready[-1]


def test_a_series_waits_for_its_quiet_period(house):
    upload(house)
    assembly = house.program().assembly
    token = assembly.marker(X).values["token"]
    early = assembly.check(SeriesCheck(series=X, token=token))
    assert early == NotClosed(reason="early")
    assert assembly.check(SeriesCheck(series=X, token=token)) == NotClosed(reason="stale")
    house.clock.advance(QUIET_S + 1)
    token = assembly.marker(X).values["token"]
    assert isinstance(assembly.check(SeriesCheck(series=X, token=token)), Closed)


def test_a_trickle_of_slices_is_closed_at_the_longest_wait(house):
    for number in range(1, 60):
        upload(house, f"{number}.dcm", instance=number)
        house.clock.advance(QUIET_S / 2)
        house.run_checks(house.program())
    assert 0 < len(house.handed.ready) < 4


def test_forcing_does_not_wait(house):
    upload(house)
    program = house.program()
    program.assembly.force(X)
    house.run_checks(program)
    assert [ready.revision for ready in house.handed.ready] == [1]
    assert list(program.assembly.open_keys()) == []


def test_an_unchanged_series_is_not_handed_on_again(house):
    settled(house)
    upload(house)
    house.settle(house.program())
    assert len(house.handed.ready) == 1


def test_a_recalled_content_is_handed_on_again_at_its_revision(house):
    ready = settled(house)
    program = house.program()
    program.assembly.recall(ready)
    assert list(program.assembly.open_keys()) == [X]
    upload(house)
    house.settle(program)
    assert house.handed.ready == [ready, ready]
    assert list(program.assembly.open_keys()) == []


def test_a_recalled_content_is_found_by_the_sweep_alone(house):
    ready = settled(house)
    program = house.program()
    program.assembly.recall(ready)
    house.clock.advance(10_000.0)
    assert program.assembly.sweep(older_than_s=300.0) == 1
    house.settle(program)
    assert house.handed.ready == [ready, ready]


def test_recalling_what_is_no_longer_the_content_changes_nothing(house):
    old = settled(house)
    settled(house, value=1)
    program = house.program()
    program.assembly.recall(old)
    program.assembly.recall(SeriesReady(series="unknown", revision=1, digest="d"))
    assert list(program.assembly.open_keys()) == []
    assert not program.assembly.marker(X).values["unsent"]


def test_an_index_that_is_ahead_gets_the_next_revision(house):
    house.handed.taken[X] = 7
    assert settled(house).revision == 8


def test_outranking_twice_is_outranking_once(house):
    ready = settled(house)
    assembly = house.program().assembly
    assembly.outrank(ready, taken=3)
    assembly.outrank(ready, taken=3)
    assert assembly.marker(X).values["revision"] == 4


def test_the_instance_list_is_that_of_its_digest(house):
    ready = settled(house)
    assembly = house.program().assembly
    assert assembly.load(ready).digest == ready.digest
    name = list_name(X, ready.digest)
    for damaged in (b"", b"[]", b'{"format_version": 99}', b'{"format_version":1,"instances":[]}'):
        house.lists.overwrite(name, damaged)
        with pytest.raises(CorruptIndexError):
            assembly.load(ready)
    house.lists.delete(name)
    with pytest.raises(CorruptIndexError, match="missing"):
        assembly.load(ready)


def test_an_empty_list_is_a_series_whose_blobs_have_all_gone(house):
    settled(house)
    house.inbox.delete("1.dcm")
    house.program().look(house.url("1.dcm"))
    house.settle(house.program())
    last = house.handed.ready[-1]
    found = house.lists.get(list_name(X, last.digest))
    assert parse_list(found.data, X, last.digest).instances == ()
    assert last.revision == 2


def test_messages_survive_being_written():
    check = SeriesCheck(series="5" * 64, token="t", force=True)
    ready = SeriesReady(series="5" * 64, revision=3, digest="d" * 64)
    assert parse_check(dump_check(check)) == check
    assert parse_ready(dump_ready(ready)) == ready


@pytest.mark.parametrize("body", ["", "x", "[]", "{}", '{"format_version": 2}', "null"])
def test_other_messages_are_refused(body):
    for parse in (parse_check, parse_ready):
        with pytest.raises(InvalidInputError):
            parse(body)
