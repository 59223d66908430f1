"""What users do to blobs, told in Azure's own events, through the whole pipeline on Azurite."""

import json

import pytest
from azure.storage.blob import StandardBlobTier

from tests.support.azure_pipeline import AzurePipeline, empty, key_of
from tests.support.azurite import missing, running_azurite
from tests.support.dicom import dicom_object

pytestmark = [pytest.mark.azurite, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    if (reason := missing()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def house(azurite):
    house = AzurePipeline(azurite.connection_string)
    empty(house.storage)
    yield house.create()
    house.close()


def event(kind, api, **data):
    return json.dumps(
        {
            "topic": "/subscriptions/s/resourceGroups/r/providers/Microsoft.Storage/a/acc",
            "subject": "/blobServices/default/containers/inbox/blobs/x",
            "eventType": f"Microsoft.Storage.{kind}",
            "eventTime": "2026-11-23T18:41:00.9584103Z",
            "id": "831e1650-001e-001b-66ab-eeb76e069631",
            "dataVersion": "",
            "metadataVersion": "1",
            "data": {"api": api, "eTag": "0x1", "blobType": "BlockBlob", **data},
        }
    )


def tell(house, kind, api, name):
    house.stores.blob_events.send(event(kind, api, url=house.source.url_of(name)))


def settle(house):
    for _ in range(20):
        if not house.step() and house.is_idle:
            return
    raise AssertionError("it never settles")


def blobs(house):
    return {key: [url.rpartition("/")[2] for url in row.blobs] for key, row in house.live().items()}


def test_the_same_bytes_again_are_another_version_and_embed_nothing(house):
    data = dicom_object(series="same")
    house.put("1.dcm", data)
    tell(house, "BlobCreated", "PutBlob", "1.dcm")
    settle(house)
    before = house.live(), house.indexer.manifest_number, house.text_encoder.texts.copy()
    etag = house.source._reader.properties("1.dcm").etag
    house.put("1.dcm", data)
    assert house.source._reader.properties("1.dcm").etag != etag
    tell(house, "BlobCreated", "PutBlob", "1.dcm")
    house.text_encoder.texts.clear()
    assert house.ingest_all()
    assert house.check_all()
    assert house.lengths["series-ready"] == 0  # the worker is not even asked
    settle(house)
    assert (house.live(), house.indexer.manifest_number) == before[:2]
    assert not house.text_encoder.texts


def test_an_archived_blob_is_set_aside_and_heals_when_its_tier_changes(house):
    house.put("1.dcm", dicom_object(series="archived"))
    blob = house.inbox.get_blob_client("1.dcm")
    blob.set_standard_blob_tier(StandardBlobTier.ARCHIVE)
    tell(house, "BlobCreated", "PutBlob", "1.dcm")
    settle(house)
    assert blobs(house) == {}
    assert [row.values["code"] for row in house.stores.rejects.all()] == ["archived"]
    blob.set_standard_blob_tier(StandardBlobTier.HOT)
    tell(house, "BlobTierChanged", "SetBlobTier", "1.dcm")
    settle(house)
    assert blobs(house) == {key_of("archived"): ["1.dcm"]}
    assert list(house.stores.rejects.all()) == []


def test_a_renamed_blob_is_found_under_its_new_name_by_one_event(house):
    data = dicom_object(series="renamed")
    house.put("old.dcm", data)
    tell(house, "BlobCreated", "PutBlob", "old.dcm")
    settle(house)
    house.put("new.dcm", data)
    house.remove("old.dcm")
    names = {
        "sourceUrl": house.source.url_of("old.dcm"),
        "destinationUrl": house.source.url_of("new.dcm"),
    }
    house.stores.blob_events.send(event("BlobRenamed", "RenameFile", **names))
    settle(house)
    assert blobs(house) == {key_of("renamed"): ["new.dcm"]}


def test_events_in_the_wrong_order_leave_what_the_container_holds(house):
    house.put("there.dcm", dicom_object(series="there"))
    house.put("gone.dcm", dicom_object(series="gone"))
    house.remove("gone.dcm")
    # Deletions that were before creations, and the other way round; all of them twice.
    for _ in range(2):
        tell(house, "BlobDeleted", "DeleteBlob", "there.dcm")
        tell(house, "BlobDeleted", "DeleteBlob", "gone.dcm")
        tell(house, "BlobCreated", "PutBlockList", "gone.dcm")
        tell(house, "BlobCreated", "CopyBlob", "there.dcm")
    settle(house)
    assert blobs(house) == {key_of("there"): ["there.dcm"]}
    assert house.live()[key_of("there")].revision == 1
    house.remove("there.dcm")
    tell(house, "BlobDeleted", "DeleteBlob", "there.dcm")
    settle(house)
    assert blobs(house) == {}
    assert house.problems() == []
