"""A year of a large archive on paper: what arrives, and what that asks of each part.

The archive starts empty. Rates are of a week of hospital days, hour by hour; what grows is told per
day. Nothing here was run on a subscription.
"""

from dataclasses import dataclass
from math import ceil

from indexer_core.costs.figures import Figures
from indexer_core.costs.merge_traffic import commits_of_one, merge_traffic
from indexer_core.costs.size_figures import values
from indexer_core.costs.sizing import KEPT, Shape, size_of
from indexer_core.index.compaction import MergePolicy

DAY_S = 86_400
DAYS = 365
_HOUR_S = 3600
_HOURS = (
    *(0.25, 0.2, 0.2, 0.2, 0.2, 0.3, 0.6, 1.2, 1.9, 2.2, 2.3, 2.2),
    *(1.8, 2.0, 2.2, 2.1, 1.8, 1.3, 0.9, 0.7, 0.6, 0.5, 0.4, 0.3),
)
"""A working day of a radiology department, hour by hour, in any unit: an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A rate: on average, in the busiest hour of the week, and for minutes of it."""

    name: str
    mean: float
    busiest: float
    burst: float
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """What a year brings.

    Parameters
    ----------
    files_s
        Files a second in each of the 168 hours of a week, Monday first.
    series_a_day, commits_a_day, merges_a_day
        On average. A worker commits what waits when it is free: at most a batch, often one series.
    batch
        Series of a commit, on average.
    amplification
        Bytes that are written for each one that is committed: merges write anew.
    segment_bytes
        What segments grow to before no merge takes them up any more.
    bytes_a_series, memory_a_series
        On disk, and of a reader's memory.
    """

    files_s: tuple[float, ...]
    loads: tuple[Load, ...]
    series_a_day: float
    commits_a_day: float
    merges_a_day: float
    batch: float
    amplification: float
    segment_bytes: float
    bytes_a_series: float
    memory_a_series: float

    @property
    def manifests_a_day(self) -> float:
        """Each commit and each merge is one."""
        return self.commits_a_day + self.merges_a_day

    def load(self, name: str) -> Load:
        """The load of this name."""
        return next(load for load in self.loads if load.name == name)

    def segments_at(self, day: float) -> float:
        """Live segments after so many days; those that still wait to be merged are not counted."""
        return day * self.series_a_day * self.bytes_a_series / self.segment_bytes


def files_a_second(figures: Figures) -> tuple[float, ...]:
    """Files a second in each hour of a week, Monday first, their mean that of the year."""
    f = values(figures)
    week = [hour * day for day in (*[1.0] * 5, *[f["weekend"]] * 2) for hour in _HOURS]
    mean = f["instancesAYear"] / (DAYS * DAY_S)
    return tuple(hour * mean * len(week) / sum(week) for hour in week)


def batch_of(series_s: float, figures: Figures) -> float:
    """Series that a commit has when so many a second arrive: what came while the last was made."""
    f = values(figures)
    busy = series_s * f["seriesSeconds"] / f["workers"]
    if busy >= 1:
        return f["batch"]
    return min(f["batch"], max(1.0, series_s * f["batchSeconds"] / f["workers"] / (1 - busy)))


def year_of(figures: Figures, policy: MergePolicy) -> Year:
    """A year of these figures, merged by a policy."""
    f = values(figures)
    files = files_a_second(figures)
    series = [rate * _series_a_file(f) for rate in files]
    commits = [rate / batch_of(rate, figures) for rate in series]
    commits_a_day = sum(commits) * _HOUR_S / 7
    series_a_day = sum(series) * _HOUR_S / 7
    batch = series_a_day / commits_a_day if commits_a_day else 1.0
    size = size_of(Shape(n_series=1), KEPT, figures)
    commit_bytes = ceil(max(1, round(batch)) * size.disk_bytes)
    # As many commits as make one settled segment: then every byte has been through all its merges.
    n_commits = commits_of_one(commit_bytes, policy)
    merged = merge_traffic(n_commits, commit_bytes, policy)
    return Year(
        files_s=files,
        loads=_loads(files, f),
        series_a_day=series_a_day,
        commits_a_day=commits_a_day,
        merges_a_day=commits_a_day * merged.merges_a_commit,
        batch=batch,
        amplification=merged.amplification,
        segment_bytes=merged.largest_bytes,
        bytes_a_series=size.disk_bytes,
        memory_a_series=size.memory_bytes,
    )


def _series_a_file(f: dict[str, float]) -> float:
    return 1 / max(1.0, f["slicesPerSeries"])


def _loads(files: tuple[float, ...], f: dict[str, float]) -> tuple[Load, ...]:
    """Each is a multiple of the files a second."""
    a_series = _series_a_file(f)
    messages = (
        f["eventQueueOperations"]
        + (f["checks"] * f["checkQueueOperations"] + f["readyQueueOperations"]) * a_series
    )
    rows = f["sliceRows"] + (f["seriesRows"] + f["checks"] * f["checkRows"]) * a_series
    blobs = (f["seriesReads"] + f["seriesWrites"] + f["commitReads"] + f["commitWrites"]) * a_series
    instances = f["lookSeconds"] + f["checks"] * f["checkSeconds"] * a_series
    entities = 7 * a_series  # five texts, an image, the series itself
    factors = (
        ("files", 1.0, "a second"),
        ("series", a_series, "a second"),
        ("messages of blob-events", f["eventQueueOperations"], "operations a second"),
        ("queues", messages, "operations a second"),
        ("tables", rows, "operations a second"),
        ("blobs of the index", blobs, "operations a second, at most"),
        ("the account of the index", messages + rows + blobs, "requests a second"),
        ("the partition of open series", f["openRows"] * a_series, "operations a second"),
        ("functions", instances, "instances"),
        ("worker", f["seriesSeconds"] * a_series, "busy workers"),
        ("entities of Milvus", entities, "a second"),
    )
    mean, busiest = sum(files) / len(files), max(files)
    return tuple(
        Load(
            name=name,
            mean=mean * factor,
            busiest=busiest * factor,
            burst=busiest * f["burst"] * factor,
            unit=unit,
        )
        for name, factor, unit in factors
    )
