"""What people and machines read on standard output; progress and warnings go to standard error."""

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer_core.errors import UnavailableError
from indexer_core.index.manifest import Manifest
from indexer_core.index.verify import Verification
from local_host.file_events import WalkWarning
from local_host.runner import Tally

_STAGES = {"headers": "reading headers", "series": "closing series", "indexing": "indexing series"}
_TABLE = ("score", "modality", "region", "plane", "sequence", "contrast", "description", "series")


class Warnings:
    """Prints walk warnings as they come and counts them by reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def __call__(self, warning: WalkWarning) -> None:
        """Take one warning."""
        self.reasons[warning.reason] += 1
        print(f"dicom-indexer: {warning.path}: {warning.reason}", file=sys.stderr)


class Bar:
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._tasks: dict[str, Any] = {}
        self._enabled = sys.stderr.isatty()
        if self._enabled:
            self._progress.start()

    def advance(self, stage: str, n_done: int, n_total: int) -> None:
        """`n_done` of `n_total` of a stage are done."""
        if not self._enabled:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(_STAGES.get(stage, stage))
        self._progress.update(self._tasks[stage], completed=n_done, total=n_total)

    def close(self) -> None:
        """Take the bar away."""
        if self._enabled:
            self._progress.stop()


def progress() -> Bar:
    """A progress bar, started."""
    return Bar()


def print_tally(tally: Tally, *, as_json: bool) -> None:
    """The counts at the end of a run."""
    counts = tally.counts()
    if as_json:
        rejects = dict(sorted(tally.rejects.items()))
        failures = dict(sorted(tally.failures.items()))
        print(json.dumps({**counts, "reasons": rejects, "failures": failures}, indent=2))
        return
    print(
        "files:  "
        + ", ".join(
            f"{counts['files'][name]} {name}"
            for name in ("indexed", "unchanged", "removed", "rejected")
        )
    )
    print(f"series: {counts['series']['indexed']} written, {counts['series']['failed']} failed")
    for reason, count in sorted(tally.rejects.items(), key=lambda item: (-item[1], item[0])):
        print(f"  rejected {count}: {reason}")
    for reason, count in sorted(tally.failures.items()):
        print(f"  failed {count}: {reason}", file=sys.stderr)


def print_news(series: Counter[str], *, as_json: bool) -> None:
    """What a watch has just done, if anything."""
    n_indexed = series["closed"]
    if n_indexed <= 0:
        return
    line = (
        json.dumps({"series": n_indexed}) if as_json else f"{n_indexed} series brought up to date"
    )
    print(line, flush=True)


def print_hits(found: Mapping[str, Any], form: str) -> None:
    """Search hits as a table, JSON as the API gives it, or CSV."""
    if form == "json":
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if form == "csv":
        _write_csv(found["value"], sys.stdout)
        return
    if not found["value"]:
        print("no series passes the filters" if found["interpretation"]["filters"] else "no series")
    else:
        _print_table([_row(hit) for hit in found["value"]])
    for field, count in found["interpretation"]["unknown"].items():
        if count:
            print(f"{count} more series left out because {field} is unknown ({field}=unknown)")


def write_records(records: Sequence[Mapping[str, Any]], form: str, path: str | None) -> None:
    """Records as NDJSON, CSV or Parquet, to a file or to standard output."""
    if form == "parquet":
        data = _parquet(records)
    else:
        buffer = io.StringIO()
        if form == "csv":
            _write_csv(records, buffer)
        else:
            for record in records:
                buffer.write(json.dumps(record, ensure_ascii=False) + "\n")
        data = buffer.getvalue().encode()
    if path is None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def print_fields(fields: Mapping[str, Any], *, as_json: bool) -> None:
    """A value per line."""
    if as_json:
        print(json.dumps(fields, indent=2))
        return
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        print(f"{name:<{width}}  {_plain(value)}")


def print_log(history: Sequence[Manifest], *, as_json: bool) -> None:
    """Lineage, newest first."""
    if as_json:
        for manifest in reversed(history):
            print(json.dumps(_lineage(manifest)))
        return
    for manifest in reversed(history):
        lineage = _lineage(manifest)
        counts = ", ".join(f"{count} {name}" for name, count in lineage["counts"].items())
        print(
            f"{lineage['manifest']:>6}  {lineage['created']}  {lineage['reason']:<10}  "
            f"{counts or '-':<24}  segments={lineage['segments']}  {lineage['software']}"
        )


def print_rejects(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What was set aside, with the reason."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    for row in rows:
        print(f"{row.get('url') or row.get('queue')}: {row['reason']}")
    print(f"{len(rows)} rejected; replay tries them again")


def print_verification(seen: Verification, *, as_json: bool) -> None:
    """The outcome of `verify`."""
    if as_json:
        fields = {name: getattr(seen, name) for name in Verification.__slots__}
        print(json.dumps(fields, indent=2))
        return
    print(
        f"{seen.n_manifests} manifests, {seen.n_files} files, {seen.n_series} series: "
        f"every checksum fits"
        if not seen.problems
        else f"{len(seen.problems)} problems"
    )
    if not seen.problems:
        print(f"{seen.n_searches} searches equal brute force")
    print(f"{len(seen.orphans)} orphan files (left by interrupted runs, harmless)")
    for problem in seen.problems:
        print(f"  {problem}", file=sys.stderr)


def print_next_steps(data: Path) -> None:
    """What to do after the demo."""
    print(
        f"""
The index lies in {data}. Now try it yourself:

  dicom-indexer search "chest x-ray"                      any words
  dicom-indexer search "brain" --filter modality=MR       words and a filter
  dicom-indexer index /path/to/your/dicom                 your own files, where they lie
  dicom-indexer export --format csv                       everything that was understood
"""
    )


def _print_table(rows: Sequence[Mapping[str, str]]) -> None:
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in _TABLE}
    print("  ".join(f"{name:<{widths[name]}}" for name in _TABLE).rstrip())
    for row in rows:
        print("  ".join(f"{row[name]:<{widths[name]}}" for name in _TABLE).rstrip())


def _row(hit: Mapping[str, Any]) -> dict[str, str]:
    part = hit.get("bodyPart") or {}
    term = part.get("term") if isinstance(part, Mapping) else part
    return {
        "score": f"{hit['score']:.3f}",
        "modality": str(hit["modality"]),
        "region": str(term or hit["bodyRegion"]),
        "plane": str(hit["plane"]),
        "sequence": " ".join(hit["sequence"]) or "-",
        "contrast": str(hit["contrast"]),
        "description": _short("; ".join(hit["descriptions"]) or "-", 36),
        "series": f"...{hit['seriesInstanceUid'][-14:]}",
    }


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def _write_csv(records: Sequence[Mapping[str, Any]], target: Any) -> None:
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(target, names, lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow({name: _cell(value) for name, value in record.items()})


def _cell(value: Any) -> Any:
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
    # A spreadsheet runs a cell that begins like a formula; header text is not ours to trust.
    if isinstance(text, str) and text[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{text}"
    return text


def _parquet(records: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    plain = [
        {
            name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
            for name, value in record.items()
        }
        for record in records
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(plain), buffer)
    return buffer.getvalue()


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(_plain(item) for item in value) or "-"
    return "-" if value is None else str(value)


def _lineage(manifest: Manifest) -> dict[str, Any]:
    lineage = manifest.lineage
    return {
        "manifest": manifest.number,
        "parent": manifest.parent,
        "created": datetime.fromtimestamp(lineage.created_s, UTC).isoformat(timespec="seconds"),
        "reason": lineage.reason,
        "counts": dict(lineage.counts),
        "segments": len(manifest.segments),
        "software": lineage.software,
        **lineage.details,
    }
