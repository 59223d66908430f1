"""A parser of KQL that does not work: one line that says why, and no traceback."""

import sys

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from indexer_core.errors import UnavailableError
from infra.check import __main__ as program
from infra.check import kql

TRACEBACK = """node:internal/modules/cjs/loader:1148
  throw err;
  ^

Error: Cannot find module '@kusto/language-service-next/bridge.min.js'
Require stack:
- check.cjs
    at Module._resolveFilename (node:internal/modules/cjs/loader:1145:15)

Node.js v20.18.0
"""
FAILURES = {
    "an exception": (f"sys.stderr.write({TRACEBACK!r}); sys.exit(1)", "Error: Cannot find module"),
    "another end": ("sys.stderr.write('first\\nKilled\\n'); sys.exit(1)", "failed: Killed;"),
    "a silent end": ("sys.exit(9)", "exit status 9"),
    "no JSON": ("print('hello')", "its answer is not JSON"),
    "too few answers": ("print('[]')", "0 answers to 1 queries"),
    "nothing at all": ("import time; time.sleep(60)", "no answer within 1 s"),
}


@pytest.fixture
def fails(tmp_path, monkeypatch):
    """Puts a program in the place of node."""

    def plant(code):
        node = tmp_path / "node"
        node.write_text(f"#!{sys.executable}\nimport sys\n{code}\n")
        node.chmod(0o700)
        monkeypatch.setattr(kql, "_node", lambda: str(node))
        monkeypatch.setattr(kql, "_PATIENCE_S", 1.0 if "sleep" in code else 60.0)

    return plant


@pytest.mark.parametrize("name", FAILURES)
def test_a_parser_that_fails_is_one_line(fails, name):
    code, told = FAILURES[name]
    fails(code)
    with pytest.raises(UnavailableError, match="the parser of KQL failed") as failed:
        kql.complaints([f"print {name!r}"])
    assert told in str(failed.value)
    assert "\n" not in str(failed.value)


def test_a_parser_that_cannot_be_started_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(kql, "_node", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(UnavailableError, match=r"failed: .*No such file"):
        kql.complaints(["print 'not started'"])


def test_the_check_says_so_and_nothing_else(fails, monkeypatch, capsys):
    def asks(*_):
        return kql.complaints(["print 'asked by the check'"])

    fails("sys.exit(9)")
    monkeypatch.setattr(program, "find_problems", asks)
    assert program.main() == 2
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert line.startswith("infra.check: the parser of KQL failed: exit status 9; ")
