"""Events: each says "look at this blob", nothing more.

One queue message is one event, or an array of them; Event Grid schema or CloudEvents 1.0; plain or
base64. Anything that names no blob to look at is ignored. Shapes: Azure Event Grid, Blob Storage
event schema.
"""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from indexer_core.errors import InvalidInputError

LOOK = "DicomIndexer.Look"
_PREFIX = "Microsoft.Storage."
_APIS = frozenset(
    {
        "PutBlob",
        "PutBlockList",
        "CopyBlob",
        "FlushWithClose",
        "DeleteBlob",
        "DeleteFile",
        "SetBlobTier",
        "SftpCommit",
        "SftpRemove",
    }
)
_TYPES = frozenset({"BlobCreated", "BlobDeleted", "BlobTierChanged"})


@dataclass(frozen=True, slots=True, kw_only=True)
class LookEvent:
    """A blob that may have changed. `sequencer` orders events of one blob, where known.

    time_s: when it happened, in seconds since the Unix epoch, where the event says so. It is
    measured by and decides nothing, so it is no part of what makes two events equal.
    """

    url: str
    sequencer: str | None = None
    time_s: float | None = field(default=None, compare=False)


def parse_events(body: str) -> tuple[LookEvent, ...]:
    """Blobs to look at; empty when the message names none.

    Raises
    ------
    InvalidInputError
        The message is not JSON in any of the known shapes.
    """
    parsed = _loads(body)
    events = parsed if isinstance(parsed, list) else [parsed]
    found: list[LookEvent] = []
    for event in events:
        if not isinstance(event, Mapping):
            raise InvalidInputError("the message is not a storage event")
        found.extend(_looks(event))
    return tuple(found)


def look_message(url: str) -> str:
    """A message that makes the indexer look at a blob again, as a CloudEvent."""
    return json.dumps(
        {
            "specversion": "1.0",
            "type": LOOK,
            "source": "dicom-indexer",
            "id": "look",
            "data": {"url": url},
        }
    )


def is_newer(sequencer: str, than: str) -> bool:
    """Whether a sequencer is later, within one blob name: compared left-padded with zeros."""
    width = max(len(sequencer), len(than))
    return sequencer.rjust(width, "0") > than.rjust(width, "0")


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: JSON may hold halves of surrogate pairs."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _loads(body: str) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        pass
    except RecursionError as error:
        raise InvalidInputError("the message is nested too deeply") from error
    try:
        return json.loads(base64.b64decode(body, validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidInputError("the message is neither JSON nor base64 of JSON") from error


def _looks(event: Mapping[str, Any]) -> Iterator[LookEvent]:
    kind = event.get("eventType") or event.get("type")
    data = event.get("data")
    if not isinstance(kind, str) or not isinstance(data, Mapping):
        raise InvalidInputError("the message is not a storage event")
    time_s = _seconds(event.get("eventTime") or event.get("time"))
    if kind == LOOK:
        yield _look(data, "url", time_s)
        return
    name = kind.removeprefix(_PREFIX)
    if name == "BlobRenamed":
        yield _look(data, "sourceUrl", time_s)
        yield _look(data, "destinationUrl", time_s)
    elif name in _TYPES and str(data.get("api")) in _APIS:
        yield _look(data, "url", time_s)


def _look(data: Mapping[str, Any], key: str, time_s: float | None) -> LookEvent:
    url = data.get(key)
    if not isinstance(url, str) or not url or not _is_text(url):
        raise InvalidInputError("the storage event names no blob")
    sequencer = data.get("sequencer")
    known = sequencer if isinstance(sequencer, str) else None
    return LookEvent(url=url, sequencer=known, time_s=time_s)


def _seconds(time: Any) -> float | None:
    """A time as RFC 3339 writes it, in seconds since the Unix epoch; None where it is not one."""
    try:
        found = datetime.fromisoformat(time)
        seconds = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
