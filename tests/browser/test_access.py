"""Everybody can use it: nothing grave is found in any state, narrow window or dark colours."""

import pytest
from playwright.sync_api import Page, expect

BRAIN = "#q=sagittal+MRI+of+the+brain"


def rows(page: Page):
    return page.locator("tr[data-row]")


@pytest.fixture(params=["light", "dark"])
def context_options(request) -> dict:
    return {"viewport": {"width": 1280, "height": 800}, "color_scheme": request.param}


@pytest.fixture
def opened(page, visited) -> Page:
    page.goto(f"{visited.url}{BRAIN}")
    expect(rows(page).first).to_be_visible()
    expect(page.locator(".map-count")).to_be_visible()
    return page


def test_what_was_found_has_no_grave_finding(opened, axe):
    rows(opened).first.click()
    expect(opened.get_by_role("heading", name="Why it was found")).to_be_visible()
    assert axe() == []


@pytest.mark.parametrize(
    ("button", "title"),
    [
        ("Condition", "Add a condition"),
        ("Choose columns", "Columns"),
        ("Save as cohort", "Save as cohort"),
        ("Export", "Export 3 series"),
    ],
)
def test_windows_have_no_grave_finding(opened, axe, button, title):
    opened.get_by_role("button", name=button, exact=True).click()
    expect(opened.get_by_role("dialog", name=title)).to_be_visible()
    assert axe() == []


def test_history_and_cohorts_have_no_grave_finding(opened, axe):
    opened.get_by_role("button", name="look back").click()
    expect(opened.get_by_role("region", name="Manifests")).to_be_visible()
    assert axe() == []
    opened.keyboard.press("Escape")
    expect(opened.locator("dialog")).to_have_count(0)
    opened.get_by_role("button", name="Cohorts").first.click()
    expect(opened.get_by_role("region", name="Cohorts")).to_be_visible()
    assert axe() == []


def test_a_narrow_window_shows_every_part_and_never_scrolls_sideways(opened, axe):
    opened.set_viewport_size({"width": 375, "height": 720})
    parts = opened.get_by_role("navigation", name="Parts of the page")
    for tab, region in (
        ("Map", opened.get_by_role("region", name="Map")),
        ("List", opened.get_by_role("region", name="Series found")),
        ("Filters", opened.get_by_role("complementary", name="Filters")),
        ("Cohorts", opened.get_by_role("region", name="Cohorts")),
    ):
        parts.get_by_role("button", name=tab).click()
        expect(region).to_be_visible()
        width = opened.evaluate("document.documentElement.scrollWidth")
        assert width <= 375, tab
        assert axe() == [], tab
