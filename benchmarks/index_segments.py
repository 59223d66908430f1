"""Many small segments against one: what the tail of deltas costs a search before it is merged."""

import shutil
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
from indexer_core.filters import parse_filter
from indexer_core.index.reader import Snapshot
from indexer_core.search import search_text
from indexer_core.selection import Conditions, select

SEGMENTS = 64
_FILTERS = ("modality=MR", "plane=axial")


def measure(
    work: Path, sizes: tuple[int, ...] = (20_000, 120_000), rounds: int = 15
) -> dict[str, Mapping[str, Any]]:
    """Search in one segment and in 64, in turns, for each number of series."""
    return {str(n_series): _compared(work, n_series, rounds) for n_series in sizes}


def _compared(work: Path, n_series: int, rounds: int) -> dict[str, Any]:
    texts = unit_vectors(1, n_series * TEXTS, TEXT_DIMENSION)
    one = _spread(work / "one", n_series, 1, texts)
    many = _spread(work / "many", n_series, SEGMENTS, texts)
    found: dict[str, Any] = {"vectors": n_series * TEXTS}
    for name, top, filters in (("top10", 10, ()), ("top200", 200, ()), ("filtered", 10, _FILTERS)):
        seconds: dict[str, list[float]] = {"one": [], "many": []}
        for number in range(rounds + 1):
            noise = unit_vectors(1000 + number, 1, TEXT_DIMENSION)[0]
            query = texts[number * 17 % len(texts)] + 0.5 * noise
            query /= np.linalg.norm(query)
            keys = {}
            for side, snapshot in (("one", one), ("many", many)):
                elapsed_s, keys[side] = _search(snapshot, query, top, filters)
                seconds[side].append(elapsed_s)
            assert keys["one"] == keys["many"]
        one_ms, many_ms = (1000 * statistics.median(seconds[side][1:]) for side in seconds)
        found[name] = {"one_ms": one_ms, "many_ms": many_ms, "ratio": many_ms / one_ms}
    shutil.rmtree(work / "one")
    shutil.rmtree(work / "many")
    return found


def _search(
    snapshot: Snapshot, query: NDArray[np.float32], top: int, filters: tuple[str, ...]
) -> tuple[float, list[str]]:
    conditions = tuple(parse_filter(text) for text in filters)
    start = time.perf_counter()
    hits = search_text(snapshot, query, select(snapshot, Conditions(filters=conditions)), top)
    elapsed_s = time.perf_counter() - start
    return elapsed_s, [hit.key for hit in hits]


def _spread(folder: Path, n_series: int, n_segments: int, texts: NDArray[np.float32]) -> Snapshot:
    """An index whose series lie in so many segments."""
    index = MadeUpIndex(FolderBlobs(folder))
    rows = [row_of(number, 1, index.ids.new_id()) for number in range(n_series)]
    order = np.array(sorted(range(n_series), key=lambda number: rows[number].series_key))
    of_series = texts.reshape(n_series, TEXTS, TEXT_DIMENSION)
    for number in range(n_segments):
        here = order[number::n_segments]
        vectors = of_series[here].reshape(-1, TEXT_DIMENSION)
        images = np.zeros((len(here), IMAGE_DIMENSION), np.float32)
        index.add(index.write_vectors([rows[series] for series in here], vectors, images))
    return index.reader.refresh()


def lines(found: Mapping[str, Mapping[str, Any]]) -> list[Line]:
    """The rows of the page."""
    names = {
        "top10": "10 nearest series",
        "top200": "200 nearest series",
        "filtered": f"10 nearest that pass {' and '.join(_FILTERS)}",
    }
    return [
        Line(
            what=f"{SEGMENTS} segments against one of the same {figures['vectors']:,} vectors: "
            f"{told}",
            measured=f"{figures[name]['many_ms']:.1f} ms against {figures[name]['one_ms']:.1f} ms: "
            f"{figures[name]['ratio']:.2f}x",
            bar="<= 1.5x",
            met=figures[name]["ratio"] <= 1.5,
        )
        for figures in found.values()
        for name, told in names.items()
    ]
