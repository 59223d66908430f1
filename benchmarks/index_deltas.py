"""What a delta costs: its time in a large index and a small one, its bytes with merges, LanceDB
doing the same, and a rebuild.

A delta is 10 new, 10 replaced and 10 deleted series. It is timed from before its files are written
until a warm reader has given back the rows of all thirty.
"""

import gc
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.lance import LanceIndex
from benchmarks.made_up_index import (
    IMAGE_DIMENSION,
    TEXT_DIMENSION,
    TEXTS,
    MadeUpIndex,
    row_of,
    unit_vectors,
)
from benchmarks.pages import Line
from indexer_core.adapters.folder import FolderBlobs
from indexer_core.index.rows import IndexRow
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.index.upkeep import Upkeep
from indexer_core.ports import WriteResult
from indexer_core.search import search_text
from indexer_core.selection import select

_MEMORY = Path("/dev/shm")
OF_EACH = 10
SEEDS = 1_000  # other vectors than those that were there before


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Series of the two indexes of the delta and of the rebuild, deltas in a row, repetitions, and
    series of a larger delta.
    """

    small: int = 2_000
    large: int = 100_000
    rebuild: int = 120_000
    deltas: int = 1_000
    rounds: int = 21
    many: int = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Numbers of the series that come, change and go, and the revision that they then have."""

    new: range
    replaced: range
    deleted: range
    revision: int

    def rows(self, write_id: str) -> list[IndexRow]:
        """Its rows in key order."""
        numbers = (*self.new, *self.replaced)
        rows = [row_of(number, self.revision, write_id) for number in numbers]
        rows += [row_of(number, self.revision, write_id, alive=False) for number in self.deleted]
        return sorted(rows, key=lambda row: row.series_key)


def deltas(n_series: int) -> Iterator[Delta]:
    """One delta after the other for an index of `n_series` series, which stays of that size."""
    for number in count():
        oldest = number * OF_EACH  # the oldest go, so all that follow are there
        first = oldest + OF_EACH + number * OF_EACH % (n_series - 2 * OF_EACH)
        yield Delta(
            new=range(oldest + n_series, oldest + n_series + OF_EACH),
            replaced=range(first, first + OF_EACH),
            deleted=range(oldest, oldest + OF_EACH),
            revision=2 + number,
        )


def measure(work: Path, sizes: Sizes | None = None) -> dict[str, Mapping[str, Any]]:
    """All figures of this part, by name."""
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else work) as folder:
        delta = delta_times(Path(folder), sizes)
    return {
        "delta": {**delta, "disk_ms": on_disk(work, sizes)},
        "bytes": bytes_with_merges(work, sizes),
        "rebuild": rebuild(work, sizes),
    }


def delta_times(work: Path, sizes: Sizes) -> dict[str, Any]:
    """The same deltas into a small and a large index, in turns; and into LanceDB."""
    indexes = {}
    for name, n_series in (("small", sizes.small), ("large", sizes.large)):
        index = MadeUpIndex(FolderBlobs(work / name))
        index.fill(range(n_series))
        index.reader.refresh()
        indexes[name] = (index, deltas(n_series))
    lance = LanceIndex.made(work / "lance", sizes.large)
    lance_deltas = deltas(sizes.large)
    seconds: dict[str, list[float]] = {name: [] for name in ("small", "large", "lance", "search")}
    n_bytes: dict[str, list[int]] = {"small": [], "large": []}
    for number in range(SEEDS, SEEDS + sizes.rounds + 1):
        for name, (index, coming) in indexes.items():
            delta = next(coming)
            before = _folder_bytes(work / name)
            seconds[name].append(_delta(index, delta, number))
            n_bytes[name].append(_folder_bytes(work / name) - before)
        seconds["search"].append(_search(indexes["large"][0]))
        if lance is not None:
            seconds["lance"].append(_lance(lance, next(lance_deltas), number))
    figures = {
        f"{name}_ms": 1000 * statistics.median(times[1:])
        for name, times in seconds.items()
        if times
    }
    bytes_ = {f"{name}_bytes": statistics.median(found[1:]) for name, found in n_bytes.items()}
    for name in (*indexes, "lance"):
        shutil.rmtree(work / name, ignore_errors=True)
    return {
        **figures,
        **bytes_,
        "large_over_small": figures["large_ms"] / figures["small_ms"],
        "bytes_over_small": bytes_["large_bytes"] / bytes_["small_bytes"],
        "lance_over_ours": figures.get("lance_ms", float("nan")) / figures["large_ms"],
        "vectors_small": sizes.small * TEXTS,
        "vectors_large": sizes.large * TEXTS,
    }


def on_disk(work: Path, sizes: Sizes) -> float:
    """Milliseconds of a delta to a small index where every file is flushed to a disk."""
    index = MadeUpIndex(FolderBlobs(work / "disk"))
    index.fill(range(sizes.small))
    coming = deltas(sizes.small)
    seconds = [_delta(index, next(coming), SEEDS + n) for n in range(sizes.rounds + 1)]
    shutil.rmtree(work / "disk")
    return 1000 * statistics.median(seconds[1:])


def _delta(index: MadeUpIndex, delta: Delta, seed: int) -> float:
    rows = delta.rows(index.ids.new_id())
    n_series = 2 * OF_EACH
    texts = unit_vectors(seed, n_series * TEXTS, TEXT_DIMENSION)
    images = unit_vectors(seed, n_series, IMAGE_DIMENSION)
    gc.collect()
    start = time.perf_counter()
    segment = index.write_vectors(rows, texts, images)
    index.add(segment)
    snapshot = index.reader.refresh()
    places = index.reader.winners_of([row.series_key for row in rows])
    found = {key: index.reader.row(place) for key, place in places.items()}
    elapsed_s = time.perf_counter() - start
    for row in rows:
        same = found[row.series_key]
        assert (same.revision, same.alive, same.record) == (row.revision, row.alive, row.record)
    assert snapshot.segments[-1].n_live == n_series
    return elapsed_s


def _lance(lance: LanceIndex, delta: Delta, seed: int) -> float:
    texts = unit_vectors(seed, 2 * OF_EACH * TEXTS, TEXT_DIMENSION)
    return lance.delta(delta.rows("w"), texts)


def _search(index: MadeUpIndex) -> float:
    """The first vector search after a delta: it reads every vector, and finds the newest."""
    snapshot = index.reader.snapshot
    newest = snapshot.segments[-1]
    space = snapshot.manifest.space(TEXT_SPACE)
    assert space is not None
    query = newest.loaded.vectors(TEXT_SPACE, space.live).reconstruct(0, 1)[0]
    start = time.perf_counter()
    hits = search_text(snapshot, query, select(snapshot), 10)
    elapsed_s = time.perf_counter() - start
    assert hits[0].segment is newest
    return elapsed_s


def bytes_with_merges(work: Path, sizes: Sizes) -> dict[str, Any]:
    """Everything that is written for a thousand deltas against the files of the deltas alone."""
    folder = CountedFolder(work / "merged")
    index = MadeUpIndex(folder)
    index.fill(range(sizes.small))
    folder.n_bytes = 0
    upkeep = Upkeep(folder, index.vector_files, clock=index.clock, ids=index.ids, files=index.files)
    own_bytes = most = 0
    coming = deltas(sizes.small)
    for number in range(sizes.deltas):
        segment = index.write(next(coming).rows(index.ids.new_id()), SEEDS + number)
        own_bytes += sum(file.size_bytes for file in segment.files())
        most = max(most, len(index.add(segment).segments))
        upkeep.after_batch()
    snapshot = index.reader.refresh()
    assert snapshot.n_series == sizes.small  # as many came as went
    shutil.rmtree(work / "merged")
    return {
        "deltas": sizes.deltas,
        "own_bytes": own_bytes,
        "written_bytes": folder.n_bytes,
        "amplification": folder.n_bytes / own_bytes,
        "most_segments": most,
    }


class CountedFolder(FolderBlobs):
    """Counts the bytes that are written, manifests and hints included."""

    n_bytes = 0

    def put_if_absent(self, name: str, data: bytes) -> WriteResult:
        self.n_bytes += len(data)
        return super().put_if_absent(name, data)

    def put_if_match(self, name: str, data: bytes, etag: str) -> WriteResult:
        self.n_bytes += len(data)
        return super().put_if_match(name, data, etag)


def rebuild(work: Path, sizes: Sizes) -> dict[str, Any]:
    """Writing an index anew from rows and vectors that are there, against deltas to it."""
    index = MadeUpIndex(FolderBlobs(work / "rebuilt"))
    rows = [row_of(number, 1, index.ids.new_id()) for number in range(sizes.rebuild)]
    rows.sort(key=lambda row: row.series_key)
    texts = unit_vectors(1, TEXTS * sizes.rebuild, TEXT_DIMENSION)
    images = unit_vectors(2, sizes.rebuild, IMAGE_DIMENSION)
    start = time.perf_counter()
    index.add(index.write_vectors(rows, texts, images))
    index.reader.refresh()
    rebuild_s = time.perf_counter() - start
    del rows, texts, images
    coming = deltas(sizes.rebuild)
    delta_s = [_delta(index, next(coming), SEEDS + number) for number in range(sizes.rounds)]
    many_s = [
        _many(index, 2 * SEEDS + number, sizes.many) for number in range(max(3, sizes.rounds // 4))
    ]
    shutil.rmtree(work / "rebuilt")
    median_s, many = statistics.median(delta_s), statistics.median(many_s)
    return {
        "series": sizes.rebuild,
        "rebuild_s": rebuild_s,
        "delta_ms": 1000 * median_s,
        "rebuild_over_delta": rebuild_s / median_s,
        "many": sizes.many,
        "many_ms": 1000 * many,
        "rebuild_over_many": rebuild_s / many,
    }


def _many(index: MadeUpIndex, seed: int, n_series: int) -> float:
    """A larger delta, of series that all are new."""
    first = seed * 10**6
    rows = [row_of(number, 1, index.ids.new_id()) for number in range(first, first + n_series)]
    rows.sort(key=lambda row: row.series_key)
    texts = unit_vectors(seed, TEXTS * n_series, TEXT_DIMENSION)
    images = unit_vectors(seed, n_series, IMAGE_DIMENSION)
    start = time.perf_counter()
    index.add(index.write_vectors(rows, texts, images))
    index.reader.refresh()
    return time.perf_counter() - start


def _folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page, beside the bars."""
    delta, written, again = found["delta"], found["bytes"], found["rebuild"]
    return [
        Line(
            what=f"delta of 10 new, 10 replaced, 10 deleted series at {delta['vectors_large']:,} "
            f"vectors against {delta['vectors_small']:,}",
            measured=f"{delta['large_ms']:.1f} ms against {delta['small_ms']:.1f} ms: "
            f"{delta['large_over_small']:.2f}x the time, {delta['bytes_over_small']:.3f}x the "
            f"bytes ({delta['large_bytes'] / 1024:.0f} KiB)",
            bar="<= 1.5x the time, the same bytes",
            met=delta["large_over_small"] <= 1.5 and abs(delta["bytes_over_small"] - 1) < 0.01,
        ),
        Line(
            what="the same on a disk, every file flushed",
            measured=f"{delta['disk_ms']:.1f} ms at {delta['vectors_small']:,} vectors",
        ),
        Line(
            what="the first vector search after it, which reads every vector",
            measured=f"{delta['search_ms']:.1f} ms",
        ),
        Line(
            what="LanceDB doing the same: merge_insert, delete, rows read by a fresh handle",
            measured=f"{delta.get('lance_ms', float('nan')):.1f} ms: "
            f"{delta['lance_over_ours']:.1f}x ours",
            bar=">= 3x ours",
            met=delta["lance_over_ours"] >= 3,
        ),
        Line(
            what=f"bytes written over {written['deltas']:,} deltas, merges and manifests included",
            measured=f"{written['written_bytes'] / 2**20:.0f} MiB: {written['amplification']:.1f}x "
            f"the deltas' own; at most {written['most_segments']} segments",
            bar="<= 8x",
            met=written["amplification"] <= 8,
        ),
        Line(
            what=f"writing {again['series']:,} series anew (nothing described or encoded) against "
            "such a delta",
            measured=f"{again['rebuild_s']:.1f} s against {again['delta_ms']:.1f} ms: "
            f"{again['rebuild_over_delta']:.0f}x",
            bar=">= 100x",
            met=again["rebuild_over_delta"] >= 100,
        ),
        Line(
            what=f"the same against a delta of {again['many']:.0f} new series",
            measured=f"{again['many_ms']:.0f} ms: {again['rebuild_over_many']:.0f}x",
            bar=">= 100x",
            met=again["rebuild_over_many"] >= 100,
        ),
    ]
