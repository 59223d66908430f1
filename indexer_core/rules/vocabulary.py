"""Finding known phrases in header texts: longest match first, each word used once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from indexer_core.rules.text import Text, is_unspaced, spellings, words

_SHORTEST_GLUED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What a phrase stands for; `modalities` empty means any modality."""

    key: str
    weight: float = 1.0
    modalities: frozenset[str] = frozenset()

    def applies_to(self, modality: str) -> bool:
        """Whether the phrase has this meaning in series of `modality`."""
        return not self.modalities or modality in self.modalities


@dataclass(frozen=True, slots=True)
class Match:
    """A phrase found at word `position`."""

    position: int
    key: str
    weight: float


@dataclass(slots=True, eq=False)
class Vocabulary:
    """Phrases and their meanings.

    A phrase is one or several words; a trailing ``*`` lets its last word go on ("schädel*").
    Phrases of scripts without spaces match anywhere.

    Parameters
    ----------
    glued_prefixes
        Modality words that people write without a space before anatomy ("CTHEAD", "MRKnie").
    overlapping
        Every phrase is found, also inside a longer one.
    """

    glued_prefixes: tuple[str, ...] = ()
    overlapping: bool = False
    _exact: dict[tuple[str, ...], list[Entry]] = field(default_factory=dict)
    _open: dict[tuple[tuple[str, ...], str], list[tuple[str, Entry]]] = field(default_factory=dict)
    _anywhere: dict[str, list[Entry]] = field(default_factory=dict)
    # Longest phrase that begins with this word: most words begin none.
    _reach: dict[str, int] = field(default_factory=dict)

    def add(self, phrase: str, entry: Entry) -> None:
        """Add a phrase in all its spellings."""
        if is_unspaced(phrase):
            self._anywhere.setdefault(spellings(phrase)[0], []).append(entry)
            return
        for spelling in spellings(phrase):
            tokens = words(spelling)
            if not tokens:
                continue
            if len(tokens) > 1 or not spelling.endswith("*"):
                self._reach[tokens[0]] = max(self._reach.get(tokens[0], 1), len(tokens))
            if spelling.endswith("*"):
                key = (tokens[:-1], tokens[-1][:2])
                self._open.setdefault(key, []).append((tokens[-1], entry))
            else:
                self._exact.setdefault(tokens, []).append(entry)

    def find(self, text: Text, modality: str) -> tuple[Match, ...]:
        """Distinct meanings in order of first appearance."""
        found: dict[str, Match] = {}
        for variant in text.variants:
            for match in self._scan(variant, modality):
                found.setdefault(match.key, match)
        for phrase, entries in self._anywhere.items():
            if phrase in text.plain:
                for entry in _meanings(entries, modality):
                    match = Match(text.plain.index(phrase), entry.key, entry.weight)
                    found.setdefault(entry.key, match)
        return tuple(sorted(found.values(), key=lambda match: (match.position, match.key)))

    def _scan(self, tokens: Sequence[str], modality: str) -> Iterator[Match]:
        if self.overlapping:
            yield from self._scan_all(tokens, modality)
            return
        position = 0
        while position < len(tokens):
            length, entries = self._longest_at(tokens, position, modality)
            if not entries:
                length, entries = 1, self._unglue(tokens[position], modality)
            for entry in entries:
                yield Match(position, entry.key, entry.weight)
            position += length

    def _scan_all(self, tokens: Sequence[str], modality: str) -> Iterator[Match]:
        for position in range(len(tokens)):
            for length in range(
                1, min(self._reach.get(tokens[position], 1), len(tokens) - position) + 1
            ):
                phrase = tuple(tokens[position : position + length])
                exact = _meanings(self._exact.get(phrase, ()), modality)
                for entry in (*exact, *self._opened(phrase, modality, every=True)):
                    yield Match(position, entry.key, entry.weight)

    def _longest_at(
        self, tokens: Sequence[str], start: int, modality: str
    ) -> tuple[int, list[Entry]]:
        for length in range(min(self._reach.get(tokens[start], 1), len(tokens) - start), 0, -1):
            phrase = tuple(tokens[start : start + length])
            entries = _meanings(self._exact.get(phrase, ()), modality)
            if not entries:
                entries = self._opened(phrase, modality)
            if entries:
                return length, entries
        return 1, []

    def _opened(
        self, phrase: tuple[str, ...], modality: str, *, every: bool = False
    ) -> list[Entry]:
        last = phrase[-1]
        stems = self._open.get((phrase[:-1], last[:2]))
        if not stems:
            return []
        candidates = [
            (stem, entry)
            for stem, entry in stems
            if last.startswith(stem) and entry.applies_to(modality)
        ]
        if not candidates:
            return []
        if every:
            return [entry for _, entry in candidates]
        longest = max(len(stem) for stem, _ in candidates)
        return [entry for stem, entry in candidates if len(stem) == longest]

    def _unglue(self, token: str, modality: str) -> list[Entry]:
        if not token.startswith(self.glued_prefixes):
            return []
        for prefix in self.glued_prefixes:
            rest = token[len(prefix) :]
            if token.startswith(prefix) and len(rest) >= _SHORTEST_GLUED:
                _, entries = self._longest_at((rest,), 0, modality)
                if entries:
                    return entries
        return []


@lru_cache(maxsize=16384)
def find(vocabulary: Vocabulary, text: Text, modality: str) -> tuple[Match, ...]:
    """`Vocabulary.find`, remembered: archives repeat their descriptions."""
    return vocabulary.find(text, modality)


def _meanings(entries: Sequence[Entry], modality: str) -> list[Entry]:
    """Meanings in this modality; those stated for the modality win over those for any."""
    if not entries:
        return []
    applicable = [entry for entry in entries if entry.applies_to(modality)]
    stated = [entry for entry in applicable if entry.modalities]
    return stated or applicable
