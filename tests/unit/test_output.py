"""What people and machines read."""

import json
import sys
from pathlib import Path

import pytest

from indexer_core.record_files import COLUMNS
from indexer_core.records import SeriesRecord, to_public_json
from local_host import output

LONG = "脳" * 40


def hit(**changes: object) -> dict:
    return {
        "seriesInstanceUid": "1.2." + "9" * 56,
        "score": 0.5,
        "modality": "MR",
        "bodyRegion": "unknown",
        "bodyPart": {"term": LONG},
        "plane": "projection",
        "sequence": ["T1", LONG],
        "contrast": "unknown",
        "descriptions": [LONG, LONG],
        **changes,
    }


def found(*hits: dict) -> dict:
    return {"value": list(hits), "interpretation": {"filters": [], "unknown": {}}}


def test_table_is_never_wider_than_its_limit(capsys):
    output.print_hits(found(hit(), hit(bodyPart=None, sequence=[])), "table")
    lines = capsys.readouterr().out.splitlines()
    assert all(output._width(line) <= output.WIDTH for line in lines)


def test_header_text_cannot_steer_the_terminal(capsys):
    output.print_hits(found(hit(descriptions=["\x1b[2J\r\nx\u202e"])), "table")
    out = capsys.readouterr().out
    assert out.count("\n") == 2
    assert not {"\x1b", "\r", "\u202e"} & set(out)


def test_hits_stand_in_groups_under_what_was_understood(capsys):
    answer = found(hit(match="fits"), hit(match="possible"), hit(match="near"))
    answer["interpretation"] |= {
        "filters": [{"field": "modality", "operator": "=", "values": ["MR"], "from": "query"}],
        "corrections": [{"from": "brian", "to": "brain"}],
        "unknown": {"modality": 1},
    }
    output.print_hits(answer | {"fit": "weak"}, "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["brian is read as brain", "understood: modality=MR"]
    assert lines[2].startswith("weak: ")
    assert [line for line in lines if line.endswith(":")] == [
        "may fit (what is asked is not known of them):",
        "near, but not all that was asked for:",
    ]
    assert sum(line.startswith("score") for line in lines) == 1
    assert len({len(line) for line in lines if line.startswith("0.5")}) == 1


def test_nothing_fits_is_said(capsys):
    answer = found() | {"fit": "none"}
    answer["interpretation"]["alternatives"] = [
        [{"field": "sex", "operator": "=", "values": [sex]}] for sex in "MF"
    ]
    output.print_hits(answer, "table")
    assert capsys.readouterr().out.splitlines() == [
        "understood: (sex=M) or (sex=F)", "nothing fits", "no series"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_spreadsheet_runs_no_cell(text, capsys):
    output.print_hits(found(hit(modality=text)), "csv")
    assert f"'{text}" in capsys.readouterr().out


def test_columns_are_those_of_the_record():
    values = dict.fromkeys(SeriesRecord.__dataclass_fields__, ())
    record = SeriesRecord(**{**values, "body_part": None, "evidence": {}})
    assert list(to_public_json(record, include_blobs=True)) == list(COLUMNS)


def test_rejects_are_grouped_by_reason(capsys):
    rows = [{"url": "file:///a%0Ab", "reason": "empty file"}, {"queue": "q", "reason": "bad"}]
    output.print_rejects(rows, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        "bad (1)", "  a message of q", "empty file (1)", "  /a\\nb",
        "2 rejected; replay tries them again",
    ]  # fmt: skip
    output.print_rejects(rows, as_json=True)
    assert json.loads(capsys.readouterr().out) == rows


@pytest.mark.parametrize("found", [None, "/usr/bin/dicom-indexer"])
def test_next_steps_say_how_to_find_the_program_where_the_shell_does_not(
    found, capsys, monkeypatch
):
    monkeypatch.setattr(output.shutil, "which", lambda _: found)
    output.print_next_steps(Path("data"))
    said = capsys.readouterr().out
    assert ("source " in said) == (found is None)
    assert f"{Path(sys.prefix) / 'bin' / 'activate'}".endswith("/bin/activate")
