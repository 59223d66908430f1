"""Misspelt words, read as the word of the vocabulary that is a letter or two away."""

from collections.abc import Collection, Mapping
from functools import lru_cache

SHORTEST = 5
"""Letters of a word that is corrected: shorter ones are too many things."""
_TWO_FROM = 8
_LONGEST = 24
_MAX_CORRECTIONS = 40
"""Words of one question that are looked up, so that a text of garbage costs little."""


class Speller:
    """Corrects words to those of a vocabulary.

    Of several that are equally near, none is taken unless it is the only one: a guess between two
    would invent what was asked.
    """

    def __init__(self, words: frozenset[str], known: Collection[str]) -> None:
        self._known = known
        self._words = _by_shape(words)
        self._left = _MAX_CORRECTIONS
        self.n_steps = 0
        """Cells of distance tables that were filled."""

    def correct(self, word: str) -> str | None:
        """The word that was meant; None where this one is known, short, or like none."""
        if not SHORTEST <= len(word) <= _LONGEST or not word.isalpha() or word in self._known:
            return None
        if self._left == 0:
            return None
        self._left -= 1
        limit = 2 if len(word) >= _TWO_FROM else 1
        found: dict[int, list[str]] = {}
        # The first letter is seldom wrong, but may have changed places with the second.
        for letter in dict.fromkeys(word[:2]):
            for length in range(len(word) - limit, len(word) + limit + 1):
                for candidate in self._words.get((letter, length), ()):
                    if letter != word[0] and candidate[:2] != word[1::-1]:
                        continue
                    distance = self._distance(word, candidate)
                    if distance <= limit:
                        found.setdefault(distance, []).append(candidate)
        if not found:
            return None
        nearest = found[min(found)]
        return nearest[0] if len(nearest) == 1 else None

    def _distance(self, one: str, other: str) -> int:
        """Letters to add, drop, change or swap with their neighbour (optimal string alignment)."""
        before: list[int] = []
        row = list(range(len(other) + 1))
        for i, letter in enumerate(one, start=1):
            earlier, before, row = before, row, [i]
            for j, facing in enumerate(other, start=1):
                cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != facing))
                if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == facing:
                    cost = min(cost, earlier[j - 2] + 1)
                row.append(cost)
            self.n_steps += len(other)
        return row[-1]


@lru_cache(maxsize=4)
def _by_shape(words: frozenset[str]) -> Mapping[tuple[str, int], list[str]]:
    """Words by their first letter and length."""
    found: dict[tuple[str, int], list[str]] = {}
    for word in sorted(words):
        found.setdefault((word[0], len(word)), []).append(word)
    return found
