"""What a container of the worker's image would run, without a container.

The environment is made by the image's own steps, the variables and programs are read off its
Dockerfile. As root of this machine it runs as the image's user, who has no name here and can write
to temporary files only; it may read everything, for that is where this machine's Python lies.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from deploy.images import environment
from deploy.images.check import FOLDER, Instruction, instructions_of

ROOT = environment.ROOT
DOCKERFILE = ROOT / FOLDER / "worker.Dockerfile"


def missing() -> str | None:
    """Why there is no environment of the image to test, or None."""
    if environment.made() is None:
        return "the worker is not installed as in its image: run `make tools`"
    return None


class WorkerImage:
    """The image's environment, user and programs; it can write to `folder`, its /tmp."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = environment.make()
        text = DOCKERFILE.read_text(encoding="utf-8")
        every = instructions_of(text)
        self._last = [one for one in every if one.stage == every[-1].stage]
        self.user, self.group = (int(number) for number in self._one("USER").value.split(":"))
        self.command: list[str] = json.loads(self._one("CMD").value)
        self.check: list[str] = json.loads(self._one("HEALTHCHECK").value.partition("CMD ")[2])
        folder.mkdir()
        if self._is_root:
            os.chown(folder, self.user, self.group)

    @property
    def variables(self) -> Mapping[str, str]:
        """ENV of the image, with this machine's places for the image's own."""
        pairs = [
            word.partition("=")[::2]
            for one in self._last
            if one.name == "ENV"
            for word in shlex.split(one.value)
        ]
        found = dict(pairs)
        found["PATH"] = found["PATH"].replace("/opt/worker/bin", str(self.python.parent))
        return {**found, "HOME": str(self.folder), "TMPDIR": str(self.folder)}

    def start(self, command: list[str], settings: Mapping[str, str]) -> subprocess.Popen[str]:
        """Start a program of the image where nothing of the repository is."""
        return subprocess.Popen(
            [*self._as_user, shutil.which(command[0], path=self.variables["PATH"]), *command[1:]],
            cwd=self.folder,
            env={**self.variables, **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: list[str], settings: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run one; its exit status and what it printed."""
        process = self.start(command, settings or {})
        out, error = process.communicate(timeout=300)
        return process.returncode, out + error

    def _one(self, name: str) -> Instruction:
        return [one for one in self._last if one.name == name][-1]

    @property
    def _is_root(self) -> bool:
        return os.geteuid() == 0 and shutil.which("setpriv") is not None

    @property
    def _as_user(self) -> list[str]:
        if not self._is_root:
            return []
        reads = "-all,+dac_read_search"
        return [
            *("setpriv", f"--reuid={self.user}", f"--regid={self.group}", "--clear-groups"),
            *(f"--inh-caps={reads}", f"--ambient-caps={reads}", f"--bounding-set={reads}"),
        ]


def site_packages(python: Path) -> Path:
    """Where the packages of an environment lie."""
    (found,) = python.parents[1].glob("lib/python3.*/site-packages")
    assert re.fullmatch(r"python3\.\d+", found.parent.name)
    return found
