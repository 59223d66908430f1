"""Measure the index and write docs/benchmarks-index.md: ``make bench-index``.

Each part measures all that it compares in one go; what is measured again replaces what is kept of
that part in `.bench/`, and the page is written from all parts that are there.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import (  # noqa: E402
    index_deltas,
    index_opening,
    index_peers,
    index_search,
    index_segments,
)
from benchmarks.pages import table  # noqa: E402
from benchmarks.parts import Kept, lines_of, machines, run  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-index.md"
# Each has `measure(work)`, and `lines` or `table` of what that gives.
PARTS = {
    "search": index_search,
    "segments": index_segments,
    "deltas": index_deltas,
    "opening": index_opening,
    "peers": index_peers,
}


def page(kept: Kept) -> str:
    """docs/benchmarks-index.md."""
    return f"""# Benchmarks of the index

Written by `make bench-index` (`benchmarks/run_index.py`); do not edit.

{table(lines_of(PARTS, kept))}
{_peers(kept)}
## How this was measured
{machines(kept)}

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


def _peers(kept: Kept) -> str:
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


def _write(kept: Kept) -> None:
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    run(PARTS, description=__doc__, prefix="measured-", write=_write)
