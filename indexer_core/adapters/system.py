"""Time and fresh names from the operating system."""

import secrets
import time


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
