"""A million points in the page: how much memory that takes, and that it still answers."""

import numpy as np
import pytest

from indexer_core.point_files import POINTS, id_bytes, point_file

N_POINTS = 1_000_000
MOST_BYTES = 400_000_000
COLUMNS = {
    "modality": ["CT", "MR", "US", "CR", "DX", "MG", "PT", "NM", "XA"],
    "bodyRegion": ["head", "chest", "abdomen", "spine"],
    "plane": ["axial", "coronal", "sagittal"],
    "contrast": ["yes", "no"],
    "manufacturer": ["GE", "Philips", "Siemens"],
    "sex": ["F", "M"],
}


@pytest.fixture(scope="module")
def million():
    """What the server would answer for as many series, made by what makes it."""
    drawn = np.random.default_rng(1)
    centres = drawn.normal(0, 8, (60, 2))
    places = centres[drawn.integers(0, 60, N_POINTS)] + drawn.normal(0, 0.6, (N_POINTS, 2))
    ids = np.sort(drawn.integers(0, 2**63, N_POINTS, dtype=np.uint64))
    head = {
        "manifest": 1,
        "since": None,
        "projectionVersion": "1.0",
        "count": N_POINTS,
        "total": N_POINTS,
        "unplaced": 0,
        "columns": COLUMNS,
    }
    sections = {
        "ids": id_bytes(ids),
        "x": places[:, 0].astype(np.float32),
        "y": places[:, 1].astype(np.float32),
        "flags": np.zeros(N_POINTS, np.uint8),
        **{
            f"column:{name}": drawn.integers(0, len(values), N_POINTS).astype(np.uint16)
            for name, values in COLUMNS.items()
        },
    }
    return point_file(head, sections)


def bytes_in_use(page) -> int:
    """Of scripts, array buffers included, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.enable")
    session.send("HeapProfiler.collectGarbage")
    found = session.send("Runtime.getHeapUsage")
    return int(found["usedSize"] + found["backingStorageSize"])


def test_a_million_points_take_less_than_400_mb_and_can_be_moved_and_circled(
    page, visited, watch, million
):
    watch.allow(r"status of 404 .*/thumbnail")  # nobody knows the series under the pointer
    page.route(
        "**/api/map/points?*", lambda route: route.fulfill(body=million, content_type=POINTS)
    )
    page.goto(visited.url)
    page.get_by_text("1,000,000 series on map 1.0").wait_for()
    page.wait_for_load_state("networkidle")
    assert bytes_in_use(page) < MOST_BYTES
    box = page.locator(".map-host").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + 8 * step, y)
    page.mouse.up()
    page.wait_for_url("**view=*")
    page.get_by_label("Colour by").select_option("plane")
    page.get_by_role("button", name="sagittal").wait_for()
    page.get_by_role("button", name="Circle series").click()
    page.mouse.move(x - 30, y - 30)
    page.mouse.down()
    for corner in ((30, -30), (30, 30), (-30, 30)):
        page.mouse.move(x + corner[0], y + corner[1])
    page.mouse.up()
    page.locator(".chip.narrowed, .strip.bad").first.wait_for()
    assert bytes_in_use(page) < MOST_BYTES
