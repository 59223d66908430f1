"""Decision records have their form, and what they point to exists."""

import re

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "docs" / "adr"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))
PARTS = (
    *("Problem", "Decision", "Alternatives", "Consequences", "Tests"),
    "What would change our mind",
)
ONE_PAGE_WORDS = 1000


def test_records_are_numbered_without_a_gap():
    numbers = [int(page.name[:4]) for page in PAGES]
    assert numbers == list(range(1, len(PAGES) + 1))


def test_the_contents_page_lists_every_record():
    contents = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(([\w-]+\.md)\)", contents) == [page.name for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_record_is_one_page_with_all_its_parts_in_order(page):
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.name[:4]} ")
    places = [text.index(f"**{part}") for part in PARTS]
    assert places == sorted(places)
    assert len(text.split()) <= ONE_PAGE_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_a_record_names_exist(page):
    named = re.findall(
        r"`((?:tests|indexer_core|function_app|gpu_worker|local_host|benchmarks)/[\w/.]*)`",
        page.read_text(encoding="utf-8"),
    )
    assert not [name for name in named if not (ROOT / name).exists()]
