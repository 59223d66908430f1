"""Series on the command line: questions without quotes, UIDs as tables show them, second times."""

import pytest

from tests.support.cli import Cli, uid_of


@pytest.fixture
def three_series(run) -> Cli:
    run.put("a.dcm", series="a", SeriesDescription="Abdomen axial")
    for number, uid in enumerate(("1.2.3.456789", "1.3.9.456789")):
        run.put(f"{number}.dcm", series=uid, SeriesInstanceUID=uid, SeriesDescription="Head")
    run.index()
    return run


def test_a_question_needs_no_quotes(three_series):
    said = three_series.run("search", "ct", "of", "the", "abdomen", "--top", "1")
    assert said == three_series.run("search", "ct of the abdomen", "--top", "1")
    assert said.count("\n") == 3  # what was understood, the names of the columns, a series


def test_the_end_of_a_uid_as_a_table_shows_it_names_the_series(three_series):
    table = three_series.run("search", "abdomen", "--top", "1")
    shown = table.split()[-1]
    assert uid_of("a").endswith(shown.lstrip("\u2026"))
    assert three_series.run("trace", shown) == three_series.run("trace", uid_of("a"))
    assert three_series.run("trace", shown.replace("\u2026", "...")).startswith("{")
    three_series.run("delete", shown)
    assert uid_of("a") not in three_series.records()
    three_series.run("restore", shown)
    assert uid_of("a") in three_series.records()


@pytest.mark.parametrize("command", ["trace", "delete", "restore"])
@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("\u2026456789", "2 series have a UID that ends so"),
        ("\u2026000000000", "no indexed series has a UID that ends so"),
        ("\u2026789", "at least 4 characters"),
    ],
)
def test_an_end_that_names_no_series_or_several_changes_nothing(
    three_series, command, ending, said
):
    three_series.run(command, ending, status=1)
    assert said in three_series.error
    assert three_series.error.count("\n") == 1
    assert len(three_series.records()) == 3


def test_deleting_or_restoring_a_second_time_says_so_and_commits_nothing(three_series):
    assert three_series.run("delete", uid_of("a")).startswith("deleted 1 series")
    manifest = three_series.newest()
    assert three_series.run("delete", uid_of("a")) == "already deleted\n"
    assert three_series.newest() == manifest
    assert three_series.run("restore", uid_of("a")) == "restored 1 series\n"
    manifest = three_series.newest()
    said = three_series.run("restore", uid_of("a"))
    assert said == "not deleted, so there is nothing to restore\n"
    assert three_series.newest() == manifest
