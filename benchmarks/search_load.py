"""Searching 120,000 series over HTTP: one client, then fifty, while a writer commits every second.

The server is `dicom-indexer serve` in a process of its own, as a user starts it, with the default
text encoder. Vectors of the series are random, so all are distinct, which is the worst case for
the bytes that a search reads; records and texts are real. Every question is asked once only.
"""

import http.client
import itertools
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks.made_up_index import MadeUpIndex
from benchmarks.pages import Line
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.index.upkeep import Upkeep
from local_host.encoders import LocalEncoders

ROOT = Path(__file__).parents[1]
_ADDRESS = re.compile(r"http://(127\.0\.0\.1):(\d+)")
_START_S = 120.0
_TEN = 10
_P95_MS, _TIMES = 150.0, 60.0

# Asked one by one in all combinations: none is asked twice, so that no answer can be a kept one.
_PARTS = (
    ("axial", "sagittal", "coronal", "3D", ""),
    ("T1", "T2 FLAIR", "diffusion", "localizer", "thin slice", ""),
    ("MRI", "CT", "MR angiography", "X-ray"),
    ("brain", "chest", "knee", "abdomen and pelvis", "lumbar spine", "left wrist"),
    ("with contrast", "without contrast", "women over 60", "since 2019", "at 3 T", "not Siemens"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Series of the index, questions of one client, clients at once and the questions of each."""

    series: int = 120_000
    questions: int = 300
    clients: int = 50
    each: int = 10
    warm_up: int = 20
    every_s: float = 1.0
    delta: int = 10


@dataclass(slots=True, kw_only=True)
class Asked:
    """Seconds that each question took, and how many were not answered as they should be."""

    seconds: list[float] = field(default_factory=list)
    errors: int = 0
    manifests: set[int] = field(default_factory=set)


def questions() -> Iterator[str]:
    """Questions, all different, in a fixed order that mixes their parts."""
    combined = [" ".join(filter(None, words)) for words in itertools.product(*_PARTS)]
    step = 1009  # a prime: neighbours in the order share few parts
    for number in range(len(combined)):
        yield combined[number * step % len(combined)]


def measure(work: Path, sizes: Sizes | None = None) -> dict[str, Any]:
    """All figures."""
    sizes = sizes or Sizes()
    data = work / "data"
    filled(data, sizes.series)
    asking = questions()
    with serving(data) as (host, port, server):
        ask(host, port, itertools.islice(asking, sizes.warm_up))
        alone = ask(host, port, itertools.islice(asking, sizes.questions))
        with writing(data, sizes):
            beside = ask(host, port, itertools.islice(asking, sizes.questions))
            lists = [list(itertools.islice(asking, sizes.each)) for _ in range(sizes.clients)]
            with ThreadPoolExecutor(sizes.clients) as pool:
                many = list(pool.map(lambda each: ask(host, port, each), lists))
        resident_mib = _resident_mib(server)
    together = [second for each in many for second in each.seconds]
    return {
        "series": sizes.series,
        "clients": sizes.clients,
        "alone": _figures(alone.seconds),
        "writing": _figures(beside.seconds),
        "together": _figures(together),
        "errors": alone.errors + beside.errors + sum(each.errors for each in many),
        "manifests_seen": len(beside.manifests.union(*(each.manifests for each in many))),
        "server_mib": resident_mib,
    }


def filled(data: Path, n_series: int) -> None:
    """A data directory with an index of so many series."""
    _index(data).fill(range(n_series))
    (data / "state.sqlite").touch()  # what `index` would have left: the server looks for it


def _index(data: Path) -> MadeUpIndex:
    encoder = LocalEncoders(data / "encoders").default
    return MadeUpIndex(
        FolderBlobs(data / "index"),
        text_encoder_id=encoder.encoder_id,
        text_dimension=encoder.dimension,
    )


@contextmanager
def serving(data: Path) -> Iterator[tuple[str, int, "subprocess.Popen[str]"]]:
    """The server on a free port; it is stopped at the end."""
    command = [sys.executable, "-m", "local_host.cli", "--data", str(data), "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
    ) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                if found := _ADDRESS.search(line):
                    yield found[1], int(found[2]), server
                    return
            raise RuntimeError("the server has ended without telling its address")
        finally:
            server.terminate()
            server.wait(_START_S)


@contextmanager
def writing(data: Path, sizes: Sizes) -> Iterator[None]:
    """A writer that commits a delta every second meanwhile, in a process of its own."""
    context = get_context("spawn")
    stop, begun = context.Event(), context.Event()
    writer = context.Process(target=_write, args=(data, sizes, stop, begun))
    writer.start()
    try:
        if not begun.wait(_START_S):
            raise RuntimeError("the writer has not begun")
        yield
    finally:
        stop.set()
        writer.join()


def _write(data: Path, sizes: Sizes, stop: Event, begun: Event) -> None:
    index = _index(data)
    files = index.vector_files
    upkeep = Upkeep(index.blobs, files, clock=index.clock, ids=index.ids, files=index.files)
    for number in itertools.count():
        due = time.monotonic() + sizes.every_s
        first = sizes.series + number * sizes.delta
        index.fill(range(first, first + sizes.delta), seed=number + 2)
        upkeep.after_batch()
        begun.set()
        if stop.wait(max(0.0, due - time.monotonic())):
            return


def ask(host: str, port: int, texts: Iterator[str] | list[str]) -> Asked:
    """Ask one after the other, over one connection."""
    asked = Asked()
    connection = http.client.HTTPConnection(host, port, timeout=60)
    for text in texts:
        begun = time.perf_counter()
        try:
            connection.request("GET", "/api/search?" + urlencode({"q": text, "top": _TEN}))
            response = connection.getresponse()
            body = response.read()
            good = response.status == http.client.OK
        except (OSError, http.client.HTTPException):
            connection.close()
            good, body = False, b""
        asked.seconds.append(time.perf_counter() - begun)
        if not good:
            asked.errors += 1
            continue
        asked.manifests.add(json.loads(body)["manifest"])
    connection.close()
    return asked


def _figures(seconds: list[float]) -> dict[str, float]:
    """Median and 95th percentile in milliseconds."""
    return {
        "n": len(seconds),
        "median_ms": 1000 * statistics.median(seconds),
        "p95_ms": 1000 * statistics.quantiles(seconds, n=20)[-1],
        "most_ms": 1000 * max(seconds),
    }


def _resident_mib(server: "subprocess.Popen[str]") -> float:
    """Memory that the server has in use, files that it has mapped included."""
    status = Path(f"/proc/{server.pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    return float(found[1]) / 1024 if found else float("nan")


def lines(found: Mapping[str, Any]) -> list[Line]:
    """Beside the bars."""
    alone, writing_, together = found["alone"], found["writing"], found["together"]
    size = f"{found['series']:,} series"
    times = together["p95_ms"] / alone["median_ms"]
    return [
        Line(
            what=f"{size}: one client, nothing else going on: median and p95 of {alone['n']}",
            measured=f"{alone['median_ms']:.0f} and {alone['p95_ms']:.0f} ms",
        ),
        Line(
            what=f"{size}: the same while a writer commits every second",
            measured=f"{writing_['median_ms']:.0f} and {writing_['p95_ms']:.0f} ms",
            bar="p95 under 150 ms",
            met=writing_["p95_ms"] < _P95_MS,
        ),
        Line(
            what=f"{size}: {found['clients']} clients at once, the writer beside them",
            measured=f"{together['median_ms']:.0f} and {together['p95_ms']:.0f} ms, p95 "
            f"{times:.0f} times the median of one client alone",
            bar="at most 60 times",
            met=times <= _TIMES,
        ),
        Line(
            what=f"of {alone['n'] + writing_['n'] + together['n']} questions, not answered",
            measured=f"{found['errors']}",
            bar="none",
            met=found["errors"] == 0,
        ),
        Line(
            what="manifests that answers came from while the writer wrote",
            measured=f"{found['manifests_seen']}",
        ),
        Line(
            what="memory of the server, mapped files included",
            measured=f"{found['server_mib']:,.0f} MiB",
        ),
    ]
