"""What the commands about history print."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from indexer_core.record_files import write_csv
from local_host.output import print_table

if TYPE_CHECKING:
    from indexer_core.index.history import Difference, SeriesChange, Version
    from indexer_core.index.manifest import Manifest

_SHORT_COMMIT = 7
_TOLD = {"tombstones": "removed"}


def print_log(
    history: Sequence["Manifest"], pins: Mapping[int, Sequence[str]], *, as_json: bool
) -> None:
    """Lineage, newest first."""
    lines = [_lineage(manifest, pins.get(manifest.number, ())) for manifest in reversed(history)]
    if as_json:
        for line in lines:
            print(json.dumps(line))
        return
    rows = [
        {
            "manifest": str(line["manifest"]),
            "created (UTC)": line["created"].replace("+00:00", ""),
            "reason": line["reason"],
            "changed": _counted(line["counts"]) or "-",
            "rows": f"{line['rows']:,}",
            "segments": f"{line['segments']:,}",
            "map": line["projection"] or "-",
            "software": f"{line['software']} {line.get('commit', '')[:_SHORT_COMMIT]}".rstrip(),
            "pinned as": ", ".join(line["pinned"]) or "-",
        }
        for line in lines
    ]
    print_table(rows, right=("manifest", "rows", "segments"))


def print_difference(found: "Difference", form: str) -> None:
    """Series that differ between two manifests."""
    if form == "json":
        print(json.dumps(_difference(found), indent=2))
        return
    if form == "csv":
        records = [_change(change) for change in found.series]
        write_csv(records, _CHANGE_COLUMNS, sys.stdout)
        return
    print_table([_change_row(change) for change in found.series], right=("revision",))
    counts = ", ".join(f"{count:,} {kind}" for kind, count in found.counts().items())
    print(f"manifest {found.before} to {found.after}: {counts}")
    if found.n_hidden:
        print(f"{found.n_hidden:,} more differ that are deleted now")
    for name, (before, after) in found.settings.items():
        print(f"{name}: {before or '-'} -> {after or '-'}")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {_TOLD.get(name, name)}" for name, n in counts.items() if n)


_CHANGE_COLUMNS = (
    "change",
    "seriesInstanceUid",
    "studyInstanceUid",
    "seriesKey",
    "modality",
    "bodyRegion",
    "revisionBefore",
    "recipeBefore",
    "revisionAfter",
    "recipeAfter",
)


def _difference(found: "Difference") -> dict[str, Any]:
    return {
        "from": found.before,
        "to": found.after,
        **found.counts(),
        "deletedNow": found.n_hidden,
        "settings": {
            name: {"from": before, "to": after} for name, (before, after) in found.settings.items()
        },
        "series": [_change(change) for change in found.series],
    }


def _change(change: "SeriesChange") -> dict[str, Any]:
    values = (
        change.kind,
        change.series_instance_uid,
        change.study_instance_uid,
        change.series_key,
        change.modality,
        change.body_region,
        *_numbers(change.before),
        *_numbers(change.after),
    )
    return dict(zip(_CHANGE_COLUMNS, values, strict=True))


def _numbers(version: "Version | None") -> tuple[int | None, int | None]:
    return (None, None) if version is None else (version.revision, version.recipe)


def _change_row(change: "SeriesChange") -> dict[str, str]:
    return {
        "change": change.kind,
        "revision": _told(change.before, change.after),
        "modality": change.modality,
        "region": change.body_region,
        "series": change.series_instance_uid,
    }


def _told(before: "Version | None", after: "Version | None") -> str:
    shown = [str(version.revision) for version in (before, after) if version is not None]
    if before is not None and after is not None and before.revision == after.revision:
        return f"{before.revision} (other rules)"
    return " -> ".join(shown)


def _lineage(manifest: "Manifest", pinned: Sequence[str]) -> dict[str, Any]:
    lineage = manifest.lineage
    projection = manifest.projection
    return {
        "manifest": manifest.number,
        "parent": manifest.parent,
        "created": datetime.fromtimestamp(lineage.created_s, UTC).isoformat(timespec="seconds"),
        "reason": lineage.reason,
        "counts": dict(lineage.counts),
        "segments": len(manifest.segments),
        "rows": sum(segment.n_rows for segment in manifest.segments),
        "bytes": sum(file.size_bytes for file in manifest.files()),
        "spaces": {space.name: space.live for space in manifest.spaces},
        "building": {space.name: space.building for space in manifest.spaces if space.building},
        "projection": None if projection is None else projection.version,
        "recipe": max((recipe.number for recipe in manifest.recipes), default=0),
        "suppressed": len(manifest.suppressed),
        "pinned": list(pinned),
        "software": lineage.software,
        **lineage.details,
    }
