"""LanceDB as a peer for searching: a table of numbers and fp16 vectors on the same disk."""

from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_BATCH = 20_000


class LanceVectors:
    """A table with a number and a vector per row, searched by inner product without an index."""

    def __init__(self, folder: Path, table: Any, dimension: int) -> None:
        self.folder = folder
        self.table = table
        self._dimension = dimension

    def nearest(self, query: NDArray[np.float32], k: int, below: int | None = None) -> list[int]:
        """Numbers of the k best, among those below a number if one is given."""
        asked = self.table.search(query[0].astype(np.float16)).distance_type("dot").limit(k)
        if below is not None:
            asked = asked.where(f"id < {below}", prefilter=True)
        return [
            int(number)
            for number in asked.select(["id", "_distance"]).to_arrow().column("id").to_pylist()
        ]

    def add(self, first: int, codes: NDArray[np.uint8]) -> None:
        """Append vectors under the numbers from `first` on."""
        self.table.add(_rows(first, codes))

    def delete_below(self, number: int) -> None:
        """Delete the vectors whose number is smaller."""
        self.table.delete(f"id < {number}")

    def size_bytes(self) -> int:
        """Bytes of all files in its folder."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())


def flat_table(folder: Path, codes: NDArray[np.uint8]) -> LanceVectors:
    """A table of fp16 vectors, given as their bytes uint8 (n, 2 * dimension)."""
    batches = (
        batch
        for start in range(0, len(codes), _BATCH)
        for batch in _rows(start, codes[start : start + _BATCH]).to_batches()
    )
    dimension = codes.shape[1] // 2
    table = lancedb.connect(folder).create_table("t", batches, schema=_rows(0, codes[:1]).schema)
    return LanceVectors(folder, table, dimension)


def _rows(first: int, codes: NDArray[np.uint8]) -> pa.Table:
    flat = pa.array(np.ascontiguousarray(codes).reshape(-1).view(np.float16))
    vectors = pa.FixedSizeListArray.from_arrays(flat, codes.shape[1] // 2)
    numbers = np.arange(first, first + len(codes), dtype=np.int64)
    return pa.table({"id": numbers, "vector": vectors})
