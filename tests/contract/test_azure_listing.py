"""Containers listed page by page on a live Azurite, and backfilled from any page on."""

import json
from dataclasses import replace

import pytest

from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.configured import Accounts
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.settings import Settings, SourceSetting
from indexer_core.adapters.azure.tables import AzureRows
from indexer_core.errors import UnavailableError
from indexer_core.reconcile import JOBS, Backfill, Looks
from tests.support.azurite import Fault, FaultyProxy, fresh_name

pytestmark = pytest.mark.azurite

NAMES = [f"site-3/{number} ü+.dcm" for number in range(7)]
N_PER_PAGE = 2


@pytest.fixture
def container(storage):
    client = storage.create_container(fresh_name("inbox"))
    for name in (*NAMES, "site-3.dcm", "site-30/0.dcm", "other/0.dcm"):
        client.upload_blob(name, b"x")
    return client


@pytest.fixture
def opened():
    """What is to be closed at the end."""
    things = []
    yield lambda thing: things.append(thing) or thing
    for thing in reversed(things):
        thing.close()


def listing_of(container, opened, connection, prefix="site-3"):
    setting = SourceSetting(
        scope="clinic", account=connection, container=container.container_name, prefix=prefix
    )
    settings = Settings(storage=connection, sources=(setting,), patient_secret=b"s" * 16)
    (listing,) = opened(Accounts(settings)).listings()
    return replace(listing, page=N_PER_PAGE)


@pytest.fixture
def listing(container, opened, azurite):
    return listing_of(container, opened, azurite.connection_string)


def names_of(listing, pages):
    found = [[listing.source.locate(blob.url).name for blob in page.blobs] for page in pages]
    assert all(len(page) <= N_PER_PAGE for page in found)
    return [name for page in found for name in page]


def test_folder_is_listed_page_by_page_and_nothing_beside_it(listing):
    pages = list(listing.pages(None))
    assert len(pages) == 4
    assert names_of(listing, pages) == NAMES
    assert pages[-1].cursor is None
    assert all(blob.properties.etag for page in pages for blob in page.blobs)


def test_every_cursor_goes_on_with_the_page_behind_it(listing):
    pages = list(listing.pages(None))
    for n_seen, page in enumerate(pages[:-1], 1):
        assert names_of(listing, listing.pages(page.cursor)) == NAMES[N_PER_PAGE * n_seen :]


def test_source_without_a_folder_is_the_whole_container(container, opened, azurite):
    listing = listing_of(container, opened, azurite.connection_string, prefix="")
    assert len(names_of(listing, listing.pages(None))) == len(NAMES) + 3


def test_busy_page_is_asked_for_again(container, opened, azurite):
    proxy = opened(FaultyProxy(azurite, "blob"))
    listing = listing_of(container, opened, proxy.connection_string)
    proxy.faults.append(Fault("GET", "comp=list", nth=2, status=503, code="ServerBusy"))
    assert names_of(listing, listing.pages(None)) == NAMES
    assert not proxy.faults


def test_interrupted_backfill_is_carried_on_by_another_process_and_the_queue_stays_shallow(
    container, opened, azurite, storage
):
    jobs = AzureRows(storage.create_table(fresh_name("jobs")))
    queue = AzureQueue(storage.create_queue(fresh_name("looks")))
    proxy = opened(FaultyProxy(azurite, "blob"))
    proxy.faults += [Fault("GET", "marker=", nth=2, status=403, code="AuthorizationFailure")]
    listing = listing_of(container, opened, proxy.connection_string)
    looked, depths = [], []

    def drain():
        depths.append(queue.length())
        for message in queue.receive(32, 60.0):
            looked.append(json.loads(message.body)["data"]["url"])
            queue.delete(message)

    def run():
        looks = Looks(queue, wait=drain, max_depth=3)
        return Backfill(looks=looks, jobs=jobs).run(listing)

    with pytest.raises(UnavailableError):
        run()
    (job,) = jobs.query(JOBS)
    assert job.values["n_enqueued"] == 2 * N_PER_PAGE
    # Another process: it knows nothing but what the table says.
    jobs = AzureRows(opened(AzureStorage(azurite.connection_string)).table(jobs._table.table_name))
    report = run()
    drain()
    assert (report.resumed, report.n_enqueued) == (True, len(NAMES))
    assert [listing.source.locate(url).name for url in looked] == NAMES
    assert max(depths) <= 3
    assert list(jobs.query(JOBS)) == []
