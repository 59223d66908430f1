"""How a program reads an index: settings that all programs share, under names of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from indexer_core.errors import InvalidInputError

_MIB = 2**20
_EXACT = {"": None, "exact": True, "approximate": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Limits and wishes; None leaves each to the program.

    memory_bytes: what searching may take. exact: whether searches are exact (True) or may miss
    some (False), however large the index is. cache_folder, cache_bytes: for copies of the files of
    an index that lies elsewhere.
    """

    memory_bytes: int | None = None
    exact: bool | None = None
    cache_folder: Path | None = None
    cache_bytes: int | None = None


def read_reading(environment: Mapping[str, str], prefix: str) -> Reading:
    """Settings from ``<prefix>MEMORY_MB``, ``SEARCH``, ``CACHE_DIR`` and ``CACHE_MB``.

    Raises
    ------
    InvalidInputError
        A value cannot be used; the message names its variable.
    """
    wish = environment.get(f"{prefix}SEARCH", "")
    if wish not in _EXACT:
        raise InvalidInputError(f"{prefix}SEARCH is exact or approximate, not {wish!r}")
    folder = environment.get(f"{prefix}CACHE_DIR")
    return Reading(
        memory_bytes=_bytes(environment, f"{prefix}MEMORY_MB"),
        exact=_EXACT[wish],
        cache_folder=Path(folder) if folder else None,
        cache_bytes=_bytes(environment, f"{prefix}CACHE_MB"),
    )


def read_switch(environment: Mapping[str, str], name: str) -> bool:
    """Whether something that is on by default is on: the variable is ``on`` or ``off``.

    Raises
    ------
    InvalidInputError
        It is neither.
    """
    value = environment.get(name) or "on"
    if value not in {"on", "off"}:
        raise InvalidInputError(f"{name} is on or off, not {value!r}")
    return value == "on"


def _bytes(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not isfinite(number) or number <= 0:
        raise InvalidInputError(f"{name} is a number of megabytes, not {text!r}")
    return int(number * _MIB)
