"""The numbers that a cost is computed from. None is hidden: `dicom-indexer cost` prints them all.

Prices are US dollars without tax, pay as you go, and were not looked up on a price list of the day
they are used: each says where it is from, and any can be replaced (``--set NAME=VALUE``). Counts of
requests are those that the code makes; `tests/unit/test_costs.py` counts them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from indexer_core.errors import InvalidInputError

AS_OF = "2026-11"
_KNOWN = f"commonly known list price, {AS_OF}, not looked up"
_READ = "read in modal.com/blog/azure-function-pricing-guide, May 2025, East US"
_PUBLISHED = "the published batch pipeline's table (docs/cost.md)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number that is assumed.

    unit: of `value`; a price is in USD for one of it. source: where it is from.
    """

    name: str
    value: float
    unit: str
    source: str


Figures = Mapping[str, Figure]


def figure(name: str, value: float, unit: str, source: str) -> Figure:
    """A figure, in one line of a table."""
    return Figure(name=name, value=value, unit=unit, source=source)


PRICES = (
    figure("eventGridPrice", 0.60, "USD a million operations", _KNOWN),
    figure("queuePrice", 0.004, "USD 10,000 operations", _KNOWN),
    figure("tablePrice", 0.00036, "USD 10,000 operations", _KNOWN),
    figure("blobReadPrice", 0.004, "USD 10,000 operations", f"{_KNOWN}; hot, LRS"),
    figure("blobWritePrice", 0.05, "USD 10,000 operations", f"{_KNOWN}; hot, LRS"),
    figure("blobStoragePrice", 0.018, "USD a GB and month", f"{_KNOWN}; hot, LRS"),
    figure("tableStoragePrice", 0.045, "USD a GB and month", f"{_KNOWN}; LRS"),
    figure("functionRunPrice", 0.40, "USD a million runs", _READ),
    figure("functionMemoryPrice", 0.000026, "USD a GB and second", _READ),
    figure("alwaysReadyPrice", 0.000004, "USD a GB and second", _KNOWN),
    figure("gpuPrice", 1.00, "USD an hour", f"upper end of USD 0.5 to 1 for a T4; {_KNOWN}"),
    figure("vcpuPrice", 0.000024, "USD a vCPU and second", _KNOWN),
    figure("memoryPrice", 0.000003, "USD a GiB and second", _KNOWN),
    figure("logPrice", 2.76, "USD a GB", _KNOWN),
)

_CODE = "counted: tests/unit/test_costs.py"
_GUESS = "an assumption: set your own"

ASSUMPTIONS = (
    figure("slicesPerSeries", 60, "files", _GUESS),
    figure("eventOperations", 2, "operations a file", "one event in, one delivery"),
    figure("eventQueueOperations", 3, "operations a file", "put, get, delete"),
    figure("checks", 2, "checks a series", "one comes early when slices arrive over some time"),
    figure("checkQueueOperations", 3, "operations a check", "put, get, delete"),
    figure("readyQueueOperations", 3, "operations a series", "put, get, delete"),
    figure("sliceRows", 8, "table operations a file", _CODE),
    figure("seriesRows", 4, "table operations a series", _CODE),
    figure("checkRows", 7, "table operations a check", f"{_CODE}; an early one makes 5"),
    figure("sliceReads", 2, "blob reads a file", "properties, 64 KiB of header"),
    figure("seriesReads", 4, "blob reads a series", "list of slices, three slices"),
    figure("seriesWrites", 2, "blob writes a series", "list of slices, thumbnail"),
    figure("batch", 32, "series a commit", "INDEXER_WORKER_BATCH"),
    figure("commitReads", 20, "blob reads a commit", f"at most; {_CODE}"),
    figure("commitWrites", 8, "blob writes a commit", f"at most; {_CODE}"),
    figure("lookSeconds", 0.03, "instance seconds a file", "0.25 s, mostly waiting, 8 at once"),
    figure("checkSeconds", 0.05, "instance seconds a check", "0.4 s, mostly waiting, 8 at once"),
    figure("functionGb", 4, "GB an instance", "4096 MB hold an index of 120,000 series with room"),
    figure("alwaysReady", 1, "instances", "one for http: searching starts warm"),
    figure("listeners", 4, "queues", "queue triggers of the functions"),
    figure("pollSeconds", 2, "seconds", "maxPollingInterval of host.json; at most so often"),
    figure("startSeconds", 90, "seconds an upload", f"a cold start of the worker; {_GUESS}"),
    figure(
        "cooldownSeconds",
        300,
        "seconds an upload",
        "cooldownPeriod: before the worker goes to zero",
    ),
    figure("indexBytes", 24_000, "bytes a series", "vectors 7 KB, row, thumbnail; twice, merging"),
    figure("sliceBytes", 250, "bytes a file", "its line in the list of slices"),
    figure("rowBytes", 4_000, "table bytes a file", f"at most; {_CODE}"),
    figure("logBytes", 300, "bytes a file", f"after sampling; {_GUESS}"),
    figure("traceBytes", 7_800, "bytes a series", "nine spans as they are sent; measured"),
)

GPU_WORKER = (
    figure("seriesSeconds", 0.45, "seconds a series", f"GPU, MedImageInsight incl.; {_PUBLISHED}"),
    figure("workerGpus", 1, "GPUs", "Consumption-GPU-NC8as-T4"),
    figure("workerVcpus", 8, "vCPUs", "Consumption-GPU-NC8as-T4"),
    figure("workerGib", 56, "GiB", "Consumption-GPU-NC8as-T4"),
)
CPU_WORKER = (
    figure("seriesSeconds", 0.17, "seconds a series", "docs/benchmarks-seed.md: no image model"),
    figure("workerGpus", 0, "GPUs", "a Consumption profile"),
    figure("workerVcpus", 4, "vCPUs", "a Consumption profile"),
    figure("workerGib", 8, "GiB", "a Consumption profile"),
)
WORKERS = {"gpu": GPU_WORKER, "cpu": CPU_WORKER}


def figures_of(worker: str, changes: Sequence[str] = ()) -> dict[str, Figure]:
    """All figures, by name.

    Parameters
    ----------
    worker
        One of `WORKERS`.
    changes
        ``NAME=VALUE`` each: figures that are known better.

    Raises
    ------
    InvalidInputError
        There is no such figure, or its value is no number that it can have.
    """
    return with_changes((*ASSUMPTIONS, *WORKERS[worker], *PRICES), changes)


def with_changes(figures: Iterable[Figure], changes: Sequence[str]) -> dict[str, Figure]:
    """Figures by name, changed by ``NAME=VALUE`` each.

    Raises
    ------
    InvalidInputError
        There is no such figure, or its value is no number that it can have.
    """
    found = {each.name: each for each in figures}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in found:
            raise InvalidInputError(f"there is no figure {name!r}; there are: {', '.join(found)}")
        found[name] = replace(found[name], value=_value(name, text), source="set by you")
    return found


_MOST = 1e15
"""Products of more than this would soon be no numbers any more."""

# What is divided by must be more than nothing.
_DIVISORS = {
    *("batch", "pollSeconds", "segmentBytes", "readGbPerS", "vcpuGbPerS", "memoryShare"),
    *("share-fp32", "share-fp16", "share-int8", "share-1-bit", "share-milvus"),
    *("hnswM", "loadShare", "nodeGib", "nodeVcpus"),
    *("workers", "collectLimit", "pageBlobs", "segmentCpu"),
}


def _value(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    least_is_excluded = name in _DIVISORS
    if not 0 <= value <= _MOST or (least_is_excluded and value == 0):
        least = "more than 0" if least_is_excluded else "at least 0"
        raise InvalidInputError(f"{name} is a number, {least} and at most {_MOST:g}, not {text!r}")
    return value
