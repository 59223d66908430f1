"""Exact words: what decides between series that are about equally near in meaning.

Sentence vectors blur names and acronyms: "MPRAGE" and "localizer" of the same brain lie close
together. So the share of the query's words that a series' texts hold is added to its similarity,
with a small weight. The weight was chosen on the tune half of tests/relevance.
"""

import re
from collections.abc import Iterable

WEIGHT = 0.15
"""What holding every word of the query counts, beside a similarity of 1."""

_WORD = re.compile(r"[^\W_]+")
# Words that say how to read the query rather than what to find.
_FUNCTION_WORDS = frozenset(
    """
    a an and any at by for from in of on or the to with without not but no other than except
    excluding that is all show me find images image scan scans series study
    """.split()  # noqa: SIM905 - a list literal of so many words hides them
)


def word_list(text: str) -> list[str]:
    """The words of a text in their order, in lower case."""
    return _WORD.findall(text.lower())


def words_of(text: str) -> frozenset[str]:
    """The words of a text, in lower case."""
    return frozenset(word_list(text))


def query_words(text: str) -> frozenset[str]:
    """The words of a query that say what to find."""
    return words_of(text) - _FUNCTION_WORDS


def matched_words(query: frozenset[str], texts: Iterable[str]) -> tuple[str, ...]:
    """Those query words that occur in the texts, sorted.

    Looked for one by one: to take all texts apart would be most of the time of a search.
    """
    whole = "\n".join(texts).lower()
    return tuple(sorted(word for word in query if word in whole and _holds(whole, word)))


def _holds(text: str, word: str) -> bool:
    """Whether a lower-case text holds a word, and not only as a part of a longer one."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before, after = text[start - 1 : start] if start else "", text[end : end + 1]
        if not before.isalnum() and not after.isalnum():
            return True
        start = text.find(word, start + 1)
    return False


def combine(similarity: float, query: frozenset[str], matched: tuple[str, ...]) -> float:
    """Similarity and matched words as one score; 1 at the most, as a cosine."""
    if not query:
        return similarity
    return (similarity + WEIGHT * len(matched) / len(query)) / (1 + WEIGHT)


def best_possible(similarity: float, query: frozenset[str]) -> float:
    """The highest score that `combine` can give at this similarity."""
    return combine(similarity, query, tuple(query))
