"""One query over several files: a large one by all cores, small ones shared out among them."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from indexer_core.adapters.faiss_vectors.layout import FP16_BYTES
from indexer_core.adapters.faiss_vectors.scan import PARALLEL_BYTES, helpers
from indexer_core.ports import VectorFileReader, VectorSelection

_Told = tuple[NDArray[np.float32], NDArray[np.int64]]
Part = tuple[VectorFileReader, int, VectorSelection]

# So large a file keeps all cores busy by itself.
_LARGE_BYTES = 16 << 20


def search_each(
    query: NDArray[np.float32], parts: Sequence[Part], *, exact: bool, threads: int
) -> list[_Told]:
    """What `search` of each part finds, float32 and int64 (k',) each, in the order of the parts."""
    queries = query[None, :]
    told: dict[int, _Told] = {}

    def search(numbers: Iterator[int]) -> None:
        for number in numbers:
            reader, k, selection = parts[number]
            scores, vectors = reader.search(queries, k, selection, exact=exact)
            told[number] = scores[0], vectors[0]

    sizes = [_size_bytes(part) for part in parts]
    large = [number for number, size in enumerate(sizes) if size >= _LARGE_BYTES]
    small = [number for number, size in enumerate(sizes) if size < _LARGE_BYTES]
    search(iter(large))
    # The largest first, or the last one would keep a single core busy at the end.
    small.sort(key=lambda number: -sizes[number])
    n_bytes = sum(sizes[number] for number in small)
    n_threads = min(threads, len(small), 1 + n_bytes // PARALLEL_BYTES)
    rest = iter(small)  # shared: each thread takes the next one
    futures = [helpers(threads).submit(search, rest) for _ in range(n_threads - 1)]
    search(rest)
    for future in futures:
        if not future.cancel():  # not even begun: there is nothing left for it
            future.result()
    return [told[number] for number in range(len(parts))]


def _size_bytes(part: Part) -> int:
    reader, _, selection = part
    return min(reader.n_vectors, selection.n_selected) * reader.dimension * FP16_BYTES
