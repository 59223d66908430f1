"""Time, fresh names and the size of the machine, from the operating system."""

import os
import secrets
import time
from pathlib import Path


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()


class RandomIds:
    """Names that sort by time: 12 hex digits of milliseconds, then 20 random ones."""

    def new_id(self) -> str:
        """A fresh name."""
        return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(10)}"


# Of control groups, version 2 and 1: the limit of a container, or "max".
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def usable_memory_bytes(limits: tuple[Path, ...] = _LIMITS) -> int:
    """Three quarters of the memory of the machine or container: the rest is for the program."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for limit in limits:
        try:
            sizes.append(int(limit.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return min(sizes) * 3 // 4
