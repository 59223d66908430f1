"""`dicom-indexer demo` ends with the explorer: it serves it in a terminal, and else says how to."""

import os
import pty
import re
import shutil
import signal
import subprocess
import sys

import pytest
import requests

from tests.conftest import ROOT

TIMEOUT_S = 300.0
COMMAND = (sys.executable, "-m", "local_host.cli", "demo")


@pytest.fixture(scope="module")
def environment(tmp_path_factory, exported):
    """A data directory that has the encoder already."""
    data = tmp_path_factory.mktemp("demo") / "data"
    data.mkdir()
    shutil.copytree(exported, data / "encoders", copy_function=os.link)
    key = str(data.parent / "patient.key")
    return {
        **os.environ,
        "DICOM_INDEXER_DATA": str(data),
        "DICOM_INDEXER_PATIENT_KEY_FILE": key,
    }


def test_into_a_pipe_it_ends_with_how_to_see_the_samples(environment):
    done = subprocess.run(
        COMMAND,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last == "explorer: dicom-indexer serve, then http://127.0.0.1:8080/"


def test_in_a_terminal_it_serves_the_explorer_until_it_is_stopped(environment):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(COMMAND, cwd=ROOT, env=environment, stdout=theirs)
    os.close(theirs)
    try:
        with os.fdopen(ours, errors="replace") as terminal:
            lines = iter(terminal.readline, "")
            line = next(line for line in lines if line.startswith("explorer: "))
            address = re.fullmatch(r"explorer: (http://\S+/)  \(stop with Ctrl-C\)\n", line)[1]
            assert requests.get(address, timeout=60).status_code == 200
            told = requests.get(f"{address}api/status", timeout=60).json()
            process.send_signal(signal.SIGINT)
            process.wait(timeout=TIMEOUT_S)
    finally:
        process.kill()
        process.wait()
    assert told["series"] == 47
