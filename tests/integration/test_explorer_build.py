"""The built page is what its sources say; it is small, asks nobody else, and is in the package."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCE = ROOT / "explorer"
BUILT = ROOT / "function_app" / "explorer"
MAX_GZIPPED_BYTES = 150_000
# Names of XML dialects, and of a host that cannot exist: nobody asks there for anything.
NO_HOSTS = re.compile(r"https?://(?:www\.w3\.org/[\w./#-]*|\w+\.invalid\b)")

needs_npm = pytest.mark.skipif(
    shutil.which("node") is None or not (SOURCE / "node_modules" / ".stamp").is_file(),
    reason="what builds the explorer is not installed here (make tools, with npm)",
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """What a command in the folder of the sources said."""
    return subprocess.run(
        command, cwd=SOURCE, capture_output=True, text=True, check=False, timeout=600
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_npm
def test_committed_files_are_what_the_sources_build(tmp_path):
    done = run("node", "build.mjs", str(tmp_path))
    assert done.returncode == 0, done.stderr
    built, committed = contents(tmp_path), contents(BUILT)
    assert sorted(built) == sorted(committed)
    stale = [name for name, content in built.items() if committed[name] != content]
    assert not stale, "make explorer, and commit what it writes"


@needs_npm
@pytest.mark.parametrize("script", ["check", "test"])
def test_types_and_modules_hold(script):
    done = run("npm", "run", "--silent", script)
    assert done.returncode == 0, (done.stdout + done.stderr)[-8000:]


def test_page_is_small():
    told = sum(len(gzip.compress(content, mtime=0)) for content in contents(BUILT).values())
    assert told <= MAX_GZIPPED_BYTES


@pytest.mark.parametrize("name", ["index.html", "app.js", "app.css", "icon.svg"])
def test_page_names_no_other_host_and_makes_no_code_of_text(name):
    text = NO_HOSTS.sub("", (BUILT / name).read_text())
    assert re.findall(r"(?:https?:)?//[\w.-]+\.[a-z]{2,}", text) == []
    assert re.findall(r"\beval\(|\bnew Function\b|\bFunction\(", text) == []


def test_sources_put_text_into_the_page_as_text_only():
    files = [path for path in (SOURCE / "src").rglob("*") if path.suffix in {".ts", ".tsx"}]
    assert files
    ways = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|createContextual", re.IGNORECASE
    )
    assert [path.name for path in files if ways.search(path.read_text())] == []


def test_lock_file_names_no_place_where_packages_come_from():
    lock = (SOURCE / "package-lock.json").read_text()
    assert '"resolved"' not in lock
    assert lock.count('"integrity"') > 10


def test_a_built_package_holds_the_page(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    assert contents(tmp_path / "function_app" / "explorer") == contents(BUILT)
