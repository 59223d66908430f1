"""What every process writes down before and after all that it does, one JSON line each.

A line is one write to a file of its own, so a process killed at any time leaves whole lines.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class Journal:
    """The journal of one process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, event: str, **values: Any) -> None:
        """Write a line down."""
        line = json.dumps({"e": event, **values}, separators=(",", ":"))
        os.write(self._descriptor, f"{line}\n".encode())


class Journals:
    """Follows all journals of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, int] = {}

    def news(self) -> Iterator[tuple[str, Event]]:
        """(name of the process, event) of all that was written since."""
        with os.scandir(self._folder) as entries:
            grown = [e.path for e in entries if e.stat().st_size > self._read.get(e.path, 0)]
        for name in sorted(grown):
            path, start = Path(name), self._read.get(name, 0)
            with path.open("rb") as file:
                file.seek(start)
                data = file.read()
            end = data.rfind(b"\n") + 1
            self._read[name] = start + end
            for line in data[:end].splitlines():
                yield path.stem, json.loads(line)
