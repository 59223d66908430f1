"""The worker as a program: how it ends, and what it says when it fails."""

import json
import subprocess
import sys
from dataclasses import replace
from threading import Event

import pytest

from gpu_worker import __main__ as program
from gpu_worker.visibility import Shift
from gpu_worker.wiring import read_program_settings
from indexer_core.adapters.azure.settings import PATIENT_KEY, SOURCES, STORAGE_NAME
from indexer_core.telling import Telling
from indexer_core.testing.telemetry import Recorded
from tests.conftest import ROOT
from tests.support.pipeline import Pipeline

LEAST = {
    STORAGE_NAME: "abcdef",
    SOURCES: '[{"scope": "a", "account": "abcdef", "container": "dicom"}]',
    PATIENT_KEY: "MDEyMzQ1Njc4OWFiY2RlZg==",
}


class NotedShift(Shift):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def let_go(self):
        self.steps.append("let go")
        super().let_go()


class NotedTelemetry(Recorded):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps

    def flush(self, patience_s):
        self.steps.append("flush")


def test_in_the_middle_of_a_batch_messages_are_given_back_before_telemetry_is_sent(monkeypatch):
    pipeline, steps, over, told = Pipeline(), [], Event(), Event()
    monkeypatch.setattr(program, "run", lambda *_, **__: over.wait())
    monkeypatch.setattr(program, "_leave", leave)
    worker = pipeline.process().worker(
        shift=NotedShift(steps),
        telling=Telling(clock=pipeline.clock, telemetry=NotedTelemetry(steps)),
    )
    told.set()
    settings = replace(read_program_settings(LEAST), grace_s=0.0)
    with pytest.raises(SystemExit):
        program._work_until(told, worker, settings, until_idle=False)
    over.set()
    assert steps == ["let go", "flush"]


def leave(status):
    sys.exit(status)


PLANTED = "Planted^Name"
FAILING = f"""
import sys
from threading import Thread
import gpu_worker.__main__ as program

def fail(*_):
    raise ValueError({PLANTED!r})

def start(settings):
    thread = Thread(target=fail)
    thread.start()
    thread.join()
    fail()

program.build_azure_worker = start
sys.exit(program.main([]))
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_nobody_expected_is_a_line_of_the_log_without_its_text(form):
    done = subprocess.run(
        [sys.executable, "-c", FAILING],
        env={**LEAST, "INDEXER_LOG_FORMAT": form, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert PLANTED not in done.stderr
    if form == "json":
        found = [json.loads(line) for line in lines]
        assert [line["message"] for line in found] == ["a thread failed", "the worker failed"]
        assert {line["exception"] for line in found} == {"ValueError"}
        assert all(line["frames"][-1].endswith(" fail") for line in found)
    else:
        assert all(line.endswith("failed (ValueError)") for line in lines)
