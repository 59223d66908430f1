"""From how much there is to index to what it costs. Everything is linear: no grant, no rounding.

What a subscription gets free each month is not taken off, so a small index costs less than is said
here; and sums of parts are what the whole costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from indexer_core.costs.figures import Figures

MONTH_S = 730 * 3600
_GB = 1e9
_MILLION = 1e6
_TEN_THOUSAND = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that is paid for: how much of it, in `unit`, and what that costs in USD."""

    name: str
    amount: float
    unit: str
    usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Lines of a bill. worker_s: how long a worker runs for it."""

    lines: tuple[Line, ...]
    worker_s: float = 0.0

    @property
    def usd(self) -> float:
        """The sum."""
        return sum(line.usd for line in self.lines)


def work(n_series: float, n_uploads: float, figures: Figures) -> Estimate:
    """Index so many series that arrive in so many uploads, the worker starting for each of them.

    It does not depend on what the index already holds.
    """
    f = {name: figure.value for name, figure in figures.items()}
    n_slices = n_series * f["slicesPerSeries"]
    n_checks = n_series * f["checks"]
    n_commits = n_series / f["batch"] + n_uploads
    worker_s = n_series * f["seriesSeconds"] + n_uploads * (
        f["startSeconds"] + f["cooldownSeconds"]
    )
    events = n_slices * f["eventOperations"]
    messages = (
        n_slices * f["eventQueueOperations"]
        + n_checks * f["checkQueueOperations"]
        + n_series * f["readyQueueOperations"]
    )
    rows = n_slices * f["sliceRows"] + n_checks * f["checkRows"] + n_series * f["seriesRows"]
    reads = n_slices * f["sliceReads"] + n_series * f["seriesReads"] + n_commits * f["commitReads"]
    writes = n_series * f["seriesWrites"] + n_commits * f["commitWrites"]
    runs = n_slices + n_checks
    gb_s = (n_slices * f["lookSeconds"] + n_checks * f["checkSeconds"]) * f["functionGb"]
    logs_gb = (n_slices * f["logBytes"] + n_series * f["traceBytes"]) / _GB
    lines = (
        _line("Event Grid", events, "operations", f["eventGridPrice"] / _MILLION),
        _line("queues", messages, "operations", f["queuePrice"] / _TEN_THOUSAND),
        _line("tables", rows, "operations", f["tablePrice"] / _TEN_THOUSAND),
        _line("blobs read", reads, "operations", f["blobReadPrice"] / _TEN_THOUSAND),
        _line("blobs written", writes, "operations", f["blobWritePrice"] / _TEN_THOUSAND),
        _line("functions run", runs, "runs", f["functionRunPrice"] / _MILLION),
        _line("functions' memory", gb_s, "GB s", f["functionMemoryPrice"]),
        _line("worker: GPU", worker_s * f["workerGpus"], "GPU s", f["gpuPrice"] / 3600),
        _line("worker: vCPUs", worker_s * f["workerVcpus"], "vCPU s", f["vcpuPrice"]),
        _line("worker: memory", worker_s * f["workerGib"], "GiB s", f["memoryPrice"]),
        _line("logs and traces", logs_gb, "GB", f["logPrice"]),
    )
    return Estimate(lines=lines, worker_s=worker_s)


def standing(n_series: float, figures: Figures) -> Estimate:
    """What a month costs in which nothing comes: so many series that can be searched."""
    f = {name: figure.value for name, figure in figures.items()}
    n_slices = n_series * f["slicesPerSeries"]
    index_gb = (n_series * f["indexBytes"] + n_slices * f["sliceBytes"]) / _GB
    tables_gb = n_slices * f["rowBytes"] / _GB
    polls = f["listeners"] * MONTH_S / f["pollSeconds"]
    ready_gb_s = f["alwaysReady"] * f["functionGb"] * MONTH_S
    lines = (
        _line("index, stored", index_gb, "GB", f["blobStoragePrice"]),
        _line("rows, stored", tables_gb, "GB", f["tableStoragePrice"]),
        _line("looks into empty queues", polls, "operations", f["queuePrice"] / _TEN_THOUSAND),
        _line("always-ready instance", ready_gb_s, "GB s", f["alwaysReadyPrice"]),
    )
    return Estimate(lines=lines)


def added(estimates: Sequence[Estimate]) -> Estimate:
    """Several bills as one; lines of one name are one line."""
    lines: dict[str, Line] = {}
    for line in (line for estimate in estimates for line in estimate.lines):
        before = lines.get(line.name)
        lines[line.name] = Line(
            name=line.name,
            amount=line.amount + (before.amount if before else 0.0),
            unit=line.unit,
            usd=line.usd + (before.usd if before else 0.0),
        )
    return Estimate(
        lines=tuple(lines.values()), worker_s=sum(estimate.worker_s for estimate in estimates)
    )


def _line(name: str, amount: float, unit: str, price: float) -> Line:
    return Line(name=name, amount=amount, unit=unit, usd=amount * price)
