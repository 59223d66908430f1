"""Fixtures of the tests that use the explorer in a browser."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.support import browsing
from tests.support.browsing import Site, Watch
from tests.support.command_line import copy_files, exported_encoder, pydicom_files

TIMEOUT_MS = 30_000  # against hangs only: a busy machine is several times slower than an idle one

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def browser():
    """Chromium. Not of the session: playwright's loop would stay in the way of other tests'."""
    if reason := browsing.missing():
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(**browsing.launch_options())
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(samples, tmp_path_factory, pytestconfig):
    """All sample files on a map that was fitted; for tests that change nothing."""
    files = tmp_path_factory.mktemp("site") / "files"
    shutil.copytree(samples, files)
    made = Site(files, exported_encoder(pytestconfig))
    made.fit()
    yield made
    made.stop()


@pytest.fixture(scope="module")
def own_site(tmp_path_factory, pytestconfig):
    """The files of pydicom, for the tests of one module to change; their map is none yet."""
    files = tmp_path_factory.mktemp("own") / "files"
    copy_files(files, pydicom_files())
    made = Site(files, exported_encoder(pytestconfig))
    yield made
    made.stop()


@pytest.fixture
def visited(site) -> Site:
    """The site that `page` is of; a module may name another."""
    return site


@pytest.fixture
def context_options() -> dict:
    """Options of the browser's context, for modules and classes to add to."""
    return {"viewport": {"width": 1280, "height": 800}}


@pytest.fixture
def watch(visited) -> Watch:
    """Takes down what the page must not do; a test says what it expects by `watch.allow`."""
    return Watch(origin=visited.url.rstrip("/"))


@pytest.fixture
def page(browser, watch, context_options):
    """An empty page of a fresh context; the test fails on anything that `watch` has taken down."""
    context = browser.new_context(**context_options)
    context.set_default_timeout(TIMEOUT_MS)
    made = context.new_page()
    watch.follow(made)
    yield made
    context.close()
    assert watch.unexpected() == []


@pytest.fixture
def screenshot(page, tmp_path) -> Callable[[str], Path]:
    """Keeps a picture of the page: in docs/images for those who ask for that, else nowhere."""
    wanted = os.environ.get(browsing.PICTURES)
    folder = browsing.ROOT / "docs" / "images" if wanted else tmp_path

    def take(name: str) -> Path:
        path = folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        return path

    return take


@pytest.fixture
def axe(page) -> Callable[[], list[str]]:
    """What axe-core finds serious or critical in the page as it is now."""
    if not browsing.AXE.is_file():
        pytest.skip("axe-core is not installed (make tools, with npm)")
    return lambda: browsing.axe(page)
