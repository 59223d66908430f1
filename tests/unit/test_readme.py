"""The README shows what the program does: its commands run, its options and links exist."""

import argparse
import logging
import os
import re
import shlex
import shutil
from itertools import combinations
from pathlib import Path

import pytest

from docs import architecture_picture
from docs.make_pictures import README, arguments_of, blocks_of, commands_of, data_of
from indexer_core.filters import FIELDS
from local_host import cli
from tests.conftest import ROOT

PAGES = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))


@pytest.fixture
def program(monkeypatch, capsys):
    """Runs the command line in this process, and undoes what it sets up for a whole process."""
    logger = logging.getLogger("pydicom")
    handlers, propagate = list(logger.handlers), logger.propagate

    def run(arguments: list[str], data: Path) -> str:
        monkeypatch.setenv("DICOM_INDEXER_DATA", str(data))
        monkeypatch.setenv("DICOM_INDEXER_PATIENT_KEY_FILE", str(data.parent / "patient.key"))
        status = cli.main(arguments)
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    yield run
    logger.handlers[:], logger.propagate = handlers, propagate


@pytest.fixture
def work(tmp_path, sample_searcher):
    """A copy of the indexed samples, and the encoder for the demo; the shared one stays as is."""
    shared = sample_searcher.system.settings.data
    encoders = shutil.ignore_patterns("encoders")
    shutil.copytree(shared, tmp_path / "data", ignore=encoders)
    for name in ("data", "demo"):
        shutil.copytree(shared / "encoders", tmp_path / name / "encoders", copy_function=os.link)
    return tmp_path


def parsers():
    (commands,) = [action for action in cli._parser()._actions if action.dest == "command"]
    return commands.choices


def options_of(parser) -> set[str]:
    """The options of a command, those of its actions too."""
    actions = [a.choices for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    nested = [options_of(action) for choices in actions for action in choices.values()]
    return set(parser._option_string_actions).union(*nested)


def shown() -> list[str]:
    """Every dicom-indexer command line in a code block of any page."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```\w+\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            lines = (line.removeprefix("$ ") for line in block.splitlines())
            found += [line for line in lines if line.startswith("dicom-indexer ")]
    return found


def words(line: str) -> list[str]:
    return re.findall(r"[a-z]+", line, re.IGNORECASE)


def outputs_of(block: str) -> list[str]:
    """The first line that the block shows after each of its commands."""
    lines = block.splitlines()
    return [lines[lines.index(f"$ {command}") + 1] for command in commands_of(block)]


def test_commands_of_the_readme_run_and_print_what_it_shows(program, work, samples):
    for block in blocks_of(README.read_text(encoding="utf-8")):
        for command, first_line in zip(commands_of(block), outputs_of(block), strict=True):
            printed = program(arguments_of(command, samples), data_of(command, work))
            assert words(printed.splitlines()[0]) == words(first_line), command


def test_searches_of_the_readme_show_the_hits_that_are_found(program, work, samples):
    (block,) = [b for b in blocks_of(README.read_text(encoding="utf-8")) if "MPRAGE of" in b]
    first, *_ = commands_of(block)
    lines = program(arguments_of(first, samples), data_of(first, work)).splitlines()
    best = next(line for line in lines if line[:2] == "0.")
    assert best.split()[-1] in block  # the end of the UID of the best series


def test_every_command_shown_on_any_page_can_be_parsed():
    assert shown()
    for line in shown():
        cli._parser().parse_args(shlex.split(line, comments=True)[1:])


def test_the_table_of_commands_names_each_of_them_once():
    page = README.read_text(encoding="utf-8")
    table = page[page.index("## Commands") : page.index("## Filters")]
    told = [
        word
        for cell in re.findall(r"\n\| (`.*?) \|", table)
        for word in re.findall(r"`([a-z]+)", cell)
    ]
    assert sorted(told) == sorted(parsers())


def test_every_option_in_the_readme_exists():
    known = {option for parser in parsers().values() for option in options_of(parser)}
    told = set(re.findall(r"`(--[a-z0-9-]+)", README.read_text(encoding="utf-8")))
    assert told <= known


def test_the_table_of_filters_names_every_field():
    page = README.read_text(encoding="utf-8")
    table = page[page.index("| kind | fields |") : page.index("## Privacy")]
    assert set(re.findall(r"`(\w+)`", table)) == set(FIELDS)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_picture_of_the_architecture_is_the_one_that_is_drawn():
    assert architecture_picture.TARGET.read_text(encoding="utf-8") == architecture_picture.picture()


def test_boxes_of_the_picture_do_not_overlap():
    boxes = [
        (x, y, x + width, y + height) for _, x, y, width, height, *_ in architecture_picture.BOXES
    ]
    for one, other in combinations(boxes, 2):
        apart = one[2] < other[0] or other[2] < one[0] or one[3] < other[1] or other[3] < one[1]
        assert apart, (one, other)
