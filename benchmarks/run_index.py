"""Measure the index and write docs/benchmarks-index.md: ``make bench-index``.

Each part measures all that it compares in one go; what is measured again replaces what is kept of
that part in `.bench/`, and the page is written from all parts that are there.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    index_deltas,
    index_opening,
    index_peers,
    index_search,
    index_segments,
    machine,
)
from benchmarks.real_vectors import CACHE  # noqa: E402
from benchmarks.run import Line  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-index.md"
# Each has `measure(work)`, and `lines` or `table` of what that gives.
PARTS = {
    "search": index_search,
    "segments": index_segments,
    "deltas": index_deltas,
    "opening": index_opening,
    "peers": index_peers,
}


def measure(name: str) -> dict[str, Any]:
    """The figures of one part, with the machine that they were taken on."""
    before = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        found = PARTS[name].measure(Path(folder))
    load = f"{before} when it began, {machine.load()} when it ended"
    return {"found": found, "machine": {**machine.describe(), "Load average": load}}


def lines(kept: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page, beside the bars."""
    return [
        line
        for name, part in PARTS.items()
        if name in kept and hasattr(part, "lines")
        for line in part.lines(kept[name]["found"])
    ]


def page(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks-index.md."""
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = "\n".join(
        f"| {line.what} | {line.measured} | {line.bar} | {verdicts[line.met]} |"
        for line in lines(kept)
    )
    machines = "\n".join(
        f"- {name}: " + "; ".join(f"{what}: {value}" for what, value in each["machine"].items())
        for name, each in kept.items()
    )
    return f"""# Benchmarks of the index

Written by `make bench-index` (`benchmarks/run_index.py`); do not edit.

| what | measured | bar | |
| --- | --- | --- | --- |
{rows}
{_peers(kept)}
## How this was measured
{machines}

- Times are medians; what is compared took turns in one process, so that other work on the machine
  meets all sides. Compare the load average with the number of cores before comparing times.
- The pass that only reads adds up the bytes as 64-bit numbers, by all cores.
- Deltas are written to a folder in memory, where there is one, by both sides: ours flushes every
  file to the disk, LanceDB flushes none. Records and facts are real, vectors random.
- Exact searches are over random vectors (what they are makes no difference), all distinct: real
  template texts repeat, and repeated ones are stored and searched once.
- Approximate search is over real vectors: template texts of made-up series, encoded by the default
  encoder, and vectors between near ones; questions are those of `tests/relevance`.
"""


def _peers(kept: Mapping[str, Mapping[str, Any]]) -> str:
    if "peers" not in kept:
        return ""
    found = kept["peers"]["found"]
    n_vectors = next(iter(found.values()))["vectors"]
    return f"""
## Side by side: {n_vectors:,} vectors of 512 dimensions
{index_peers.table(found)}

- The best of each column is bold: where another system wins, it is that one.
- Graphs look at twice as many candidates (ef) until recall@10 is 0.99, up to
  {index_peers.WIDEST_EF:,}: what is fast and finds less is no match.
- Ours and LanceDB write files that others can read at once; hnswlib and usearch work in memory,
  and MB is what they would save. Ours and usearch keep fp16, LanceDB too, hnswlib float32.
- hnswlib's filter is a Python function called per vector; usearch's Python package has none.
- hnswlib marks deleted vectors, usearch cuts them out, LanceDB and ours leave them out of searches
  until a merge; then ours drops them.
{index_peers.narrow(found)}"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    wanted = parser.parse_args(arguments).parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    CACHE.mkdir(exist_ok=True)
    for name in wanted:
        found = json.dumps(measure(name), default=float, indent=1)
        (CACHE / f"measured-{name}.json").write_text(found, encoding="utf-8")
    files = {name: CACHE / f"measured-{name}.json" for name in PARTS}
    kept = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    PAGE.write_text(page(kept), encoding="utf-8")
    for line in lines(kept):
        print(f"{line.what}: {line.measured} (bar: {line.bar})")


if __name__ == "__main__":
    main()
