"""Rows of the pages that benchmarks write, beside their bars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_VERDICTS = {True: "met", False: "**missed**", None: ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row of the page; `met` is None where the project has set no bar."""

    what: str
    measured: str
    bar: str = "-"
    met: bool | None = None


def table(lines: Iterable[Line]) -> str:
    """The rows in Markdown."""
    heads = ["| what | measured | bar | |", "| --- | --- | --- | --- |"]
    rows = [
        f"| {line.what} | {line.measured} | {line.bar} | {_VERDICTS[line.met]} |" for line in lines
    ]
    return "\n".join([*heads, *rows])


def listed(described: Mapping[str, object]) -> str:
    """What is told of a machine, an item each."""
    return "\n".join(f"- {name}: {value}" for name, value in described.items())


def tell(lines: Iterable[Line]) -> None:
    """Print the rows."""
    for line in lines:
        print(f"{line.what}: {line.measured} (bar: {line.bar})")
