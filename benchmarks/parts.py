"""Benchmarks in parts, each measured by itself and kept in `.bench/` until it is measured again."""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.pages import Line, tell
from benchmarks.real_vectors import CACHE

Kept = Mapping[str, Mapping[str, Any]]
"""By part: what was ``found``, and the ``machine`` that it was taken on."""

Parts = Mapping[str, Any]
"""Modules by the name of their part: `measure(work)`, and `lines` or `table` of what that gives."""


def lines_of(parts: Parts, kept: Kept) -> list[Line]:
    """The rows of the page, beside the bars."""
    return [
        line
        for name, part in parts.items()
        if name in kept and hasattr(part, "lines")
        for line in part.lines(kept[name]["found"])
    ]


def machines(kept: Kept) -> str:
    """What each part was measured on."""
    return "\n".join(
        f"- {name}: " + "; ".join(f"{what}: {value}" for what, value in each["machine"].items())
        for name, each in kept.items()
    )


def run(
    parts: Parts,
    *,
    description: str | None,
    prefix: str,
    write: Callable[[Kept], object],
    arguments: Sequence[str] | None = None,
) -> None:
    """The program: measure the parts that are named, or all; then `write` what is kept of any."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}")
    wanted = parser.parse_args(arguments).parts or list(parts)
    if unknown := set(wanted) - set(parts):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    CACHE.mkdir(exist_ok=True)
    files = {name: CACHE / f"{prefix}{name}.json" for name in parts}
    for name in wanted:
        found = json.dumps(_measured(parts[name]), default=float, indent=1)
        files[name].write_text(found, encoding="utf-8")
    kept = {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}
    write(kept)
    tell(lines_of(parts, kept))


def _measured(part: Any) -> dict[str, Any]:
    before = machine.load()
    with tempfile.TemporaryDirectory() as folder:
        found = part.measure(Path(folder))
    load = f"{before} when it began, {machine.load()} when it ended"
    return {"found": found, "machine": {**machine.describe(), "Load average": load}}
