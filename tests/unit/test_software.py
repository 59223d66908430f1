"""Every manifest can say which commit made it, or says nothing; telling it never fails."""

import os
import shutil
import subprocess
import sys

import pytest

from indexer_core import software
from indexer_core.index.lineage import made_now
from tests.conftest import ROOT

COMMIT = "0123456789abcdef" * 2 + "01234567"


def git_files(folder, files: dict[str, str]):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    "files",
    [
        {".git/HEAD": f"{COMMIT}\n"},
        {".git/HEAD": "ref: refs/heads/x\n", ".git/refs/heads/x": f"{COMMIT}\n"},
        {
            ".git/HEAD": "ref: refs/heads/x\n",
            ".git/packed-refs": f"# pack-refs\n{'f' * 40} refs/heads/xy\n{COMMIT} refs/heads/x\n",
        },
        {
            ".git": "gitdir: elsewhere/worktrees/x\n",
            "elsewhere/worktrees/x/HEAD": "ref: refs/heads/x\n",
            "elsewhere/worktrees/x/commondir": "../..\n",
            "elsewhere/refs/heads/x": f"{COMMIT}\n",
        },
    ],
    ids=["detached", "branch", "packed", "linked"],
)
def test_commit_is_read_from_the_files_of_git(tmp_path, files):
    assert software._checked_out(git_files(tmp_path, files)) == COMMIT


@pytest.mark.parametrize(
    "files",
    [
        {},
        {".git/HEAD": "junk"},
        {".git/HEAD": "ref: refs/heads/gone\n"},
        {".git": "gitdir: nowhere"},
    ],
)
def test_without_a_commit_there_is_none(tmp_path, files):
    assert software._checked_out(git_files(tmp_path, files)) == ""


def test_unreadable_commit_is_none_and_lineage_is_made_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(software, "_TREE", git_files(tmp_path, {".git/HEAD": "x"}))
    (tmp_path / ".git" / "HEAD").write_bytes(b"\xff\xfe")
    software.commit_id.cache_clear()
    try:
        assert software.commit_id() == ""
        assert made_now("index", 1.0, {"series": 2}, {"a": "b"}).details == {"a": "b"}
    finally:
        software.commit_id.cache_clear()


def test_this_working_tree_tells_the_commit_that_git_tells():
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git here")
    command = ["git", "rev-parse", "HEAD"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert software._checked_out(ROOT) == told.strip()


def test_a_built_package_holds_its_commit(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    environment = {**os.environ, "DICOM_INDEXER_COMMIT": COMMIT}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    program = "from indexer_core.software import commit_id; print(commit_id())"
    command = [sys.executable, "-c", program]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert told.strip() == COMMIT
