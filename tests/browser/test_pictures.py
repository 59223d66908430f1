"""The pictures of README and docs, and that they show what they are there for.

`DICOM_INDEXER_PICTURES=1 pytest tests/browser/test_pictures.py` writes them into docs/images.
"""

import re

import pytest

ADULTS = b'{"name": "adults", "filters": ["ageYears>=18", "modality=CT,MR"], "purpose": "study 7"}'
WIDE = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
NARROW = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}


def settled(page):
    """Wait for the map, the list and the pictures that can be seen."""
    page.locator(".map-count").wait_for(state="attached")
    page.locator("tr[data-row]").first.wait_for(state="attached")
    page.wait_for_load_state("networkidle")


class TestWide:
    @pytest.fixture
    def context_options(self):
        return {**WIDE, "color_scheme": "light"}

    def test_a_question_its_hits_and_one_of_them(self, page, visited, screenshot, axe):
        page.goto(f"{visited.url}#colour=bodyRegion")
        settled(page)
        box = page.get_by_role("textbox", name="Describe the series you look for")
        box.fill("CT of the head")
        box.press("Enter")
        page.get_by_role("button", name="Change the condition: Modality is CT").wait_for()
        page.locator("tr[data-row]").first.click()
        details = page.get_by_role("region", name="One series")
        details.get_by_role("heading", name="Why it was found").wait_for()
        details.locator("img").wait_for()
        settled(page)
        assert axe() == []
        screenshot("explorer")


class TestDark:
    @pytest.fixture
    def context_options(self):
        return {**WIDE, "color_scheme": "dark"}

    @pytest.fixture
    def visited(self, own_site):
        return own_site

    def test_a_cohort_with_its_balance(self, page, visited, screenshot, axe):
        made = visited.served.ask(
            "POST",
            "/api/cohorts",
            body=ADULTS,
        )
        assert made.status == 200
        page.goto(f"{visited.url}#tab=cohorts&colour=modality")
        settled(page)
        page.get_by_role("button", name=re.compile("adults v1")).click()
        panel = page.get_by_role("region", name="Cohorts")
        panel.get_by_text("Nothing has changed since it was saved.").wait_for()
        panel.get_by_role("button", name="Show on the map").click()
        page.locator(".chip.narrowed").wait_for()
        settled(page)
        assert panel.get_by_role("table").count() >= 4
        assert axe() == []
        screenshot("explorer-cohort")


class TestNarrow:
    @pytest.fixture
    def context_options(self):
        return {**NARROW, "color_scheme": "light"}

    def test_one_thing_at_a_time_and_nothing_beyond_the_edge(self, page, visited, screenshot, axe):
        page.goto(f"{visited.url}#q=CT+of+the+head")
        settled(page)
        parts = page.get_by_role("navigation", name="Parts of the page")
        for tab in ("Map", "List", "Filters", "Cohorts"):
            parts.get_by_role("button", name=tab).click()
            page.wait_for_load_state("networkidle")
            assert page.evaluate("document.documentElement.scrollWidth") == 390, tab
            assert axe() == [], tab
        parts.get_by_role("button", name="List").click()
        screenshot("explorer-narrow")
        page.locator("tr[data-row]").first.click()
        page.get_by_role("region", name="One series").get_by_role(
            "heading", name="Evidence"
        ).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert axe() == []
