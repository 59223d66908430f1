"""The ranking of a search: by degrees of fitting, texts, and pictures where words reach them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer_core.fusion import DEPTH, fused
from indexer_core.search import Hit
from indexer_core.vector_index import Chosen, Fitted

TEXT, PIXELS = "text", "pixels"
_APART = 8.0
_BEHIND = 2.0


class Ranked:
    """What fits, best first, then what may, and so on; ranked by one number, as pages need it.

    Scores lie between -1 and 1, those of what comes behind a fused ranking from -3 on, so doubts
    take them apart.

    Parameters
    ----------
    vector, pictured
        The question in the text space, and in the image space: None where it has no place there.
    """

    def __init__(
        self,
        found: Fitted,
        text: str,
        vector: NDArray[np.float32],
        pictured: NDArray[np.float32] | None,
        *,
        exact: bool,
    ) -> None:
        self._found = found
        self._text = text
        self._vector = vector
        self._pictured = pictured
        self._exact = exact
        self._originals: dict[str, Hit] = {}
        self._by: dict[str, Mapping[str, Hit]] = {}
        self.best: Hit | None = None
        """The first of all, with its own score; None where nothing is found."""

    def first(self, n_hits: int) -> list[Hit]:
        """The first hits, with the numbers that they are ranked by as their scores."""
        hits: list[Hit] = []
        for doubt, chosen in self._found.degrees():
            wanted = n_hits - len(hits)
            if not wanted:
                break
            # Not counted first whether there are any: on Milvus that takes longer than to ask.
            hits += [self._ranked(hit, doubt) for hit in self._nearest(chosen, wanted)]
        # Two scores that were not equal may have become so, and then keys decide.
        hits.sort(key=lambda hit: (-hit.score, hit.key))
        self.best = self.original(hits[0]) if hits else None
        return hits

    def original(self, hit: Hit) -> Hit:
        """A hit of `first`, with its own score."""
        return self._originals[hit.key]

    def found_by(self, hit: Hit) -> dict[str, Any]:
        """By what it was found, where pictures are ranked, too, and how near its pictures are."""
        if self._pictured is None:
            return {}
        by = self._by.get(hit.key, {TEXT: hit})
        pixels = by.get(PIXELS)
        told = {
            "foundBy": list(by),
            "pixelSimilarity": None if pixels is None else round(pixels.similarity, 4),
        }
        # What a hit of pictures alone says of nearness is not of texts.
        return told if TEXT in by else {**told, "similarity": None}

    def _nearest(self, chosen: Chosen, n_hits: int) -> Sequence[Hit]:
        if self._pictured is None:
            return self._by_texts(chosen, n_hits)
        by_texts = self._by_texts(chosen, DEPTH)
        by_pixels = chosen.by_images(self._pictured, DEPTH, exact=self._exact)
        found = fused({TEXT: by_texts, PIXELS: by_pixels})
        self._by.update(found.by)
        if n_hits <= len(found.hits):
            return found.hits[:n_hits]
        farther = self._by_texts(chosen, n_hits + len(found.hits))
        behind = [
            replace(hit, score=hit.score - _BEHIND) for hit in farther if hit.key not in found.by
        ]
        return [*found.hits, *behind][:n_hits]

    def _by_texts(self, chosen: Chosen, n_hits: int) -> list[Hit]:
        return chosen.by_words(self._text, self._vector, n_hits, exact=self._exact)

    def _ranked(self, hit: Hit, doubt: float) -> Hit:
        self._originals[hit.key] = hit
        return replace(hit, score=hit.score - _APART * doubt)
