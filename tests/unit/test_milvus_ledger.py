"""Who follows: one claim, taken, renewed, lost and given up; a position that only it moves."""

from dataclasses import replace

import pytest

from indexer_core.adapters.milvus.ledger import Building, ClaimLostError, Entry, Following, Ledger
from indexer_core.adapters.milvus.moving import FollowPolicy, alone, replaced, trimmed
from indexer_core.adapters.milvus.position import (
    FollowedSpace,
    Position,
    position_name,
    read_position,
)
from indexer_core.errors import CorruptIndexError
from indexer_core.testing.faults import FaultPlan, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs

SPACES = {"text": FollowedSpace(encoder="e", dimension=8)}


class House:
    def __init__(self):
        self.clock = ManualClock()
        self.blobs = MemoryBlobs(self.clock)

    def ledger(self, owner, blobs=None):
        return Ledger(blobs or self.blobs, "p", clock=self.clock, owner=owner, claim_s=100.0)

    def taken(self, owner):
        ledger = self.ledger(owner)
        ledger.read()
        assert ledger.take()
        return ledger


@pytest.fixture
def house():
    return House()


def applied(ledger, number):
    return replace(ledger.entry, position=replace(ledger.entry.position, applied=number))


def test_what_is_written_is_read_by_readers_and_followers(house):
    ledger = house.taken("a")
    position = Position(generation="g1", applied=7, floor=5, spaces=SPACES, states=(5, 7))
    following = Following(
        digest="d",
        attempts=(8, 9),
        building=Building(generation="g2", spaces=SPACES, is_created=True),
        retired={"g0": 4.0},
        moved_s=(1.0, 2.0),
        swept=5,
    )
    ledger.write(Entry(position=position, following=following))
    assert read_position(house.blobs, "p") == position
    other = house.ledger("b").read()
    assert other.position == position
    assert replace(other.following, owner="", until_s=0.0) == following


def test_a_claim_is_one_followers_until_it_runs_out_or_is_given_up(house):
    one, other = house.taken("a"), house.ledger("b")
    other.read()
    assert not other.take()
    house.clock.advance(101)
    assert other.take()
    one.read()
    assert not one.take()
    other.give_up()
    one.read()
    assert one.take()


def test_of_two_that_take_it_at_once_one_has_it(house):
    one, other = house.ledger("a"), house.ledger("b")
    one.read()
    other.read()
    assert one.take()
    assert not other.take()


def test_a_claim_is_renewed_before_a_request_once_a_quarter_of_it_has_gone(house):
    ledger = house.taken("a")
    until_s = ledger.entry.following.until_s
    with ledger.writing():
        assert ledger.entry.following.until_s == until_s
    house.clock.advance(30)
    with ledger.writing():
        assert ledger.entry.following.until_s == until_s + 30


def test_whoever_was_outrun_moves_nothing(house):
    one = house.taken("a")
    house.clock.advance(101)
    other = house.taken("b")
    other.write(applied(other, 9))
    with pytest.raises(ClaimLostError):
        one.write(applied(one, 8))
    one.give_up()
    assert house.ledger("c").read() == other.entry
    assert not other.entry.following.in_doubt


@pytest.mark.parametrize("ends", ["write", "give_up"])
def test_whoever_was_outrun_in_the_middle_of_a_request_says_so(house, ends):
    one = house.taken("a")
    with one.writing():
        house.clock.advance(101)
        house.taken("b")
    if ends == "write":
        with pytest.raises(ClaimLostError):
            one.write(one.entry)
    else:
        one.give_up()
    assert house.ledger("c").read().following.in_doubt
    assert house.ledger("c").read().following.owner == "b"


def test_a_late_request_that_nobody_outran_leaves_no_doubt(house):
    one = house.taken("a")
    with one.writing():
        house.clock.advance(101)
    one.write(applied(one, 3))
    one.give_up()
    assert house.ledger("c").read() == Entry(position=Position(applied=3))


@pytest.mark.parametrize("fault", [WriteFault.LOST_RESPONSE, WriteFault.LOST_REQUEST])
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_lost_answer_is_read_back(house, fault, at):
    ledger = house.ledger("a", WrappedBlobs(house.blobs, FaultPlan(at=at, fault=fault)))
    ledger.read()
    assert ledger.take()
    ledger.write(applied(ledger, 5))
    ledger.give_up()
    assert house.ledger("b").read() == Entry(position=Position(applied=5))


@pytest.mark.parametrize("data", [b"", b"{}", b'{"formatVersion": 2}'])
def test_what_is_no_position_is_said(house, data):
    house.blobs.put_if_absent(position_name("p"), data)
    with pytest.raises(CorruptIndexError, match="position"):
        house.ledger("a").read()


def moved(numbers, at_s):
    position = Position(generation="g", applied=numbers[-1], floor=numbers[0], states=numbers)
    return Entry(position=position, following=Following(moved_s=at_s))


def test_states_are_kept_for_a_time_after_they_were_followed_and_so_many():
    entry = moved((1, 4, 6, 9), (0.0, 10.0, 20.0, 30.0))
    policy = FollowPolicy(keep_s=15.0, keep_states=8)
    # State 1 was followed at 10, state 4 at 20: some are given up together, once one is 30 old.
    assert trimmed(entry, policy, 40.0) == entry
    assert trimmed(entry, policy, 41.0).position.states == (6, 9)
    assert trimmed(entry, policy, 41.0).position.floor == 6
    assert trimmed(entry, policy, 41.0).following.moved_s == (20.0, 30.0)
    assert trimmed(entry, policy, 1e9).position.states == (9,)
    few = FollowPolicy(keep_s=1e9, keep_states=1)
    assert trimmed(entry, few, 30.0).position.states == (6, 9)
    several = FollowPolicy(keep_s=1e9, keep_states=2)
    assert trimmed(entry, several, 30.0) == entry
    assert alone(entry).position.states == (9,)
    assert trimmed(Entry(), policy, 1e9) == Entry() == alone(Entry())


def test_what_is_replaced_is_kept_for_readers():
    entry = replaced(moved((1,), (0.0,)), "h", 50.0)
    assert entry.position.generation == "h"
    assert entry.following.retired == {"g": 50.0}
