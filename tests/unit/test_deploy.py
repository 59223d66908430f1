"""azure.yaml names what there is; what runs before refuses, and what runs after tries it."""

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

AZD = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))
BEFORE = ROOT / "deploy" / "before_provision.sh"
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


def test_azd_finds_nothing_in_the_package_that_it_would_leave_out():
    from deploy import functions_package

    # azd would heed it a second time, in the packages that the app needs, too.
    assert Path(".funcignore") not in functions_package.files_of(ROOT)


def test_the_templates_that_azd_takes_exist():
    folder = ROOT / AZD["infra"]["path"]
    if not folder.is_dir():
        pytest.skip(f"there are no templates in {AZD['infra']['path']}")
    assert (folder / f"{AZD['infra']['module']}.bicepparam").is_file()


def test_whether_it_is_private_lies_in_the_environment_and_in_no_file_that_all_share():
    assert AZD["infra"]["module"] == "main"
    text = (ROOT / AZD["infra"]["path"] / "main.bicepparam").read_text()
    assert "readEnvironmentVariable('DICOM_NETWORK', 'private')" in text


def test_an_azd_that_would_build_remotely_is_refused():
    assert AZD["requiredVersions"] == {"azd": ">= 1.23.13"}


@pytest.mark.parametrize(("when", "script"), [("preprovision", BEFORE), ("postdeploy", SCRIPT)])
def test_what_runs_before_and_after_is_there_and_can_be_run(when, script):
    assert ROOT / AZD["hooks"][when]["run"] == script
    assert os.access(script, os.X_OK)


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


ASKED = {
    "AZURE_ENV_NAME": "dicom-prod",
    "AZURE_LOCATION": "westeurope",
    "AZURE_SUBSCRIPTION_ID": "the-subscription",
    "BUDGET_START": "2027-02-01",
    "INDEXER_PROJECTS": "",
}
FIRST_TIME = {**ASKED, "PATIENT_KEY": "a-key"}
# What there is of it, and in which subscription it was asked for.
AZ = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
  "group exists --name rg-dicom-prod --subscription the-subscription"*)
    test "$THERE" != fails && echo "$(test -n "$THERE" && echo true || echo false)" ;;
  *virtualNetworks*) case "$THERE" in *network*) echo /a-network ;; esac ;;
  *vaults*tsv) case "$THERE" in *vault*) echo /a-vault ;; esac ;;
  *"/a-vault/secrets/patient-hash-key"*) case "$THERE" in *secret*) exit 0 ;; *) exit 3 ;; esac ;;
  *) echo "not known: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture
def before(tmp_path):
    """Runs the script with an az that finds what `there` names; how it ended, and what it said."""
    (tmp_path / "az").write_text(AZ)
    (tmp_path / "az").chmod(0o755)

    def run(there: str = "", **environment: str) -> tuple[int, str]:
        path = f"{tmp_path}:{os.environ['PATH']}"
        done = subprocess.run(
            [str(BEFORE)],
            env={"PATH": path, "THERE": there, "LOG": str(tmp_path / "log"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout == ""
        return done.returncode, done.stderr

    return run


def refused(ended: tuple[int, str], *words: str) -> None:
    status, said = ended
    assert status == 1
    assert said.startswith("before_provision: ")
    assert said.count("\n") == 1
    for word in words:
        assert word in said


def test_a_first_deployment_with_all_that_it_needs_may_begin(before):
    assert before(**FIRST_TIME) == (0, "")


@pytest.mark.parametrize("name", sorted(ASKED))
def test_what_must_be_said_is_asked_for_in_one_line(before, name):
    given = {key: value for key, value in FIRST_TIME.items() if key != name}
    refused(before(**given), name, "is not set")


def test_no_first_of_a_month_is_no_start_of_a_budget(before):
    refused(before(**{**FIRST_TIME, "BUDGET_START": "2027-02-11"}), "BUDGET_START")


def test_a_public_environment_needs_no_projects(before):
    given = {key: value for key, value in FIRST_TIME.items() if key != "INDEXER_PROJECTS"}
    assert before(**given, DICOM_NETWORK="public") == (0, "")


def test_what_is_private_does_not_become_public(before):
    for there, more in (("network", {}), ("group", {"IS_PRIVATE": "true"})):
        asked = {**FIRST_TIME, **more, "DICOM_NETWORK": "public"}
        refused(before(there, **asked), "dicom-prod is private", "does not become public")
    assert before("network vault secret", **ASKED) == (0, "")


def test_what_is_public_stays_so_or_becomes_private(before):
    asked = {**ASKED, "IS_PRIVATE": "false"}
    for network in ("public", "private"):
        assert before("vault secret", **asked, DICOM_NETWORK=network) == (0, "")


@pytest.mark.parametrize("there", ["", "group", "vault"])
def test_without_a_key_in_the_vault_one_must_be_given(before, there):
    refused(before(there, **ASKED), "PATIENT_KEY is empty")
    assert before(there, **FIRST_TIME) == (0, "")


def test_where_az_does_not_answer_nothing_begins(before):
    refused(before("fails", **FIRST_TIME, DICOM_NETWORK="public"), "az login")
