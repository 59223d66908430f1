"""Measure the map and write docs/benchmarks-map.md: ``make bench-map``.

What is measured again replaces what is kept of that part in `.bench/`.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import map_fit, map_growth, map_size  # noqa: E402
from benchmarks.pages import table  # noqa: E402
from benchmarks.parts import Kept, lines_of, machines, run  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-map.md"
PARTS = {"fit": map_fit, "growth": map_growth, "size": map_size}


def page(kept: Kept) -> str:
    """docs/benchmarks-map.md."""
    side_by_side = map_fit.table(kept["fit"]["found"]) if "fit" in kept else ""
    return f"""# Benchmarks of the map

Written by `make bench-map` (`benchmarks/run_map.py`); do not edit.

{table(lines_of(PARTS, kept))}

## Side by side
{side_by_side}

## How this was measured
{machines(kept)}

- Vectors are made up: 36 kinds of series in nine groups, each a curved surface of eight dimensions
  in 1024; unseen kinds belong to a tenth group (`benchmarks/made_up_vectors.py`).
- Times are CPU seconds of one process and one thread. umap-learn is compiled before.
- Trust and recall are of 15 neighbours, of a thousand points among all. Inverse distance places
  new points only, on our map.
"""


def _write(kept: Kept) -> None:
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    run(PARTS, description=__doc__, prefix="measured-map-", write=_write)
