"""Following a real Milvus: what a step does, in the order that readers may rely on."""

from collections.abc import Iterator

import pytest
from pymilvus import MilvusClient

from indexer_core.adapters.milvus.checking import verify
from indexer_core.adapters.milvus.client import every
from indexer_core.adapters.milvus.follower import APPLIED
from indexer_core.adapters.milvus.lag import lag_of
from indexer_core.adapters.milvus.position import position_name
from indexer_core.adapters.milvus.schema import BORN, DIED, ID, KEY, SERIES
from indexer_core.errors import NotFoundError, UnavailableError
from indexer_core.index.collect import RetentionPolicy
from indexer_core.index.upkeep import Upkeep
from indexer_core.testing.faults import FaultPlan, SimulatedCrash, WriteFault
from tests.support.following import AroundClient, Followed, milvus

LONG_S = 10_000.0


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[MilvusClient]:
    with milvus(tmp_path_factory.mktemp("milvus")) as found:
        yield found


@pytest.fixture
def followed(client) -> Iterator[Followed]:
    found = Followed(client)
    found.add(s1=1, s2=1, s3=1)
    found.follow()
    yield found
    found.drop()


def proof_of(followed: Followed, look_into: int = 500):
    return verify(
        followed.client,
        followed.blobs,
        followed.files,
        prefix=followed.prefix,
        look_into=look_into,
    )


def keys_of_all(followed: Followed) -> set[str]:
    """Series of which there is anything in any generation."""
    names = [n for n in followed.client.list_collections() if n.startswith(f"{followed.prefix}_")]
    return {
        each[KEY]
        for name in names
        for batch in every(followed.client, name, f"{DIED} > 0", [KEY])
        for each in batch
    }


def ids_of(followed: Followed, kind: str = SERIES) -> set[str]:
    return {each[ID] for each in followed.entities(kind)}


class TestStates:
    def test_states_that_were_followed_can_be_searched_until_they_are_swept(self, followed):
        first = followed.position.applied
        follower = followed.follower()
        followed.add(s1=2)
        follower.step()
        followed.add(s2=-2)
        follower.step()
        for number in (first, first + 1, first + 2):
            followed.assert_equal(number)
        followed.clock.advance(LONG_S)
        follower.step()
        assert followed.position.states == (first + 2,)
        followed.assert_equal()
        assert len(followed.entities(SERIES)) == 2

    def test_a_follower_that_was_behind_goes_to_the_newest_at_once(self, followed):
        first = followed.position.applied
        for number in range(2, 6):
            followed.add(s1=number)
        assert followed.follower().step().outcome == APPLIED
        assert followed.position.states == (first, first + 4)
        followed.assert_equal()
        followed.assert_equal(first)

    def test_many_manifests_in_a_short_time_take_no_state_away(self, followed):
        first = followed.position.applied
        follower = followed.follower()
        for number in range(2, 72):
            followed.add(s1=number)
            follower.step()
        assert followed.position.states[0] == first
        followed.assert_equal(first)

    def test_a_merge_writes_nothing(self, followed):
        followed.add(s1=2)
        follower = followed.follower()
        follower.step()
        before = ids_of(followed)
        followed.compact()
        follower.step()
        assert ids_of(followed) == before
        followed.assert_equal()


class TestErasure:
    def test_suppressed_series_go_at_once_in_all_versions(self, followed):
        follower = followed.follower()
        followed.add(s1=2)
        follower.step()
        followed.suppress("s1")
        follower.step()
        assert "s1" not in followed.all_keys()
        followed.restore("s1")
        follower.step()
        followed.assert_equal()
        assert "s1" in followed.all_keys()

    @pytest.mark.parametrize("is_new", [False, True])
    def test_a_purge_that_is_jumped_over_leaves_no_version(self, followed, is_new):
        follower = followed.follower()
        followed.add(s1=2)
        follower.step()
        versions = ids_of(followed)
        followed.purge_now("s1")
        followed.restore("s1")
        followed.add(s1=7, s4=1)
        (followed.follower() if is_new else follower).step()
        followed.assert_equal()
        left = ids_of(followed) & versions
        assert not [one for one in left if one.startswith("s1@")]

    @pytest.mark.parametrize("is_new", [False, True])
    def test_a_purged_series_that_never_came_back_is_gone(self, followed, is_new):
        follower = followed.follower()
        follower.step()
        followed.purge_now("s2")
        followed.restore("s2")
        followed.add(s4=1)
        (followed.follower() if is_new else follower).step()
        followed.assert_equal()
        assert "s2" not in followed.all_keys()

    @pytest.mark.parametrize("is_purged", [False, True])
    def test_what_is_shown_again_stays_in_the_state_in_use_until_it_moves(
        self, followed, is_purged
    ):
        applied = followed.position.applied
        (followed.purge_now if is_purged else followed.suppress)("s1")
        followed.restore("s1")
        followed.add(s1=2, s4=1)
        seen: list[set[str]] = []

        def told(_done, _total):
            if followed.position.applied == applied:
                there = followed.entities(SERIES)
                seen.append({e[KEY] for e in there if e[BORN] <= applied < e[DIED]})

        follower = followed.follower(batch=1)
        follower._told = told
        assert follower.step().outcome == APPLIED
        assert seen
        assert all("s1" in each for each in seen)
        followed.assert_equal()
        assert followed.position.states == (followed.newest.number,)

    def test_what_a_given_up_attempt_has_deleted_comes_back_when_it_is_shown_again(self, followed):
        applied = followed.position.applied
        followed.suppress("s1")
        follower = followed.follower()
        # An attempt for that manifest, up to its first deletions.
        follower.ledger.read()
        assert follower.ledger.take()
        follower.ledger.write(follower.ledger.entry.noted(attempts=(applied + 1,)))
        for kind in (SERIES, "text", "image"):
            one = follower.collections.of(followed.position.generation, kind)
            one.delete_series({"s1"})
        followed.clock.advance(LONG_S)
        followed.restore("s1")
        followed.follow()
        followed.assert_equal()

    @pytest.mark.parametrize("is_late", [False, True])
    def test_series_that_are_hidden_while_others_are_filled_go_from_those_in_use(
        self, followed, is_late
    ):
        old = followed.collection(SERIES)
        seen: list[set[str]] = []

        class Watched:
            """A client that looks at the collection in use whenever the new one is written to."""

            def __getattr__(self, name):
                return getattr(followed.client, name)

            def upsert(self, *args, **kwargs):
                if is_late and not seen:
                    followed.suppress("s1")
                    followed.clock.advance(20)
                found = followed.client.query(old, filter=f"{DIED} > 0", output_fields=[KEY])
                seen.append({each[KEY] for each in found})
                return followed.client.upsert(*args, **kwargs)

        followed.switch("second-text")
        if not is_late:
            followed.suppress("s1")
        follower = followed.follower(Watched(), batch=1)
        assert follower.step().outcome == APPLIED
        assert "s1" in seen[0] if is_late else "s1" not in seen[0]
        assert "s1" not in seen[-1]
        follower.step()
        followed.assert_equal()

    @pytest.mark.parametrize("is_building", [False, True])
    def test_what_is_suppressed_during_a_step_goes_from_all_collections_at_once(
        self, followed, is_building
    ):
        followed.follower().ledger.note(is_rebuild_wanted=True)
        followed.follow()
        assert len(followed.generations()) == 2  # one of them is retired
        followed.add(**{f"n{each}": 1 for each in range(6)})
        followed.follower().ledger.note(is_rebuild_wanted=is_building)
        seen: list[set[str]] = []

        def told(done, _total):
            if done == 2:
                followed.suppress("n0", "s1")
                followed.clock.advance(20)
            elif done > 3:
                seen.append(keys_of_all(followed))

        follower = followed.follower(batch=1)
        follower._told = told
        number = followed.newest.number
        assert follower.step().outcome == APPLIED
        assert followed.position.applied == number
        assert len(seen) > 2
        assert not {"n0", "s1"} & set.union(*seen, keys_of_all(followed))
        assert followed.position.n_series == 7
        generation = followed.position.generation
        followed.follow()
        followed.assert_equal()
        assert followed.position.generation == generation
        followed.restore("s1")
        followed.follow()
        followed.assert_equal()

    def test_states_that_have_lost_what_is_shown_again_are_given_up(self, followed):
        follower = followed.follower()
        followed.add(s2=2)
        follower.step()
        followed.suppress("s1")
        follower.step()
        assert len(followed.position.states) == 3
        followed.restore("s1")
        follower.step()
        assert followed.position.states == (followed.newest.number,)
        followed.assert_equal()

    def test_another_encoder_leads_to_new_collections(self, followed):
        generation = followed.position.generation
        followed.switch("second-text")
        assert followed.follower().step().outcome == APPLIED
        assert followed.position.generation != generation
        assert followed.position.spaces["text"].encoder == "second-text"
        followed.assert_equal()


def die(followed: Followed, at: int) -> None:
    """A follower is killed before its write number `at`, and its claim runs out."""
    plan = FaultPlan(at=at, fault=WriteFault.CRASH_BEFORE)
    follower = followed.follower(AroundClient(followed.client, plan))
    with pytest.raises(SimulatedCrash):
        follower.step()
    followed.clock.advance(LONG_S)


class TestTakingBack:
    """What an attempt has left of a change that is none any more when the next one comes."""

    def test_a_series_that_is_hidden_again(self, followed):
        followed.suppress("s1")
        followed.follow()
        followed.restore("s1")
        die(followed, at=3)
        assert "s1" in followed.all_keys()
        followed.suppress("s1")
        followed.follow()
        followed.assert_equal()

    def test_a_map_that_was_put_back(self, followed):
        first = followed.newest.projection.version
        followed.publish("second map")
        die(followed, at=3)
        assert len(followed.entities(SERIES)) > 3
        followed.publish(first)
        followed.follow()
        followed.assert_equal()

    def test_by_a_process_that_knows_of_no_attempt(self, followed):
        """As after the position was put back by hand: the first step looks at what is there."""
        name = position_name(followed.prefix)
        before = followed.blobs.get(name)
        followed.suppress("s3")
        followed.follow()
        followed.restore("s3")
        followed.add(s5=1)
        followed.follow()
        now = followed.blobs.get(name)
        followed.blobs.put_if_match(name, before.data, now.etag)
        followed.follow()
        followed.assert_equal()


class TestMaps:
    def test_another_map_writes_places_anew_and_vectors_only_where_a_flag_differs(self, followed):
        before = {kind: ids_of(followed, kind) for kind in (SERIES, "text")}
        followed.publish("second map")
        follower = followed.follower()
        follower.step()
        followed.assert_equal()
        assert followed.position.projection_version == "second map"
        assert len(ids_of(followed) - before[SERIES]) == 3
        assert len(ids_of(followed, "text") - before["text"]) < 15

    def test_another_map_gives_up_the_states_before_whose_places_are_of_another(self, followed):
        first = followed.newest.projection.version
        follower = followed.follower(keep_s=LONG_S)
        for version in ("second map", first):
            followed.add(s1=2)
            follower.step()
            assert len(followed.position.states) == 2
            followed.publish(version)
            follower.step()
            followed.assert_equal()
            assert followed.position.states == (followed.newest.number,)


class TestTruth:
    def test_a_manifest_that_expired_leads_to_a_comparison_of_every_series(self, followed):
        followed.add(s1=2, s4=1)
        followed.add(s2=-2)
        followed.clock.advance(LONG_S)
        upkeep = Upkeep(followed.blobs, followed.files, clock=followed.clock, ids=followed.ids)
        upkeep.collect(RetentionPolicy(keep_s=0.0, keep_newest=1, grace_s=0.0))
        followed.follow()
        followed.assert_equal()
        assert len(followed.position.states) == 1

    def test_a_position_that_is_put_back_is_followed_again(self, followed):
        followed.add(s1=2, s2=-2)
        follower = followed.follower(keep_s=LONG_S)
        name = position_name(followed.prefix)
        before = followed.blobs.get(name)
        follower.step()
        for _ in range(2):
            now = followed.blobs.get(name)
            followed.blobs.put_if_match(name, before.data, now.etag)
            assert followed.follower(keep_s=LONG_S).step().outcome == APPLIED
            followed.assert_equal()

    def test_lost_collections_are_filled_anew(self, followed):
        followed.client.drop_collection(followed.collection("text"))
        lag = lag_of(followed.client, followed.blobs, prefix=followed.prefix, clock=followed.clock)
        assert lag.missing == ("text",)
        followed.follow()
        followed.assert_equal()
        followed.clock.advance(LONG_S)
        followed.follow()
        assert followed.generations() == {followed.position.generation}

    def test_a_milvus_that_was_started_anew_is_made_ready_again(self, followed):
        follower = followed.follower()
        follower.step()
        for kind in (SERIES, "text", "image"):
            followed.client.release_collection(followed.collection(kind))
        followed.add(s1=2)
        with pytest.raises(UnavailableError):
            follower.step()
        assert follower.step().outcome == APPLIED
        followed.assert_equal()

    def test_a_lost_position_leads_to_new_collections(self, followed):
        before = followed.position.generation
        followed.blobs.delete(position_name(followed.prefix))
        followed.follow()
        followed.assert_equal()
        # Nobody knows any more whose the others are.
        assert followed.generations() == {followed.position.generation, before}
        lag = lag_of(followed.client, followed.blobs, prefix=followed.prefix, clock=followed.clock)
        assert {name.split("_")[1] for name in lag.strangers} == {before}

    def test_a_rebuild_leaves_the_old_collections_to_readers_for_a_while(self, followed):
        old = followed.position.generation
        followed.follower().ledger.note(is_rebuild_wanted=True)
        followed.add(s7=1)
        followed.follow()
        followed.assert_equal()
        new = followed.position.generation
        assert followed.generations() == {old, new}
        followed.clock.advance(LONG_S)
        followed.follow()
        assert followed.generations() == {new}


class TestVerify:
    def test_equal_collections_are_proven(self, followed):
        proof = proof_of(followed)
        assert proof.is_equal
        counts = {kind: found.n_equal for kind, found in proof.collections.items()}
        assert counts == {"series": 3, "text": 15, "image": 3}

    def test_nothing_to_prove_is_said(self, client):
        with pytest.raises(NotFoundError):
            proof_of(Followed(client))

    def test_every_kind_of_difference_is_found_and_mended(self, followed):
        text, image, series = (followed.collection(each) for each in ("text", "image", SERIES))
        followed.client.delete(text, filter=f'{KEY} == "s1"')
        (old,) = [each for each in followed.entities(SERIES) if each[KEY] == "s2"]
        followed.client.upsert(series, [old | {ID: "s2@other"}])
        followed.client.upsert(series, [old | {ID: "s8@other", KEY: "s8"}])
        (seen,) = [each for each in followed.entities("image") if each[KEY] == "s3"]
        followed.client.upsert(image, [seen | {"vector": [1.0, 0.0, 0.0, 0.0]}])
        proof = proof_of(followed)
        assert proof.series == ("s1", "s2", "s3", "s8")
        found = proof.collections
        assert (found["text"].n_missing, found["text"].n_equal) == (5, 10)
        assert (found[SERIES].n_extra, found[SERIES].n_equal) == (2, 3)
        assert found["image"].n_different == 1
        follower = followed.follower()
        follower.ledger.note(is_rebuild_wanted=True)
        follower.step()
        assert proof_of(followed).is_equal
        followed.assert_equal()

    def test_a_trace_of_a_hidden_series_is_found_in_any_version(self, followed):
        (old,) = [each for each in followed.entities(SERIES) if each[KEY] == "s2"]
        followed.suppress("s2")
        followed.follow()
        followed.client.upsert(followed.collection(SERIES), [old | {DIED: 3}])
        assert proof_of(followed).collections[SERIES].n_hidden == 1


class TestLag:
    def lag(self, followed):
        return lag_of(followed.client, followed.blobs, prefix=followed.prefix, clock=followed.clock)

    def test_it_counts_manifests_and_the_age_of_the_oldest(self, followed):
        applied = followed.position.applied
        assert (self.lag(followed).n_behind, self.lag(followed).behind_s) == (0, 0.0)
        followed.add(s1=2)
        followed.add(s2=2)
        lag = self.lag(followed)
        assert (lag.applied, lag.newest, lag.n_behind) == (applied, applied + 2, 2)
        assert lag.behind_s > 0
        followed.follow()
        lag = self.lag(followed)
        assert lag.entities == {"series": 3, "text": 15, "image": 3}
        assert lag.dead == {"series": 2, "text": 10, "image": 2}
        assert not lag.follower

    def test_before_anything_was_followed_there_is_no_generation(self, client):
        lag = self.lag(Followed(client))
        assert (lag.generation, lag.applied, lag.entities) == ("", 0, {})
