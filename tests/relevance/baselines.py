"""Other ways to rank the same series for the same question, to be compared with."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from indexer_core.lexical import word_list

Ranker = Callable[[str], list[str]]
"""Question -> series keys, best first."""


class Bm25:
    """Okapi BM25 (Robertson and Walker 1994) over the five texts of each series."""

    def __init__(self, documents: Mapping[str, Sequence[str]], k1: float = 1.2, b: float = 0.75):
        self._k1, self._b = k1, b
        self._counts = {
            key: Counter(word_list(" ".join(texts))) for key, texts in documents.items()
        }
        self._lengths = {key: counts.total() for key, counts in self._counts.items()}
        self._mean_length = sum(self._lengths.values()) / max(len(self._lengths), 1)
        self._n_with = Counter(word for counts in self._counts.values() for word in counts)

    def rank(self, question: str) -> list[str]:
        """All series, those of equal score by key."""
        words = set(word_list(question))
        scores = {key: sum(self._gain(word, key) for word in words) for key in self._counts}
        return sorted(scores, key=lambda key: (-scores[key], key))

    def _gain(self, word: str, key: str) -> float:
        count = self._counts[key][word]
        if not count:
            return 0.0
        n_with = self._n_with[word]
        rarity = math.log(1 + (len(self._counts) - n_with + 0.5) / (n_with + 0.5))
        share = self._lengths[key] / self._mean_length
        return (
            rarity * count * (self._k1 + 1) / (count + self._k1 * (1 - self._b + self._b * share))
        )


def fused(*rankers: Ranker, k: int = 60) -> Ranker:
    """Reciprocal rank fusion (Cormack, Clarke and Buettcher 2009)."""

    def rank(question: str) -> list[str]:
        scores: Counter[str] = Counter()
        for ranker in rankers:
            for place, key in enumerate(ranker(question), start=1):
                scores[key] += 1 / (k + place)  # type: ignore[assignment]
        return sorted(scores, key=lambda key: (-scores[key], key))

    return rank
