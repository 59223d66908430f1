"""Storage events as Azure sends them, read with the models of Azure's own SDK.

The SDK reads the envelope (Event Grid schema or CloudEvents 1.0) and refuses what is neither; which
events ask for a look, and at what, stays decided in one place: `indexer_core.events`.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent

from indexer_core.errors import InvalidInputError
from indexer_core.events import LookEvent, parse_events

_NOT_AN_EVENT = "the message is not a storage event"
# What the Event Grid schema promises; the SDK's model is satisfied with less.
_EVENT_GRID = frozenset({"id", "subject", "eventType", "eventTime", "data", "dataVersion"})


def parse_azure_events(body: str) -> tuple[LookEvent, ...]:
    """Blobs to look at; empty when the message names none.

    Parameters
    ----------
    body
        One event or an array of events, as JSON, plain or base64.

    Raises
    ------
    InvalidInputError
        The message is neither of the two schemas.
    """
    parsed = _loads(body)
    events = parsed if isinstance(parsed, list) else [parsed]
    return parse_events(json.dumps([_plain(event) for event in events]))


def _loads(body: str) -> Any:
    try:
        return json.loads(body)
    except RecursionError:
        raise InvalidInputError(_NOT_AN_EVENT) from None
    except ValueError:
        pass
    try:
        return json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, RecursionError):
        raise InvalidInputError("the message is neither JSON nor base64 of JSON") from None


def _plain(event: Any) -> Mapping[str, Any]:
    """Type, time and data of an event, told in the words of its schema."""
    if not isinstance(event, dict):
        raise InvalidInputError(_NOT_AN_EVENT)
    try:
        return _cloud_event(event) if "specversion" in event else _event_grid(event)
    except (ValueError, TypeError, AttributeError, LookupError):
        # The SDK's texts repeat the event, and with it a file's name.
        raise InvalidInputError(_NOT_AN_EVENT) from None


def _cloud_event(event: dict[str, Any]) -> Mapping[str, Any]:
    found: CloudEvent[Any] = CloudEvent.from_dict(event)
    data = json.loads(found.data) if isinstance(found.data, bytes) else found.data
    return {"type": found.type, "time": event.get("time"), "data": data}


def _event_grid(event: dict[str, Any]) -> Mapping[str, Any]:
    if not event.keys() >= _EVENT_GRID or not isinstance(event["eventType"], str):
        raise InvalidInputError(_NOT_AN_EVENT)
    found = EventGridEvent.from_dict(event)
    time = event["eventTime"]
    return {"eventType": found.event_type, "eventTime": time, "data": found.data}
