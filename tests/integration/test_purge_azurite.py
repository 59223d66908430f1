"""Purging an index in a storage account: tables, queues and blobs, and what the account keeps."""

import pytest
from azure.storage.blob import BlobServiceClient, RetentionPolicy

from function_app.handlers import ingest
from indexer_core.adapters.azure.kept_copies import KeptCopies
from indexer_core.adapters.azure.queues import AzureQueue
from indexer_core.adapters.azure.stores import HOST_QUEUES, table_name
from indexer_core.adapters.faiss_vectors import FlatFp16Vectors
from indexer_core.events import look_message
from indexer_core.index.rows import rows_of, table_of
from indexer_core.purge import ALONE
from indexer_core.purge_receipts import State
from indexer_core.purge_stores import Messages, purger_of
from indexer_core.purge_targets import series_with_uid
from indexer_core.stores import ROW_TABLES
from tests.support.azure_pipeline import AzurePipeline, key_of
from tests.support.azurite import missing, running_azurite
from tests.support.dicom import dicom_object, uid

pytestmark = [pytest.mark.azurite, pytest.mark.timeout(600)]

WORD = "quokka"
ALL_QUEUES = ("blob-events", "series-check", "series-ready", "series-ready-poison", *HOST_QUEUES)


@pytest.fixture
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def pipeline(azurite):
    pipeline = AzurePipeline(azurite.connection_string).create()
    yield pipeline
    pipeline.close()


def contents(pipeline: AzurePipeline) -> list[str]:
    """Everything in the account but the users' files, as text."""
    found = []
    for entry in pipeline.stores.index.list():
        data = pipeline.stores.index.get(entry.name).data
        found.append(f"{entry.name} {data.decode('latin-1')}")
        if ".rows." in entry.name:
            found += map(str, rows_of(table_of(data, entry.name)))
    for name in ROW_TABLES:
        found += map(str, pipeline.storage.table(table_name(name)).list_entities())
    for name in ALL_QUEUES:
        messages = AzureQueue(pipeline.storage.queue(name)).receive(32, 1.0)
        found += [message.body for message in messages]
    return found


def traces(pipeline: AzurePipeline, *needles: str) -> list[str]:
    return [text for text in contents(pipeline) if any(needle in text for needle in needles)]


def test_no_part_of_the_account_holds_a_trace_of_a_purged_series(azurite, pipeline):
    for name, series, word in (("p/1.dcm", "planted", WORD), ("k/1.dcm", "kept", "Chest")):
        pipeline.put(name, dicom_object(series=series, SeriesDescription=word))
        pipeline.tell(name)
    while not pipeline.is_idle:
        pipeline.step()
    for queue in ("blob-events-poison", "series-ready-poison"):
        url = pipeline.source.url_of("p/1.dcm")
        AzureQueue(pipeline.storage.queue(queue)).send(look_message(url))
    needles = (WORD, uid("study", "planted"), "p/1.dcm")
    for needle in needles:
        assert traces(pipeline, needle), "it was never there"
    azurite.advance(2)  # what this test has looked at is visible again
    keys = series_with_uid(pipeline.stores, uid("study", "planted"))
    assert keys == {key_of("planted")}
    host_queue = AzureQueue(pipeline.storage.queue("blob-events-poison"))
    purger = purger_of(
        pipeline.stores,
        vector_files=FlatFp16Vectors(),
        assembly=pipeline.services.assembly,
        handle_event=lambda body: ingest(body, pipeline.services),
        policy=ALONE,
        further=(
            Messages("blob-events-poison", host_queue, pipeline.stores.sources),
            KeptCopies(pipeline.storage, pipeline.stores.clock),
        ),
    )
    purger.request(keys, "series")
    (receipt,) = purger.carry_on()
    assert receipt.state is State.DONE
    assert receipt.erased["messages of blob-events-poison"] == 1
    azurite.advance(700)
    assert traces(pipeline, *needles) == []
    assert set(pipeline.live()) == {key_of("kept")}
    assert pipeline.problems() == []


def test_receipt_tells_how_long_the_account_keeps_what_is_deleted(azurite, pipeline):
    kept = KeptCopies(pipeline.storage, pipeline.stores.clock)
    (caches,) = kept.erase(None).remaining
    assert "cache folders of other machines" in caches.what
    with BlobServiceClient.from_connection_string(azurite.connection_string) as client:
        policy = RetentionPolicy(enabled=True, days=9)
        client.set_service_properties(delete_retention_policy=policy)
    _, remaining = kept.erase(None).remaining
    assert remaining.until_s == pytest.approx(pipeline.stores.clock.now_s() + 9 * 86400, abs=600)
    azurite.stop()
    _, unknown = kept.erase(None).remaining
    assert "could not be read" in unknown.what
    assert unknown.until_s is None
