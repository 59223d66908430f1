"""Every stage that a series has passed, from the files looked at to the row that searches see.

`traceId` is what telemetry calls the series, where any is sent.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from indexer_core.assembly import MARKER
from indexer_core.index.reader import Reader
from indexer_core.named import is_short_key
from indexer_core.ports import BlobStore, Row
from indexer_core.search import keys_of
from indexer_core.stores import Stores
from indexer_core.telemetry import trace_id
from indexer_core.thumbnails import thumbnail_name


def trace_series(
    stores: Stores,
    reader: Reader,
    uid: str,
    *,
    include_blobs: bool = False,
    scopes: frozenset[str] | None = None,
) -> Iterator[dict[str, Any]]:
    """The stages of each series of this UID, key or short key, of these scopes (None: any).

    A series that was purged has nothing left that tells its scope: it is not told of where scopes
    are asked for.
    """
    for key in sorted(_keys(stores, reader, uid)):
        rows = list(stores.instances.query(key))
        instances = [row for row in rows if row.key != MARKER]
        if scopes is not None and not _is_of(scopes, instances):
            continue
        stages: dict[str, Any] = {
            "seriesKey": key,
            "traceId": trace_id(key),
            "files": {
                "live": sum(not row.values["gone"] for row in instances),
                "rejectedMessage": stores.rejects.series_reason(key),
            },
            "assembly": _marker(next((row for row in rows if row.key == MARKER), None)),
            "index": _indexed(reader, key, stores.index),
        }
        if include_blobs:
            stages["files"]["blobs"] = sorted(str(row.values["url"]) for row in instances)
        yield stages


def _keys(stores: Stores, reader: Reader, uid: str) -> set[str]:
    # Never every instance: what is settled is in the index, and the open series are few.
    keys = set(keys_of(reader.snapshot, uid))
    if stores.instances.get(uid, MARKER) is not None:
        keys.add(uid)
    unsettled = {*(row.key for row in stores.open_series.scan()), *stores.rejects.series_keys()}
    if is_short_key(uid):
        keys.update(key for key in unsettled if key.startswith(uid))
    keys.update(key for key in unsettled - keys if uid == _uid_of(stores, key))
    return keys


def _uid_of(stores: Stores, key: str) -> str | None:
    # One row suffices: all rows of a partition have the UIDs that make its key.
    rows = (row for row in stores.instances.query(key) if row.key != MARKER)
    row = next(rows, None)
    return None if row is None else str(json.loads(row.values["facts"])["series_instance_uid"])


def _is_of(scopes: frozenset[str], instances: Sequence[Row]) -> bool:
    """Whether a series is of one of these scopes; all its files are of the same one."""
    return bool(instances) and str(instances[0].values["scope"]) in scopes


def _marker(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("state", "revision", "digest", "unsent")
    return {name: row.values[name] for name in names}


def _indexed(reader: Reader, key: str, index: BlobStore) -> dict[str, Any] | None:
    place = reader.winner(key)
    if place is None:
        return None
    row = reader.row(place)
    manifest = reader.snapshot.manifest
    suppressed = key in manifest.suppressed
    thumbnail = thumbnail_name(key, row.revision, row.digest)
    return {
        "manifest": manifest.number,
        "segment": place.segment_id,
        "writeId": row.write_id,
        "revision": row.revision,
        "recipe": row.recipe,
        "digest": row.digest,
        "alive": row.alive,
        "suppressed": suppressed,
        "searchable": row.alive and not suppressed,
        "texts": row.text_count,
        "imageVector": bool(row.image_count),
        "thumbnail": thumbnail if index.properties(thumbnail) else None,
    }
