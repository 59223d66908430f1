"""The Functions package over 120,000 series: what it holds in memory, and how long a start takes.

What `make package` has built runs in Microsoft's Python worker library, in a process of its own,
over an account of Azurite. Vectors of the series are random, so all are distinct, which is the
worst case for memory; of real texts about half are. Memory is what the kernel says of that process.
"""

import base64
import itertools
import json
import secrets
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.made_up_index import MadeUpIndex
from benchmarks.pages import Line
from benchmarks.search_load import questions
from deploy.functions_package import PACKAGES, TARGET, is_of
from indexer_core.adapters.azure.clients import AzureStorage
from indexer_core.adapters.azure.configured import ENCODER_PREFIX
from indexer_core.adapters.azure.stores import create_stores
from indexer_core.adapters.folder import FolderBlobs
from local_host.encoders import LocalEncoders
from tests.support.azurite import running_azurite
from tests.support.functions_host import FunctionsHost

ROOT = Path(__file__).parents[1]
BUILT = ROOT / TARGET
INDEX = "index"
# What Flex Consumption has for temporary files (Microsoft, "Azure Functions limits", 2026): half
# of it is for copies of the index, as it would be without the setting.
TEMPORARY_MB = 800
WAYS: Mapping[str, str] = {"copies": "", "little disk": str(TEMPORARY_MB // 2), "memory": "1"}
"""INDEXER_CACHE_MB: room for every copy, for those that fit on an instance's disk, for none."""

INSTANCES_MB = (512, 2048, 4096)
_OURS_MB = (2048, 4096)
# The host, a program of its own in the same instance, takes some; a merge and its upload, too.
SPARE_MB = 512
_MB_IN_MIB = 1e6 / 2**20
_START_S = 120.0
_UNAVAILABLE = 503
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Series of the index, segments that they lie in, questions that are asked, and starts."""

    series: int = 120_000
    segments: int = 8
    questions: int = 200
    starts: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of a process, in MiB: resident; of that, private and mapped; the most that was resident."""

    resident: float
    private: float
    mapped: float
    peak: float


def measure(work: Path, sizes: Sizes | None = None, app: Path = BUILT) -> dict[str, Any]:
    """All figures: of an index without series, then of the whole one in each way."""
    sizes = sizes or Sizes()
    few, all_ = work / "few", work / "all"
    encoders = work / "encoders"
    filled(few, encoders, 8, 1)
    filled(all_, encoders, sizes.series, sizes.segments)
    found: dict[str, Any] = {"series": sizes.series, "zip_mb": _zip_mb(app)}
    bare = work / "bare"
    shutil.copytree(app, bare, ignore=shutil.ignore_patterns("__pycache__"))
    with account(work / "of few", few, encoders) as settings:
        found["empty"] = asked(app, settings, work / "empty", sizes.questions)
        found["starts"] = {
            "with": [_start_s(app, settings, work) for _ in range(sizes.starts)],
            "without": [_start_s(bare, settings, work) for _ in range(sizes.starts)],
        }
    shutil.rmtree(bare)
    with account(work / "of all", all_, encoders) as settings:
        for way, cache_mb in WAYS.items():
            told = {**settings, "INDEXER_CACHE_MB": cache_mb}
            found[way] = asked(app, told, work / way, sizes.questions)
    return found


def filled(folder: Path, encoders: Path, n_series: int, n_segments: int) -> None:
    """An index of so many series in a folder."""
    encoder = LocalEncoders(encoders).default
    index = MadeUpIndex(
        FolderBlobs(folder),
        text_encoder_id=encoder.encoder_id,
        text_dimension=encoder.dimension,
    )
    for number in range(n_segments):
        index.fill(range(number, n_series, n_segments), seed=1 + 2 * number)


@contextmanager
def account(work: Path, index: Path, encoders: Path) -> Iterator[dict[str, str]]:
    """Settings for an account that has this index, and beside it the text encoder."""
    with running_azurite(work) as azurite:
        storage = AzureStorage(azurite.connection_string)
        try:
            create_stores(storage)
            container = storage.container(INDEX)
            export = LocalEncoders(encoders).default_folder
            sources = [(path, path.relative_to(index).as_posix()) for path in _files(index)]
            sources += [(path, f"{ENCODER_PREFIX}{path.name}") for path in _files(export)]
            for path, name in sources:
                with path.open("rb") as data:
                    container.upload_blob(name, data, overwrite=True)
        finally:
            storage.close()
        yield {
            "IndexerStorage": azurite.connection_string,
            "INDEXER_SOURCES": json.dumps(
                [{"scope": "a", "account": azurite.connection_string, "container": "dicom"}]
            ),
            "INDEXER_PATIENT_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        }


def asked(app: Path, settings: Mapping[str, str], work: Path, n_questions: int) -> dict[str, Any]:
    """Start the app, ask until it answers, then ask on; seconds and memory at each step."""
    texts = questions()
    begun = time.perf_counter()
    host = _started(app, settings, work)
    try:
        started = time.perf_counter()
        after_start = memory(host.pid)
        n_refused = _first(host, next(texts))
        first = time.perf_counter()
        after_first = memory(host.pid)
        seconds = [_search_s(host, text) for text in itertools.islice(texts, n_questions)]
        after_all = memory(host.pid)
    finally:
        host.close()
    return {
        "start_s": started - begun,
        "first_s": first - begun,
        "refused": n_refused,
        "median_ms": 1000 * statistics.median(seconds),
        "p95_ms": 1000 * statistics.quantiles(seconds, n=20)[-1],
        "after_start": _told(after_start),
        "after_first": _told(after_first),
        "after_all": _told(after_all),
    }


def _started(app: Path, settings: Mapping[str, str], work: Path) -> FunctionsHost:
    work.mkdir(parents=True, exist_ok=True)
    told = {**settings, "INDEXER_CACHE_DIR": str(work / "copies")}
    if (packages := app / PACKAGES).is_dir():
        told["PYTHONPATH"] = f"{app}:{packages}"
    return FunctionsHost(app, told, work / "log")


def _start_s(app: Path, settings: Mapping[str, str], work: Path) -> float:
    begun = time.perf_counter()
    host = _started(app, settings, work / "starts")
    took_s = time.perf_counter() - begun
    host.close()
    return took_s


def _first(host: FunctionsHost, text: str) -> int:
    """Ask until there is an answer; how often there was none."""
    deadline_s = time.monotonic() + _START_S
    for n_refused in itertools.count():
        answer = host.request("GET", "/api/search", query={"q": text})
        if answer.status == _OK:
            return n_refused
        if answer.status != _UNAVAILABLE or time.monotonic() > deadline_s:
            raise RuntimeError(f"the app answered {answer.status}: {answer.body[:200]!r}")
        time.sleep(0.05)
    raise AssertionError


def _search_s(host: FunctionsHost, text: str) -> float:
    begun = time.perf_counter()
    answer = host.request("GET", "/api/search", query={"q": text, "top": "10"})
    if answer.status != _OK or not answer.json()["value"]:
        raise RuntimeError(f"the app answered {answer.status} with nothing")
    return time.perf_counter() - begun


def memory(pid: int) -> Memory:
    """What the kernel says of a process."""
    lines_ = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines_)
    kib = {name: int(values[name].split()[0]) for name in ("VmRSS", "RssAnon", "RssFile", "VmHWM")}
    mib = {name: value / 1024 for name, value in kib.items()}
    return Memory(
        resident=mib["VmRSS"],
        private=mib["RssAnon"],
        mapped=mib["RssFile"],
        peak=mib["VmHWM"],
    )


def _told(found: Memory) -> dict[str, float]:
    return {name: getattr(found, name) for name in ("resident", "private", "mapped", "peak")}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _zip_mb(app: Path) -> float:
    archive = app.with_name(f"{app.name}.zip")
    return archive.stat().st_size / 1e6 if archive.exists() else 0.0


def holds(found: Mapping[str, Any], instance_mb: int) -> int:
    """How many series an instance holds if nothing that it has mapped is given back.

    What the process takes without series stays; every further series takes as much as each of the
    measured ones; and something is left for the host beside it.
    """
    empty = found["empty"]["after_all"]["peak"]
    room = instance_mb * _MB_IN_MIB - SPARE_MB * _MB_IN_MIB - empty
    return max(0, int(1024 * room / kib_each(found)) // 1000 * 1000)


def kib_each(found: Mapping[str, Any]) -> float:
    """What every further series takes, in KiB, in the way that takes most."""
    most = max(found[way]["after_all"]["peak"] for way in WAYS)
    return float(1024 * (most - found["empty"]["after_all"]["peak"]) / found["series"])


def lines(found: Mapping[str, Any]) -> list[Line]:
    """The rows of the page."""
    series, empty = f"{found['series']:,} series", found["empty"]
    rows = [
        Line(
            what="the package, zipped",
            measured=f"{found['zip_mb']:.0f} MB",
            bar="<= 200 MB",
            met=0 < found["zip_mb"] <= 200,
        ),
        Line(what="memory after the start", measured=_row(empty["after_start"])),
        Line(what="the same once it searches, 8 series", measured=_row(empty["after_all"])),
    ]
    with_it, without = (statistics.median(found["starts"][way]) for way in ("with", "without"))
    rows.append(
        Line(
            what="the app's start, without the bytecode that the package brings along and with it",
            measured=f"{without:.1f} and {with_it:.1f} s",
        )
    )
    rows.append(
        Line(
            what="8 series: from start to first answer",
            measured=f"{empty['first_s']:.1f} s, of which the app's start is "
            f"{empty['start_s']:.1f} s",
        )
    )
    for way, name in (
        ("copies", "room for every copy of its files"),
        ("little disk", f"{WAYS['little disk']} MB for copies, as on Flex Consumption"),
        ("memory", "no room for copies: all of it in memory"),
    ):
        told = found[way]
        rows += [
            Line(
                what=f"{series}, {name}: memory after the first search",
                measured=_row(told["after_first"]),
            ),
            Line(
                what=f"{series}, {name}: after further searches",
                measured=_row(told["after_all"]),
            ),
            Line(
                what=f"{series}, {name}: from start to first answer",
                measured=f"{told['first_s']:.1f} s, of which the app's start is "
                f"{told['start_s']:.1f} s",
            ),
            Line(
                what=f"{series}, {name}: further searches, median and p95",
                measured=f"{told['median_ms']:.0f} and {told['p95_ms']:.0f} ms",
            ),
        ]
    rows.append(
        Line(
            what="memory for each series, at most: mapped pages count that could be given back",
            measured=f"{kib_each(found):.1f} KiB",
        )
    )
    for instance in INSTANCES_MB:
        ours = instance in _OURS_MB
        n_series = holds(found, instance)
        rows.append(
            Line(
                what=f"most series in an instance of {instance:,} MB, {SPARE_MB} MB left for the "
                "host and for merges",
                measured=f"{n_series:,}",
                bar=f">= {found['series']:,}" if ours else "-",
                met=n_series >= found["series"] if ours else None,
            )
        )
    return rows


def _row(told: Mapping[str, float]) -> str:
    return (
        f"{told['resident']:.0f} MiB ({told['private']:.0f} private, {told['mapped']:.0f} mapped); "
        f"peak {told['peak']:.0f}"
    )


def refuse_another() -> None:
    """Measuring a package of other files than these would say nothing of them."""
    if not is_of(ROOT, BUILT):
        raise SystemExit("there is no package of these files: run `make package`")
