"""A package is of the files and the commit it says, and gives way to one that is whole only."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy import functions_package
from deploy.functions_package import COMMIT, PackageError, is_of, main, renew
from indexer_core import software
from tests.conftest import ROOT

FILES = {
    ".funcignore": "docs\n.funcignore\n",
    "docs/page.md": "",
    "host.json": "{}",
    "functions_entry.py": "ONE = 1\n",
    "function_app/app.py": "",
    "indexer_core/ports.py": "",
    "constraints-functions.txt": "numpy==2\n",
    "pyproject.toml": "[project]\ndependencies = []\n"
    "optional-dependencies = { azure = [], cpu = [], search = [], milvus = ['pymilvus'] }\n",
}


def git(root, *arguments):
    command = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--no-gpg-sign", "--message", "one")
    return root


@pytest.fixture
def target(tmp_path):
    return tmp_path / "build" / "functions"


def install(packages, requirements):
    """Stands for pip."""
    (packages / "numpy").mkdir()
    (packages / "numpy" / "__init__.py").write_text("")


def whole(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_package_takes_the_place_of_the_one_before(repository, target):
    renew(repository, target, install)
    (target / "left.py").write_text("")
    assert not is_of(repository, target)
    renew(repository, target, install)
    assert is_of(repository, target)
    names = {path.name for path in target.parent.iterdir()}
    assert names == {"functions", "functions.zip"}


@pytest.mark.parametrize("name", ["host.json", "pyproject.toml", "constraints-functions.txt"])
def test_a_package_is_of_its_files_and_of_what_decides_what_is_installed(repository, target, name):
    assert not is_of(repository, target)
    renew(repository, target, install)
    assert is_of(repository, target)
    (repository / name).write_text(FILES[name] + "\n")
    assert not is_of(repository, target)


@pytest.mark.parametrize("change", ["more", "fewer", "cut"])
def test_a_file_more_or_fewer_is_another_package(repository, target, change):
    renew(repository, target, install)
    if change == "more":
        (repository / "function_app" / "more.py").write_text("")
        git(repository, "add", ".")
    elif change == "fewer":
        (repository / "function_app" / "app.py").unlink()
    else:
        (target / "host.json").unlink()
    assert not is_of(repository, target)


def no_network(packages, requirements):
    (packages / "half").mkdir()
    raise PackageError("pip could not install what the app needs")


def torch(packages, requirements):
    (packages / "torch").mkdir()


def too_much(packages, requirements):
    (packages / "large").write_bytes(os.urandom(20_000))


@pytest.mark.parametrize("fault", [no_network, torch, too_much])
def test_what_is_refused_leaves_the_package_before_as_it_was(
    repository, target, fault, monkeypatch
):
    renew(repository, target, install)
    before = whole(target.parent)
    monkeypatch.setattr(functions_package, "LIMIT_MB", 0.01)
    with pytest.raises(PackageError):
        renew(repository, target, fault)
    assert whole(target.parent) == before
    shutil.rmtree(target.parent)
    with pytest.raises(PackageError):
        renew(repository, target, fault)
    assert list(target.parent.iterdir()) == []


def test_interrupted_while_it_takes_its_place_the_one_before_is_not_lost(
    repository, target, monkeypatch
):
    renew(repository, target, install)
    before, rename = whole(target), Path.rename

    def interrupted(path, to):
        if path.name == "functions.new":
            raise KeyboardInterrupt
        return rename(path, to)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            renew(repository, target, install)
    assert whole(target.with_name("functions.old")) == before
    assert not is_of(repository, target)
    renew(repository, target, install)
    assert whole(target) == before
    assert {path.name for path in target.parent.iterdir()} == {"functions", "functions.zip"}


def test_where_it_is_needed_it_is_built_and_else_left_alone(
    repository, target, monkeypatch, capsys
):
    asked = []
    monkeypatch.setattr(functions_package, "ROOT", repository)
    monkeypatch.setattr(
        functions_package, "install_wheels", lambda *given: (asked.append(1), install(*given))
    )
    command = ["--target", str(target), "--if-needed"]
    assert main(command) == 0
    assert "MB" in capsys.readouterr().out
    before = {path: path.stat().st_mtime_ns for path in target.parent.rglob("*")}
    assert main(command) == 0
    assert capsys.readouterr().out == ""
    assert {path: path.stat().st_mtime_ns for path in target.parent.rglob("*")} == before
    assert len(asked) == 1
    target.with_name("functions.zip").unlink()
    (repository / "host.json").write_text('{"version": "2.0"}')
    assert main(command) == 0
    assert main(command[:2]) == 0
    assert len(asked) == 3
    assert (target / "host.json").read_text() == '{"version": "2.0"}'


def test_a_package_with_other_extras_is_another_one(repository, target, monkeypatch):
    asked = []
    monkeypatch.setattr(functions_package, "ROOT", repository)
    monkeypatch.setattr(
        functions_package,
        "install_wheels",
        lambda packages, needs: (asked.append(needs), install(packages, needs)),
    )
    command = ["--target", str(target), "--if-needed"]
    for wanted in ([], ["--with", "milvus"], ["--with=milvus", "--with=milvus"], []):
        assert main([*command, *wanted]) == 0
    assert asked == [[], ["pymilvus"], []]
    assert is_of(repository, target)


def test_where_it_cannot_be_built_it_says_so_in_one_line(repository, target, monkeypatch, capsys):
    monkeypatch.setattr(functions_package, "ROOT", repository)
    monkeypatch.setattr(functions_package, "install_wheels", no_network)
    assert main(["--target", str(target), "--if-needed"]) == 1
    assert capsys.readouterr().err == "package: pip could not install what the app needs\n"


def recipe(name):
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    head, _, body = text.partition(f"\n{name}:")[2].partition("\n\n")[0].partition("\n")
    return head, body.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize(("status", "lines"), [(0, 0), (1, 1)])
def test_make_test_goes_on_without_a_package_and_says_so(tmp_path, status, lines):
    head, body = recipe("tools")
    assert head.split() == [".venv/dev.stamp"]
    (line,) = [line for line in body if "functions_package.py" in line]
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit {status}\n')
    python.chmod(0o755)
    for given, n_said in ((str(python), lines), ("", 0)):
        script = line.strip().removeprefix("@").replace("$(PYTHON313)", given)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.count("\n") == n_said
    assert (tmp_path / "asked").read_text() == "deploy/functions_package.py --if-needed\n"
    assert not [line for line in body if "$(MAKE)" in line and " package" in line]


def told(target, monkeypatch):
    """What the app says of itself where the package lies."""
    monkeypatch.setattr(software, "_BUILT_IN", target / COMMIT)
    monkeypatch.setattr(software, "_TREE", target)
    software.commit_id.cache_clear()
    try:
        return software.commit_id()
    finally:
        software.commit_id.cache_clear()


def test_a_package_is_of_the_commit_that_has_its_files(repository, target, monkeypatch):
    head = git(repository, "rev-parse", "HEAD")
    (repository / "docs" / "page.md").write_text("not deployed")
    (repository / "function_app" / "untracked.py").write_text("not deployed either")
    renew(repository, target, install)
    assert (target / COMMIT).read_text() == f"{head}\n"
    assert told(target, monkeypatch) == head
    assert not (target / "function_app" / "untracked.py").exists()


@pytest.mark.parametrize("change", ["changed", "staged", "added", "removed", "renamed"])
def test_a_package_with_changes_is_of_no_commit(repository, target, monkeypatch, change):
    file = repository / "functions_entry.py"
    if change in {"changed", "staged"}:
        file.write_text("TWO = 2\n")
    elif change == "added":
        (repository / "more.py").write_text("")
    elif change == "removed":
        (repository / "indexer_core" / "more.py").write_text("")
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "--no-gpg-sign", "--message", "two")
        git(repository, "rm", "--quiet", "indexer_core/more.py")
    else:
        git(repository, "mv", "indexer_core/ports.py", "function_app/ports.py")
        (repository / "indexer_core").mkdir(exist_ok=True)
        shutil.copy(repository / "function_app/ports.py", repository / "indexer_core/ports.py")
    if change in {"staged", "added", "renamed"}:
        git(repository, "add", ".")
    renew(repository, target, install)
    head = git(repository, "rev-parse", "HEAD")
    assert (target / COMMIT).read_text() == f"{head}-dirty\n"
    assert told(target, monkeypatch) == ""
