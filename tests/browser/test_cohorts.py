"""Circle series on the map, save them, compare, and take them home as files."""

import csv
import json
import math
import re

import pyarrow.parquet as pq
import pytest

from tests.support.dicom import dicom_object


@pytest.fixture
def visited(own_site):
    return own_site


@pytest.fixture
def opened(page, visited):
    page.goto(visited.url)
    page.locator(".map-count").wait_for()
    page.locator("tr[data-row]").first.wait_for()
    return page


def circle(page, share: float = 0.5) -> int:
    """Draw a ring around the middle of the map; how many series lie within."""
    page.get_by_role("button", name="Circle series").click()
    box = page.locator(".map-host").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    radius = share * box["height"]
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for step in range(1, 33):
        angle = 2 * math.pi * step / 32.5
        page.mouse.move(x + radius * math.cos(angle), y + radius * math.sin(angle))
    page.mouse.up()
    chip = page.locator(".chip.narrowed")
    chip.wait_for()
    return int(re.match(r"\d+", chip.inner_text().strip()).group())


def wait_for_listed(page, count):
    text = "n => document.querySelector('.results h2').textContent.split(' ')[0] === n"
    page.wait_for_function(text, arg=str(count))


def exported(page, name: str, within, tmp_path):
    with page.expect_download() as waiting:
        within.get_by_role("button", name=name, exact=True).click()
    path = tmp_path / waiting.value.suggested_filename
    waiting.value.save_as(path)
    return path


def save_as(page, name: str) -> None:
    page.get_by_role("button", name="Save as cohort").click()
    window = page.get_by_role("dialog", name="Save as cohort")
    window.get_by_label("Name").fill(name)
    window.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("heading", name=f"{name}, version").wait_for()


def test_what_is_circled_is_listed_counted_and_exported(opened, visited, tmp_path):
    page = opened
    count = circle(page)
    assert count >= 3
    wait_for_listed(page, count)
    shown = page.locator("tr[data-row]").count()
    assert shown == min(count, 50)
    page.get_by_role("button", name="Export").click()
    window = page.get_by_role("dialog", name=re.compile("Export"))
    with exported(page, "CSV", window, tmp_path).open(newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    uids = [
        line
        for line in exported(page, "UID list", window, tmp_path).read_text().splitlines()
        if line[:1] != "#"
    ]
    table = pq.read_table(exported(page, "Parquet", window, tmp_path))
    lines = exported(page, "NDJSON", window, tmp_path).read_text().splitlines()
    objects = json.loads(exported(page, "DICOM JSON", window, tmp_path).read_text())
    expected = {row["seriesInstanceUid"] for row in rows}
    assert len(rows) == table.num_rows == len(lines) == len(objects) == count
    assert set(uids) == expected == set(table.column("seriesInstanceUid").to_pylist())
    assert {each["0020000E"]["Value"][0] for each in objects} == expected
    window.get_by_role("button", name="Close").click()
    page.get_by_role("button", name=re.compile("Not only")).click()
    page.locator(".chip.narrowed").wait_for(state="detached")


def test_a_circle_becomes_a_cohort_that_is_shown_again(opened, visited):
    page = opened
    count = circle(page, 0.4)
    wait_for_listed(page, count)
    save_as(page, "ring")
    panel = page.get_by_role("region", name="Cohorts")
    assert f"{count} series of manifest" in panel.inner_text()
    assert panel.get_by_role("table").count() >= 2  # attrition, and the charts
    page.get_by_role("button", name=re.compile("Not only")).click()
    panel.get_by_role("button", name="Show on the map").click()
    page.get_by_text("cohort ring, version 1").first.wait_for()
    wait_for_listed(page, count)
    assert "cohort=ring%401" in page.url
    page.reload()
    wait_for_listed(page, count)
    saved = visited.served.ask("GET", "/api/cohorts/ring/series").json()["value"]
    assert len(saved) == count


def test_a_saved_question_tells_what_is_new_and_compares_with_another(opened, visited, tmp_path):
    page = opened
    box = page.get_by_role("textbox", name="Describe the series you look for")
    box.fill("CT")
    box.press("Enter")
    page.get_by_role("button", name=re.compile("Change the condition: Modality is CT")).wait_for()
    save_as(page, "scans")
    panel = page.get_by_role("region", name="Cohorts")
    panel.get_by_text("Nothing has changed since it was saved.").wait_for()
    before = len(visited.served.ask("GET", "/api/cohorts/scans/series").json()["value"])
    (visited.files / "new.dcm").write_bytes(dicom_object(series="new scan", value=9))
    visited.index()
    page.locator(".notices").get_by_text("1 series came").wait_for()
    panel.get_by_role("button", name="All cohorts").click()
    panel.get_by_role("button", name=re.compile("scans v1")).click()
    panel.get_by_text("1 new since it was saved").wait_for()
    panel.get_by_role("button", name="Ask its question now").click()
    wait_for_listed(page, before + 1)
    save_as(page, "scans")
    panel.get_by_label("With").select_option(label="scans, version 1")
    panel.get_by_text("1 removed").wait_for()
    uids = exported(page, "UID list", panel, tmp_path).read_text()
    assert len([line for line in uids.splitlines() if line[:1] != "#"]) == before + 1


def test_a_name_that_cannot_be_one_is_told_before_anything_is_sent(opened):
    page = opened
    page.get_by_role("button", name="Save as cohort").click()
    window = page.get_by_role("dialog", name="Save as cohort")
    window.get_by_label("Name").fill("no spaces, please")
    window.get_by_role("button", name="Save", exact=True).click()
    assert window.get_by_label("Name").evaluate("box => box.validity.patternMismatch")
    window.get_by_role("button", name="Cancel").click()
