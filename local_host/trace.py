"""Every stage that a series has passed, from the files looked at to the row that searches see."""

import json
from collections.abc import Iterator
from typing import Any

from indexer_core.assembly import MARKER
from indexer_core.index.reader import Reader
from indexer_core.ports import Row
from local_host.wiring import LocalSystem


def trace_series(system: LocalSystem, uid: str, *, include_blobs: bool) -> Iterator[dict[str, Any]]:
    """The stages of each series with this Series Instance UID or key."""
    from indexer_core.adapters.faiss_vectors import FlatFp16Vectors

    reader = Reader(system.index, FlatFp16Vectors())
    reader.refresh()
    for key, rows in sorted(_instances_by_series(system).items()):
        instances = [row for row in rows if row.key != MARKER]
        if uid not in {key, *_uids(instances), _indexed_uid(reader, key)}:
            continue
        stages: dict[str, Any] = {
            "seriesKey": key,
            "files": {"live": len(instances), "rejectedMessage": _reject(system, key)},
            "assembly": _marker(next((row for row in rows if row.key == MARKER), None)),
            "index": _indexed(reader, key),
        }
        if include_blobs:
            stages["files"]["blobs"] = sorted(str(row.values["url"]) for row in instances)
        yield stages


def _instances_by_series(system: LocalSystem) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in system.instances.scan():
        found.setdefault(row.partition, []).append(row)
    return found


def _uids(instances: list[Row]) -> set[str]:
    # One row suffices: all rows of a partition have the UIDs that make its key.
    return {str(json.loads(row.values["facts"])["series_instance_uid"]) for row in instances[:1]}


def _indexed_uid(reader: Reader, key: str) -> str | None:
    place = reader.winner(key)
    record = None if place is None else reader.row(place).record
    return None if record is None else str(record["seriesInstanceUid"])


def _marker(row: Row | None) -> dict[str, Any] | None:
    if row is None:
        return None
    names = ("state", "revision", "digest", "unsent")
    return {name: row.values[name] for name in names}


def _reject(system: LocalSystem, key: str) -> str | None:
    row = system.rejects.get("series", key)
    return None if row is None else str(row.values["reason"])


def _indexed(reader: Reader, key: str) -> dict[str, Any] | None:
    place = reader.winner(key)
    if place is None:
        return None
    row = reader.row(place)
    manifest = reader.snapshot.manifest
    suppressed = key in manifest.suppressed
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
    }
