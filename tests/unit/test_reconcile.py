"""Backfill and reconcile: what they enqueue, and that they mend what happened behind our back."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.adapters.local_files import url_of
from indexer_core.errors import UnavailableError
from indexer_core.index.reader import Reader
from indexer_core.ports import BlobProperties
from indexer_core.reconcile import (
    Backfill,
    Listed,
    Looks,
    Page,
    ReconcileReport,
    compare,
    look_at_all,
    reconcile,
    resend_lost,
)
from indexer_core.rejects import Rejects
from indexer_core.testing.faults import (
    FaultPlan,
    SimulatedCrash,
    WrappedQueue,
    WrappedRows,
    WriteFault,
)
from indexer_core.testing.memory import ManualClock, MemoryBlobs, MemoryQueue, MemoryRows
from local_host.homes import FolderListing
from local_host.roots import LocalSource
from tests.support.house import PREFIX, QUIET_S
from tests.support.pipeline import Pipeline, slice_of


@dataclass
class BlobListing:
    """Everything in a store of blobs; the cursor is the last name of a page."""

    store: MemoryBlobs
    page: int = 2
    name: str = "inbox/with?odd#characters"

    def pages(self, cursor):
        entries = [entry for entry in self.store.list() if cursor is None or entry.name > cursor]
        for start in range(0, len(entries), self.page):
            some = entries[start : start + self.page]
            blobs = [Listed(url=PREFIX + e.name, properties=e.properties) for e in some]
            is_last = start + self.page >= len(entries)
            yield Page(blobs=blobs, cursor=None if is_last else some[-1].name)


def never() -> None:
    raise AssertionError("the queue is not deep")


def is_ours(url: str) -> bool:
    return url.startswith(PREFIX)


def filled(n_blobs: int) -> MemoryBlobs:
    store = MemoryBlobs(ManualClock())
    for number in range(n_blobs):
        store.overwrite(f"{number:03d}.dcm", b"%d" % number)
    return store


def looked_at(queue: MemoryQueue) -> list[str]:
    return [
        json.loads(message.body)["data"]["url"].removeprefix(PREFIX)
        for message in queue.receive(10_000, 60.0)
    ]


def settle(house: Pipeline) -> None:
    """Work, with the quiet period over, until nothing is on its way."""
    process = house.process()
    for _ in range(6):
        process.drain()
        house.clock.advance(QUIET_S + 1)
    process.drain()


def reconciled(house: Pipeline) -> ReconcileReport:
    return reconcile(
        BlobListing(house.inbox),
        blobs=house.rows["blobs"],
        instances=house.rows["instances"],
        looks=house.queues["events"],
        assembly=house.process().assembly,
        reader=Reader(house.index, FlatFp16Vectors()),
        holds=is_ours,
        rejects=Rejects(house.rows["rejects"], house.clock),
    )


def test_backfill_of_a_huge_container_holds_no_more_than_two_of_its_pages():
    """One that is sent and one that has just arrived, of millions of blobs."""
    alive, most, sent = [0], [0], [0]

    class Blobs(list):
        def __init__(self, blobs):
            super().__init__(blobs)
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    class Huge:
        name = "huge"

        def pages(self, cursor):
            for number in range(int(cursor or 0), 400):
                properties = BlobProperties(etag="1", size_bytes=1, modified_s=0.0)
                urls = [f"{PREFIX}{number}-{place}.dcm" for place in range(500)]
                blobs = Blobs(Listed(url=url, properties=properties) for url in urls)
                yield Page(blobs=blobs, cursor=str(number + 1))

    def emit(bodies):
        sent[0] += sum(1 for _ in bodies)

    looks = Looks(MemoryQueue(), emit=emit, wait=never)
    report = Backfill(looks=looks, jobs=MemoryRows()).run(Huge())
    assert report.n_enqueued == sent[0] == 200_000
    assert most[0] <= 2


@pytest.fixture
def house() -> Pipeline:
    """Two series, indexed."""
    house = Pipeline()
    for series in ("a", "b"):
        for instance in (1, 2):
            house.upload(f"{series}{instance}", slice_of(series=series, instance=instance))
    settle(house)
    assert len(house.live()) == 2
    return house


def test_backfill_enqueues_a_look_at_every_blob():
    queue = MemoryQueue()
    jobs = MemoryRows()
    told: list[int] = []
    report = Backfill(looks=Looks(queue, wait=never), jobs=jobs).run(
        BlobListing(filled(5)), progress=told.append
    )
    assert sorted(looked_at(queue)) == [f"{number:03d}.dcm" for number in range(5)]
    assert (report.n_enqueued, report.resumed) == (5, False)
    assert told == [2, 4, 5]
    assert not list(jobs.scan())


CRASHES = (WriteFault.CRASH_BEFORE, WriteFault.CRASH_AFTER)


@given(n_blobs=st.integers(1, 9), page=st.integers(1, 4), data=st.data())
def test_backfill_killed_at_any_write_repeats_looks_and_leaves_none_out(n_blobs, page, data):
    queue, jobs = MemoryQueue(), MemoryRows()
    listing = BlobListing(filled(n_blobs), page=page)

    def run(plan) -> None:
        looks = Looks(WrappedQueue(queue, plan), wait=never)
        Backfill(looks=looks, jobs=WrappedRows(jobs, plan)).run(listing)

    for _ in range(data.draw(st.integers(1, 3))):
        try:
            at = data.draw(st.integers(1, 2 * n_blobs + 4))
            run(FaultPlan(at, data.draw(st.sampled_from(CRASHES))))
        except SimulatedCrash:
            continue
    run(FaultPlan())
    looks = looked_at(queue)
    assert set(looks) == {entry.name for entry in listing.store.list()}
    assert not list(jobs.scan())


def test_interrupted_backfill_is_carried_on_and_not_begun_again():
    queue, jobs = MemoryQueue(), MemoryRows()

    @dataclass
    class Failing(BlobListing):
        def pages(self, cursor):
            pages = super().pages(cursor)
            yield next(pages)
            raise UnavailableError("the store is down")

    store = filled(5)
    backfill = Backfill(looks=Looks(queue, wait=never), jobs=jobs)
    with pytest.raises(UnavailableError):
        backfill.run(Failing(store))
    assert looked_at(queue) == ["000.dcm", "001.dcm"]
    report = backfill.run(BlobListing(store))
    assert report.resumed
    assert report.n_enqueued == 5
    assert sorted(looked_at(queue)) == ["002.dcm", "003.dcm", "004.dcm"]


def test_two_backfills_of_one_source_at_once_leave_nothing_out():
    store, jobs = filled(6), MemoryRows()
    queue, other = MemoryQueue(), MemoryQueue()

    def run_the_other(_: int) -> None:
        Backfill(looks=Looks(other, wait=never), jobs=jobs).run(BlobListing(store, page=3))

    Backfill(looks=Looks(queue, wait=never), jobs=jobs).run(
        BlobListing(store), progress=run_the_other
    )
    assert sorted(set(looked_at(queue))) == [entry.name for entry in store.list()]
    assert not list(jobs.scan())


@given(n_blobs=st.integers(0, 30), depth=st.integers(1, 9), page=st.integers(1, 12))
def test_queue_never_gets_deeper_than_its_bound(n_blobs, depth, page):
    queue = MemoryQueue()
    depths: list[int] = []
    seen: list[str] = []

    def work() -> None:
        depths.append(queue.length())
        for message in queue.receive(2, 60.0):
            seen.append(json.loads(message.body)["data"]["url"])
            queue.delete(message)

    looks = Looks(queue, wait=work, max_depth=depth)
    Backfill(looks=looks, jobs=MemoryRows()).run(BlobListing(filled(n_blobs), page=page))
    assert max([*depths, queue.length()]) <= depth
    assert len(seen) + queue.length() == n_blobs


def test_agreement_is_left_alone(house):
    before = house.n_commits()
    report = reconciled(house)
    assert report == ReconcileReport(n_listed=4)
    assert house.queues["events"].length() == 0
    assert house.n_commits() == before


def test_what_happened_behind_our_back_is_found_and_mended(house):
    house.upload("a1", slice_of(series="a", instance=1, value=9), tell=False)
    house.upload("c1", slice_of(series="c", instance=1), tell=False)
    house.inbox.delete("b1")
    house.inbox.delete("b2")
    report = reconciled(house)
    assert (report.n_unseen, report.n_changed, report.n_gone, report.n_resent) == (1, 1, 2, 0)
    settle(house)
    told = Pipeline()
    for name in ("a1", "a2", "c1"):
        told.upload(name, house.inbox.get(name).data)
    settle(told)
    assert {key: row.facts for key, row in house.live().items()} == {
        key: row.facts for key, row in told.live().items()
    }
    assert reconciled(house) == ReconcileReport(n_listed=3)


def test_blob_that_went_and_came_back_is_found(house):
    data = house.inbox.get("a1").data
    house.remove("a1")
    settle(house)
    house.upload("a1", data, tell=False)
    assert reconciled(house).n_unseen == 1


def test_reject_that_heals_without_a_new_version_is_looked_at_once_it_can(house):
    data = slice_of(series="c", instance=1)
    house.inbox.overwrite("c1", data, archived=True)
    house.tell("c1")
    settle(house)
    assert len(house.rejects("blob")) == 1
    assert reconciled(house).n_looks == 0  # still archived
    blob = house.inbox._blobs["c1"]
    properties = replace(blob.properties, archived=False)  # under the same etag, as in Azure
    house.inbox._blobs["c1"] = replace(blob, properties=properties)
    assert reconciled(house).n_changed == 1
    settle(house)
    assert len(house.live()) == 3
    assert not house.rejects("blob")


def test_interrupted_look_is_made_again(house):
    (row,) = [r for r in house.rows["blobs"].scan() if r.values["url"] == PREFIX + "a1"]
    house.rows["blobs"].merge(row, {"state": "looking"})
    assert reconciled(house).n_changed == 1


def test_blobs_of_other_sources_are_left_alone(house):
    report = compare(
        BlobListing(MemoryBlobs()),
        blobs=house.rows["blobs"],
        looks=Looks(house.queues["events"], wait=never),
        holds=lambda url: url.endswith("a1"),
    )
    assert report.n_gone == 1


def test_series_announced_but_not_in_the_index_is_handed_on_again(house):
    house.upload("c1", slice_of(series="c", instance=1))
    process = house.process()
    process.events()
    house.clock.advance(QUIET_S + 1)
    process.checks()
    (lost,) = house.queues["ready"].receive(32, 60.0)
    house.queues["ready"].delete(lost)  # as somebody might who clears a queue
    settle(house)
    assert len(house.live()) == 2
    before = house.n_commits()
    assert reconciled(house).n_resent == 1
    assert house.n_commits() == before
    settle(house)
    assert len(house.live()) == 3
    assert reconciled(house).n_resent == 0


def test_series_that_is_set_aside_is_not_handed_on_for_ever(house):
    def refuse(stacks):
        raise ValueError("no such image")

    house.image_encoder.before = refuse
    house.upload("c1", slice_of(series="c", instance=1, value=3))
    settle(house)
    assert len(house.rejects("series")) == 1
    assert reconciled(house).n_resent == 0


def test_series_that_came_and_went_before_it_was_indexed_is_not_handed_on(house):
    house.upload("c1", slice_of(series="c", instance=1))
    process = house.process()
    process.events()
    house.clock.advance(QUIET_S + 1)
    process.checks()
    (lost,) = house.queues["ready"].receive(32, 60.0)
    house.queues["ready"].delete(lost)
    house.remove("c1")
    settle(house)
    assert reconciled(house).n_resent == 0


def test_deleted_series_is_not_handed_on(house):
    key = next(iter(house.live()))
    process = house.process()
    process.opened().suppress(frozenset([key]))
    marker = process.assembly.marker(key)
    house.rows["instances"].merge(marker, {"digest": "0" * 64})
    assert resend_lost(house.rows["instances"], process.assembly, reader_of(house)) == 0


def reader_of(house: Pipeline) -> Reader:
    return Reader(house.index, FlatFp16Vectors())


def test_neither_writes_the_index(house):
    names = [entry.name for entry in house.index.list()]
    house.upload("c1", slice_of(series="c", instance=1), tell=False)
    Backfill(looks=Looks(house.queues["events"], wait=never), jobs=MemoryRows()).run(
        BlobListing(house.inbox)
    )
    reconciled(house)
    assert [entry.name for entry in house.index.list()] == names


def test_look_at_all_looks_at_what_is_there_and_at_what_has_gone(house):
    house.inbox.delete("a1")
    report = look_at_all(
        BlobListing(house.inbox),
        blobs=house.rows["blobs"],
        looks=Looks(house.queues["events"], wait=never),
        holds=is_ours,
    )
    assert (report.n_listed, report.n_gone) == (3, 1)
    assert sorted(looked_at(house.queues["events"])) == ["a1", "a2", "b1", "b2"]


NAMES = st.sampled_from(["a", "a-b", "a.b", "b", "B", "a b", "ä"])


@given(
    places=st.sets(st.lists(NAMES, min_size=1, max_size=3).map(tuple), min_size=1, max_size=9),
    page=st.integers(1, 4),
)
def test_folders_listed_from_any_cursor_leave_nothing_out(tmp_path_factory, places, page):
    folder = tmp_path_factory.mktemp("folders")
    for place in places:
        path = folder.joinpath(*place[:-1], f"{place[-1]}.dcm")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    source = LocalSource(MemoryRows())
    roots = sorted(folder.iterdir())
    source.add([*roots, *(root / "a" for root in roots if (root / "a").is_dir())])
    listing = FolderListing(source=source, page=page)
    pages = list(listing.pages(None))
    everything = [blob.url for one in pages for blob in one.blobs]
    expected = {url_of(path) for path in folder.rglob("*.dcm")}
    assert len(everything) == len(expected)
    assert set(everything) == expected
    for number, one in enumerate(pages):
        rest = [blob.url for later in listing.pages(one.cursor) for blob in later.blobs]
        assert rest == [blob.url for later in pages[number + 1 :] for blob in later.blobs]


def test_links_and_our_own_data_are_not_listed(tmp_path):
    (tmp_path / "real").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own").write_bytes(b"x")
    source = LocalSource(MemoryRows())
    source.add([tmp_path])
    listing = FolderListing(source=source, exclude=(tmp_path / "data",))
    (page,) = listing.pages(None)
    assert [Path(blob.url).name for blob in page.blobs] == ["real"]
