"""Which limit a year of a large archive meets first, and how each is mended."""

from dataclasses import dataclass

from indexer_core.costs.figures import Figures
from indexer_core.costs.size_figures import values
from indexer_core.costs.sizing import GIB
from indexer_core.costs.year import DAY_S, DAYS, Year

_HOUR = 3600
_FOREVER = 1e9
"""Days that nothing lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """Something that has an end.

    Parameters
    ----------
    use, limit
        In `unit`; of what grows, `use` is that at the end of the year.
    day
        Of the year, when it is met; None of a rate, which is met at once or never.
    """

    name: str
    use: float
    limit: float
    unit: str
    day: float | None
    mend: str

    @property
    def headroom(self) -> float:
        """How many times the load, or the year, it would bear."""
        return self.limit / self.use if self.use else _FOREVER

    @property
    def is_met(self) -> bool:
        """Whether the year meets it."""
        return self.headroom < 1


def limits_of(year: Year, figures: Figures) -> tuple[Limit, ...]:
    """All limits, the first that is met first: rates that are too high, then by day, then the rest.

    Bursts count for what answers at once; what works through a queue has the busiest hour.
    """
    f = values(figures)
    found = (*_rates(year, f), *_growing(year, f), _collecting(year, f))
    return tuple(sorted(found, key=_order))


def _order(limit: Limit) -> tuple[bool, float, float]:
    return not limit.is_met, (limit.day or 0.0) if limit.is_met else 0.0, limit.headroom


def _rates(year: Year, f: dict[str, float]) -> tuple[Limit, ...]:
    def rate(name: str, use: float, limit: float, unit: str, mend: str) -> Limit:
        return Limit(name=name, use=use, limit=limit, unit=unit, day=None, mend=mend)

    burst = {load.name: load.burst for load in year.loads}
    worker = year.load("worker").busiest
    series_rows = f["oneSeriesFiles"] * f["sliceRows"]
    return (
        rate("one worker", worker, f["workers"], "workers in the busiest hour", "more workers"),
        rate(
            *("queue blob-events", burst["messages of blob-events"], f["queueLimit"]),
            *("operations a second", "a queue for each container or prefix of the inbox"),
        ),
        rate(
            *("storage account", burst["the account of the index"], f["accountLimit"]),
            *("requests a second", "queues, tables and index in accounts of their own"),
        ),
        rate(
            *("table partition of a series", series_rows, f["partitionLimit"], "rows a second"),
            "none needed: it is a series' own rate, and a refused look comes back",
        ),
        rate(
            *("table partition of open series", burst["the partition of open series"]),
            f["partitionLimit"],
            *("rows a second", "partitions by the first digit of the key"),
        ),
        rate(
            *("Event Grid", burst["files"], f["eventLimit"], "events a second"),
            "a topic, thus an account, for each inbox",
        ),
        rate(
            *("functions", burst["functions"], f["instanceLimit"], "instances"),
            "a higher maximum; the queue waits meanwhile",
        ),
        rate(
            *("Milvus follower", burst["entities of Milvus"], f["milvusLimit"]),
            *("entities a second", "it lags and catches up; more rows an insert"),
        ),
    )


def _growing(year: Year, f: dict[str, float]) -> tuple[Limit, ...]:
    def growing(name: str, a_day: float, limit: float, unit: str, mend: str) -> Limit:
        day = limit / a_day if a_day else _FOREVER
        return Limit(name=name, use=a_day * DAYS, limit=limit, unit=unit, day=day, mend=mend)

    gib = year.series_a_day * year.memory_a_series / GIB
    # A manifest is read, changed and written by one commit after the other.
    files = year.load("files")
    between_s = _FOREVER
    if year.manifests_a_day:
        between_s = DAY_S / year.manifests_a_day * files.mean / files.busiest
    segments = max(0.0, between_s - f["requestSeconds"]) / f["segmentCpu"]
    return (
        growing(
            *("memory of a functions instance", gib, f["functionGib"] * f["memoryShare"], "GiB"),
            "search on one machine (`serve`) or on Milvus; the functions keep the ingest",
        ),
        growing(
            *("exact search by default", year.series_a_day * 5, f["exactTexts"], "texts"),
            "lists (approximate) or `exact` by wish; exact on Milvus",
        ),
        growing(
            *("memory of one machine", gib, f["largestVm"] * f["memoryShare"], "GiB"), "Milvus"
        ),
        growing(
            *(
                "segments of a reader",
                year.segments_at(1),
                f["mostSegments"],
                "segments, a judgement",
            ),
            "a larger bound of merges (INDEXER_MERGE_MB) with more memory; Milvus",
        ),
        growing(
            *("commits, one after the other", year.segments_at(1), segments, "segments"),
            "full batches, and larger segments: a manifest is a line for each",
        ),
    )


def garbage_a_day(year: Year, f: dict[str, float]) -> float:
    """Blobs that a day leaves behind: manifests, and files of segments that were merged."""
    return year.manifests_a_day * (1 + f["segmentFiles"])


def collecting_s(year: Year, day: float, f: dict[str, float]) -> float:
    """Seconds that the collector works on a day: it lists all anew for every so many it deletes.

    Manifests are listed twice, stubs of expired ones included; files of the retention time and
    thumbnails once.
    """
    garbage = garbage_a_day(year, f)
    kept_days = min(day, f["retentionDays"])
    listed = 2 * year.manifests_a_day * day + garbage * kept_days + year.series_a_day * day
    passes = garbage / f["collectLimit"]
    return passes * listed / f["pageBlobs"] * f["pageSeconds"] + garbage * f["deleteSeconds"]


def _collecting(year: Year, f: dict[str, float]) -> Limit:
    low, high = 0.0, _FOREVER
    for _ in range(60):
        middle = (low + high) / 2
        fits = collecting_s(year, middle, f) <= DAY_S
        low, high = (middle, high) if fits else (low, middle)
    return Limit(
        name="collecting garbage",
        use=collecting_s(year, DAYS, f) / _HOUR,
        limit=DAY_S / _HOUR,
        unit="hours a day",
        day=low,
        mend="a larger collect_limit: it lists everything again for every 500 blobs",
    )
