"""docs/deploy.md as somebody follows it: every command in its order, with stand-ins for programs.

What the cloud answers is not known here. That each line is a shell's, that nothing is used before
it is set, and that what is sent is JSON, is.
"""

import json
import os
import re
import shutil
import subprocess

import pytest

from infra.check.scenarios import read_files
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "deploy.md").read_text()
# Of what a console shows, the commands.
BLOCKS = [
    text if kind == "sh" else "\n".join(re.findall(r"^\$ (.*)", text, re.MULTILINE))
    for kind, text in re.findall(r"```(sh|console)\n(.*?)```", PAGE, re.DOTALL)
]
_SHELL = {"cd", "date", "do", "done", "echo", "eval", "export", "fi", "for", "if", "set", "then"}
# The first word of a command, wherever one may begin.
_WORD = re.compile(r"(?:^|&&|\||;|\$\()[ \t]*([a-z.][\w./-]*)(?=[\s)]|$)", re.MULTILINE)
PROGRAMS = sorted({word for block in BLOCKS for word in _WORD.findall(block)} - _SHELL)
# What the templates give out, as `azd env get-values` prints it, and what was set before.
OUTPUTS = re.findall(r"^output (\w+) ", read_files()["main.bicep"], re.MULTILINE)
VALUES = "".join(f'{name}="{name.lower()}"\\n' for name in (*OUTPUTS, "ENTRA_CLIENT_ID"))
STAND_IN = """#!/bin/sh
printf '%s\\0' "$(basename "$0")" "$@" >> "$LOG"
printf '\\n\\0' >> "$LOG"
case "$(basename "$0") $*" in
  "azd env get-values"*) printf '{values}' ;;
  *) echo an-answer ;;
esac
"""


@pytest.fixture(scope="module")
def called(tmp_path_factory):
    """Arguments of every program that was called, by all blocks after each other."""
    if shutil.which("sh") is None:
        pytest.skip("there is no sh")
    folder = tmp_path_factory.mktemp("deploy")
    programs, checkout = folder / "bin", folder / "work" / "dicom-indexer"
    checkout.mkdir(parents=True)
    for path in [(checkout if "/" in name else programs) / name for name in PROGRAMS]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(STAND_IN.replace("{values}", VALUES))
        path.chmod(0o755)
    log = folder / "log"
    done = subprocess.run(
        ["sh", "-eu", "-c", "\n".join(BLOCKS)],
        cwd=checkout.parent,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "LOG": str(log)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        [part for part in line.split("\0") if part]
        for line in log.read_text().split("\n\0")
        if line
    ]


def of(called, *start):
    found = [arguments for arguments in called if arguments[: len(start)] == list(start)]
    assert found, f"nothing begins with {start}"
    return found


def value(arguments, name):
    return arguments[arguments.index(name) + 1]


def test_every_step_is_called(called):
    assert {arguments[0] for arguments in called} >= {"az", "azd", "azcopy", "git", "make", "curl"}
    assert of(called, "azd", "provision")
    assert of(called, "azd", "deploy", "functions")


def test_the_registration_exposes_a_scope_that_the_command_line_may_ask_for(called):
    sent = [json.loads(value(call, "--body"))["api"] for call in of(called, "az", "rest")]
    scope = sent[0]["oauth2PermissionScopes"][0]
    assert (scope["value"], scope["type"], scope["isEnabled"]) == ("search", "User", True)
    # Tokens of version 1 name another issuer than the app's settings do.
    assert sent[0]["requestedAccessTokenVersion"] == 2
    allowed = sent[1]["preAuthorizedApplications"][0]
    assert allowed["delegatedPermissionIds"] == [scope["id"]]


def test_the_registration_trusts_the_apps_identity(called):
    (call,) = of(called, "az", "ad", "app", "federated-credential", "create")
    sent = json.loads(value(call, "--parameters"))
    assert sent["audiences"] == ["api://AzureADTokenExchange"]
    assert re.fullmatch(r"https://login\.microsoftonline\.com/.+/v2\.0", sent["issuer"])
    assert sent["subject"] == "an-answer"
    # By the name that the templates give it.
    (asked,) = of(called, "az", "identity", "list")
    assert "id-functions" in value(asked, "--query")
    assert "name: 'id-functions-${token}'" in read_files()["modules/identities.bicep"]


def test_browsers_come_back_to_the_app(called):
    (redirected,) = [call for call in called if "--web-redirect-uris" in call]
    assert value(redirected, "--web-redirect-uris").endswith("/.auth/login/aad/callback")


def test_what_the_files_of_parameters_ask_for_is_set(called):
    told = {call[3] for call in of(called, "azd", "env", "set")}
    files = read_files()
    needed = re.findall(r"readEnvironmentVariable\('(\w+)'\)", files["main.bicepparam"])
    # The name is what `azd env new` is given.
    assert set(needed) - {"AZURE_ENV_NAME"} <= told
    every = "".join(text for path, text in files.items() if path.endswith(".bicepparam"))
    known = set(re.findall(r"readEnvironmentVariable\('(\w+)'", every))
    assert told <= known | {"DICOM_INDEXER_SMOKE"}


def test_every_provider_of_the_templates_is_registered(called):
    told = {value(call, "--namespace") for call in of(called, "az", "provider", "register")}
    texts = "".join(read_files().values())
    named = {f"Microsoft.{name}" for name in re.findall(r"'Microsoft\.(\w+)/\w+[\w/]*@", texts)}
    always = {"Microsoft.Authorization", "Microsoft.Consumption", "Microsoft.Resources"}
    assert told == named - always


def test_what_cannot_be_proven_here_has_a_command_that_does():
    table = PAGE[PAGE.index("## Not verified on a subscription") :]
    rows = [line.split(" | ") for line in table.splitlines() if line.startswith("| ")][2:]
    assert all("`" in row[-1] or "above" in row[-1] or "bill" in row[-1] for row in rows)
    for word in ("azd", "Easy Auth", "quota", "aliases", "registration", "Event Grid"):
        assert any(word in row[0] for row in rows), word
    for row in rows:
        for command in re.findall(r"`([^`]+)`", row[-1]):
            plain = command.replace("\\|", "|")
            if plain.startswith(("az ", "azd ", "curl ", "dicom-indexer ")):
                done = subprocess.run(["sh", "-n", "-c", plain], capture_output=True, check=False)
                assert done.returncode == 0, plain
