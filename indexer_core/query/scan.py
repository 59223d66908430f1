"""A question as a row of items: terms, words that say how to read them, and words not known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date

from indexer_core.filters import Filter
from indexer_core.query.numbers import Numbers
from indexer_core.query.spelling import Speller
from indexer_core.query.tokens import Token
from indexer_core.query.vocabulary import PLAIN, Entry, Vocabulary, opposite

TERM, WORD, FILLER = "term", "word", "filler"
_MARKS = {"/": "or", ",": "comma", ";": "comma", "-": "comma"}
_PERSONAL = frozenset({"sex", "ageYears"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Tokens from `first` to before `last`, and how they are read.

    kind: ``term``, ``word`` (not known), ``filler``, ``comma``, or one of the signals of the
    vocabulary. corrected: the known word that a misspelt one was read as.
    """

    kind: str
    first: int
    last: int
    entry: Entry = PLAIN
    corrected: str | None = None

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that a term is about."""
        fields = (each.field for each in self.entry.filters or self.entry.negated)
        return tuple(dict.fromkeys(fields))


def scan(tokens: Sequence[Token], today: date, vocabulary: Vocabulary) -> list[Item]:
    """The items of a question, in order, without gaps."""
    scanner = _Scanner(tokens, today, vocabulary)
    items: list[Item] = []
    place = 0
    while place < len(tokens):
        item = scanner.item(place, items)
        items.append(item)
        place = item.last
    return _in_context(items)


class _Scanner:
    def __init__(self, tokens: Sequence[Token], today: date, vocabulary: Vocabulary) -> None:
        self._tokens = tuple(tokens)
        self._vocabulary = vocabulary
        self._speller = Speller(vocabulary.corrections, vocabulary.known)
        self._corrected = tuple(self._spelt(token) for token in tokens)
        self._numbers = Numbers(
            tokens=self._corrected,
            today=today,
            vocabulary=vocabulary,
            says_nothing_else=self._is_understood,
        )

    def item(self, place: int, before: Sequence[Item]) -> Item:
        """The item that begins at a token."""
        number = self._numbers.at(place, of_people=_is_of_people(before, self._tokens))
        if number is not None:
            filters, last = number
            entry = Entry(filters=filters, negated=tuple(map(opposite, filters)))
            return Item(kind=TERM, first=place, last=last, entry=entry)
        token = self._tokens[place]
        if token.raw in self._vocabulary.exact:
            return Item(
                kind=TERM, first=place, last=place + 1, entry=self._vocabulary.exact[token.raw]
            )
        term = self._vocabulary.terms.at(self._corrected, place)
        signal = self._vocabulary.signals.at(self._corrected, place)
        if term is not None and (signal is None or term[1] >= signal[1]):
            entry, last = term
            kind = WORD if entry is PLAIN else TERM
            return Item(
                kind=kind, first=place, last=last, entry=entry, corrected=self._said(place, last)
            )
        if signal is not None:
            return Item(kind=signal[0], first=place, last=signal[1])
        kind = _MARKS.get(token.text, WORD if token.is_word or token.is_number else FILLER)
        return Item(kind=kind, first=place, last=place + 1)

    def _spelt(self, token: Token) -> Token:
        correct = self._speller.correct(token.text) if token.is_word else None
        return token if correct is None else replace(token, text=correct)

    def _said(self, first: int, last: int) -> str | None:
        """The words of a term as they are spelt, where they were misspelt."""
        if self._corrected[first:last] == self._tokens[first:last]:
            return None
        return " ".join(token.text for token in self._corrected[first:last])

    def _is_understood(self, place: int) -> bool:
        if not 0 <= place < len(self._tokens):
            return True
        token = self._corrected[place]
        if not (token.is_word or token.is_number):
            return True
        return (
            token.text in self._vocabulary.understood
            or self._vocabulary.signals.at(self._corrected, place) is not None
        )


_HAVING = frozenset({"with", "w/", "have", "has", "had", "having"})


def _is_of_people(before: Sequence[Item], tokens: Sequence[Token]) -> bool:
    """Whether the last thing said is who was examined."""
    for item in reversed(before):
        if tokens[item.first].text in _HAVING and item.last == item.first + 1:
            return False
        if item.kind == "people":
            return True
        if item.kind == TERM:
            return bool(_PERSONAL & set(item.key))
        if item.kind not in (FILLER, "and", "or", "break"):
            return False
    return False


def _in_context(items: Sequence[Item]) -> list[Item]:
    """Terms that mean something only beside some modality, or not beside some, are words there."""
    asked: set[str] = set()
    # What depends on nothing first, then what others rule out, then what needs another.
    for conditions in ("", "unless"):
        asked |= {
            modality
            for item in items
            if not item.entry.needs and bool(item.entry.unless) == bool(conditions)
            if not item.entry.unless & asked
            for modality in item.entry.modalities
        }
    return [item if _fits(item.entry, asked) else replace(item, kind=WORD) for item in items]


def _fits(entry: Entry, asked: set[str]) -> bool:
    return (not entry.needs or bool(entry.needs & asked)) and not (
        entry.unless & asked - entry.modalities
    )


def positive_filters(item: Item) -> tuple[Filter, ...]:
    """Filters of a term that is not negated."""
    return () if item.entry.is_soft else item.entry.filters
