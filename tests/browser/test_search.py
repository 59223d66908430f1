"""Looking for series: words, conditions, counts, rows and links, by mouse and by keyboard."""

import re
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

from tests.support.browsing import Site

BRAIN = "sagittal MRI of the brain"


def headline(page: Page):
    """How many series were found, above the table."""
    return page.get_by_role("region", name="Series found").get_by_role("heading")


def look_for(page: Page, text: str) -> None:
    """Ask what has another number of answers; whatever was listed before is gone then."""
    before = headline(page).inner_text()
    page.get_by_role("textbox", name="Describe the series you look for").fill(text)
    page.keyboard.press("Enter")
    expect(headline(page)).not_to_have_text(before)


def rows(page: Page):
    return page.get_by_role("grid", name="Series").locator("tr[data-row]")


def descriptions(page: Page) -> list[str]:
    return rows(page).locator("td.column-description").all_inner_texts()


def facet(page: Page, name: str):
    return page.get_by_role("complementary", name="Filters").get_by_role("checkbox", name=name)


def api(site: Site, path: str, **query: object):
    return site.served.ask("GET", f"/api/{path}?{urlencode(query, doseq=True)}").json()


def count_text(count: int) -> str:
    return "1 series" if count == 1 else f"{count} series"


@pytest.fixture
def opened(page, visited) -> Page:
    """The page, with everything that is indexed on it."""
    page.goto(visited.url)
    expect(headline(page)).to_have_text(count_text(api(visited, "status")["series"]))
    return page


def test_words_become_conditions_that_are_shown_and_rows_that_meet_them(opened, visited):
    look_for(opened, BRAIN)
    found = api(visited, "search", q=BRAIN, top=50)
    expect(headline(opened)).to_have_text(count_text(found["count"]))
    for told in ("Modality is MR", "Body region is head", "Plane is sagittal"):
        name = f"Change the condition: {told}"
        expect(opened.get_by_role("button", name=name)).to_be_visible()
    best = found["value"][0]
    expect(rows(opened).first).to_contain_text(best["descriptions"][0])
    expect(rows(opened)).to_have_count(len(found["value"]))


def test_a_condition_is_taken_away_changed_and_added(opened, visited):
    look_for(opened, BRAIN)
    opened.get_by_role("button", name="Take away the condition: Plane is sagittal").click()
    head = api(
        visited, "search", q=BRAIN, interpret="false", filter=["modality=MR", "bodyRegion=head"]
    )
    expect(headline(opened)).to_have_text(count_text(head["count"]))
    opened.get_by_role("button", name="Change the condition: Modality is MR").click()
    dialog = opened.get_by_role("dialog", name="Change a condition")
    dialog.get_by_label("Values, with commas between").fill("CT, MR")
    dialog.get_by_role("button", name="Apply").click()
    expect(opened.get_by_role("button", name="Modality is CT or MR")).to_have_count(2)
    opened.get_by_role("button", name="Condition", exact=True).click()
    dialog = opened.get_by_role("dialog", name="Add a condition")
    dialog.get_by_label("Field").select_option("instances")
    dialog.get_by_label("Comparison").select_option(">=")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog.get_by_role("alert")).to_contain_text("Say at least one value")
    dialog.get_by_label("Values, with commas between").fill("2")
    dialog.get_by_role("button", name="Apply").click()
    asked = ["modality=CT,MR", "bodyRegion=head", "instances>=2"]
    many = api(visited, "search", q=BRAIN, interpret="false", filter=asked)
    expect(headline(opened)).to_have_text(count_text(many["count"]))


def test_counts_are_conditions_to_set_and_take_away(opened, visited):
    everything = headline(opened).inner_text()
    counted = api(visited, "facets", facets="modality")["facets"]["modality"]["values"]
    ct = next(each["count"] for each in counted if each["value"] == "CT")
    line = opened.locator("label").filter(has=opened.get_by_role("checkbox", name="Modality: CT"))
    expect(line).to_contain_text(str(ct))
    facet(opened, "Modality: CT").check()
    expect(headline(opened)).to_have_text(count_text(ct))
    expect(opened).to_have_url(re.compile("f=modality%3DCT"))
    facet(opened, "Modality: CT").uncheck()
    expect(headline(opened)).to_have_text(everything)


def test_a_row_tells_why_it_was_found_and_escape_leaves_it(opened):
    look_for(opened, BRAIN)
    rows(opened).first.click()
    told = opened.get_by_role("region", name="One series")
    expect(told.get_by_role("heading", name="Why it was found")).to_be_visible()
    expect(told).to_contain_text("Meets every condition.")
    expect(told.get_by_role("row", name="Plane")).to_contain_text("geometry")
    opened.keyboard.press("Escape")
    expect(told).to_have_count(0)


def test_a_link_shows_what_was_seen(opened, browser, context_options):
    look_for(opened, BRAIN)
    rows(opened).nth(1).click()
    opened.get_by_role("combobox", name="Colour by").select_option("plane")
    shown = descriptions(opened)
    title = opened.get_by_role("region", name="One series").get_by_role("heading", level=2)
    expect(title).not_to_have_text("Series")
    told = title.inner_text()
    context = browser.new_context(**context_options)
    other = context.new_page()
    other.goto(opened.url)
    other_title = other.get_by_role("region", name="One series").get_by_role("heading", level=2)
    expect(other_title).to_have_text(told)
    expect(rows(other)).to_have_count(len(shown))
    assert descriptions(other) == shown
    expect(other.get_by_role("combobox", name="Colour by")).to_have_value("plane")
    context.close()


def test_the_way_back_leads_to_what_was_seen_before(opened):
    everything = headline(opened).inner_text()
    look_for(opened, BRAIN)
    expect(headline(opened)).not_to_have_text(everything)
    found = headline(opened).inner_text()
    rows(opened).first.click()
    expect(opened.get_by_role("region", name="One series")).to_be_visible()
    opened.go_back()
    expect(opened.get_by_role("region", name="One series")).to_have_count(0)
    expect(headline(opened)).to_have_text(found)
    opened.go_back()
    expect(headline(opened)).to_have_text(everything)


def test_columns_are_sorted_by_both_ways(opened, visited):
    header = opened.get_by_role("columnheader", name="Images")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "ascending")
    few = rows(opened).first.locator("td").last
    expect(few).to_have_text("1")
    header.get_by_role("button").click()
    expect(header).to_have_attribute("aria-sort", "descending")
    most = max(each["instances"] for each in records(visited))
    expect(rows(opened).first.locator("td").last).to_have_text(str(most))


def records(site: Site) -> list[dict]:
    told = site.served.ask("POST", "/api/series", body=b'{"top": 500}').json()
    return told["value"]


def test_what_was_found_is_a_file(opened):
    look_for(opened, BRAIN)
    expect(opened.get_by_role("button", name="Take away the condition: Plane")).to_be_visible()
    count = int(headline(opened).inner_text().split()[0])
    opened.get_by_role("button", name="Export").click()
    dialog = opened.get_by_role("dialog", name=f"Export {count_text(count)}")
    with opened.expect_download() as download:
        dialog.get_by_role("button", name="CSV").click()
    assert download.value.suggested_filename.endswith(".csv")
    assert len(download.value.path().read_text().splitlines()) == count + 1


def test_more_like_this_asks_by_likeness(opened):
    look_for(opened, BRAIN)
    rows(opened).first.click()
    opened.get_by_role("button", name="More like this").click()
    expect(headline(opened)).to_have_text("Series that look like it")
    expect(rows(opened).nth(3)).to_be_visible()
    opened.get_by_role("button", name="No longer by likeness").click()
    expect(headline(opened)).not_to_have_text("Series that look like it")


def test_everything_is_done_without_a_mouse(opened):
    keyboard = opened.keyboard
    keyboard.press("/")
    keyboard.type(BRAIN)
    keyboard.press("Enter")
    chip = opened.get_by_role("button", name="Change the condition: Plane is sagittal")
    expect(chip).to_be_visible()
    chip.focus()
    keyboard.press("Enter")
    expect(opened.get_by_role("dialog", name="Change a condition")).to_be_visible()
    keyboard.press("Escape")
    expect(opened.locator("dialog")).to_have_count(0)
    expect(chip).to_be_focused()
    opened.get_by_role("button", name="Skip to the series found").focus()
    keyboard.press("Enter")
    expect(rows(opened).first).to_be_focused()
    keyboard.press("ArrowDown")
    expect(rows(opened).nth(1)).to_be_focused()
    keyboard.press("Enter")
    expect(opened.get_by_role("region", name="One series")).to_be_visible()
    expect(rows(opened).nth(1)).to_have_attribute("aria-selected", "true")
    keyboard.press("Escape")
    expect(opened.get_by_role("region", name="One series")).to_have_count(0)


def test_keys_move_the_map_and_a_link_says_where_it_is(opened):
    keyboard = opened.keyboard
    opened.get_by_role("application").focus()
    keyboard.press("+")
    keyboard.press("ArrowLeft")
    expect(opened).to_have_url(re.compile("view="))
    keyboard.press("0")
    expect(opened).not_to_have_url(re.compile("view="))


def test_the_tab_key_reaches_every_part(opened):
    seen = set()
    for _ in range(120):
        opened.keyboard.press("Tab")
        seen.add(
            opened.evaluate(
                "document.activeElement.closest('[aria-label], [role=search], header')"
                "?.closest('section, aside, form, header, [role=group]')"
                "?.getAttribute('aria-label') ?? document.activeElement.tagName"
            )
        )
    assert {"Conditions", "Filters", "Map", "Series found"} <= seen
