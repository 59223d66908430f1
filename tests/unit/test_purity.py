"""The core runs where only its four libraries are installed, and says so in the import rules."""

import subprocess
import sys
import tomllib

from tests.conftest import ROOT

CORE = ROOT / "indexer_core"
OUTSIDE = {"adapters", "testing"}
ALLOWED = {"indexer_core", "numpy", "pydicom", "pyarrow", "yaml"}

PROGRAM = """
import importlib, importlib.abc, sys
allowed = set(sys.argv[1].split(","))
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        top = name.partition(".")[0]
        if top in allowed or top in sys.stdlib_module_names or top.startswith("_"):
            return None
        # Optional imports of the four themselves (pandas by pyarrow, say) find nothing either.
        raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def core_modules() -> list[str]:
    paths = [
        path.relative_to(ROOT).with_suffix("")
        for path in sorted(CORE.rglob("*.py"))
        if path.relative_to(CORE).parts[0] not in OUTSIDE
    ]
    return [".".join(path.parts).removesuffix(".__init__") for path in paths]


def test_core_imports_with_nothing_but_its_four_libraries():
    command = [sys.executable, "-c", PROGRAM, ",".join(sorted(ALLOWED)), *core_modules()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_import_contract_lists_every_core_module():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (core,) = [c for c in contracts["contracts"] if c["name"].startswith("Core is pure")]
    tops = {name.split(".")[1] for name in core_modules() if "." in name}
    assert {name.split(".")[1] for name in core["source_modules"]} == tops


def test_the_command_line_loads_nothing_heavy():
    program = "import sys, local_host.cli; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"numpy", "pydicom", "pyarrow", "faiss", "onnxruntime", "torch", "rich", "yaml"}
    assert heavy.isdisjoint(done.stdout.split())


def test_a_run_without_changes_loads_neither_pydicom_nor_models():
    program = "import sys, local_host.commands, local_host.runner; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    heavy = {"pydicom", "faiss", "onnxruntime", "torch"}
    assert heavy.isdisjoint(done.stdout.split())


def test_every_folder_of_programs_is_type_checked():
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["packages"]
    command = ["git", "ls-files", "*.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    folders = {name.partition("/")[0] for name in done.stdout.split() if "/" in name}
    assert set(checked) == folders - {"tests", "benchmarks", "docs"}
