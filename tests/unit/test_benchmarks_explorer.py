"""The benchmark of the explorer's map: its file of points, and a page that admits misses."""

import json

import numpy as np

from benchmarks import explorer_map, run_explorer
from benchmarks.pages import table

FAST = {"first_s": 1.0, "frames_per_s": 9.0, "heap_mb": 2.0, "buffers_mb": 50.0}
SECTIONS = ["ids", "x", "y", "flags", "column:modality"]
OURS = FAST | {"index_ms": 80.0, "lasso_ms": 20.0}
FOUND = {
    "200000": {"webgl": OURS, "canvas": OURS, "peer": FAST | {"frames_per_s": 0.5}},
    "1000000": {"webgl": OURS, "canvas": OURS, "peer": FAST},
    "refused": "EvalError: no",
    "browser": "1.2",
}


def test_points_are_clusters_of_nine_modalities_and_some_unknown_ones():
    data = explorer_map.points_file(1001)
    header = json.loads(data[8 : 8 + int.from_bytes(data[4:8], "little")])
    assert header["count"] == header["total"] == 1001
    assert [each["name"] for each in header["sections"]] == SECTIONS
    tail = -(-1001 * 2 // 8) * 8
    codes = np.frombuffer(data, np.uint16, 1001, len(data) - tail)
    assert set(codes) == {*range(len(header["columns"]["modality"])), 65_535}


def test_bars_are_of_our_renderers_only():
    rows = explorer_map.lines(FOUND)
    assert all(row.met for row in rows if "WebGL2" in row.what or "our rasteriser" in row.what)
    assert all(row.met is None for row in rows if "regl" in row.what)


def test_what_is_missed_is_written_down_as_missed():
    slow = OURS | {"frames_per_s": 1.9, "buffers_mb": 399.0}
    missed = FOUND | {
        "200000": FOUND["200000"] | {"webgl": slow},
        "1000000": FOUND["1000000"] | {"canvas": slow},
    }
    assert table(explorer_map.lines(missed)).count("**missed**") == 2


def test_the_page_tells_browser_and_refusal():
    kept = {"map": {"found": FOUND, "machine": {"Processor": "made up"}}}
    page = run_explorer.page(kept)
    assert "Chromium 1.2" in page
    assert "EvalError: no" in page
    assert "Processor: made up" in page
