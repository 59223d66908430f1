"""Image vectors of rows that exist, made from their blobs again: for a new image encoder.

Texts lie in the index; pixels do not. So the slices of a series are fetched and prepared as they
were when it was indexed, from exactly the blobs of its instance list, on threads while the encoder
works on those before.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future

import numpy as np
from numpy.typing import NDArray

from gpu_worker.loading import Overtaken, slices_again
from gpu_worker.worker import Worker
from indexer_core.errors import CorruptIndexError, NotFoundError
from indexer_core.index.rows import IndexRow
from indexer_core.messages import SeriesReady
from indexer_core.pixels.recipe import PixelRecipe
from indexer_core.ports import ImageEncoder

TOGETHER = 16
"""Series whose slices are handed to the encoder at once."""

Slices = NDArray[np.float32]
SlicesOf = Callable[[IndexRow], Slices | None]
"""The prepared slices (n, rows, columns) of a row's series; None where they cannot be had."""


class SeenAgain:
    """An `indexer_core.index.filling.VectorsOf` of the image space.

    A row whose pixels cannot be had any more gets zeros, near nothing: its blobs are gone or other
    ones by now, so it is about to be indexed again or taken out.
    """

    def __init__(
        self,
        encoder: ImageEncoder,
        slices_of: SlicesOf,
        threads: Executor,
        *,
        together: int = TOGETHER,
    ) -> None:
        """`together`: series whose slices are handed to the encoder at once."""
        self.n_unseen = 0
        self._encoder = encoder
        self._slices_of = slices_of
        self._threads = threads
        self._together = together

    def __call__(self, rows: Sequence[IndexRow]) -> NDArray[np.float32]:
        """float32 (n, dimension): one vector for each row that has an image, in order."""
        own = [row for row in rows if row.image_count]
        vectors = np.zeros((len(own), self._encoder.dimension), dtype=np.float32)
        start = 0
        for stacks in self._prepared(own):
            known = [number for number, stack in enumerate(stacks) if stack is not None]
            if known:
                seen = self._encoder.encode([stack for stack in stacks if stack is not None])
                vectors[[start + number for number in known]] = seen
            self.n_unseen += len(stacks) - len(known)
            start += len(stacks)
        return vectors

    def _prepared(self, rows: Sequence[IndexRow]) -> Iterator[list[Slices | None]]:
        """Slices of the rows, some rows at a time, the next ones always under way."""
        parts = [rows[at : at + self._together] for at in range(0, len(rows), self._together)]
        waiting = self._begun(parts[0]) if parts else []
        for following in [*parts[1:], []]:
            ahead = self._begun(following)
            yield [future.result() for future in waiting]
            waiting = ahead

    def _begun(self, rows: Sequence[IndexRow]) -> list[Future[Slices | None]]:
        return [self._threads.submit(self._slices_of, row) for row in rows]


def slices_by(worker: Worker, recipe: PixelRecipe) -> SlicesOf:
    """Has a worker look at the content that a row was made of, as it does when it indexes it."""

    def slices_of(row: IndexRow) -> Slices | None:
        ready = SeriesReady(series=row.series_key, revision=row.revision, digest=row.digest)
        try:
            return slices_again(ready, recipe, worker)
        except (Overtaken, NotFoundError, CorruptIndexError):
            # The blob is another one by now, its folder is none of ours any more, or nobody knows
            # what the row was made of.
            return None

    return slices_of
