"""The page follows the index: what comes, goes and moves is seen without reloading it."""

import json
import re
import shutil

import pytest

from tests.support.dicom import dicom_object

MAP_COUNT = ".map-count"


@pytest.fixture
def visited(own_site):
    return own_site


@pytest.fixture
def opened(page, visited):
    page.goto(visited.url)
    page.locator(MAP_COUNT).wait_for()
    page.locator("tr[data-row]").first.wait_for()
    return page


def places(site) -> dict[str, tuple[float, float]]:
    said = site.served.ask("GET", "/api/map").json()
    return dict(zip(said["keys"], zip(said["x"], said["y"], strict=True), strict=True))


def on_the_map(page) -> int:
    return int(page.locator(MAP_COUNT).inner_text().split()[0])


def listed(page) -> int:
    text = page.get_by_role("region", name="Series found").get_by_role("heading").inner_text()
    return int(text.split()[0])


def wait_for_listed(page, count):
    text = "n => document.querySelector('.results h2').textContent.split(' ')[0] === n"
    page.wait_for_function(text, arg=str(count))


def news(page, text):
    return page.locator(".notices").get_by_text(text)


def manifest(page) -> int:
    found = re.search(r"\d+", page.get_by_role("button", name="look back").inner_text())
    assert found is not None
    return int(found.group())


def test_a_series_that_is_added_comes_and_one_that_is_deleted_goes(opened, visited):
    page = opened
    before = on_the_map(page), listed(page), manifest(page)
    new = visited.files / "new.dcm"
    new.write_bytes(dicom_object(series="fresh", value=3))
    visited.index()
    news(page, "1 series came").wait_for()
    wait_for_listed(page, before[1] + 1)
    assert on_the_map(page) == before[0] + 1
    assert manifest(page) > before[2]
    new.unlink()
    visited.index()
    news(page, "1 went").wait_for()
    wait_for_listed(page, before[1])
    assert on_the_map(page) == before[0]
    page.get_by_role("button", name="Dismiss the news").click()
    assert news(page, "1 went").count() == 0


def test_a_list_from_before_a_commit_is_asked_anew_beside_a_map_from_after_it(page, visited):
    old = visited.served.ask("GET", "/api/manifest").json()["manifest"]
    (visited.files / "between.dcm").write_bytes(dicom_object(series="between", value=13))
    visited.index()
    asked_before = []

    def as_before(route):
        asked = route.request.post_data_json
        if not asked_before:
            asked_before.append(asked)
            asked = {**asked, "manifest": old}
        route.continue_(post_data=json.dumps(asked))

    page.route("**/api/series", as_before)
    page.goto(visited.url)
    page.locator("tr[data-row]").first.wait_for()
    asked = json.dumps({"manifest": old, "top": 1}).encode()
    before = visited.served.ask("POST", "/api/series", body=asked).json()["count"]
    wait_for_listed(page, before + 1)


def test_old_points_stay_where_they_are_when_others_come(opened, visited):
    page = opened
    before = places(visited)
    (visited.files / "second.dcm").write_bytes(dicom_object(series="second", value=5))
    visited.index()
    news(page, "1 series came").wait_for()
    after = places(visited)
    assert len(after) == len(before) + 1
    assert {key: after[key] for key in before} == before
    assert news(page, "The map is now").count() == 0


def test_one_can_look_back_and_mark_what_has_come_since(opened, visited):
    page = opened
    old, count = manifest(page), listed(page)
    (visited.files / "third.dcm").write_bytes(dicom_object(series="third", value=7))
    visited.index()
    news(page, "1 series came").wait_for()
    page.get_by_role("button", name="look back").click()
    page.get_by_role("button", name=f"Look at it manifest {old}", exact=True).click()
    news(page, f"Looking at manifest {old}").wait_for()
    wait_for_listed(page, count)
    assert f"at={old}" in page.url
    page.get_by_role("button", name="Back to the newest").click()
    wait_for_listed(page, count + 1)
    page.get_by_role("button", name="look back").click()
    page.get_by_role("button", name=f"New since manifest {old}", exact=True).click()
    news(page, f"1 marked: what came after manifest {old}").wait_for()


def test_a_link_marks_what_came_since_and_says_where_that_cannot_be_told(page, visited):
    (visited.files / "fourth.dcm").write_bytes(dicom_object(series="fourth", value=11))
    old = visited.served.ask("GET", "/api/manifest").json()["manifest"]
    visited.index()
    page.goto(f"{visited.url}#since={old}")
    news(page, f"1 marked: what came after manifest {old}").wait_for()
    page.goto(f"{visited.url}#since=999999")
    news(page, "What came after manifest 999999 cannot be told").wait_for()


def test_a_cohort_is_not_saved_of_a_past_state(page, visited):
    newest = visited.served.ask("GET", "/api/manifest").json()["manifest"]
    page.goto(f"{visited.url}#at={newest - 1}")
    page.locator("tr[data-row]").first.wait_for()
    assert page.get_by_role("button", name="Save as cohort").is_disabled()
    page.get_by_role("button", name="Back to the newest").click()
    page.wait_for_function("() => !document.querySelector('.results button').disabled")


def test_another_map_moves_the_points_and_says_so(opened, visited, samples):
    page = opened
    for folder in (
        "neurolabusc__dcm_qa_agfa",
        "suyashkumar__dicom",
        "ImagingDataCommons__highdicom",
    ):
        shutil.copytree(samples / folder, visited.files / folder)  # pictures enough for a map
    visited.index()
    news(page, "series came").wait_for()
    visited.fit()
    said = news(page, "The map is now 1.0")
    said.wait_for()
    assert re.search(r"\d+ series moved by [\d.]+ % of its diagonal", said.inner_text())
    assert "on map 1.0" in page.locator(MAP_COUNT).inner_text()


def test_a_state_that_is_not_kept_any_more_leads_back_to_the_newest(page, visited, watch):
    watch.allow("status of 410")
    page.goto(f"{visited.url}#at=999999")
    page.get_by_text("is not kept any more").first.wait_for()
    page.get_by_role("button", name="Look at the newest one").click()
    page.locator("tr[data-row]").first.wait_for()
    assert "at=" not in page.url
