"""The environment of the worker's CPU image, made on this machine by the image's own steps.

The files that the image is built from are put into a folder of their own, as `.dockerignore` lets
them through, and `install_worker.sh` runs there. The environment is kept in `.tools/worker`: it is
made anew whenever anything changes that decides what is installed, and when only the code changes,
the package in it is. Used by `make tools`, `make sbom` and the test of the image.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
KEPT = ROOT / ".tools" / "worker"
SCRIPT = "deploy/images/install_worker.sh"
_DECIDES = ("constraints.txt", "pyproject.toml", SCRIPT)


def context_files(root: Path, ignore: str | None = None) -> list[str]:
    """The committed and added files of the repository that reach a builder, by `.dockerignore`."""
    patterns = ignore if ignore is not None else (root / ".dockerignore").read_text()
    names = _git(root, "ls-files", "-z").split("\0")
    return sorted(name for name in passing(names, patterns) if (root / name).exists())


def passing(names: Iterable[str], ignore: str) -> list[str]:
    """Those of the paths that an ignore file lets through, whether they exist or not."""
    rules = list(_rules(ignore.splitlines()))
    return [name for name in names if name and _passes(name, rules)]


def _rules(lines: Iterable[str]) -> Iterable[tuple[re.Pattern[str], bool]]:
    """Each pattern with whether it lets through; it holds for a folder and all that is in it."""
    for line in lines:
        if (text := line.strip()) and not text.startswith("#"):
            passes, pattern = text.startswith("!"), text.removeprefix("!").strip("/")
            parts = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
            yield re.compile(f"{parts}(?:/.*)?"), passes


def _passes(name: str, rules: Sequence[tuple[re.Pattern[str], bool]]) -> bool:
    verdicts = [passes for pattern, passes in rules if pattern.fullmatch(name)]
    return not verdicts or verdicts[-1]


def _git(root: Path, *arguments: str) -> str:
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)  # noqa: S603
    return done.stdout


def digest(root: Path, names: Iterable[str]) -> str:
    """Of these files and of this Python."""
    found = hashlib.sha256(sys.version.encode())
    for name in names:
        found.update(f"\0{name}\0".encode())
        found.update((root / name).read_bytes())
    return found.hexdigest()


def made(root: Path = ROOT, kept: Path = KEPT) -> Path | None:
    """The Python of the environment, if it was made of what decides now; its code may be older."""
    stamp = kept / "decided"
    if not stamp.is_file() or stamp.read_text() != digest(root, _DECIDES):
        return None
    return kept / "venv" / "bin" / "python"


def make(root: Path = ROOT, kept: Path = KEPT) -> Path:
    """Make the environment, or bring the one that is there up to date; its Python.

    Raises
    ------
    subprocess.CalledProcessError
        A step of the image failed.
    """
    files, decided = context_files(root), digest(root, _DECIDES)
    code, code_stamp = digest(root, files), kept / "code"
    python = made(root, kept)
    if python is not None and code_stamp.is_file() and code_stamp.read_text() == code:
        return python
    if python is None:
        shutil.rmtree(kept, ignore_errors=True)
    code_stamp.unlink(missing_ok=True)
    with TemporaryDirectory() as folder:
        for name in files:
            target = Path(folder) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, target)
        environment = {
            **os.environ,
            "PYTHON": sys.executable,
            "DICOM_INDEXER_COMMIT": _git(root, "rev-parse", "HEAD").strip(),
        }
        command = [str(Path(folder) / SCRIPT), str(kept / "venv"), "cpu"]
        subprocess.run(command, cwd=folder, env=environment, check=True)  # noqa: S603 - our own
    (kept / "decided").write_text(decided)
    code_stamp.write_text(code)
    return kept / "venv" / "bin" / "python"


if __name__ == "__main__":
    print(make())
