"""Measure everything and write docs/benchmarks.md: ``make bench``, or this file with a folder.

Every figure is a median of several runs, taken in one go on one machine; a ratio compares two
things that were measured in turns. A bar that is missed is written down as missed.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import header_ingest, machine, searching, whole_run  # noqa: E402
from benchmarks.pages import Line, listed, table, tell  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks.md"
DEFAULT_SAMPLES = ROOT.parent / "shared" / "data" / "dicom"
_COLD_QUERY = "CT of the head"


def measure(samples: Path, rounds: int) -> dict[str, Mapping[str, Any]]:
    """All figures, by benchmark."""
    found: dict[str, Mapping[str, Any]] = {}
    before = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        found["header"] = header_ingest.run(samples)
        found["help"] = whole_run.help_time(work, 4 * rounds + 1)
        found["index"] = whole_run.index_twice(samples, work, rounds)
        data = work / "data-0"
        found["cold"] = whole_run.cold_search(data, work, _COLD_QUERY, 2 * rounds + 1)
        found["warm"] = searching.measure(data, rounds)
    load = f"{before} when it began, {machine.load()} when it ended"
    found["machine"] = {**machine.describe(), "Load average": load}
    return found


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page, beside the bars."""
    header, index = found["header"], found["index"]
    help_, cold, warm = found["help"], found["cold"], found["warm"]
    return [
        Line(
            what="header of a file against pydicom's `dcmread` plus the same tags",
            measured=f"{header['ms_per_file']} ms against {header['pydicom_ms_per_file']} ms: "
            f"{header['times_pydicom']}x as fast",
            bar="not slower",
            met=header["times_pydicom"] >= 1,
        ),
        Line(
            what="classic files whose header takes one request of 64 KiB",
            measured=f"{header['classic_in_one_request']:.1%} of {header['classic_files']}",
            bar=">= 98 %",
            met=header["classic_in_one_request"] >= 0.98,
        ),
        Line(
            what="requests and bytes per file, all files",
            measured=f"{header['requests_per_file']} requests (at most {header['most_requests']}), "
            f"{header['bytes_per_file'] / 1024:.1f} KiB",
        ),
        Line(
            what=f"first `index` of {index['files']} files, {index['series']} series",
            measured=f"{index['first_s']:.1f} s",
        ),
        Line(
            what="second `index`, nothing changed",
            measured=f"{index['second_s']:.1f} s: {index['times_faster']:.1f}x faster; "
            f"{index['second_unchanged']} files unchanged, {index['second_written']} series",
            bar=">= 5x faster",
            met=index["times_faster"] >= 5,
        ),
        Line(
            what="export of the text encoder, once per data directory, not in the first run above",
            measured=f"{index['export_s']:.1f} s",
        ),
        Line(
            what="search as a process of its own",
            measured=f"p50 {cold['p50_s']:.2f} s, slowest {cold['max_s']:.2f} s",
        ),
        Line(
            what=f"search in a warm process, {warm['series']} series, {warm['searches']} searches",
            measured=f"p50 {warm['search_p50_ms']:.1f} ms, p95 {warm['search_p95_ms']:.1f} ms",
        ),
        Line(
            what=f"text encoding, {warm['distinct']} distinct of {warm['texts']} texts",
            measured=f"{warm['texts_per_s']:.0f} texts/s",
        ),
        Line(
            what="`dicom-indexer --help`",
            measured=f"p50 {help_['p50_s']:.2f} s, slowest {help_['max_s']:.2f} s",
            bar="< 0.5 s",
            met=help_["p50_s"] < 0.5,
        ),
    ]


def _others() -> str:
    """Links to the pages that other benchmarks have written, by their titles."""
    return ", ".join(
        f"[{other.read_text(encoding='utf-8').splitlines()[0].removeprefix('# ')}]({other.name})"
        for other in sorted(PAGE.parent.glob("benchmarks-*.md"))
    )


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks.md."""
    header, index = found["header"], found["index"]
    return f"""# Benchmarks

Written by `make bench` (`benchmarks/run.py`); do not edit. Run it on your own machine and files:
`python benchmarks/run.py FOLDER`.

Apart: {_others()}.

{table(lines(found))}

{listed(found["machine"])}

How to read this:
- Times are medians: of {index["rounds"]} fresh data directories for `index`, of more short runs.
- Ratios compare runs that took turns, so that other work on the machine meets both sides. Seconds
  depend on it: compare the load average with the number of cores before comparing them.
- The header benchmark holds files in memory and counts seconds of the processor. pydicom's side
  stops before pixels and reads the same attributes; ours also scrubs descriptions and hashes the
  patient.
- Compared were {header["files_compared"]} of {header["files"]} files: those that pydicom can read.
  Requests and bytes count every file.
- The samples are small public files, many of them cut down for tests: real archives spend more of
  their time on reading and decoding pixels. So few series say nothing of how search scales.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    samples = os.environ.get("DICOM_SAMPLES", str(DEFAULT_SAMPLES))
    parser.add_argument("samples", nargs="?", default=samples, help="folder with DICOM files")
    parser.add_argument("--rounds", type=int, default=3, help="runs of `index` (default 3)")
    options = parser.parse_args()
    if not Path(options.samples).is_dir():
        parser.error(f"{options.samples} is no folder: name one with DICOM files")
    found = measure(Path(options.samples), options.rounds)
    PAGE.write_text(page(found), encoding="utf-8")
    tell(lines(found))


if __name__ == "__main__":
    main()
