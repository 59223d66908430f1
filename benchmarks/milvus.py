"""Measure both homes of the index side by side: ``make bench-milvus``.

Half a million text vectors of made-up series, in a folder that this process searches, and in the
collections that a follower keeps equal to it. Writes docs/benchmarks-milvus.md. By default the
collections are those of milvus-lite, served by a process of its own; ``--uri`` names another
Milvus, whose memory and disk are then not told.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import machine  # noqa: E402
from benchmarks.both_homes import FIRST, SECOND, Sizes, measure  # noqa: E402
from benchmarks.milvus_server import Served, served  # noqa: E402
from benchmarks.pages import listed  # noqa: E402
from benchmarks.real_vectors import CACHE  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-milvus.md"


def page(found: Mapping[str, Any], on: Mapping[str, str]) -> str:
    """docs/benchmarks-milvus.md."""
    lite = found["uri"] is None
    what = (
        "**milvus-lite is one process in Python** (FAISS inside): it speaks Milvus's protocol and "
        "is no cluster. What it takes says how the second home behaves, not how fast Milvus is; "
        "`--uri` measures a real one."
        if lite
        else "Its Milvus was one that runs elsewhere (`--uri`)."
    )
    return f"""# Both homes of the index, side by side

Written by `make bench-milvus` (`benchmarks/milvus.py`); do not edit. {what}

{found["texts"]:,} text vectors of {found["dimension"]} dimensions, five for each of
{found["series"]:,} made-up series. All that was asked was answered alike by both homes: the same
series in the same order, the same counts.

| what | asked | first home | Milvus | Milvus takes | faster |
| --- | ---: | ---: | ---: | ---: | --- |
{chr(10).join(_rows(found))}

**Milvus was faster at {_wins(found)}.**

- A search gives the 10 best series of an exact search by words and a vector, their texts read.
- `count`, `facets` (four fields) and `listing` (the first 1,000 series by key) are of all series
  unless a share is named; `records` is a search and the records of what it found.
- Filters that about 1, 10 and 50 % of series meet: {_filters(found)}.
- Bulk: all series at once. First home: files of segments and their commits, nothing described or
  encoded. Milvus: what the follower then takes to make the collections equal, and
  {found["flushed_ms"] / 1000:,.0f} s of a flush. It was done once.
- Delta: {found["n_delta"]:,} further series until they can be searched; of Milvus the follower's
  step alone, which comes after the commit. Before searches were measured, it was flushed again:
  milvus-lite searches in Python what it has not flushed, some twenty times as slowly.

## Memory and disk

| what | first home | Milvus |
| --- | ---: | ---: |
{chr(10).join(_bytes(found))}

- First home: private memory of this process, which also wrote everything; files of the index are
  mapped and can be given back. [benchmarks-index](benchmarks-index.md) measures a reader alone.
- Milvus: private memory of the server alone. Vectors are float32 there and fp16 here, every text
  has an entity of its own, and the fields that filters ask for are in all three collections.

## How this was measured
{listed(on)}

- Medians; in brackets the 95th percentile. What is compared took turns, query by query, each going
  first half of the time. Compare the load average with the number of cores before comparing times.
- Vectors are random, all distinct; records and facts are real.
"""


def _rows(found: Mapping[str, Any]) -> list[str]:
    n_vectors = found["texts"]
    rows = [_row("bulk add", {home: [ms] for home, ms in found["bulk_ms"].items()}, "s")]
    rates = {home: n_vectors / ms * 1000 for home, ms in found["bulk_ms"].items()}
    rows.append(
        f"| vectors added a second | 1 | {rates[FIRST]:,.0f} | {rates[SECOND]:,.0f} | | "
        f"{_faster(rates[SECOND], rates[FIRST])} |"
    )
    rows.append(_row(f"delta of {found['n_delta']:,} series", found["delta_ms"], "ms"))
    for name, runs in found["runs"].items():
        kind, _, of = name.partition(": ")
        share = found["shares"].get(of)
        part = f", {of} ({share:.1%})" if share is not None and of != "all" else ""
        rows.append(_row(f"{kind}{part}", runs, "ms"))
    return rows


def _row(what: str, runs: Mapping[str, Sequence[float]], unit: str) -> str:
    by = 1000 if unit == "s" else 1
    cells = []
    for home in (FIRST, SECOND):
        middle, high = np.percentile(runs[home], (50, 95)) / by
        tail = f" ({high:,.1f})" if len(runs[home]) >= 10 else ""
        cells.append(f"{middle:,.1f} {unit}{tail}")
    first, second = (float(np.median(runs[home])) for home in (FIRST, SECOND))
    return (
        f"| {what} | {len(runs[FIRST])} | {cells[0]} | {cells[1]} | {second / first:,.2f}x "
        f"| {_faster(first, second)} |"
    )


def _wins(found: Mapping[str, Any]) -> str:
    runs = {"bulk add": found["bulk_ms"], "deltas": found["delta_ms"], **found["runs"]}
    won = [name for name, ms in runs.items() if np.median(ms[SECOND]) < np.median(ms[FIRST])]
    return ", ".join(won) or "nothing"


def _faster(first: float, second: float) -> str:
    return "**Milvus**" if second < first else "first home"


def _filters(found: Mapping[str, Any]) -> str:
    said = [f"`{' '.join(each)}`" for name, each in found["filters"].items() if name != "all"]
    return ", ".join(said)


def _bytes(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for what, name in (
        ("private memory before, MiB", "memory_before_mib"),
        ("private memory at the end, MiB", "memory_mib"),
        ("files, MiB", "disk_mib"),
    ):
        cells = [
            "-" if found[name][home] is None else f"{found[name][home]:,.0f}"
            for home in (FIRST, SECOND)
        ]
        rows.append(f"| {what} | {cells[0]} | {cells[1]} |")
    return rows


def run(uri: str | None, token: str, sizes: Sizes) -> tuple[dict[str, Any], dict[str, str]]:
    """Measure; what was found, and what it was found on."""
    before = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        where = served(work / "lite.db") if uri is None else nullcontext(Served(uri=uri))
        with where as milvus:
            found = measure(work, milvus, sizes, token)
    found = {**found, "uri": uri and "elsewhere", "n_delta": sizes.delta}
    load = f"{before} when it began, {machine.load()} when it ended"
    clients = f"pymilvus {version('pymilvus')}, milvus-lite {version('milvus-lite')}"
    return found, {**machine.describe(), "Milvus": clients, "Load average": load}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", help="of a Milvus; left out, milvus-lite is started")
    parser.add_argument("--token", default="", help="for it")
    parser.add_argument("--series", type=int, default=Sizes().series, help="five texts each")
    options = parser.parse_args(arguments)
    sizes = replace(Sizes(), series=options.series)
    found, on = run(options.uri, options.token, sizes)
    CACHE.mkdir(exist_ok=True)
    kept = json.dumps({"found": found, "machine": on}, default=float, indent=1)
    (CACHE / "measured-milvus.json").write_text(kept, encoding="utf-8")
    PAGE.write_text(page(found, on), encoding="utf-8")
    print("\n".join(_rows(found)))


if __name__ == "__main__":
    main()
