"""What is collected, and what is kept: policy and one collection at a time."""

from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given

from indexer_core.encoders import folder_of
from indexer_core.errors import CorruptIndexError
from indexer_core.index.collect import MARK, RetentionPolicy, last_collection_s, plan_retention
from indexer_core.index.commit import Abandoned, Committed, Manifests, manifest_name
from indexer_core.index.manifest import EMPTY, Manifest, Stub
from indexer_core.index.projections import put_projector
from indexer_core.index.segment import PREFIX
from indexer_core.index.updates import AddSegment, Pin, PublishProjection, Suppress, Unpin
from indexer_core.index.write_ids import fence_at
from indexer_core.text_cache import PREFIX as CACHE_PREFIX
from tests.support.segments import PROJECTION, PROJECTOR, TEXT
from tests.support.shelf import DAY_S, SMALL, Shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def merged_shelf() -> Shelf:
    """Four segments and their merge, long ago."""
    shelf = Shelf()
    for key in "abcd":
        shelf.add(key)
    shelf.upkeep().compact()
    shelf.clock.advance(2 * DAY_S)
    for key in "ef":
        shelf.add(key)
    return shelf


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 10), st.data())
def test_what_is_retained_is_young_enough_or_among_the_newest(gaps_s, keep_newest, data):
    times_s = [sum(gaps_s[:count]) for count in range(1, len(gaps_s) + 1)]
    newest = len(times_s)
    known_from = data.draw(st.integers(1, newest))
    now_s = times_s[-1] + data.draw(st.floats(0, 100))
    superseded_s = {number: times_s[number] for number in range(1, newest)}
    manifest = replace(EMPTY, number=newest, retained_from=known_from)
    policy = RetentionPolicy(keep_s=50.0, keep_newest=keep_newest)
    first = plan_retention(superseded_s, manifest, now_s, policy)
    assert known_from <= first <= newest
    for number in range(first, newest + 1):
        assert (
            number == first == known_from
            or number > newest - keep_newest
            or now_s - min(superseded_s[n] for n in range(first, newest)) < 50.0
        )
    if first < newest:
        # The first that is retained has a reason to be.
        assert newest - first < keep_newest or now_s - superseded_s[first] < 50.0
    for number in range(known_from, first):
        assert now_s - superseded_s[number] >= 50.0
        assert number <= newest - keep_newest


def test_the_age_of_a_manifest_counts_from_the_one_that_followed():
    newest = replace(EMPTY, number=3)
    policy = RetentionPolicy(keep_s=10.0, keep_newest=1)
    # 1 was the newest for a year, until a second ago.
    assert plan_retention({1: 999.0, 2: 999.5}, newest, 1000.0, policy) == 1
    assert plan_retention({1: 100.0, 2: 999.5}, newest, 1000.0, policy) == 2
    assert plan_retention({1: 100.0, 2: 200.0}, newest, 1000.0, policy) == 3


def test_what_only_expired_manifests_name_is_deleted():
    shelf = merged_shelf()
    before = shelf.live()
    n_files = len(list(shelf.blobs.list(PREFIX)))
    done = shelf.upkeep().collect()
    assert shelf.live() == before
    # Opening and four segments; the merge was followed by another commit just now.
    assert (done.n_expired, done.n_files, done.is_complete) == (5, 16, True)
    assert len(list(shelf.blobs.list(PREFIX))) == n_files - 16
    assert shelf.orphans() == set()
    assert shelf.problems() == []
    assert [isinstance(Manifests(shelf.blobs).read(n), Stub) for n in (1, 4, 5, 6, 8)] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_nothing_to_collect_makes_no_commit(shelf):
    shelf.add("a")
    number = shelf.newest.number
    for _ in range(3):
        shelf.clock.advance(10 * DAY_S)
        assert shelf.upkeep().collect().n_files == 0
    assert shelf.newest.number == number


def test_an_index_at_rest_stays_at_rest():
    shelf = merged_shelf()
    upkeep = shelf.upkeep()
    upkeep.collect()
    number = shelf.newest.number
    for _ in range(50):
        shelf.clock.advance(3600)
        upkeep.when_idle()
    # One more when the manifests of before were past retention, and none for its own sake.
    assert shelf.newest.number <= number + 1


def test_the_newest_manifest_stays_however_old_it_is(shelf):
    shelf.add("a")
    shelf.clock.advance(1000 * DAY_S)
    never = RetentionPolicy(keep_s=0.0, keep_newest=0, grace_s=0.0)
    assert shelf.upkeep().collect(never).n_expired == 1
    assert shelf.live().keys() == {"a"}
    assert shelf.upkeep().collect(never).n_expired == 1
    assert shelf.live().keys() == {"a"}


def test_files_of_a_killed_writer_are_deleted_once_the_grace_is_over(shelf):
    shelf.add("a")
    shelf.written(["b"])
    shelf.clock.advance(3500)
    assert shelf.upkeep().collect().n_files == 0
    shelf.clock.advance(200)
    assert shelf.upkeep().collect().n_files == 4
    assert shelf.orphans() == set()


def test_pinned_manifests_and_their_files_stay_until_the_pin_goes():
    shelf = merged_shelf()
    shelf.commit(Pin(number=4, name="cohort"))
    done = shelf.upkeep().collect()
    assert (done.n_expired, done.n_files) == (4, 4)
    assert isinstance(Manifests(shelf.blobs).read(4), Manifest)
    assert shelf.problems() == []
    shelf.commit(Unpin(number=4, name="cohort"))
    shelf.clock.advance(2 * DAY_S)
    shelf.upkeep().collect()
    assert isinstance(Manifests(shelf.blobs).read(4), Stub)
    assert shelf.orphans() == set()
    assert shelf.problems() == []


def test_a_collection_may_be_done_in_many_small_steps():
    shelf = merged_shelf()
    before = shelf.live()
    whole = shelf.copy().upkeep().collect()
    upkeep = shelf.upkeep()
    steps = [upkeep.collect(limit=3)]
    while not steps[-1].is_complete:
        assert steps[-1].n_expired + steps[-1].n_files == 3
        assert shelf.problems() == []
        steps.append(upkeep.collect(limit=3))
    assert len(steps) > 3
    # Every fence is a commit, and pushes an older manifest out of the newest ones.
    assert sum(step.n_files for step in steps) == whole.n_files
    assert shelf.live() == before
    assert shelf.orphans() == set()


def test_a_dry_run_tells_what_a_collection_then_does():
    shelf = merged_shelf()
    content = {entry.name: entry.properties.etag for entry in shelf.blobs.list()}
    told = shelf.upkeep().collect(dry_run=True)
    assert {entry.name: entry.properties.etag for entry in shelf.blobs.list()} == content
    done = shelf.upkeep().collect()
    assert (told.n_files, told.n_bytes) == (done.n_files, done.n_bytes)
    assert told.n_expired > 0


def test_stubs_are_not_read_again():
    shelf = merged_shelf()
    shelf.upkeep().collect()
    from indexer_core.testing.faults import RequestCounts, WrappedBlobs

    shelf.clock.advance(5 * DAY_S)
    shelf.add("g")
    counts = RequestCounts()
    Manifests(WrappedBlobs(shelf.blobs, counts)).listed()
    assert counts.n_requests == 1
    counts = RequestCounts()
    shelf.upkeep(counts).collect(dry_run=True)
    assert counts.requests["blobs.get"] <= 6


def test_a_collector_that_stays_reads_every_manifest_once():
    from indexer_core.testing.faults import RequestCounts

    shelf = Shelf(replace(SMALL, retention=replace(SMALL.retention, keep_newest=100)))
    counts = RequestCounts()
    upkeep = shelf.upkeep(counts)
    for number in range(20):
        shelf.add(f"a{number}")
        upkeep.collect()
    assert counts.requests["blobs.get"] <= 3 * 20 + 5  # the new one twice, and that none follows it


def test_a_clock_that_runs_ahead_does_not_fence_off_the_others(shelf):
    shelf.add("a")
    shelf.written(["b"])
    shelf.clock.advance(7200)
    upkeep = shelf.upkeep()
    ahead = type(shelf.clock)(shelf.clock.now_s() + 365 * DAY_S)
    upkeep._collector._clock = ahead
    assert upkeep.collect().n_files == 4
    assert shelf.newest.collected_before == fence_at(shelf.clock.now_s() - 3600)
    shelf.add("c")
    assert shelf.live().keys() == {"a", "c"}


def test_a_clock_that_is_set_back_between_two_collections_loses_no_file():
    shelf = merged_shelf()
    upkeep = shelf.upkeep()
    upkeep.collect(dry_run=True)  # by which the first manifests have expired
    shelf.clock.advance(-2 * DAY_S)
    for key in "ghi":
        shelf.add(key)
    shelf.clock.advance(3700)
    shelf.written(["orphan"])
    shelf.clock.advance(3700)
    assert upkeep.collect().n_files == 4
    assert shelf.problems() == []
    assert isinstance(Manifests(shelf.blobs).read(2), Manifest)


def test_a_retained_manifest_that_cannot_be_read_stops_the_collection():
    shelf = merged_shelf()
    n_files = len(list(shelf.blobs.list(PREFIX)))
    name = manifest_name(shelf.newest.number - 1)
    shelf.blobs.overwrite(name, shelf.blobs.get(name).data[:-9])
    with pytest.raises(CorruptIndexError, match=name):
        shelf.upkeep().collect()
    shelf.blobs.delete(name)
    with pytest.raises(CorruptIndexError, match=name):
        shelf.upkeep().collect()
    assert len(list(shelf.blobs.list(PREFIX))) == n_files


def test_cached_vectors_of_encoders_that_are_gone_are_deleted(shelf):
    old, now = (f"{CACHE_PREFIX}{folder_of(name)}/" for name in ("gone", TEXT))
    for folder in (old, now):
        shelf.blobs.put_if_absent(folder + shelf.ids.new_id(), b"vectors")
    shelf.clock.advance(2 * DAY_S)
    shelf.blobs.put_if_absent(old + shelf.ids.new_id(), b"somebody is trying it out again")
    assert shelf.upkeep().collect().n_files == 1
    assert len(list(shelf.blobs.list(old))) == len(list(shelf.blobs.list(now))) == 1


def test_what_has_no_write_id_in_its_name_is_never_collected(shelf):
    for name in (PROJECTION.file.name, "projections/other", f"{PREFIX}note", "assembly/x/y.json"):
        shelf.blobs.put_if_absent(name, b"kept")
    shelf.clock.advance(100 * DAY_S)
    shelf.upkeep().collect()
    assert len([e for e in shelf.blobs.list() if not e.name.startswith(("man", "last"))]) == 4


def published(shelf: Shelf, version: str, *, name: str | None = None) -> str:
    """Put an empty map in force; the name of its encoder's file, as today or as given."""
    projector = replace(PROJECTOR, version=version)
    projection = put_projector(shelf.blobs, projector, shelf.ids.new_id())
    if name is not None:
        data = shelf.blobs.get(projection.file.name).data
        shelf.blobs.delete(projection.file.name)
        shelf.blobs.put_if_absent(name, data)
        projection = replace(projection, file=replace(projection.file, name=name))
    outcome = shelf.commit(PublishProjection(projection=projection, coordinates={}))
    assert isinstance(outcome, Committed)
    return projection.file.name


def projectors(shelf: Shelf) -> set[str]:
    return {entry.name for entry in shelf.blobs.list("projections/")}


@pytest.mark.parametrize("name", [None, f"projections/{'ab' * 32}.projector"])
def test_encoders_of_maps_that_no_retained_manifest_names_are_collected(shelf, name):
    old = published(shelf, "1.0", name=name)
    kept = published(shelf, "2.0")
    shelf.clock.advance(DAY_S / 2)
    shelf.upkeep().collect()
    # A retained manifest names them: that of the new index has a name of the old kind, too.
    assert projectors(shelf) == {PROJECTION.file.name, old, kept}
    shelf.commit(Pin(number=shelf.newest.number - 1, name="then"))
    shelf.clock.advance(2 * DAY_S)
    for key in "abc":
        shelf.commit(Suppress(series_keys=frozenset(key)))
    shelf.upkeep().collect()
    pinned = Manifests(shelf.blobs).read(min(shelf.newest.pins)).projection.file.name
    assert projectors(shelf) == {pinned, kept}
    shelf.commit(Unpin(number=min(shelf.newest.pins), name="then"))
    shelf.clock.advance(DAY_S)
    shelf.upkeep().collect()
    assert projectors(shelf) == {kept}
    assert shelf.problems() == []


def test_an_encoder_that_is_about_to_be_published_outlives_the_grace_period_only(shelf):
    young = put_projector(shelf.blobs, replace(PROJECTOR, version="1.0"), shelf.ids.new_id())
    by_content = f"projections/{'cd' * 32}.projector"
    shelf.blobs.put_if_absent(by_content, b"left by an older program")
    shelf.written(["orphan"])
    shelf.clock.advance(3590)
    shelf.upkeep().collect()
    assert {young.file.name, by_content} <= projectors(shelf)
    shelf.clock.advance(20)
    shelf.upkeep().collect()
    assert projectors(shelf) == {PROJECTION.file.name}
    # Whoever slept over it puts it again, under another name, and is not harmed.
    slept = PublishProjection(projection=young, coordinates={})
    assert isinstance(shelf.commit(slept), Abandoned)
    assert published(shelf, "1.0") != young.file.name
    assert shelf.problems() == []


def test_a_collection_is_due_when_nobody_has_collected_for_a_while(shelf):
    shelf.add("a")
    shelf.written(["b"])
    shelf.clock.advance(2 * DAY_S)
    other, mine = shelf.upkeep(), shelf.upkeep()
    other.when_idle()
    assert shelf.orphans() == set()
    assert last_collection_s(shelf.blobs) == shelf.clock.now_s()
    shelf.written(["c"])
    shelf.clock.advance(3590)
    mine.after_batch()
    assert len(shelf.orphans()) == 4
    shelf.clock.advance(20)
    mine.after_batch()
    assert shelf.orphans() == set()


def test_a_collection_that_was_cut_short_goes_on_after_the_next_batch():
    shelf = merged_shelf()
    shelf.settings = replace(SMALL, collect_limit=4)
    upkeep = shelf.upkeep()
    for _ in range(8):
        upkeep.after_batch()
    assert shelf.orphans() == set()
    assert shelf.problems() == []


def test_the_mark_of_a_collection_is_no_part_of_the_index(shelf):
    shelf.upkeep().collect()
    assert shelf.blobs.get(MARK) is not None
    assert shelf.problems() == []


def test_masks_outlive_the_manifests_that_made_them():
    shelf = merged_shelf()
    shelf.commit(Suppress(series_keys=frozenset("a")))
    shelf.clock.advance(5 * DAY_S)
    assert isinstance(shelf.commit(AddSegment(segment=shelf.written(["z"]))), Committed)
    shelf.upkeep().collect()
    assert shelf.live().keys() == set("bcdefz")
