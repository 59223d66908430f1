"""The commit loop and the manifests' hint."""

from dataclasses import replace

import pytest

from indexer_core.errors import ConflictError, CorruptIndexError, NotFoundError, UnavailableError
from indexer_core.index.collect import Collector, RetentionPolicy
from indexer_core.index.commit import (
    HINT,
    Abandoned,
    Committed,
    Manifests,
    commit,
    manifest_name,
)
from indexer_core.index.manifest import Manifest, Segment, Stub, dump_stub
from indexer_core.index.updates import MergeSegments, Pin, Restore, Suppress
from indexer_core.testing.faults import FaultPlan, WrappedBlobs, WriteFault
from indexer_core.testing.memory import ManualClock, MemoryBlobs, SequentialIds
from tests.support.segments import LINEAGE, OPEN, PROJECTION

_EMPTY = Segment(id="", rows=PROJECTION.file, n_rows=0, n_alive=0, n_points=0)


@pytest.fixture
def blobs():
    return MemoryBlobs(ManualClock())


def suppress(blobs, key, commit_id=None, **options):
    update = Suppress(series_keys=frozenset({key}))
    return commit(Manifests(blobs), update, commit_id=commit_id or key, lineage=LINEAGE, **options)


def test_commits_are_numbered_from_one_without_gaps(blobs):
    for number in range(1, 40):
        assert suppress(blobs, str(number)).manifest.number == number
    assert [m.number for m in Manifests(blobs).history()] == list(range(1, 40))


def test_an_update_that_is_already_there_makes_no_manifest(blobs):
    suppress(blobs, "a")
    again = suppress(blobs, "a", commit_id="other")
    assert again == Committed(manifest=Manifests(blobs).newest(), changed=False)


def test_the_same_commit_id_is_committed_once(blobs):
    """An attempt whose answer was lost, tried again by its caller."""
    first = suppress(blobs, "a")
    again = suppress(blobs, "b", commit_id="a")
    assert again.manifest == first.manifest
    assert Manifests(blobs).newest().suppressed == frozenset({"a"})


@pytest.mark.parametrize("fault", [WriteFault.LOST_RESPONSE, WriteFault.LOST_REQUEST])
def test_a_lost_answer_is_read_back(blobs, fault):
    faulty = WrappedBlobs(blobs, FaultPlan(1, fault))
    assert suppress(faulty, "a").changed
    assert [m.suppressed for m in Manifests(blobs).history()] == [frozenset({"a"})]


def test_losing_a_race_means_applying_the_update_to_what_won(blobs):
    class Racing(MemoryBlobs):
        rivals = 3

        def put_if_absent(self, name, data):
            if self.rivals:
                self.rivals -= 1
                suppress(blobs, f"rival {self.rivals}")
            return blobs.put_if_absent(name, data)

        get, list = staticmethod(blobs.get), staticmethod(blobs.list)

    done = suppress(Racing(), "mine")
    assert done.manifest.number == 4
    assert len(done.manifest.suppressed) == 4


def test_the_budget_of_lost_races_ends(blobs):
    class Rival(MemoryBlobs):
        def put_if_absent(self, name, data):
            number = Manifests(blobs).newest().number
            rival = Manifest(number=number + 1, commit_id=f"r{number}", lineage=LINEAGE)
            assert Manifests(blobs).put(rival)
            return blobs.put_if_absent(name, data)

        get, list = staticmethod(blobs.get), staticmethod(blobs.list)

    with pytest.raises(ConflictError):
        suppress(Rival(), "mine", budget=5)
    assert Manifests(blobs).newest().number == 5


def test_a_refused_update_changes_nothing(blobs):
    commit(Manifests(blobs), OPEN, commit_id="open", lineage=LINEAGE)
    before = Manifests(blobs).newest()
    for update in (
        Pin(number=9, name="cohort", oldest_safe=1),
        MergeSegments(inputs=("gone",), output=replace(_EMPTY, id="out")),
    ):
        refused = commit(Manifests(blobs), update, commit_id="c", lineage=LINEAGE)
        assert isinstance(refused, Abandoned)
    assert Manifests(blobs).newest() == before


@pytest.mark.parametrize("fault", [WriteFault.UNAVAILABLE, WriteFault.LOST_RESPONSE])
def test_a_commit_does_not_fail_because_of_the_hint(blobs, fault):
    for number in range(1, 16):
        suppress(blobs, str(number))
    plan = FaultPlan(2, fault)
    assert suppress(WrappedBlobs(blobs, plan), "16").changed
    assert plan.has_struck
    assert Manifests(blobs).newest().number == 16


def test_the_commit_before_the_hint_does_fail_when_the_store_cannot_write(blobs):
    with pytest.raises(UnavailableError):
        suppress(WrappedBlobs(blobs, FaultPlan(1, WriteFault.UNAVAILABLE)), "a")
    assert Manifests(blobs).newest().number == 0


@pytest.mark.parametrize("hint", [b"16", b"999", b"not a number", b"3"])
def test_a_hint_may_say_anything(blobs, hint):
    for number in range(1, 21):
        suppress(blobs, str(number))
    blobs.overwrite(HINT, hint)
    assert Manifests(blobs).newest().number == 20


def test_a_reader_far_behind_meets_a_stub_and_begins_again_at_the_newest(blobs):
    known = suppress(blobs, "1").manifest
    for number in range(2, 20):
        suppress(blobs, str(number))
    for number in range(1, 15):
        blobs.overwrite(manifest_name(number), dump_stub(number))
    assert Manifests(blobs).newest(known).number == 19
    blobs.overwrite(HINT, b"3")
    assert Manifests(blobs).newest().number == 19


def test_manifests_that_have_expired_are_not_listed(blobs):
    for number in range(1, 6):
        suppress(blobs, str(number))
    manifests = Manifests(blobs)
    assert [number for number in (2, 3, 9) if manifests.expire(number)] == [2, 3]
    assert not manifests.expire(2)
    assert list(manifests.listed()) == [m.number for m in manifests.history()] == [1, 4, 5]
    assert manifests.read(3) == Stub(number=3)
    assert blobs.get(manifest_name(3)).data == dump_stub(3)


def test_a_manifest_that_changed_meanwhile_is_not_expired(blobs):
    suppress(blobs, "1")
    suppress(blobs, "2")

    class Overtaken(MemoryBlobs):
        def put_if_match(self, name, data, etag):
            blobs.overwrite(name, blobs.get(name).data)
            return blobs.put_if_match(name, data, etag)

        get = staticmethod(blobs.get)

    assert not Manifests(Overtaken()).expire(1)
    assert isinstance(Manifests(blobs).read(1), Manifest)


def test_a_manifest_is_written_anew_only_by_who_knows_what_it_says(blobs):
    manifests = Manifests(blobs)
    suppress(blobs, "1")
    first = manifests.at(1)
    second, third = (replace(first, lineage=replace(LINEAGE, created_s=at)) for at in (2.0, 3.0))
    assert manifests.rewrite(first, second)
    assert manifests.rewrite(first, second)  # an answer was lost
    assert not manifests.rewrite(first, third)
    assert manifests.at(1) == second


def test_files_that_are_missing_are_damage_only_where_the_manifest_still_names_them(blobs):
    """A reader may hold a manifest that expires, or that a purge writes anew."""
    manifests = Manifests(blobs)
    for number in (1, 2):
        suppress(blobs, str(number))
    first, held = (replace(manifests.at(n), segments=(_EMPTY,)) for n in (1, 2))
    assert manifests.rewrite(manifests.at(2), held)

    def read_of(manifest):
        with manifests.unless_expired(manifest):
            raise CorruptIndexError("a file is missing")

    with pytest.raises(CorruptIndexError, match="a file is missing"):
        read_of(held)
    assert manifests.rewrite(held, replace(held, segments=()))
    with pytest.raises(NotFoundError, match="manifest 2 was written anew by a purge"):
        read_of(held)
    assert manifests.expire(1)
    with pytest.raises(NotFoundError, match="manifest 1 has expired"):
        read_of(first)


def test_restoring_undoes_suppressing_at_a_later_number(blobs):
    suppress(blobs, "a")
    update = Restore(series_keys=frozenset({"a"}))
    done = commit(Manifests(blobs), update, commit_id="restore", lineage=LINEAGE)
    assert (done.manifest.number, done.manifest.suppressed) == (2, frozenset())
    assert replace(done.manifest, number=1).parent == 0


def test_a_manifest_that_was_made_after_another_one_is_not_followed(blobs):
    """The newest was lost and its number given again; or a file came from another index."""
    for number in range(1, 6):
        suppress(blobs, str(number))
    before = Manifests(blobs).at(3)
    lost = blobs.get(manifest_name(5))
    blobs.delete(manifest_name(4))
    blobs.delete(manifest_name(5))
    assert suppress(blobs, "in its place").manifest.number == 4
    blobs.overwrite(manifest_name(5), lost.data)
    with pytest.raises(CorruptIndexError, match=manifest_name(5)):
        Manifests(blobs).newest(before)


def test_a_hint_is_renewed_before_what_it_names_expires():
    """Else every program that opens the index would list all stubs that there ever were."""
    clock = ManualClock()
    blobs = MemoryBlobs(clock)
    for number in range(1, 40):
        suppress(blobs, str(number))
    assert blobs.get(HINT).data == b"32"
    clock.advance(30 * 86_400)
    Collector(blobs, clock, SequentialIds(clock)).collect(RetentionPolicy(keep_newest=2))
    assert Manifests(blobs).read(32) == Stub(number=32)

    class Unlisted(MemoryBlobs):
        get = staticmethod(blobs.get)

        def list(self, prefix=""):
            raise AssertionError("it was listed")

    assert Manifests(Unlisted()).newest() == Manifests(blobs).newest()
