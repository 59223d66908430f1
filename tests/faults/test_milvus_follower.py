"""A follower that is killed, outrun or replayed leaves nothing that the next one does not mend."""

from collections.abc import Iterator

import pytest
from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from indexer_core.adapters.milvus.follower import APPLIED, CURRENT, HELD, OVERTAKEN, STOPPED
from indexer_core.errors import UnavailableError, UnknownOutcomeError
from indexer_core.testing.faults import (
    FaultPlan,
    SimulatedCrash,
    WrappedBlobs,
    WriteFault,
)
from tests.support.following import AroundClient, Followed, milvus

FAULTS = [WriteFault.CRASH_AFTER, WriteFault.LOST_RESPONSE, WriteFault.UNAVAILABLE]
CLAIM_S = 200.0
LONG_S = 10_000.0


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[MilvusClient]:
    with milvus(tmp_path_factory.mktemp("milvus")) as found:
        yield found


@pytest.fixture
def followed(client) -> Iterator[Followed]:
    found = Followed(client)
    yield found
    found.drop()


def change(followed: Followed, number: int) -> None:
    """What a step does at most: series come, are replaced, go, are hidden, shown and merged."""
    followed.add(s1=number, s2=number)
    followed.add(s4=-number if number % 2 else number, **{f"new{number % 3}": number})
    if number % 2:
        followed.suppress("s2")
    else:
        followed.restore("s2")
    if number % 3 == 0:
        followed.compact()


def step_with(followed: Followed, plan: FaultPlan) -> None:
    """A step of a process that one of its writes goes wrong in."""
    follower = followed.follower(
        AroundClient(followed.client, plan), WrappedBlobs(followed.blobs, plan), batch=2
    )
    try:
        follower.step()
    except (SimulatedCrash, UnavailableError, UnknownOutcomeError):
        return


@pytest.mark.parametrize("fault", FAULTS)
def test_killed_at_any_write_the_next_follower_ends_with_the_manifest(followed, fault):
    change(followed, 1)
    followed.follow()
    at, has_struck = 1, True
    while has_struck:
        shown = followed.position.applied
        change(followed, at + 1)
        plan = FaultPlan(at=at, fault=fault)
        step_with(followed, plan)
        has_struck = plan.has_struck
        if followed.position.applied == shown:
            followed.assert_equal(shown)  # as if nobody had begun
        followed.clock.advance(CLAIM_S)
        followed.follow(batch=2)
        followed.assert_equal()
        at += 1
    assert at > 10


@pytest.mark.parametrize("at", range(1, 13))
def test_killed_while_it_builds_the_next_follower_goes_on(followed, at):
    change(followed, 1)
    plan = FaultPlan(at=at, fault=FAULTS[at % 2])
    step_with(followed, plan)
    assert plan.has_struck
    change(followed, 2)
    followed.clock.advance(CLAIM_S)
    followed.follow()
    followed.assert_equal()
    assert followed.generations() == {followed.position.generation}


class Sleeper:
    """A client whose process sleeps in its n-th upsert, while others go on; then it is made."""

    def __init__(self, client, at, meanwhile):
        self._client = client
        self._left = at
        self._meanwhile = meanwhile

    def __getattr__(self, name):
        return getattr(self._client, name)

    def upsert(self, *args, **kwargs):
        self._left -= 1
        if self._left == 0:
            self._meanwhile()
        return self._client.upsert(*args, **kwargs)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_one_that_slept_past_its_claim_and_wrote_stops_and_is_taken_back(followed, at):
    change(followed, 1)
    followed.follow()
    change(followed, 2)

    def meanwhile():
        followed.clock.advance(CLAIM_S)
        followed.add(s1=9, s2=-9, s4=9)
        followed.follow()
        followed.assert_equal()

    sleeper = followed.follower(Sleeper(followed.client, at, meanwhile))
    assert sleeper.step().outcome == OVERTAKEN
    assert followed.following.in_doubt
    assert sleeper.step().outcome == APPLIED
    followed.assert_equal()
    assert not followed.following.in_doubt


def test_one_that_was_outrun_before_it_wrote_leaves_no_doubt(followed):
    change(followed, 1)
    followed.follow()
    change(followed, 2)
    follower = followed.follower()

    taken = follower.ledger.take

    def take_then_sleep():
        assert taken()
        followed.clock.advance(CLAIM_S)
        followed.follow()
        return True

    follower.ledger.take = take_then_sleep
    assert follower.step().outcome == OVERTAKEN
    assert not followed.following.in_doubt
    followed.assert_equal()


def test_while_one_follows_no_other_writes(followed):
    change(followed, 1)
    one, other = followed.follower(), followed.follower()
    one.ledger.read()
    assert one.ledger.take()
    assert other.step().outcome == HELD
    one.ledger.give_up()
    assert other.step().outcome == APPLIED
    assert one.step().outcome == APPLIED  # it has not looked at what is there yet
    assert one.step().outcome == CURRENT
    followed.assert_equal()


def test_two_that_take_turns_end_with_the_manifest(followed):
    followers = [followed.follower(), followed.follower()]
    for number in range(1, 9):
        change(followed, number)
        assert followers[number % 3 % 2].step().outcome == APPLIED
        followed.assert_equal()


def test_a_follower_that_is_told_to_stop_ends_between_two_batches(followed):
    change(followed, 1)
    followed.follow()
    change(followed, 2)
    follower = followed.follower(batch=1)
    follower._is_stopped = lambda: True
    assert follower.step().outcome == STOPPED
    assert not followed.following.owner
    followed.follow()
    followed.assert_equal()


def test_a_step_that_fails_is_taken_again_by_the_same_follower(followed):
    change(followed, 1)
    followed.follow()
    change(followed, 2)
    follower = followed.follower(Refusing(followed.client, range(3, 6)))
    with pytest.raises(UnavailableError):
        follower.step()
    assert follower.step().outcome == APPLIED
    followed.assert_equal()


class Refusing:
    """A client some of whose upserts are refused, counted from 1."""

    def __init__(self, client, refused):
        self._client = client
        self._refused = refused
        self.n_upserts = 0

    def __getattr__(self, name):
        return getattr(self._client, name)

    def upsert(self, *args, **kwargs):
        self.n_upserts += 1
        if self.n_upserts in self._refused:
            raise MilvusException(1, "busy")
        return self._client.upsert(*args, **kwargs)


def test_a_step_in_which_every_third_request_fails_ends(followed):
    change(followed, 1)
    followed.follow()
    change(followed, 2)
    follower = followed.follower(Refusing(followed.client, range(1, 1_000, 3)), batch=1)
    assert follower.step().outcome == APPLIED
    followed.assert_equal()


def test_reading_for_long_keeps_the_claim(followed):
    followed.add(**{f"s{n}": 1 for n in range(20)})
    followed.follow()
    followed.follower().ledger.note(in_doubt=True)

    class Slow:
        """Every question takes a third of a claim."""

        def __getattr__(self, name):
            return getattr(followed.client, name)

        def query(self, *args, **kwargs):
            followed.clock.advance(40.0)
            return followed.client.query(*args, **kwargs)

    tried = []

    def told(_done, _total):
        other = followed.follower()
        other.ledger.read()
        tried.append(other.ledger.take())

    follower = followed.follower(Slow(), batch=2)
    follower._told = told
    assert follower.step().outcome == APPLIED
    assert len(tried) > 5
    assert not any(tried)


def test_the_dead_are_deleted_some_at_a_time(followed):
    followed.add(s1=1, s2=1, s3=1)
    followed.follow()
    followed.add(s1=2, s2=2, s3=2)
    followed.follow()
    followed.clock.advance(LONG_S)
    deleted = []

    class Watched:
        def __getattr__(self, name):
            return getattr(followed.client, name)

        def delete(self, *args, **kwargs):
            deleted.append(kwargs)
            return followed.client.delete(*args, **kwargs)

    followed.follower(Watched()).step()
    followed.assert_equal()
    assert sorted(len(kwargs["ids"]) for kwargs in deleted) == [3, 3, 15]


def test_a_step_that_failed_goes_on_where_it_was(followed):
    followed.add(s0=1)
    followed.follow()
    followed.add(**{f"s{n:02}": 1 for n in range(12)})
    refused = Refusing(followed.client, range(20, 23))
    with pytest.raises(UnavailableError):
        followed.follower(refused, batch=1).step()
    again = Refusing(followed.client, [])
    followed.clock.advance(CLAIM_S)
    assert followed.follower(again, batch=1).step().outcome == APPLIED
    followed.assert_equal()
    assert 0 < again.n_upserts <= 12 * 3 - 19


def test_so_many_failed_attempts_that_all_is_compared(followed):
    change(followed, 1)
    followed.follow()
    for number in range(2, 21):
        change(followed, number)
        with pytest.raises(UnavailableError):
            followed.follower(Refusing(followed.client, range(3, 6))).step()
        followed.clock.advance(CLAIM_S)
    assert followed.following.in_doubt
    assert len(followed.following.attempts) < 19
    followed.follow()
    followed.assert_equal()


class Late:
    """A client whose first upsert is not answered, and is made when it is asked for."""

    def __init__(self, client):
        self._client = client
        self._late = []
        self.is_refusing = True

    def __getattr__(self, name):
        return getattr(self._client, name)

    def upsert(self, *args, **kwargs):
        if not self.is_refusing:
            return self._client.upsert(*args, **kwargs)
        self._late.append((args, kwargs))
        raise MilvusException(1, "timeout")

    def arrive(self):
        for args, kwargs in self._late:
            self._client.upsert(*args, **kwargs)


@pytest.mark.parametrize("is_new", [False, True])
def test_a_write_that_was_not_answered_and_comes_late_leaves_no_series_twice(followed, is_new):
    followed.add(s1=1, s2=1)
    followed.follow()
    generation = followed.position.generation
    late = Late(followed.client)
    follower = followed.follower(late)
    followed.add(s1=2)
    with pytest.raises(UnavailableError):
        follower.step()
    followed.add(s1=3)
    late.is_refusing = False
    assert follower.step().outcome == APPLIED
    late.arrive()
    assert len([each for each in followed.entities("series") if each["died"] > LONG_S]) == 3
    followed.clock.advance(CLAIM_S)
    if is_new:
        followed.follow()
    assert [follower.step().outcome for _ in range(2)][-1] == CURRENT
    followed.assert_equal()
    assert not followed.following.unanswered_s
    assert followed.generations() == {generation}


@pytest.mark.parametrize("is_left", [False, True])
def test_what_is_suppressed_while_it_sweeps_or_takes_back_goes_at_once(followed, is_left):
    followed.add(s1=1, s2=1, s3=1)
    followed.follow()
    if is_left:
        followed.publish("second map")
        step_with(followed, FaultPlan(at=5, fault=WriteFault.CRASH_BEFORE))
    followed.add(s1=2)
    if not is_left:
        followed.follow()
    followed.clock.advance(LONG_S)
    seen: list[set[str]] = []

    class Watched:
        """A client that hides a series before the first deletion, and looks after each."""

        def __getattr__(self, name):
            return getattr(followed.client, name)

        def delete(self, *args, **kwargs):
            if not seen:
                followed.suppress("s3")
                followed.clock.advance(20)
            found = followed.client.delete(*args, **kwargs)
            seen.append(followed.all_keys())
            return found

    followed.follower(Watched()).step()
    assert "s3" in seen[0]
    assert "s3" not in followed.all_keys()
    assert followed.position.applied < followed.newest.number
    followed.follow()
    followed.assert_equal()
