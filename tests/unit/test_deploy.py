"""azure.yaml names what there is, and what runs after a deployment tries it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

AZD = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
SCRIPT = ROOT / "deploy" / "after_deploy.sh"
OUTPUTS = {
    "API_ENDPOINT": "https://app.example",
    "FILES_ACCOUNT": "files",
    "FILES_CONTAINER": "dicom",
}
WITH_WORKER = {**OUTPUTS, "SERVICE_WORKER_IMAGE_NAME": "image"}


def test_the_package_that_azd_takes_is_the_one_that_make_builds():
    from deploy import functions_package

    service = AZD["services"]["functions"]
    assert (service["host"], service["language"], service["remoteBuild"]) == (
        "function",
        "python",
        False,
    )
    assert service["hooks"]["prepackage"]["run"] == "make package"
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "\npackage: ##" in makefile
    assert "deploy/functions_package.py" in makefile
    assert Path(service["dist"]) == functions_package.TARGET


def test_the_templates_that_azd_takes_exist():
    folder = ROOT / AZD["infra"]["path"]
    if not folder.is_dir():
        pytest.skip(f"there are no templates in {AZD['infra']['path']}")
    assert (folder / f"{AZD['infra']['module']}.bicepparam").is_file()


def test_what_runs_after_a_deployment_is_there_and_can_be_run():
    assert ROOT / AZD["hooks"]["postdeploy"]["run"] == SCRIPT
    assert os.access(SCRIPT, os.X_OK)


@pytest.fixture
def after(tmp_path):
    """Runs the script with programs that tell how they were called."""
    for name, line in (("indexer", 'echo "$@ $DICOM_INDEXER_TOKEN"'), ("az", "echo $4")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)

    def run(**environment: str) -> subprocess.CompletedProcess:
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            [str(SCRIPT)],
            env={"PATH": path, "DICOM_INDEXER": str(tmp_path / "indexer"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_new_app_is_tried_with_the_outputs_of_the_templates(after):
    done = after(**WITH_WORKER, DICOM_INDEXER_TOKEN="given")
    assert done.returncode == 0
    told = "smoke --endpoint https://app.example --inbox files/dicom --wait 900 given"
    assert done.stdout.strip() == told


def test_a_token_is_asked_for_where_the_registration_is_known(after):
    done = after(**WITH_WORKER, ENTRA_CLIENT_ID="the-client")
    assert done.stdout.split()[-1] == "api://the-client"


def test_a_key_is_enough(after):
    done = after(**WITH_WORKER, ENTRA_CLIENT_ID="the-client", DICOM_INDEXER_KEY="k")
    assert done.stdout.split()[-1] == "900"


def test_without_a_worker_it_is_not_tried_and_says_so(after):
    done = after(**OUTPUTS)
    assert done.returncode == 0
    assert "there is no worker yet" in done.stdout
    assert after(**OUTPUTS, DICOM_INDEXER_SMOKE="on").stdout.startswith("smoke ")


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_a_missing_output_is_told_in_one_line(after, name):
    done = after(**{**WITH_WORKER, name: ""})
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert name in done.stderr
