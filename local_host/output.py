"""What people and machines read on standard output; progress and warnings go to standard error."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import category, east_asian_width

from indexer_core.adapters.local_files import path_of
from indexer_core.errors import UnavailableError
from indexer_core.record_files import COLUMNS, HIT_COLUMNS, file_of, write_csv
from local_host import understood
from local_host.file_events import WalkWarning

if TYPE_CHECKING:
    from indexer_core.reconcile import BackfillReport, ReconcileReport
    from local_host.runner import Tally

WIDTH = 100
"""Columns that a table for people takes at most."""

_TEACHING = "teaching"
_STAGES = {
    "listing": "listing files",
    "headers": "reading headers",
    "series": "closing series",
    "indexing": "indexing series",
    _TEACHING: "teaching the map",
}


class Warnings:
    """Prints walk warnings as they come and counts them by reason."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()

    def __call__(self, warning: WalkWarning) -> None:
        """Take one warning."""
        self.reasons[warning.reason] += 1
        print(f"dicom-indexer: {printable(warning.path)}: {warning.reason}", file=sys.stderr)


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


class LateBar:
    """Shows only that the map is taught, and is there only meanwhile: for what runs for ever."""

    def __init__(self) -> None:
        self._bar: Bar | None = None

    def advance(self, stage: str, n_done: int, n_total: int) -> None:
        """`n_done` of `n_total` of a stage are done."""
        if stage != _TEACHING:
            return
        if self._bar is None:
            self._bar = Bar()
        self._bar.advance(stage, n_done, n_total)
        if n_done >= n_total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def progress() -> Bar:
    """A progress bar, started."""
    return Bar()


def print_tally(tally: "Tally", *, as_json: bool) -> None:
    """The counts at the end of a run."""
    if as_json:
        print(json.dumps(_tally_json(tally), indent=2))
        return
    counts = tally.counts()
    print("files:  " + ", ".join(f"{count:,} {name}" for name, count in counts["files"].items()))
    series = counts["series"]
    print(f"series: {series['indexed']:,} written, {series['failed']:,} failed")
    for line in _by_count(tally.rejects):
        print(f"  rejected {line}")
    for line in _by_count(tally.failures):
        print(f"  failed {line}", file=sys.stderr)
    if tally.rejects:
        print("  (dicom-indexer rejects lists them)")


def _tally_json(tally: "Tally") -> dict[str, Any]:
    rejects = dict(sorted(tally.rejects.items()))
    failures = dict(sorted(tally.failures.items()))
    return {**tally.counts(), "reasons": rejects, "failures": failures}


def print_backfill(
    reports: Mapping[str, "BackfillReport"], tally: "Tally | None", *, as_json: bool
) -> None:
    """What a backfill enqueued, by source, and what came of it where this program worked."""
    if as_json:
        sources = [
            {"source": title, "enqueued": report.n_enqueued, "resumed": report.resumed}
            for title, report in reports.items()
        ]
        print(json.dumps({"sources": sources, **_worked(tally)}, indent=2))
        return
    for title, report in reports.items():
        how = " (carried on where it was interrupted)" if report.resumed else ""
        print(f"{printable(title)}: {report.n_enqueued:,} looks enqueued{how}")
    if tally is not None:
        print_tally(tally, as_json=False)


def print_reconciliation(
    reports: Mapping[str, "ReconcileReport"],
    n_resent: int,
    tally: "Tally | None",
    *,
    as_json: bool,
) -> None:
    """What a reconcile found, by source, and what came of it where this program worked."""
    if as_json:
        sources = [{"source": title, **_found(report)} for title, report in reports.items()]
        print(json.dumps({"sources": sources, "resent": n_resent, **_worked(tally)}, indent=2))
        return
    for title, report in reports.items():
        counts = ", ".join(f"{count:,} {name}" for name, count in _found(report).items())
        print(f"{printable(title)}: {counts}")
    print(f"series handed on again, announced but not indexed: {n_resent:,}")
    if tally is not None:
        print_tally(tally, as_json=False)


def _found(report: "ReconcileReport") -> dict[str, int]:
    return {
        "listed": report.n_listed,
        "new": report.n_unseen,
        "changed": report.n_changed,
        "gone": report.n_gone,
    }


def _worked(tally: "Tally | None") -> dict[str, Any]:
    return {} if tally is None else {"worked": _tally_json(tally)}


def _by_count(reasons: Counter[str]) -> Iterable[str]:
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    width = max((len(f"{count:,}") for _, count in ordered), default=0)
    return [f"{count:>{width},}: {reason}" for reason, count in ordered]


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
        write_csv(found["value"], HIT_COLUMNS, sys.stdout)
        return
    for line in understood.heading(found):
        print(printable(line))
    if not found["value"]:
        print("no series passes the filters" if found["interpretation"]["filters"] else "no series")
    rows = {id(hit): _row(hit) for hit in found["value"]}
    widths = column_widths(list(rows.values()))
    for number, (line, hits) in enumerate(understood.groups(found["value"])):
        if line:
            print(line)
        print_table([rows[id(hit)] for hit in hits], widths=widths, has_names=number == 0)
    for field, count in found["interpretation"]["unknown"].items():
        if count:
            print(f"{count} more series do not count because {field} is unknown ({field}=unknown)")


def write_records(
    records: Sequence[Mapping[str, Any]], form: str, path: str | None, *, include_blobs: bool
) -> None:
    """Records as NDJSON, CSV or Parquet, to a file or to standard output.

    The columns do not depend on the records: an empty export has them, too.
    """
    names = [name for name in COLUMNS if include_blobs or name != "blobs"]
    data = file_of(records, names, form)
    write_data(data, path)


def write_data(data: bytes, path: str | None) -> None:
    """Bytes to a file that was asked for, or to standard output."""
    if path is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    write_file(Path(path), data)


def write_file(path: Path, data: bytes) -> None:
    """Write a file that was asked for, and the folder that it is to lie in.

    Raises
    ------
    UnavailableError
        It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UnavailableError(f"{path} cannot be written: {error.strerror}") from error


def print_status(status: Mapping[str, Any], *, as_json: bool) -> None:
    """What is there, and what is left to do."""
    if as_json:
        print(json.dumps(status, indent=2))
        return
    queues = status["queues"]
    todo = {
        "files to look at": queues["blob-events"],
        "series to close": status["openSeries"],
        "series to index": queues["series-ready"],
    }
    waiting = [f"{count:,} {name}" for name, count in todo.items() if count]
    if status["purging"]:
        waiting.append(f"{status['purging']:,} purges to carry on with (dicom-indexer purge)")
    waiting += [
        f"{encoder} is being built (dicom-indexer encoder status)"
        for encoder in status["building"].values()
    ]
    fields = {
        "data": status["data"],
        "folders": status["folders"],
        "files": [
            f"{count:,} {_STATES.get(state, state)}" for state, count in status["files"].items()
        ],
        "series": f"{status['series']:,} searchable, {status['suppressed']:,} deleted",
        "to do": waiting or "nothing",
        "set aside": f"{queues['poison']:,} messages",
        "manifest": f"{status['manifest']} ({status['segments']:,} segments)",
        "cohorts": f"{status['cohorts']:,}",
        "pins": [f"{name}: manifest {number}" for name, number in status["pins"].items()],
        "spaces": [f"{name}: {encoder}" for name, encoder in status["spaces"].items()],
        "map": f"projection {status['projection'] or '-'}",
        "recipe": f"{status['recipe']} (generation of rules and templates)",
    }
    print_fields(fields)


_STATES = {"seen": "indexed", "gone": "removed", "looking": "interrupted"}


def print_fields(fields: Mapping[str, str | Sequence[str]]) -> None:
    """Values beside their names, lists over several lines."""
    width = max(len(name) for name in fields)
    for name, value in fields.items():
        lines = [value] if isinstance(value, str) else list(value) or ["-"]
        for index, line in enumerate(lines):
            print(f"{name if index == 0 else '':<{width}}  {printable(line)}")


def print_rejects(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """What was set aside, grouped by reason."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        place = _place(row["url"]) if row.get("url") else f"a message of {row['queue']}"
        by_reason.setdefault(str(row["reason"]), []).append(printable(place))
    for reason, places in sorted(by_reason.items()):
        print(f"{reason} ({len(places):,})")
        for place in sorted(places):
            print(f"  {place}")
    print(f"{len(rows):,} rejected; replay tries them again" if rows else "nothing is rejected")


def _place(url: str) -> str:
    return str(path_of(url)) if url.startswith("file:") else url


def print_next_steps(data: Path) -> None:
    """What to do after the demo."""
    activate = "" if shutil.which("dicom-indexer") else f"  source {_activate()}\n"
    print(
        f"""
The index lies in {data}. Now try it yourself:

{activate}  dicom-indexer search "chest x-ray"                      any words
  dicom-indexer search "brain" --filter modality=MR       words and a filter
  dicom-indexer index /path/to/your/dicom                 your own files, where they lie
  dicom-indexer export --format csv                       everything that was understood
  dicom-indexer serve                                     search in the browser

The samples stay in this index: --data DIR, or deleting {data}, keeps your own files apart.
On the map places mean little yet: fitting one (map fit) takes 32 pictures that differ.
"""
    )


def _activate() -> str:
    """The script that puts `dicom-indexer` on the path, as short as it can be named from here."""
    script = Path(sys.prefix) / "bin" / "activate"
    return str(script.relative_to(Path.cwd()) if script.is_relative_to(Path.cwd()) else script)


def printable(text: str) -> str:
    """One line that a terminal shows as it is: no control characters, whoever wrote the text."""
    return "".join(
        character if category(character)[0] != "C" else repr(character)[1:-1] for character in text
    )


def print_table(
    rows: Sequence[Mapping[str, str]],
    right: Sequence[str] = (),
    *,
    widths: Mapping[str, int] | None = None,
    has_names: bool = True,
) -> None:
    """Rows under their names; the columns named in `right` are numbers.

    widths: those of a table that this is a part of.
    """
    if not rows:
        return
    widths = widths or column_widths(rows)
    shown = [{name: printable(value) for name, value in row.items()} for row in rows]
    names = [{name: name for name in widths}] if has_names else []
    for row in (*names, *shown):
        cells = [_padded(row[name], width, right=name in right) for name, width in widths.items()]
        print("  ".join(cells).rstrip())


def column_widths(rows: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Columns that the names and values of a table take."""
    names = rows[0] if rows else {}
    return {
        name: max(_width(name), *(_width(printable(row[name])) for row in rows)) for name in names
    }


def _width(text: str) -> int:
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if category(character) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1


def _padded(text: str, width: int, *, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


def _row(hit: Mapping[str, Any]) -> dict[str, str]:
    part = hit.get("bodyPart") or {}
    term = part.get("term") if isinstance(part, Mapping) else part
    # The longest of each: 5 + 8 + 13 + 10 + 13 + 8 + 20 + 9 and seven gaps of 2 make 100.
    return {
        "score": f"{hit['score']:.3f}",
        "modality": _short(str(hit["modality"]), 8),
        "region": _short(_told(term or hit["bodyRegion"]), 13),
        "plane": _short(_told(hit["plane"]), 10),
        "sequence": _short(" ".join(hit["sequence"]) or "-", 13),
        "contrast": _told(hit["contrast"]),
        "description": _short("; ".join(hit["descriptions"]) or "-", 20),
        "series": f"…{hit['seriesInstanceUid'][-8:]}",
    }


def _told(value: Any) -> str:
    return "-" if value in (None, "", "unknown") else str(value)


def _short(text: str, width: int) -> str:
    text = printable(text)
    if _width(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…"
