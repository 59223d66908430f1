"""The page is a list of files: what is not on it does not exist, whatever the path says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from function_app.api.messages import Request
from function_app.page import CONTENT_TYPES, Page, read_page
from tests.conftest import ROOT

PAGE = Page({name: name.encode() for name in CONTENT_TYPES}, "/some/explorer/")
BASE = "/some/explorer/"


def ask(path: str, method: str = "GET", query=(), **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return PAGE.answer(Request(method=method, path=path, query=query, headers=named))


@pytest.mark.parametrize("name", CONTENT_TYPES)
def test_each_file_is_answered_as_what_it_is(name):
    found = ask(BASE + name)
    assert (found.status, found.body) == (200, name.encode())
    assert found.headers["content-type"] == CONTENT_TYPES[name]


def test_the_folder_is_its_start_page():
    assert ask(BASE) == ask(f"{BASE}index.html")


@given(st.text().map(lambda text: BASE + text) | st.text())
def test_other_paths_are_not_of_the_page(path):
    known = {BASE, BASE[:-1], *(BASE + name for name in CONTENT_TYPES)}
    assert (ask(path) is None) == (path not in known)


@pytest.mark.parametrize(
    "path",
    ["", "/", "app.js", "/app.js", f"{BASE}../explorer/app.js", f"{BASE}/app.js", f"{BASE}APP.JS"],
)
def test_paths_are_not_interpreted(path):
    assert ask(path) is None


def test_a_file_that_is_known_is_not_sent_again():
    etag = ask(f"{BASE}app.js").headers["etag"]
    for sent in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = ask(f"{BASE}app.js", if_none_match=sent)
        assert (again.status, again.body, again.headers["etag"]) == (304, b"", etag)
    for sent in ("", "other", etag.strip('"'), ask(f"{BASE}app.css").headers["etag"]):
        assert ask(f"{BASE}app.js", if_none_match=sent).status == 200


def test_the_folder_without_its_slash_leads_to_it_with_what_was_asked():
    moved = ask(BASE[:-1], query=(("q", "a b&c\r\nx: y"), ("at", "7")))
    assert moved.status == 308
    assert moved.headers["location"] == "explorer/?q=a+b%26c%0D%0Ax%3A+y&at=7"
    assert ask(BASE[:-1]).headers["location"] == "explorer/"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get"])
def test_files_are_only_read(method):
    refused = ask(BASE, method)
    assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD")


def test_at_the_root_nothing_leads_anywhere():
    page = Page(dict.fromkeys(CONTENT_TYPES, b""))
    assert page.answer(Request(method="GET", path="/")).status == 200
    assert page.answer(Request(method="GET", path="")) is None


def test_answers_allow_what_the_page_needs_and_nothing_else():
    headers = ask(BASE).headers
    assert headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    assert headers["cache-control"] == "no-cache"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"


def test_every_built_file_is_listed_and_every_listed_one_is_built():
    built = ROOT / "function_app" / "explorer"
    assert sorted(CONTENT_TYPES) == sorted(path.name for path in built.iterdir())
    page = read_page()
    for name in CONTENT_TYPES:
        found = page.answer(Request(method="GET", path=f"/{name}"))
        assert found.body == (built / name).read_bytes()
