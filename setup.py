"""Packaging is declared in pyproject.toml; this only writes down which commit a package is of."""

import os
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

_VARIABLE = "DICOM_INDEXER_COMMIT"  # where the sources are built without their .git, as in images


class BuildWithCommit(build_py):
    """Adds ``indexer_core/data/commit.txt``, which `indexer_core.software` reads."""

    def run(self) -> None:
        super().run()
        commit = os.environ.get(_VARIABLE) or _checked_out()
        if commit and not getattr(self, "editable_mode", False):
            target = Path(self.build_lib) / "indexer_core" / "data" / "commit.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(f"{commit}\n")


def _checked_out() -> str:
    command = ["git", "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - constant
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


setup(cmdclass={"build_py": BuildWithCommit})
