"""Searching 600,000 vectors: against a pass that only reads them, FAISS and LanceDB; filters,
lists, small segments.

All ways to search the same vectors take turns, and every answer is compared with brute force.
"""

import gc
import mmap
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.pages import Line
from benchmarks.real_vectors import Between, RealVectors, real_vectors
from indexer_core.adapters.faiss_vectors import FlatFp16Reader, FlatFp16Vectors
from indexer_core.adapters.faiss_vectors.layout import parse
from indexer_core.adapters.faiss_vectors.scan import usable_cores

_CHUNK = 50_000
_FILTERS = (0.5, 0.1, 0.01, 0.001)
_TOLERANCE = 1e-3  # scores of fp16 vectors, summed in another order
FLAT = FlatFp16Vectors(lists_from=2**31)

Search = Callable[[NDArray[np.float32], int], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Vectors and their dimension, the segments of a divided index, series of real texts."""

    vectors: int = 600_000
    dimension: int = 512
    segments: int = 64
    divided: tuple[int, ...] = (100_000, 600_000)
    series: int = 6_000
    rounds: int = 15
    lists_from: int = 250_000


def measure(work: Path, sizes: Sizes | None = None) -> dict[str, Mapping[str, Any]]:
    """All figures of this part, by name."""
    sizes = sizes or Sizes()
    found: dict[str, Mapping[str, Any]] = {}
    reader = mapped(work / "vectors", random_file(sizes.vectors, sizes.dimension))
    found["exact"] = exact(reader, work, sizes)
    found["filters"] = filters(reader, sizes)
    del reader
    found["segments"] = {f"{n:,}": segments(n, sizes) for n in sizes.divided if n >= sizes.segments}
    found["lists"] = lists(real_vectors(sizes.series), sizes)
    return found


def random_file(n_vectors: int, dimension: int) -> bytes:
    """Distinct random unit vectors: what they are makes no difference to an exact search."""
    random = np.random.default_rng(0)
    parts = []
    for start in range(0, n_vectors, _CHUNK):
        shape = (min(_CHUNK, n_vectors - start), dimension)
        vectors = random.standard_normal(shape, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        parts.append((FLAT.open(FLAT.build(vectors), verified=True), np.arange(shape[0])))
    return FLAT.concatenate(parts)


def mapped(path: Path, data: bytes) -> FlatFp16Reader:
    """The file as a reader would have it: mapped into memory from a folder."""
    path.write_bytes(data)
    with path.open("rb") as file:
        return FLAT.open(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), verified=True)


def in_turns(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each way; they take turns, and the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    for _ in range(rounds + 1):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def exact(reader: FlatFp16Reader, work: Path, sizes: Sizes) -> dict[str, Any]:
    """One query over everything."""
    every = reader.select(np.ones(reader.n_vectors, np.bool_))
    query = reader.reconstruct(7, 1)
    codes = reader.codes_at(np.arange(reader.n_stored))
    ways: dict[str, Callable[[], Any]] = {
        "read": _read_pass(codes),
        "ours": lambda: reader.search(query, 10, every),
        "ours, k 1000": lambda: reader.search(query, 1000, every),
    }
    peers = {**_faiss_ways(codes, sizes.dimension), **_lance_way(work / "lance", codes)}
    _, best = reader.search(query, 10, every)
    for name, search in peers.items():
        assert set(search(query, 10)) == set(best[0].tolist()), name
        ways[name] = lambda search=search: search(query, 10)
    many = np.ascontiguousarray(reader.reconstruct(0, 64))
    found = in_turns(ways, sizes.rounds)
    batch = in_turns({"batch": lambda: reader.search(many, 10, every)}, 3)["batch"]
    fastest = min(ms for name, ms in found.items() if name.startswith("FAISS"))
    return {
        "ms": found,
        "bytes": codes.nbytes,
        "share_of_read": found["read"] / found["ours"],
        "fastest_faiss_over_ours": fastest / found["ours"],
        "lance_over_ours": found.get("LanceDB, flat", float("nan")) / found["ours"],
        "batch_ms_per_query": batch / len(many),
    }


def _read_pass(codes: NDArray[np.uint8]) -> Callable[[], int]:
    """Adds up all bytes as 64-bit numbers, by all cores: the least that any search must do."""
    words = np.array_split(codes.reshape(-1).view(np.uint64), usable_cores())
    pool = ThreadPoolExecutor(len(words))
    return lambda: sum(pool.map(lambda part: int(part.sum(dtype=np.uint64)), words))


def _faiss_ways(codes: NDArray[np.uint8], dimension: int) -> dict[str, Search]:
    """FAISS's own exact searches of the same codes."""
    import faiss

    def index_of(part: NDArray[np.uint8]) -> Any:
        index = faiss.IndexScalarQuantizer(
            dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        index.add_sa_codes(part)
        return index

    whole = index_of(codes)
    shards = faiss.IndexShards(dimension, True, True)  # threaded, numbered one after another
    for part in np.array_split(codes, usable_cores()):
        index = index_of(part)
        index.this.disown()
        shards.add_shard(index)
    shards.own_indices = True
    selector = faiss.SearchParameters(sel=faiss.IDSelectorAll())
    return {
        "FAISS SQfp16": lambda query, k: whole.search(query, k)[1][0].tolist(),
        "FAISS SQfp16 with IDSelectorAll": lambda query, k: whole.search(query, k, params=selector)[
            1
        ][0].tolist(),
        "FAISS SQfp16 in IndexShards, a shard per core": lambda query, k: shards.search(query, k)[
            1
        ][0].tolist(),
    }


def _lance_way(folder: Path, codes: NDArray[np.uint8]) -> dict[str, Search]:
    try:
        from benchmarks.lance_vectors import flat_table
    except ModuleNotFoundError:
        return {}
    table = flat_table(folder, codes)
    return {"LanceDB, flat": table.nearest}


def filters(reader: FlatFp16Reader, sizes: Sizes) -> dict[str, Any]:
    """A filter of every selectivity, prepared and searched, against the unfiltered search."""
    random = np.random.default_rng(1)
    query = reader.reconstruct(11, 1)
    every = reader.select(np.ones(reader.n_vectors, np.bool_))
    ways: dict[str, Callable[[], Any]] = {"all": lambda: reader.search(query, 10, every)}
    for share in _FILTERS:
        rows = random.random(reader.n_vectors) < share
        _assert_exact(reader, query, rows)
        ways[f"{share:.1%}"] = lambda rows=rows: reader.search(query, 10, reader.select(rows))
    found = in_turns(ways, sizes.rounds)
    return {"ms": found, "worst_over_all": max(found.values()) / found["all"]}


def _assert_exact(
    reader: FlatFp16Reader, query: NDArray[np.float32], rows: NDArray[np.bool_]
) -> None:
    scores, found = reader.search(query, 10, reader.select(rows))
    selected = np.flatnonzero(rows)
    products = np.concatenate(
        [
            reader.codes_at(reader.places(part)).view(np.float16).astype(np.float32) @ query[0]
            for part in np.array_split(selected, 1 + len(selected) // _CHUNK)
        ]
    )
    best = np.argsort(-products, kind="stable")[: len(found[0])]
    assert set(found[0].tolist()) <= set(selected.tolist())
    assert np.allclose(scores[0], products[best], atol=_TOLERANCE)


def segments(n_vectors: int, sizes: Sizes) -> dict[str, Any]:
    """The same vectors in many small files, which are searched as one, and in one file."""
    merged = FLAT.open(random_file(n_vectors, sizes.dimension), verified=True)
    parts = [
        FLAT.open(FLAT.concatenate([(merged, numbers)]), verified=True)
        for numbers in np.array_split(np.arange(n_vectors), sizes.segments)
    ]
    joined = FLAT.join(parts)
    every, all_joined = (one.select(np.ones(n_vectors, np.bool_)) for one in (merged, joined))
    query = merged.reconstruct(3, 1)
    for told, expected in zip(
        joined.search(query, 10, all_joined), merged.search(query, 10, every), strict=True
    ):
        assert np.array_equal(told, expected)
    found = in_turns(
        {
            "merged": lambda: merged.search(query, 10, every),
            "segments": lambda: joined.search(query, 10, all_joined),
        },
        sizes.rounds,
    )
    return {**found, "ratio": found["segments"] / found["merged"], "segments_n": sizes.segments}


def lists(real: RealVectors, sizes: Sizes) -> dict[str, Any]:
    """Approximate search among vectors of texts: recall and time, and after a drift."""
    files = FlatFp16Vectors(lists_from=min(sizes.lists_from, sizes.vectors))
    between = Between(real.texts, sizes.dimension, seed=1)
    questions = between.turned(real.questions)
    start = time.perf_counter()
    stored = files.build(between.made(sizes.vectors))
    build_s = time.perf_counter() - start
    whole = _recall_and_time(files.open(stored, verified=True), questions)
    return {
        "build_s": build_s,
        "share_distinct": real.share_distinct,
        "encoded": len(real.texts),
        "n_lists": len(parse(stored, verified=True).lists or ()),
        "whole": whole,
        "drifted": _drifted(files, real, sizes, questions),
    }


def _drifted(
    files: FlatFp16Vectors, real: RealVectors, sizes: Sizes, questions: NDArray[np.float32]
) -> dict[str, Any]:
    """A first half of one kind of texts, then a second one of another, joined."""
    centred = real.texts - real.texts.mean(axis=0)
    side = centred @ np.linalg.svd(centred[::20], full_matrices=False)[2][0] > 0
    half = sizes.vectors // 2
    kinds = [
        Between(real.texts[which], sizes.dimension, seed=2).made(half) for which in (side, ~side)
    ]
    asked = [kind[:: half // 100][:100].copy() for kind in kinds]
    parts = [(files.open(files.build(kind), verified=True), np.arange(half)) for kind in kinds]
    del kinds
    joined = files.open(files.concatenate(parts), verified=True)
    return {
        "questions": _recall_and_time(joined, questions),
        "first": _recall_and_time(joined, asked[0]),
        "second": _recall_and_time(joined, asked[1]),
    }


def _recall_and_time(reader: FlatFp16Reader, queries: NDArray[np.float32]) -> dict[str, Any]:
    """Of each query: which of the ten nearest an approximate search finds, and both times."""
    every = reader.select(np.ones(reader.n_vectors, np.bool_))
    recalls, ratios, exact_ms, near_ms = [], [], [], []
    for query in queries[:, None, :]:
        start = time.perf_counter()
        _, best = reader.search(query, 10, every)
        middle = time.perf_counter()
        _, found = reader.search(query, 10, every, exact=False)
        end = time.perf_counter()
        recalls.append(len(np.intersect1d(best, found)) / best.shape[1])
        exact_ms.append(1000 * (middle - start))
        near_ms.append(1000 * (end - middle))
        ratios.append((end - middle) / (middle - start))
    return {
        "recall": statistics.fmean(recalls),
        "told": reader.recall,
        "exact_ms": statistics.median(exact_ms),
        "ms": statistics.median(near_ms),
        "ratio": statistics.median(ratios),
    }


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page, beside the bars."""
    whole, filtered = found["exact"], found["filters"]
    ms = whole["ms"]
    peers = "; ".join(f"{name} {value:.1f}" for name, value in ms.items() if "ours" not in name)
    return [
        Line(
            what=f"exact search over {whole['bytes'] / 1e6:.0f} MB, one query, best 10, in ms",
            measured=f"{ms['ours']:.1f} (best 1,000: {ms['ours, k 1000']:.1f}); {peers}",
        ),
        Line(
            what="share of it that a pass would take that only reads",
            measured=f"{whole['share_of_read']:.2f}",
            bar=">= 0.5 (aim 0.7)",
            met=whole["share_of_read"] >= 0.5,
        ),
        Line(
            what="speed against FAISS's fastest exact search",
            measured=f"{whole['fastest_faiss_over_ours']:.2f}x",
            bar=">= 0.95x",
            met=whole["fastest_faiss_over_ours"] >= 0.95,
        ),
        Line(
            what="speed against LanceDB's flat search",
            measured=f"{whole['lance_over_ours']:.1f}x",
            bar=">= 10x",
            met=whole["lance_over_ours"] >= 10,
        ),
        Line(
            what="64 queries at once, per query",
            measured=f"{whole['batch_ms_per_query']:.1f} ms",
        ),
        Line(
            what="filter prepared and searched, against no filter; exact in all",
            measured=", ".join(f"{name}: {value:.1f} ms" for name, value in filtered["ms"].items())
            + f"; at most {filtered['worst_over_all']:.2f}x",
            bar="<= 1.15x",
            met=filtered["worst_over_all"] <= 1.15,
        ),
        *_segment_lines(found["segments"]),
        *_list_lines(found["lists"]),
    ]


def _segment_lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    return [
        Line(
            what=f"{each['segments_n']} files of together {n_vectors} vectors against one file",
            measured=f"{each['segments']:.1f} ms against {each['merged']:.1f} ms: "
            f"{each['ratio']:.2f}x",
            bar="<= 1.5x",
            met=each["ratio"] <= 1.5,
        )
        for n_vectors, each in found.items()
    ]


def _list_lines(found: Mapping[str, Any]) -> list[Line]:
    told = f"{found['n_lists']:,} lists, made in {found['build_s']:.0f} s"
    rows = {
        f"approximate search ({told}): questions of people": found["whole"],
        "after a drift (second half of another kind), joined: questions of people": found[
            "drifted"
        ]["questions"],
        "the same: vectors of the first half": found["drifted"]["first"],
        "the same: vectors of the second half": found["drifted"]["second"],
    }
    return [
        Line(
            what=what,
            measured=f"recall@10 {each['recall']:.4f} (the file says {each['told'] or 1:.4f}) in "
            f"{each['ms']:.1f} ms: {each['ratio']:.3f} of {each['exact_ms']:.1f} ms",
            bar="recall >= 0.99 in <= 0.125",
            met=each["recall"] >= 0.99 and each["ratio"] <= 0.125,
        )
        for what, each in rows.items()
    ]
