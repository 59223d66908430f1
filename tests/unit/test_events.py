"""Events: every shape that a queue may deliver, and what none may do."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer_core.errors import InvalidInputError
from indexer_core.events import LookEvent, is_newer, look_message, parse_events

URL = "https://account.blob.core.windows.net/dicom/a%20b.dcm"


def event_grid(kind: str = "BlobCreated", api: str = "PutBlob", **data: object) -> dict:
    return {
        "eventType": f"Microsoft.Storage.{kind}",
        "data": {"api": api, "url": URL, "sequencer": "0A", **data},
    }


def test_event_grid_cloud_event_array_and_base64_say_the_same():
    cloud = {**event_grid(), "type": "Microsoft.Storage.BlobCreated"}
    del cloud["eventType"]
    for event in (event_grid(), cloud, [event_grid()]):
        body = json.dumps(event)
        for form in (body, base64.b64encode(body.encode()).decode()):
            assert parse_events(form) == (LookEvent(url=URL, sequencer="0A"),)


def test_rename_looks_at_both_names():
    event = event_grid("BlobRenamed", sourceUrl="s", destinationUrl="d")
    assert [look.url for look in parse_events(json.dumps(event))] == ["s", "d"]


@pytest.mark.parametrize(
    "event",
    [event_grid("DirectoryCreated"), event_grid(api="CreateFile"), event_grid("Something"), []],
)
def test_what_names_no_blob_to_look_at_is_ignored(event):
    assert parse_events(json.dumps(event)) == ()


@pytest.mark.parametrize("body", ["", "x", "7", "[7]", "{}", '{"type": 1}', '["a"]', "////"])
def test_what_is_no_event_is_refused(body):
    with pytest.raises(InvalidInputError):
        parse_events(body)


@given(st.text())
def test_any_text_is_read_or_refused(body):
    with contextlib.suppress(InvalidInputError):
        parse_events(body)


def test_look_message_is_an_event_without_an_order():
    assert parse_events(look_message(URL)) == (LookEvent(url=URL),)


def test_sequencers_are_compared_padded():
    assert is_newer("10", "F")
    assert not is_newer("0F", "F")
