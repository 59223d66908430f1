"""What Microsoft's own parser of KQL says of queries: syntax, tables, columns, functions, types.

The parser is a package of npm (`kusto/package-lock.json`); `make tools` installs it. Without it
queries are not parsed, and who asks is told so.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from indexer_core.errors import UnavailableError
from infra.check.log_tables import TABLES

FOLDER = Path(__file__).parent / "kusto"
_PATIENCE_S = 120.0
_known: dict[str, tuple[str, ...]] = {}


def has_parser() -> bool:
    """Whether queries can be parsed here."""
    package = FOLDER / "node_modules" / "@kusto" / "language-service-next" / "package.json"
    return _node() is not None and package.exists()


@cache
def _node() -> str | None:
    return shutil.which("node")


def complaints(queries: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What is wrong with each query; only those with which something is.

    Starting the parser takes a second, so what it said of a text is remembered.

    Raises
    ------
    UnavailableError
        The parser does not work here.
    """
    asked = list(dict.fromkeys(queries))
    if new := [query for query in asked if query not in _known]:
        _known.update(zip(new, map(tuple, _parsed(new)), strict=True))
    return {query: _known[query] for query in asked if _known[query]}


def _parsed(queries: list[str]) -> list[list[str]]:
    node = _node()
    assert node is not None
    try:
        done = subprocess.run(  # noqa: S603 - our own program
            [node, "check.cjs"],
            cwd=FOLDER,
            input=json.dumps({"tables": TABLES, "queries": queries}),
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        raise _failure(f"no answer within {_PATIENCE_S:g} s") from None
    except OSError as error:
        raise _failure(str(error)) from None
    if done.returncode:
        raise _failure(_reason(done.stderr) or f"exit status {done.returncode}")
    try:
        found: list[list[str]] = json.loads(done.stdout)
    except ValueError:
        raise _failure("its answer is not JSON") from None
    if len(found) != len(queries):
        raise _failure(f"{len(found)} answers to {len(queries)} queries")
    return found


def _failure(why: str) -> UnavailableError:
    return UnavailableError(
        f"the parser of KQL failed: {why}; `npm ci` in infra/check/kusto installs it anew"
    )


def _reason(told: str) -> str:
    """The line of node's traceback that says what is wrong, else its last one."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"\w*Error\b", line)]
    return (named or lines[-1:] or [""])[0]
