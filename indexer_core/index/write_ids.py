"""Write ids: what a fresh name says about its time, and fences made of it.

A write id is 12 hex digits of milliseconds and 20 random ones (`indexer_core.ports.Ids`), so ids
sort by time. A fence is such a time prefix: what was named earlier is behind it.
"""

import re

from indexer_core.errors import ConflictError
from indexer_core.ports import Ids

PREFIX_LENGTH = 12

_NAMED = re.compile(r"(?:.*/)?([0-9a-f]{32})-")


def write_id_of(name: str) -> str | None:
    """The write id in the name of an immutable file, or None where it has none."""
    found = _NAMED.match(name)
    return None if found is None else found[1]


def fence_at(time_s: float) -> str:
    """The fence that everything named before `time_s` (seconds since the epoch) is behind."""
    return f"{max(0, int(time_s * 1000)):0{PREFIX_LENGTH}x}"


def time_of(write_id: str) -> float:
    """When a write id (or a fence) was made, in seconds since the epoch."""
    return int(write_id[:PREFIX_LENGTH], 16) / 1000


def is_behind(write_id: str, fence: str) -> bool:
    """Whether a write id was made before a fence; nothing is behind the empty one."""
    return write_id[:PREFIX_LENGTH] < fence


def is_file_behind(name: str, fence: str) -> bool:
    """Whether a file was named before a fence; one without a write id never is."""
    write_id = write_id_of(name)
    return write_id is not None and is_behind(write_id, fence)


def fresh_id(ids: Ids, fence: str) -> str:
    """A new write id, which must be in front of a fence.

    Raises
    ------
    ConflictError
        It is not: this machine's clock is wrong.
    """
    write_id = ids.new_id()
    if is_behind(write_id, fence):
        raise ConflictError(
            "the clock of this machine is so far behind that of the others that what it writes "
            "would be collected as old: set the clock"
        )
    return write_id
