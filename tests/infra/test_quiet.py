"""The check tells what it finds, and nothing that others have to say of how it asks them."""

import subprocess
import sys

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from infra.check.rules.stores import functions_of_the_code, stores_of_the_code
from tests.conftest import ROOT

# In a process of its own: what is asked is remembered, and pytest takes what is logged.
ASKS = """
from infra.check.rules import stores
stores.stores_of_the_code()
stores.triggers_of_the_code()
stores.functions_of_the_code()
"""


def test_asking_for_the_functions_of_the_code_logs_nothing():
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_queues_and_functions_are_those_of_the_code():
    queues = {name for kind, name in stores_of_the_code() if kind == "queue"}
    assert {"blob-events", "series-check", "series-ready", "series-ready-poison"} <= queues
    assert {"blob_event_push", "ingest", "sweep", "api"} <= functions_of_the_code()
