"""The numbers that a year of a large archive is computed from, and the limits that it meets."""

from collections.abc import Sequence

from indexer_core.costs.figures import (
    ASSUMPTIONS,
    GPU_WORKER,
    PRICES,
    Figure,
    figure,
    with_changes,
)
from indexer_core.costs.size_figures import FIRST_HOME

_GUESS = "an assumption: set your own"
_CODE = "counted in the code"
_TARGETS = "quoted: learn.microsoft.com/azure/storage"

YEAR = (
    figure("instancesAYear", 1e9, "files", "the question"),
    figure("weekend", 0.3, "of a working day", _GUESS),
    figure("burst", 3, "times the busiest hour's mean, for minutes", _GUESS),
    figure("oneSeriesFiles", 50, "files a second of one series", _GUESS),
    figure("openRows", 4, "operations a series in one partition", f"{_CODE}: assembly.py"),
    figure("batchSeconds", 1.0, "seconds a batch besides its series", _GUESS),
    figure("segmentFiles", 4, "files a segment", f"{_CODE}: rows, two spaces, places"),
    figure("pageSeconds", 0.1, "seconds a page of a list", _GUESS),
    figure("deleteSeconds", 0.03, "seconds a blob deleted", _GUESS),
    figure("collectLimit", 500, "blobs a collection", "UpkeepSettings.collect_limit"),
    figure("retentionDays", 7, "days", "RetentionPolicy.keep_s"),
    figure("requestSeconds", 0.1, "seconds a commit's two requests", _GUESS),
    figure("segmentCpu", 150e-6, "seconds a segment", "measured: parse and dump a manifest"),
    figure("workers", 1, "workers", _GUESS),
)

LIMITS = (
    figure("queueLimit", 2_000, "messages a second", f"{_TARGETS}/queues/scalability-targets"),
    figure("accountLimit", 20_000, "requests a second", f"{_TARGETS}/tables/scalability-targets"),
    figure("partitionLimit", 2_000, "rows a second", f"{_TARGETS}/tables/scalability-targets"),
    figure("pageBlobs", 5_000, "blobs a page of a list", "commonly known, not looked up"),
    figure("eventLimit", 5_000, "events a second", "commonly known of Event Grid, not looked up"),
    figure("instanceLimit", 40, "instances", "maximumInstances of infra/bicep"),
    figure("exactTexts", 5e6, "texts", "indexer_core.search.APPROXIMATE_ABOVE"),
    figure("largestVm", 512, "GiB", "Standard_E64s_v5"),
    figure(
        "mostSegments", 1_000, "segments", "a judgement: 64 were measured; advice.MOST_SEGMENTS"
    ),
    figure("milvusLimit", 1_080, "entities a second", "milvus-lite; docs/benchmarks-milvus.md"),
)


def year_figures(changes: Sequence[str] = ()) -> dict[str, Figure]:
    """All of them by name, with changes (``NAME=VALUE``).

    Raises
    ------
    InvalidInputError
        There is no such figure, or its value is no number that it can have.
    """
    known = (*ASSUMPTIONS, *GPU_WORKER, *FIRST_HOME, *PRICES)
    return with_changes((*known, *YEAR, *LIMITS), changes)
