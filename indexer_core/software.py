"""Which software this is: its version, and the commit it was built from where that is known."""

import re
from functools import cache
from pathlib import Path

from indexer_core import __version__

NAME = f"dicom-indexer {__version__}"

_BUILT_IN = Path(__file__).parent / "data" / "commit.txt"
_TREE = Path(__file__).parents[1]
_COMMIT = re.compile(r"[0-9a-f]{40}")


@cache
def commit_id() -> str:
    """The commit of this software, 40 hexadecimal digits, or ``""``; never fails.

    Written down when a package is built (``setup.py``); else read from the working tree that this
    file lies in, whose changes that were not committed are not seen. A package of the Functions app
    that was built with such changes is of no commit.
    """
    try:
        return _written_down() or _checked_out(_TREE)
    except (OSError, ValueError):
        return ""


def _written_down() -> str:
    return _valid(_BUILT_IN.read_text()) if _BUILT_IN.is_file() else ""


def _checked_out(tree: Path) -> str:
    """The commit of HEAD, by git's files: neither git nor a child process is needed to tell it."""
    folder = tree / ".git"
    if folder.is_file():  # a linked working tree
        folder = tree / folder.read_text().partition(":")[2].strip()
    head = _text(folder / "HEAD")
    if not head.startswith("ref:"):
        return _valid(head)
    name = head.partition(":")[2].strip()
    shared = folder / (_text(folder / "commondir") or ".")
    loose = _valid(_text(folder / name)) or _valid(_text(shared / name))
    return loose or _packed(_text(shared / "packed-refs"), name)


def _packed(text: str, name: str) -> str:
    for line in text.splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return _valid(commit)
    return ""


def _text(file: Path) -> str:
    return file.read_text().strip() if file.is_file() else ""


def _valid(text: str) -> str:
    return text.strip() if _COMMIT.fullmatch(text.strip()) else ""
