"""LanceDB as a peer: the same rows and text vectors in a table on the same disk."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from benchmarks.made_up_index import TEXT_DIMENSION, TEXTS, row_of, unit_vectors
from indexer_core.index.rows import IndexRow

_BATCH = 5_000
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("key", pa.string()),
        ("revision", pa.int64()),
        ("modality", pa.string()),
        ("record", pa.string()),
        ("vector", pa.list_(pa.float16(), TEXT_DIMENSION)),
    ]
)


class LanceIndex:
    """A table with one row per vector, the record beside the first of a series, and an index of
    the series keys.
    """

    def __init__(self, folder: Path, table: Any) -> None:
        self._folder = folder
        self._table = table

    @classmethod
    def made(cls, folder: Path, n_series: int) -> "LanceIndex | None":
        """A table of series of revision 1; None where LanceDB is not installed."""
        try:
            import lancedb
            from lancedb.index import BTree
        except ModuleNotFoundError:
            return None

        def batches() -> Any:
            for start in range(0, n_series, _BATCH):
                numbers = range(start, min(start + _BATCH, n_series))
                vectors = unit_vectors(start, len(numbers) * TEXTS, TEXT_DIMENSION)
                rows = [row_of(number, 1, "w") for number in numbers]
                yield from _rows(rows, vectors).to_batches()

        table = lancedb.connect(folder).create_table("t", batches(), schema=_SCHEMA)
        for column in ("id", "key"):
            table.create_index(column, config=BTree())
        return cls(folder, table)

    def delta(self, rows: Sequence[IndexRow], vectors: NDArray[np.float32]) -> float:
        """Seconds from the first write until a fresh handle has given back all rows."""
        import lancedb

        alive = [row for row in rows if row.alive]
        gone = [row for row in rows if not row.alive]
        coming = _rows(alive, vectors)
        start = time.perf_counter()
        merge = self._table.merge_insert("id").when_matched_update_all()
        merge.when_not_matched_insert_all().execute(coming)
        self._table.delete(_among(gone))
        fresh = lancedb.connect(self._folder).open_table("t")
        limit = TEXTS * len(rows)
        columns = ["key", "revision", "record"]
        found = fresh.search().where(_among(rows)).select(columns).limit(limit).to_arrow()
        records = [json.loads(text) for text in found.column("record").to_pylist() if text]
        elapsed_s = time.perf_counter() - start
        assert found.num_rows == TEXTS * len(alive)
        assert len(records) == len(alive)
        assert set(found.column("revision").to_pylist()) == {alive[0].revision}
        self._table = fresh
        return elapsed_s


def _among(rows: Sequence[IndexRow]) -> str:
    keys = ", ".join(f"'{row.series_key}'" for row in rows)
    return f"key IN ({keys})"


def _rows(rows: Sequence[IndexRow], vectors: NDArray[np.float32]) -> pa.Table:
    owners = [(row, text) for row in rows for text in range(TEXTS)]
    flat = pa.array(vectors.astype(np.float16).reshape(-1))
    columns = {
        "id": [f"{row.series_key}/{text}" for row, text in owners],
        "key": [row.series_key for row, _ in owners],
        "revision": [row.revision for row, _ in owners],
        "modality": [(row.record or {})["modality"] for row, _ in owners],
        "record": [None if text else json.dumps(row.record) for row, text in owners],
        "vector": pa.FixedSizeListArray.from_arrays(flat, TEXT_DIMENSION),
    }
    return pa.table(columns, schema=_SCHEMA)
