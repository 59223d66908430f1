"""How long a process takes to open an index that it has never seen, and how much memory that takes.

Each measurement is a process of its own. What the kernel counts as private memory (RssAnon) cannot
be given back while the index is open; mapped files (RssFile) can.
"""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.made_up_index import TEXTS, MadeUpIndex  # noqa: E402
from benchmarks.pages import Line  # noqa: E402
from indexer_core.adapters.file_cache import CachedFiles, MappedFiles  # noqa: E402
from indexer_core.adapters.folder import FolderBlobs  # noqa: E402
from indexer_core.index.files import ImmutableFiles, StoredFiles  # noqa: E402
from indexer_core.index.footprint import footprint  # noqa: E402
from indexer_core.index.reader import Reader  # noqa: E402
from indexer_core.index.segment import TEXT_SPACE  # noqa: E402
from indexer_core.search import search_text  # noqa: E402
from indexer_core.selection import select  # noqa: E402

WAYS = ("mapped", "copied", "copies", "memory")
"""Where they lie; fetched into an empty folder for copies; from copies; read into memory."""

_MIB = 2**20


def measure(
    work: Path,
    n_series: int = 120_000,
    n_segments: int = 8,
    rounds: int = 3,
    ways: tuple[str, ...] = WAYS,
) -> dict[str, Mapping[str, Any]]:
    """Opening an index of several segments in each of the ways."""
    folder, copies = work / "index", work / "copies"
    index = MadeUpIndex(FolderBlobs(folder))
    for number in range(n_segments):
        index.fill(range(number, n_series, n_segments), seed=1 + 2 * number)
    manifest = index.reader.refresh().manifest
    told = footprint(manifest, [TEXT_SPACE], in_memory=False)
    found: dict[str, Mapping[str, Any]] = {}
    for way in ways:
        runs = []
        for _ in range(rounds):
            if way == "copied":
                shutil.rmtree(copies, ignore_errors=True)
            runs.append(_process(way, folder, copies))
        found[way] = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    shutil.rmtree(folder)
    shutil.rmtree(copies, ignore_errors=True)
    n_vectors = TEXTS * n_series
    found["index"] = {
        "series": n_series,
        "vectors": n_vectors,
        "vector_bytes": told.vector_bytes,
        "row_bytes": told.row_bytes,
        "rows_file_bytes": sum(segment.rows.size_bytes for segment in manifest.segments),
    }
    return found


def _process(way: str, folder: Path, copies: Path) -> dict[str, float]:
    command = [sys.executable, __file__, way, str(folder), str(copies)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _files(way: str, blobs: FolderBlobs, copies: Path) -> ImmutableFiles:
    if way == "mapped":
        return MappedFiles(blobs.path_of)
    return StoredFiles(blobs) if way == "memory" else CachedFiles(blobs, copies)


def _memory_mib() -> tuple[float, float]:
    """Private memory and mapped files of this process."""
    lines_ = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    values = dict(line.split(":", 1) for line in lines_)
    return tuple(int(values[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile"))  # type: ignore[return-value]


def _opened(way: str, folder: Path, copies: Path) -> dict[str, float]:
    """Open and search, in this process."""
    import faiss  # noqa: F401 - so that it does not count

    from indexer_core.adapters.faiss_vectors import FlatFp16Vectors

    blobs = FolderBlobs(folder)
    reader = Reader(
        blobs, FlatFp16Vectors(), files=_files(way, blobs, copies), searched=[TEXT_SPACE]
    )
    before = _memory_mib()
    start = time.perf_counter()
    snapshot = reader.refresh()
    open_s = time.perf_counter() - start
    space = snapshot.manifest.space(TEXT_SPACE)
    assert space is not None
    vectors = snapshot.segments[0].loaded.vectors(TEXT_SPACE, space.live)
    search_ms = []
    for number in range(4):
        query = vectors.reconstruct(number, 1)[0]
        start = time.perf_counter()
        hits = search_text(snapshot, query, select(snapshot), 10)
        search_ms.append(1000 * (time.perf_counter() - start))
        assert hits[0].similarity > 0.99
    after = _memory_mib()
    return {
        "open_s": open_s,
        "first_ms": search_ms[0],
        "next_ms": statistics.median(search_ms[1:]),
        "private_mib": after[0] - before[0],
        "mapped_mib": after[1] - before[1],
    }


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page."""
    index = found["index"]
    size = f"{index['series']:,} series, {index['vectors']:,} vectors"
    millions = index["vectors"] / 1e6
    told = (index["vector_bytes"] + index["row_bytes"]) / _MIB
    names = {
        "mapped": "from the folder where it lies",
        "copied": "fetched from a store into an empty folder for copies",
        "copies": "from copies that an earlier process has fetched",
        "memory": "read into memory",
    }
    rows = [
        Line(
            what=f"cold open of {size}, {names[way]}",
            measured=f"{found[way]['open_s']:.2f} s, first search {found[way]['first_ms']:.0f} ms; "
            f"{found[way]['private_mib']:.0f} MiB private, {found[way]['mapped_mib']:.0f} mapped",
        )
        for way in WAYS
        if way in found
    ]
    private = found["mapped"]["private_mib"]
    needed = private + index["vector_bytes"] / _MIB
    in_all = private + found["mapped"]["mapped_mib"]
    return [
        *rows,
        Line(
            what="memory per million vectors, mapped",
            measured=f"{private / millions:.0f} MiB private, {in_all / millions:.0f} MiB in all; "
            f"{100_000 / index['series'] * private:.0f} and "
            f"{100_000 / index['series'] * in_all:.0f} MiB per 100,000 series",
        ),
        Line(
            what="what is checked against the limit before anything is opened",
            measured=f"{told:.0f} MiB: {told / needed:.2f}x the vectors and what is private (pages "
            "of rows can be given back)",
            bar="0.95 to 1.2x",
            met=0.95 <= told / needed <= 1.2,
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(_opened(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
