"""What is deployed: the app, its packages where the host looks for them, and nothing else.

The packages are a few files here; `tests/integration/test_functions_package.py` starts what
`make package` has built.
"""

import marshal
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from deploy import functions_package
from deploy.functions_package import (
    EXTRAS,
    FURTHER,
    PACKAGES,
    WITH,
    PackageError,
    build,
    check,
    compile_modules,
    files_of,
    pack,
    requirements_of,
)
from tests.conftest import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def _a_working_tree():
    if not (ROOT / ".git").exists():
        pytest.skip("this is no working tree: make package takes git")


def install(packages, requirements):
    """Stands for pip."""
    (packages / "numpy" / "__pycache__").mkdir(parents=True)
    (packages / "numpy" / "__init__.py").write_text("\n".join(requirements))
    (packages / "numpy" / "__pycache__" / "x.pyc").write_text("")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    target = tmp_path_factory.mktemp("build") / "functions"
    build(ROOT, target, install)
    return target


def test_what_the_host_needs_lies_where_it_looks(built):
    roots = {path.name for path in built.iterdir()}
    assert {"host.json", "functions_entry.py", "function_app", "indexer_core"} <= roots
    assert (built / ".python_packages" / "lib" / "site-packages" / "numpy").is_dir()
    assert (built / "function_app" / "explorer" / "index.html").is_file()
    assert (built / "indexer_core" / "data" / "rules" / "modality.yaml").is_file()


def test_what_few_need_is_deployed_where_it_is_asked_for(built):
    assert not [need for need in requirements_of(PYPROJECT) if need.startswith("pymilvus")]
    further = set(requirements_of(PYPROJECT, FURTHER)) - set(requirements_of(PYPROJECT))
    assert {re.split(r"[^\w-]", need)[0] for need in further} == {"pymilvus"}
    assert not (built / PACKAGES.parent / WITH).exists()


def test_nothing_else_is_deployed(built):
    roots = {path.name for path in built.iterdir()}
    other = {"tests", "docs", "benchmarks", "gpu_worker", "local_host", "indexer_client", "deploy"}
    assert roots.isdisjoint({*other, "explorer", "infra", "azure.yaml", "Makefile", ".git"})
    assert not (built / "indexer_core" / "testing").exists()
    assert not list(built.rglob("x.pyc"))  # of this machine
    assert not list(built.rglob("*.md"))


def test_another_pythons_bytecode_is_not_deployed(tmp_path, monkeypatch):
    (tmp_path / "module.py").write_text("ONE = 1\n")
    monkeypatch.setattr(functions_package, "PYTHON", "3.0")
    compile_modules(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["module.py"]


def test_bytecode_is_used_without_a_look_at_its_module_and_names_no_folder_of_here(
    tmp_path, monkeypatch
):
    target = tmp_path / "functions"
    (target / "inner").mkdir(parents=True)
    module = target / "inner" / "module.py"
    module.write_text("def one():\n    return 1\n")
    (target / PACKAGES).mkdir(parents=True)
    (target / PACKAGES / "broken.py").write_text("print 'of another Python'\n")
    (target / PACKAGES / "whole.py").write_text("ONE = 1\n")
    monkeypatch.setattr(functions_package, "PYTHON", ".".join(map(str, sys.version_info[:2])))
    compile_modules(target)
    found = {path.stem.partition(".")[0]: path for path in target.rglob("*.pyc")}
    assert set(found) == {"module", "whole"}
    cached = found["module"]
    data = cached.read_bytes()
    assert int.from_bytes(data[4:8], "little") == 1  # hashed, and unchecked (PEP 552)
    assert marshal.loads(data[16:]).co_filename == "/home/site/wwwroot/inner/module.py"
    assert str(tmp_path).encode() not in data
    module.write_text("def one():\n    return 2\n")  # a zip would have changed its time alone
    command = [sys.executable, "-c", "from inner.module import one; print(one())"]
    done = subprocess.run(command, cwd=target, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_a_module_of_the_app_that_cannot_be_compiled_is_refused(small, monkeypatch):
    monkeypatch.setattr(functions_package, "PYTHON", ".".join(map(str, sys.version_info[:2])))
    compile_modules(small)
    (small / "function_app" / "app.py").write_text("print 'of another Python'\n")
    with pytest.raises(PackageError, match="could not be compiled"):
        compile_modules(small)


def test_files_are_those_of_the_working_tree(built):
    for path in files_of(ROOT):
        assert (built / path).read_bytes() == (ROOT / path).read_bytes(), path


def test_packages_are_asked_for_as_the_project_says_without_torch(built):
    asked = (built / PACKAGES / "numpy" / "__init__.py").read_text().splitlines()
    assert asked == requirements_of(PYPROJECT)
    extras = tomllib.loads(PYPROJECT)["project"]["optional-dependencies"]
    assert {need for extra in EXTRAS for need in extras[extra]} < set(asked)
    names = {re.split(r"[<>=\[]", need)[0] for need in asked}
    assert names.isdisjoint({"torch", "transformers", "dicom-indexer", "azure-functions-runtime"})


def test_every_package_is_pinned():
    pins = (ROOT / "constraints-functions.txt").read_text().lower().replace("_", "-")
    pinned = {line.partition("==")[0] for line in pins.splitlines()}
    for need in requirements_of(PYPROJECT):
        assert re.split(r"[<>=\[]", need)[0].lower().replace("_", "-") in pinned, need


def test_equal_folders_are_packed_into_equal_bytes(built, tmp_path):
    for name in ("one.zip", "two.zip"):
        pack(built, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as packed:
        assert packed.testzip() is None
        names = set(packed.namelist())
    assert names == {p.relative_to(built).as_posix() for p in built.rglob("*") if p.is_file()}
    assert "host.json" in names


def test_a_zip_that_is_too_large_is_refused(built, tmp_path, monkeypatch):
    monkeypatch.setattr(functions_package, "LIMIT_MB", 0.1)
    with pytest.raises(PackageError, match="more than"):
        pack(built, tmp_path / "large.zip")


@pytest.fixture
def small(tmp_path):
    for name in ("host.json", "functions_entry.py", "function_app/app.py", "indexer_core/ports.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / PACKAGES).mkdir(parents=True)
    check(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["host.json", "functions_entry.py", "function_app/app.py"])
def test_an_app_that_could_not_start_is_refused(small, name):
    (small / name).unlink()
    with pytest.raises(PackageError, match="is missing"):
        check(small)


def test_torch_is_refused(small):
    (small / PACKAGES / "torch").mkdir()
    with pytest.raises(PackageError, match="torch must not be deployed"):
        check(small)


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".pt", ".faiss"])
def test_weights_are_refused_and_small_examples_are_not(small, suffix):
    (small / PACKAGES / f"example{suffix}").write_bytes(b"x" * 1000)
    check(small)
    (small / "indexer_core" / f"tower{suffix}").write_bytes(b"x" * 1_000_001)
    with pytest.raises(PackageError, match="weights must not be deployed: tower"):
        check(small)


def test_where_there_is_no_repository_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(PackageError, match="takes git"):
        files_of(tmp_path)
