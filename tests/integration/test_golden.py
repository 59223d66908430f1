"""Golden questions: a text encoder that answers them worse is not switched to."""

import pytest
import yaml

from indexer_core.errors import InvalidInputError
from indexer_core.templates import template_names
from local_host.encoders import DEFAULT_NAME
from local_host.golden import load_golden
from tests.integration.test_cli_encoder import cli, encoder_id, export, state  # noqa: F401
from tests.support.cli import uid_of

UNDERSTOOD = {"id": "g1", "query": "CT", "filters": ["modality=CT"], "minimum": 1}
BY_NAME = {"id": "g2", "query": "structured report", "series": [uid_of("sr")]}


def written(folder, *questions):
    path = folder / "golden.yaml"
    path.write_text(yaml.safe_dump({"golden": list(questions)}), encoding="utf-8")
    return path


def test_a_switch_that_keeps_golden_questions_is_made(cli, export, encoder_id, tmp_path):  # noqa: F811
    golden = written(tmp_path, UNDERSTOOD, BY_NAME)
    cli.run("encoder", "set", export, "--golden", golden)
    assert state(cli)["text"]["live"] == encoder_id


def test_a_switch_that_loses_one_is_refused_and_names_it(cli, export, encoder_id, tmp_path):  # noqa: F811
    live = state(cli)["text"]["live"]
    golden = written(tmp_path, UNDERSTOOD, BY_NAME | {"id": "g7", "minimum": 1.5})
    cli.run("encoder", "set", export, "--golden", golden, status=1)
    assert cli.error.splitlines()[-1].endswith("golden questions get worse: g7")
    assert "structured" not in cli.error
    text = state(cli)["text"]
    assert (text["live"], text["building"]) == (live, encoder_id)
    cli.run("encoder", "switch")  # the operator may still decide to
    assert state(cli)["text"]["live"] == encoder_id


def test_golden_goes_with_what_switches(cli, tmp_path):  # noqa: F811
    golden = written(tmp_path, UNDERSTOOD)
    cli.run("encoder", "build", DEFAULT_NAME, "--golden", golden, status=1)
    assert "goes with switch and set" in cli.error


@pytest.mark.parametrize(
    ("questions", "told"),
    [
        ([], "a list 'golden'"),
        ([{"id": "a"}], "question 1: it must have an id and a query"),
        ([UNDERSTOOD, {"id": "a", "query": "b"}], "question 2: say by filters or series"),
        ([UNDERSTOOD | {"filters": "modality=CT"}], "filters must be a list"),
        ([UNDERSTOOD | {"minimum": "high"}], "minimum must be a number"),
        ([UNDERSTOOD | {"filters": ["region=head"]}], "use one of"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(questions, told, tmp_path):
    with pytest.raises(InvalidInputError, match=told):
        load_golden(written(tmp_path, *questions))


def test_a_file_that_is_no_yaml_is_told(tmp_path):
    path = tmp_path / "golden.yaml"
    path.write_text("golden: [", encoding="utf-8")
    for wrong in (path, tmp_path / "absent.yaml"):
        with pytest.raises(InvalidInputError, match="can be read"):
            load_golden(wrong)


def changed_templates(folder, monkeypatch) -> None:
    mine = folder / "templates.yaml"
    texts = {name: {"text": "My own words."} for name in template_names()}
    mine.write_text(yaml.safe_dump({"templates": texts}), encoding="utf-8")
    monkeypatch.setenv("DICOM_INDEXER_TEMPLATES", str(mine))


def test_templates_that_lose_a_golden_question_are_not_applied(cli, tmp_path, monkeypatch):  # noqa: F811
    words = {"murmur": "Fremitus", "rumble": "Borborygmus"}
    for series, description in words.items():
        cli.put(f"{series}/1.dcm", series=series, SeriesDescription=description)
    cli.index()
    before = cli.records()
    questions = [
        {"id": series, "query": description.lower(), "series": [uid_of(series)], "minimum": 0}
        for series, description in words.items()
    ]
    golden = written(tmp_path, UNDERSTOOD, *questions)
    changed_templates(tmp_path, monkeypatch)
    files = set(cli.data.rglob("*"))
    cli.run("reprocess", "--golden", golden, status=1)
    told, _, lost = cli.error.splitlines()[-1].partition(" golden questions get worse: ")
    assert told.endswith("not reprocessed:")
    assert set(lost.split(", ")) <= words.keys()  # all texts are equal then: one of them at least
    assert cli.records() == before
    assert {path for path in cli.data.rglob("*") if ".tmp" not in path.parts} - files == set()
    assert cli.run("reprocess") == "reprocessed 4 series\n"


def test_templates_that_keep_them_are_applied(cli, tmp_path, monkeypatch):  # noqa: F811
    changed_templates(tmp_path, monkeypatch)
    golden = written(tmp_path, UNDERSTOOD)
    assert cli.run("reprocess", "--golden", golden) == "reprocessed 2 series\n"
    assert {text for each in cli.records().values() for text in each["texts"]} == {"My own words."}
    assert cli.run("reprocess", "--golden", golden) == "reprocessed 0 series\n"
