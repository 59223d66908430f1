"""When something is wrong: no server, no token, no such manifest, and headers that mean harm."""

import pytest
from playwright.sync_api import Page, expect

from tests.support.dicom import dicom_object

TOKEN = "a secret of this test"
UNREACHABLE = "The server cannot be reached"
HARM = """"><img src=x onerror=window.planted=1><script>window.planted=1</script>"""
OFFLINE = r"net::ERR_(?:CONNECTION_REFUSED|CONNECTION_RESET|EMPTY_RESPONSE)"


@pytest.fixture
def visited(own_site):
    return own_site


def headline(page: Page):
    return page.get_by_role("region", name="Series found").get_by_role("heading")


def rows(page: Page):
    return page.get_by_role("grid", name="Series").locator("tr[data-row]")


def test_text_of_headers_is_text(page, visited):
    file = visited.files / "harm.dcm"
    file.write_bytes(dicom_object(series="harm", SeriesDescription=f"Harm {HARM}"[:64]))
    visited.index()
    page.goto(visited.url)
    page.get_by_role("textbox", name="Describe the series").fill("harm")
    page.keyboard.press("Enter")
    row = rows(page).filter(has_text="Harm")
    expect(row).to_contain_text("<img src=x onerror=")
    row.click()
    told = page.get_by_role("region", name="One series")
    expect(told).to_contain_text("<img src=x onerror=")
    told.get_by_text("What it has passed").click()
    expect(told.locator("dl").last).to_contain_text("searchable")
    assert page.locator("img[src='x'], .app script").count() == 0
    assert page.evaluate("window.planted") is None


def test_words_in_a_link_are_text(page, visited):
    page.goto(f"{visited.url}#q={HARM}&f=modality={HARM}&colour={HARM}&series={HARM}")
    expect(page.get_by_role("textbox", name="Describe the series")).to_have_value(HARM)
    expect(headline(page)).not_to_have_text("Searching …")
    assert page.evaluate("window.planted") is None


def test_a_server_that_goes_is_told_and_is_asked_again_until_it_is_back(page, visited, watch):
    watch.allow(OFFLINE)
    page.goto(visited.url)
    found = headline(page)
    expect(rows(page).first).to_be_visible()
    before = found.inner_text()
    visited.stop()
    try:
        expect(page.get_by_role("alert").filter(has_text=UNREACHABLE)).to_be_visible()
        assert found.inner_text() == before  # what is shown stays
    finally:
        visited.restart()
    expect(page.get_by_text(UNREACHABLE)).to_have_count(0, timeout=120_000)
    page.get_by_role("checkbox", name="Modality: CT").check()
    expect(found).not_to_have_text(before)


def test_a_question_to_a_server_that_is_gone_can_be_asked_again(page, visited, watch):
    watch.allow(OFFLINE)
    page.goto(visited.url)
    expect(rows(page).first).to_be_visible()
    visited.stop()
    try:
        page.get_by_role("textbox", name="Describe the series").fill("heart")
        page.keyboard.press("Enter")
        failed = page.get_by_role("alert").filter(has_text="This cannot be answered")
        expect(failed).to_be_visible()
    finally:
        visited.restart()
    failed.get_by_role("button", name="Try again").click()
    expect(rows(page).first).to_be_visible()


def test_a_token_is_asked_for_until_it_is_right_and_kept_for_the_tab(page, visited, watch):
    watch.allow("status of 401")
    with visited.also_served(token=TOKEN) as served:
        watch.origin = served.url
        page.goto(f"{served.url}/")
        dialog = page.get_by_role("dialog", name="This server asks for a token")
        dialog.get_by_label("Token").fill("a wrong secret of a test")
        dialog.get_by_role("button", name="Go on").click()
        expect(dialog.get_by_label("Token")).to_have_value("")
        dialog.get_by_label("Token").fill(TOKEN)
        dialog.get_by_role("button", name="Go on").click()
        expect(rows(page).first).to_be_visible()
        expect(page.locator(".map-count")).to_contain_text("series")
        page.reload()
        expect(rows(page).first).to_be_visible()
        expect(page.locator("dialog")).to_have_count(0)
        assert TOKEN not in page.url
        assert page.evaluate("JSON.stringify(localStorage)").find(TOKEN) == -1
        page.close()  # before its server, which it goes on asking
