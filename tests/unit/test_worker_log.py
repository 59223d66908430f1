"""Lines of the worker's log: for machines, and for people."""

import json
import logging
import re

import pytest

from gpu_worker.__main__ import JsonLines, TextLines
from gpu_worker.wiring import LOG_FORMAT, read_log_format
from indexer_core.errors import ConflictError, InvalidInputError


def test_a_log_line_is_json_and_tells_of_an_exception_only_its_type():
    error = ConflictError("PLANTED^NAME")
    record = logging.LogRecord(
        "gpu_worker", logging.ERROR, "x.py", 1, "failed\n%d", (3,), (type(error), error, None)
    )
    line = JsonLines().format(record)
    assert "\n" not in line
    told = json.loads(line)
    assert (told["level"], told["message"], told["exception"]) == (
        "error",
        "failed\n3",
        "ConflictError",
    )
    assert "PLANTED" not in line


def raised(error):
    """The same error, with a stack; its argument is a value that no line may hold."""
    try:
        raise error
    except ConflictError as caught:
        return (type(caught), caught, caught.__traceback__)


def record_of(error, **fields):
    record = logging.LogRecord("gpu_worker", logging.ERROR, "x.py", 1, "failed", (), raised(error))
    record.__dict__.update(fields)
    return record


def test_a_log_line_tells_where_an_exception_was_raised_and_no_value():
    line = json.loads(JsonLines().format(record_of(ConflictError("PLANTED^NAME"))))
    [frame] = line["frames"]
    assert re.fullmatch(r"test_worker_log\.py:\d+ raised", frame)
    assert "PLANTED" not in json.dumps(line)


def test_a_log_line_about_a_series_has_the_ids_of_its_trace():
    about = record_of(ConflictError("x"), trace="0af7", span="b7ad")
    line = json.loads(JsonLines().format(about))
    assert (line["traceId"], line["spanId"]) == ("0af7", "b7ad")
    assert "traceId" not in json.loads(JsonLines().format(record_of(ConflictError("x"))))


def test_a_line_for_people_is_one_line_of_text():
    line = TextLines().format(record_of(ConflictError("PLANTED^NAME")))
    assert re.fullmatch(r"\d{4}-\d\d-\d\d .* error gpu_worker: failed \(ConflictError\)", line)


def test_the_format_of_the_log_is_json_unless_text_is_asked_for():
    assert read_log_format({}) == "json"
    assert read_log_format({LOG_FORMAT: "text"}) == "text"
    with pytest.raises(InvalidInputError, match="is json or text"):
        read_log_format({LOG_FORMAT: "xml"})
