"""Measure the explorer's map and write docs/benchmarks-explorer.md: ``make bench-explorer``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import explorer_map  # noqa: E402
from benchmarks.pages import table  # noqa: E402
from benchmarks.parts import Kept, lines_of, machines, run  # noqa: E402

PAGE = ROOT / "docs" / "benchmarks-explorer.md"
PARTS = {"map": explorer_map}


def page(kept: Kept) -> str:
    """docs/benchmarks-explorer.md."""
    return f"""# Benchmarks of the explorer's map

Written by `make bench-explorer` (`benchmarks/run_explorer.py`); do not edit.

{table(lines_of(PARTS, kept))}

## How this was measured
{machines(kept)}
- browser: Chromium {kept["map"]["found"]["browser"]} without a window and without a graphics card:
  WebGL is worked out by SwiftShader on the same cores, which is the worst case for it.
- All draw the same points as large into 1000 x 700 pixels. A picture of WebGL counts when its last
  pixel is there (`readPixels`), one of the rasteriser when the canvas has it (`putImageData`).
- The peer's first picture includes its index of places; ours is made when it is first needed.
- Figures of 200,000 points are medians of three runs in turns; a million is drawn once, five pans.
- Without being told which renderer to use, the map takes WebGL2 where a graphics card does it, and
  our rasteriser elsewhere.
- The heap is measured after a collection, with the points and the map still in use.
"""


def _write(kept: Kept) -> None:
    PAGE.write_text(page(kept), encoding="utf-8")


if __name__ == "__main__":
    run(PARTS, description=__doc__, prefix="measured-explorer-", write=_write)
