"""Storage events in every shape Azure sends; both parsers read the same payloads alike."""

import base64
import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.adapters.azure.events import parse_azure_events
from indexer_core.errors import InvalidInputError
from indexer_core.events import LookEvent, look_message, parse_events

URL = "https://acc.blob.core.windows.net/dicom/a/b.dcm"
SEQUENCER = "00000000000004420000000000028963"


def event_grid(kind="BlobCreated", api="PutBlockList", url=URL, **data):
    return {
        "topic": "/subscriptions/s/resourceGroups/r/p/Microsoft.Storage/storageAccounts/acc",
        "subject": "/blobServices/default/containers/dicom/blobs/a/b.dcm",
        "eventType": f"Microsoft.Storage.{kind}",
        "eventTime": "2017-06-26T18:41:00.9584103Z",
        "id": "831e1650-001e-001b-66ab-eeb76e069631",
        "dataVersion": "",
        "metadataVersion": "1",
        "data": {
            "api": api,
            "clientRequestId": "6d79dbfb-0e37-4fc4-981f-442c9ca65760",
            "requestId": "831e1650-001e-001b-66ab-eeb76e000000",
            "eTag": '"0x8D4BCC2E4835CD0"',
            "contentType": "application/dicom",
            "contentLength": 524288,
            "blobType": "BlockBlob",
            "url": url,
            "sequencer": SEQUENCER,
            "storageDiagnostics": {"batchId": "b68529f3-68cd-4744-baa4-3c0498ec19f0"},
        }
        | data,
    }


def cloud_event(event):
    return {
        "source": event["topic"],
        "subject": event["subject"],
        "type": event["eventType"],
        "time": event["eventTime"],
        "id": event["id"],
        "data": event["data"],
        "specversion": "1.0",
    }


DELETED = event_grid("BlobDeleted", "DeleteBlob")
for _name in ("eTag", "contentLength"):
    del DELETED["data"][_name]
DFS = "https://acc.dfs.core.windows.net/dicom/a/b.dcm"
RENAMED = event_grid(
    "BlobRenamed", "RenameFile", sourceUrl=DFS + ".tmp", destinationUrl=DFS, url=None
)
LOOK = LookEvent(url=URL, sequencer=SEQUENCER)
CASES = {
    "created": (event_grid(), [LOOK]),
    "bare etag": (event_grid(eTag="0x8D4BCC2E4835CD0"), [LOOK]),
    "put": (event_grid(api="PutBlob"), [LOOK]),
    "copy": (event_grid(api="CopyBlob"), [LOOK]),
    "deleted": (DELETED, [LOOK]),
    "tier": (event_grid("BlobTierChanged", "SetBlobTier"), [LOOK]),
    "no sequencer": (event_grid(sequencer=None), [LookEvent(url=URL)]),
    "spaces": (event_grid(url=URL + "%20x"), [LookEvent(url=URL + "%20x", sequencer=SEQUENCER)]),
    "plus": (event_grid(url=URL + "+x"), [LookEvent(url=URL + "+x", sequencer=SEQUENCER)]),
    "unicode": (
        event_grid(url=URL + "%C3%BC日"),
        [LookEvent(url=URL + "%C3%BC日", sequencer=SEQUENCER)],
    ),
    "hierarchical create": (event_grid(api="CreateFile", url=DFS, contentLength=0), []),
    "hierarchical flush": (
        event_grid(api="FlushWithClose", url=DFS),
        [LookEvent(url=DFS, sequencer=SEQUENCER)],
    ),
    "hierarchical delete": (
        event_grid("BlobDeleted", "DeleteFile", url=DFS),
        [LookEvent(url=DFS, sequencer=SEQUENCER)],
    ),
    "renamed": (
        RENAMED,
        [
            LookEvent(url=DFS + ".tmp", sequencer=SEQUENCER),
            LookEvent(url=DFS, sequencer=SEQUENCER),
        ],
    ),
    "directory": (event_grid("DirectoryCreated", "CreateDirectory"), []),
    "other service": (event_grid() | {"eventType": "Microsoft.KeyVault.SecretNearExpiry"}, []),
}
BAD = (
    "",
    "x",
    "7",
    '"x"',
    "null",
    "[1]",
    "{}",
    "[[]]",
    base64.b64encode(b"\xff\xfe").decode(),
    json.dumps(event_grid() | {"data": None}),
    json.dumps(event_grid() | {"data": "x"}),
    json.dumps(event_grid() | {"eventType": 7}),
    json.dumps(event_grid(url=None)),
    json.dumps(event_grid(url="")),
    json.dumps(cloud_event(event_grid()) | {"data": [1]}),
)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("parse", [parse_azure_events, parse_events])
def test_event_of_either_schema_and_encoding_asks_for_its_looks(parse, name):
    event, expected = CASES[name]
    for shape in (event, cloud_event(event), [event], [cloud_event(event), event]):
        times = len(shape) if isinstance(shape, list) else 1
        for body in (json.dumps(shape), json.dumps(shape, ensure_ascii=False, indent=1)):
            assert parse(body) == tuple(expected * times)
            assert parse(base64.b64encode(body.encode()).decode()) == tuple(expected * times)


@pytest.mark.parametrize("parse", [parse_azure_events, parse_events])
def test_own_message_and_empty_array_are_understood(parse):
    assert parse(look_message(URL)) == (LookEvent(url=URL),)
    assert parse("[]") == ()


@pytest.mark.parametrize("body", BAD)
@pytest.mark.parametrize("parse", [parse_azure_events, parse_events])
def test_message_that_is_no_event_is_refused(parse, body):
    with pytest.raises(InvalidInputError):
        parse(body)


@pytest.mark.parametrize("missing", ["id", "subject", "eventType", "eventTime", "data"])
def test_event_that_azure_cannot_have_sent_is_refused(missing):
    event = event_grid()
    del event[missing]
    with pytest.raises(InvalidInputError):
        parse_azure_events(json.dumps(event))


@pytest.mark.parametrize("missing", ["source", "type"])
def test_cloud_event_without_what_the_standard_demands_is_refused(missing):
    event = cloud_event(event_grid())
    del event[missing]
    with pytest.raises(InvalidInputError):
        parse_azure_events(json.dumps(event))


def test_cloud_event_with_data_in_base64_is_read():
    event = cloud_event(event_grid())
    event["data_base64"] = base64.b64encode(json.dumps(event.pop("data")).encode()).decode()
    assert parse_azure_events(json.dumps(event)) == (LOOK,)


def test_refusal_repeats_nothing_of_the_event():
    with pytest.raises(InvalidInputError) as caught:
        parse_azure_events(json.dumps({"specversion": "1.0", "subject": "DOE^JANE"}))
    assert "DOE" not in str(caught.value)
    assert caught.value.__suppress_context__


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted({*event_grid(), *cloud_event(event_grid())})), _JSON))
def test_anything_else_is_refused_or_ignored_but_never_crashes(event):
    for parse in (parse_azure_events, parse_events):
        with suppress(InvalidInputError):
            assert isinstance(parse(json.dumps(event)), tuple)
