"""What `make package` has built starts in Microsoft's own runtime, by what it brings along.

Building takes a minute and downloads: `make test` does it before the tests, not they themselves;
`tests/unit/test_functions_package.py` tests how.
"""

import json
import subprocess
from pathlib import Path

import pytest

from deploy.functions_package import LIMIT_MB, PACKAGES, check, is_of
from tests.support.functions_host import PYTHON, ROOT, FunctionsHost, missing

BUILT = ROOT / "build" / "functions"
EXPECTED = json.loads(Path(__file__).with_name("functions.json").read_text())
# What searching, and the handlers of messages, are made of.
LIBRARIES = ("numpy", "pyarrow", "pydicom", "yaml", "faiss", "onnxruntime", "tokenizers", "PIL")
LIBRARIES += ("azure.functions", "azure.identity", "azure.storage.blob", "azure.data.tables")
LIBRARIES += ("azure.monitor.opentelemetry.exporter", "opentelemetry.exporter.otlp.proto.http")


pytestmark = [
    pytest.mark.skipif(not is_of(ROOT, BUILT), reason="no package of these files: `make package`"),
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]
PATH = {"PYTHONPATH": f"{BUILT}:{BUILT / PACKAGES}"}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = FunctionsHost(BUILT, PATH, tmp_path_factory.mktemp("package") / "log")
    yield host
    host.close()


def test_the_runtime_finds_every_function(host):
    assert set(host.functions) == set(EXPECTED)
    assert host.started["python"] == [3, 13]
    assert (host.started["heavy"], host.started["elsewhere"]) == ([], [])


def test_it_answers(host):
    answer = host.request("GET", "/api/health")
    assert (answer.status, answer.json()) == (200, {"status": "ok"})
    assert host.request("GET", "/explorer/").status == 200
    # Without settings nothing more can be answered, but the program was loaded to say so.
    refused = host.request("GET", "/api/search", query={"q": "brain"})
    assert (refused.status, refused.json()["code"]) == (503, "unavailable")


def test_every_library_comes_from_the_package():
    lines = (
        "import importlib, sys",
        "for name in sys.argv[1:]:",
        "    print(importlib.import_module(name).__file__)",
    )
    done = subprocess.run(
        [str(PYTHON), "-c", "\n".join(lines), *LIBRARIES],
        capture_output=True,
        text=True,
        check=False,
        env={**PATH, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 0, done.stderr
    files = [Path(line) for line in done.stdout.split()]
    assert len(files) == len(LIBRARIES)
    assert all(file.is_relative_to(BUILT / PACKAGES) for file in files), files


def test_nothing_is_in_it_that_must_not_be_and_the_zip_is_small_enough():
    check(BUILT)
    archive = BUILT.with_name("functions.zip")
    assert 0 < archive.stat().st_size <= LIMIT_MB * 1_000_000
