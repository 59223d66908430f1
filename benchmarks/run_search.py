"""Measure searching over HTTP and write docs/benchmarks-search.md: ``make bench-search``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import search_load  # noqa: E402
from benchmarks.pages import table  # noqa: E402
from benchmarks.parts import Kept, lines_of, machines, run  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-search.md"
PARTS = {"load": search_load}


def page(kept: Kept) -> str:
    """docs/benchmarks-search.md."""
    return f"""# Benchmarks of searching

Written by `make bench-search` (`benchmarks/run_search.py`); do not edit.

{table(lines_of(PARTS, kept))}

## How this was measured
{machines(kept)}

- `dicom-indexer serve` in a process of its own, asked over HTTP on the same two cores; the times
  are what the client waits, encoding of the question included. Every question is another one.
- Five random vectors of 384 dimensions for every series: all distinct, as texts never are.
- The writer adds ten series with every commit, and merges as the worker does.
"""


def _write(kept: Kept) -> None:
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    run(PARTS, description=__doc__, prefix="measured-search-", write=_write)
