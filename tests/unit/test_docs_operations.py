"""The pages of operators: commands that exist, settings and parameters that there are, links."""

import re
import shlex
from argparse import _SubParsersAction

import pytest

from local_host import cli
from tests.conftest import ROOT

PAGES = ("operations.md", "deploy.md", "azure.md", "cost.md")
FOLDERS = ("indexer_core", "function_app", "gpu_worker", "local_host")
TEXTS = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in PAGES}
OPERATIONS = TEXTS["operations.md"]
OF_OTHERS = frozenset(
    {"deadLetterReason", "minReplicas", "overrideQueryTimeRange", "patientKey", "traceId"}
)
"""Names in mixed case that are neither parameters nor codes of ours."""


def commands():
    (action,) = (one for one in cli._parser()._actions if isinstance(one, _SubParsersAction))
    return frozenset(action.choices)


def told_commands(text: str) -> list[str]:
    """Command lines of blocks and of running text, without the name of the program."""
    found = []
    for block in re.findall(r"^```(?:sh|console)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found += re.findall(r"^(?:\$ )?(?:\.venv/bin/)?dicom-indexer\s+(.*)$", line)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for inline in re.findall(r"`([^`]+)`", prose):
        words = " ".join(inline.split())
        if words.startswith("dicom-indexer "):
            found.append(words.removeprefix("dicom-indexer "))
        elif words.split()[0] in commands() and " --" in words:
            found.append(words)
    return found


def refused(line: str, capsys) -> str:
    """What the parser says against a command line; empty if nothing."""
    arguments = [word for word in shlex.split(line, comments=True) if word != "..."]
    try:
        cli._parser().parse_args(arguments)
    except SystemExit as error:
        if error.code:
            return capsys.readouterr().err or f"exit status {error.code}"
    return ""


@pytest.mark.parametrize(
    ("page", "line"), [(page, line) for page in PAGES for line in told_commands(TEXTS[page])]
)
def test_every_command_can_be_given(page, line, capsys):
    assert refused(line, capsys) == ""


def test_a_command_that_there_is_not_is_found(capsys):
    assert "--no-works" in refused("--store azure replay --no-works", capsys)
    assert "invalid choice" in refused("--store azure replays", capsys)


def test_the_page_of_operations_names_what_operators_need():
    told = " ".join(told_commands(OPERATIONS))
    for command in ("status", "rejects", "replay", "reconcile", "verify", "trace", "purge", "gc"):
        assert re.search(rf"\b{command}\b", told) or f"`{command}`" in OPERATIONS, command


def test_every_setting_is_one_that_the_code_names():
    # That page's table is compared with the code by tests of its own.
    code = TEXTS["azure.md"] + "".join(
        path.read_text(encoding="utf-8")
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    )
    for name in sorted(set(re.findall(r"\bINDEXER_[A-Z_]+\b", OPERATIONS))):
        assert re.search(rf"\b{name}\b", code), name


def test_every_parameter_is_one_of_the_templates():
    bicep = (ROOT / "infra" / "bicep" / "main.bicep").read_text(encoding="utf-8")
    parameters = set(re.findall(r"^param (\w+) ", bicep, re.MULTILINE))
    codes = set(re.findall(r'"(\w+)": Code\(', _api_messages()))
    for name in sorted(set(re.findall(r"`([a-z]+[A-Z]\w*)`", OPERATIONS)) - OF_OTHERS):
        assert name in parameters | codes | _codes_of_headers(), name


def _api_messages() -> str:
    return (ROOT / "function_app" / "api" / "messages.py").read_text(encoding="utf-8")


def _codes_of_headers() -> set[str]:
    from indexer_core.header import RejectReason

    return {reason.value for reason in RejectReason}


def test_each_runbook_names_the_limits_of_its_alert():
    pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")
    from infra.check.rules.alert_tables import ALERTS

    for name, alert in ALERTS.items():
        _, _, rest = OPERATIONS.partition(f"\n### {name}\n")
        runbook = rest.partition("\n### ")[0]
        assert f"*Severity {alert.severity}: " in runbook, name
        for limit in alert.limits.keys() - {"poisonLimit", "deadLetterLimit"}:
            assert f"`{limit}`" in runbook, (name, limit)


def anchors(name: str) -> set[str]:
    """Places that links to a page may name, as GitHub makes them of its headings."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere():
    links = re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", OPERATIONS)
    assert len(links) > 30
    for page, place in links:
        assert not page or (ROOT / "docs" / page).exists(), page
        if place:
            assert place in anchors(page or "operations.md"), (page, place)
