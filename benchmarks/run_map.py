"""Measure the map and write docs/benchmarks-map.md: ``make bench-map``.

What is measured again replaces what is kept of that part in `.bench/`.
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

from benchmarks import machine, map_fit, map_growth  # noqa: E402
from benchmarks.real_vectors import CACHE  # noqa: E402
from benchmarks.run import Line  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-map.md"
PARTS = {"fit": map_fit, "growth": map_growth}


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
        if name in kept
        for line in part.lines(kept[name]["found"])
    ]


def page(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """docs/benchmarks-map.md."""
    verdicts = {True: "met", False: "**missed**", None: ""}
    rows = "\n".join(
        f"| {line.what} | {line.measured} | {line.bar} | {verdicts[line.met]} |"
        for line in lines(kept)
    )
    machines = "\n".join(
        f"- {name}: " + "; ".join(f"{what}: {value}" for what, value in each["machine"].items())
        for name, each in kept.items()
    )
    side_by_side = map_fit.table(kept["fit"]["found"]) if "fit" in kept else ""
    return f"""# Benchmarks of the map

Written by `make bench-map` (`benchmarks/run_map.py`); do not edit.

| what | measured | bar | |
| --- | --- | --- | --- |
{rows}

## Side by side
{side_by_side}

## How this was measured
{machines}

- Vectors are made up: 36 kinds of series in nine groups, each a curved surface of eight dimensions
  in 1024; unseen kinds belong to a tenth group (`benchmarks/made_up_vectors.py`).
- Times are CPU seconds of one process and one thread. umap-learn is compiled before.
- Trust and recall are of 15 neighbours, of a thousand points among all. Inverse distance places
  new points only, on our map.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    wanted = parser.parse_args(arguments).parts or list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    CACHE.mkdir(exist_ok=True)
    for name in wanted:
        found = json.dumps(measure(name), default=float, indent=1)
        (CACHE / f"measured-map-{name}.json").write_text(found, encoding="utf-8")
    files = {name: CACHE / f"measured-map-{name}.json" for name in PARTS}
    kept = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    PAGE.write_text(page(kept), encoding="utf-8")
    for line in lines(kept):
        print(f"{line.what}: {line.measured} (bar: {line.bar})")


if __name__ == "__main__":
    main()
