"""Searching and text encoding inside one process that has everything loaded."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import yaml

from function_app.search import SearchRequest, records, search
from indexer_core.snapshot_index import SnapshotIndex
from local_host.settings import Settings
from local_host.wiring import LocalSystem

QUERIES = Path(__file__).parents[1] / "tests" / "relevance" / "queries.yaml"
_NAMES = ("protocol", "anatomy", "acquisition", "cohort", "expanded")


def queries() -> list[str]:
    """The texts of the relevance set: what people ask, not what is fast."""
    return [query["text"] for query in yaml.safe_load(QUERIES.read_text(encoding="utf-8"))]


def measure(data: Path, rounds: int) -> dict[str, float | int]:
    """Warm search latency in ms, and the encoding rate over the texts of the index."""
    system = LocalSystem(Settings(data=data, patient_key_file=data / "patient.key"))
    try:
        return {**_latency(system, rounds), **_encoding(system, rounds)}
    finally:
        system.close()


def _latency(system: LocalSystem, rounds: int) -> dict[str, float | int]:
    snapshot = system.reader().snapshot
    index, texts = SnapshotIndex(snapshot), queries()
    answer_ms = []
    for number in range(rounds + 1):
        for text in texts:
            start = time.perf_counter()
            search(SearchRequest(text=text), index, system.encoder, _NAMES)
            if number:  # the first round warms up
                answer_ms.append(1000 * (time.perf_counter() - start))
    p50, p95 = np.percentile(answer_ms, (50, 95))
    return {
        "search_p50_ms": float(p50),
        "search_p95_ms": float(p95),
        "searches": len(answer_ms),
        "series": snapshot.n_series,
    }


def _encoding(system: LocalSystem, rounds: int) -> dict[str, float | int]:
    rows = records(SnapshotIndex(system.reader().snapshot), ())
    texts = [text for _, record in rows for text in record["texts"]]
    distinct = sorted(set(texts))
    system.encoder.encode(distinct[:32])
    rates = [len(distinct) / _seconds(system, distinct) for _ in range(rounds)]
    return {"texts": len(texts), "distinct": len(distinct), "texts_per_s": float(np.median(rates))}


def _seconds(system: LocalSystem, texts: Sequence[str]) -> float:
    start = time.perf_counter()
    system.encoder.encode(texts)
    return time.perf_counter() - start
