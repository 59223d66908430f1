"""The words that questions are understood by: files of ``indexer_core/data/query``.

Files of terms hold ``terms``, a list of entries::

    is       the filter, or filters that all hold, that the words stand for
    words    phrases, in any case, with or without hyphens and accents; a plural is found, too
    exact    words that count in capitals only ("US", "OT")
    not      of a negated term: any one of these; else each filter turned round
    also     further filters, dropped when the term is negated
    needs    only where the question asks for one of these modalities
    unless   not where the question asks for one of these modalities
    soft     no filter unless negated

anatomy.yaml lists words for the parts of rules/body_parts.yaml, language.yaml how
questions are put.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Generic, TypeVar

import yaml

from indexer_core.filters import Filter, parse_filter
from indexer_core.query.tokens import Token, phrase_of

_T = TypeVar("_T")
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FILES = ("modalities", "pictures", "people", "devices")
_OPPOSITE = {"=": "!=", "!=": "=", ">": "<=", ">=": "<", "<": ">=", "<=": ">", "~": "!~", "!~": "~"}
_SHORTEST_PLURAL = 4
_SHORTEST_CORRECTED = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """What a phrase stands for."""

    filters: tuple[Filter, ...] = ()
    negated: tuple[Filter, ...] = ()
    needs: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()
    is_soft: bool = False
    is_narrower: bool = False

    @property
    def modalities(self) -> frozenset[str]:
        """Modalities that the term asks for."""
        return frozenset(
            value for each in self.filters if each.field == "modality" for value in each.values
        )


PLAIN = Entry()
"""A phrase that looks like a term and is none."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Comparator:
    """Words that compare; `of` is what they are said of, "" for anything."""

    operator: str
    of: str = ""


class Phrases(Generic[_T]):
    """Phrases by their words; of several, the longest that begins at a place is found."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], _T] = {}
        self._reach: dict[str, int] = {}

    def add(self, phrase: tuple[str, ...], value: _T) -> None:
        """Add a phrase; the first meaning stays."""
        self._known.setdefault(phrase, value)
        self._reach[phrase[0]] = max(self._reach.get(phrase[0], 0), len(phrase))

    def at(self, tokens: Sequence[Token], start: int) -> tuple[_T, int] | None:
        """The meaning of the longest phrase that begins at a token, and the token after it."""
        longest = self._reach.get(tokens[start].text, 0)
        for end in range(min(start + longest, len(tokens)), start, -1):
            found = self._known.get(tuple(token.text for token in tokens[start:end]))
            if found is not None:
                return found, end
        return None

    def __iter__(self) -> Iterator[tuple[tuple[str, ...], _T]]:
        return iter(self._known.items())


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """All words that questions are understood by.

    Parameters
    ----------
    terms, exact
        Phrases of terms; `exact`, words as written, in capitals.
    signals
        Words that say how to read others: ``without``, ``excluding``, ``prefix``, ``or``, ``and``,
        ``break``, ``filler``, ``people``.
    comparing
        Single words of comparators.
    comparators, labels, units
        What numbers are read by; values of the latter two say what is measured.
    numbers, months, decades
        Words for numbers.
    slice_nouns
        Words beside a number of millimetres that tell that it is a slice's thickness.
    corrections
        Words of terms that a misspelt word may stand for.
    known, understood
        Words that are no misspelling of another; those of them that the other fields hold.
    replaces
        Sequences that stand instead of others in a record: a series of diffusion is not called EPI.
    told_when_present
        Sequences that a series without any is known not to be.
    """

    terms: Phrases[Entry]
    exact: Mapping[str, Entry]
    signals: Phrases[str]
    comparing: frozenset[str]
    comparators: Phrases[Comparator]
    labels: Phrases[str]
    units: Phrases[str]
    numbers: Mapping[str, int]
    months: Mapping[str, int]
    decades: Mapping[str, int]
    slice_nouns: frozenset[str]
    corrections: frozenset[str]
    known: frozenset[str]
    understood: frozenset[str]
    replaces: Mapping[str, frozenset[str]]
    told_when_present: frozenset[str]


@lru_cache(maxsize=1)
def load_vocabulary() -> Vocabulary:
    """The shipped vocabulary, read once."""
    language = _read("query", "language")
    terms: Phrases[Entry] = Phrases()
    exact: dict[str, Entry] = {}
    for words in language["plain"]:
        terms.add(phrase_of(words), PLAIN)
    for name in _FILES:
        for row in _read("query", name)["terms"]:
            entry = _entry(row)
            _add_words(terms, row.get("words", ()), entry)
            exact.update(dict.fromkeys(row.get("exact", ()), entry))
    parts = _read("rules", "body_parts")
    for words in parts["ignore"]:
        terms.add(phrase_of(words), PLAIN)
    for entry, part_words in _anatomy(_read("query", "anatomy"), parts["parts"]):
        _add_words(terms, part_words, entry)
    signals = _signals(language)
    understood = _understood_words(language, terms, signals)
    comparators = _comparators(language["comparators"])
    return Vocabulary(
        terms=terms,
        exact=exact,
        signals=signals,
        comparing=frozenset(word for phrase, _ in comparators for word in phrase),
        comparators=comparators,
        labels=_kinds(language["labels"]),
        units=_kinds(language["units"]),
        numbers=language["numbers"],
        months=language["months"],
        decades=language["decades"],
        slice_nouns=frozenset(language["slice_nouns"]),
        corrections=_corrections(terms),
        known=understood | frozenset(language["known"]),
        understood=understood,
        replaces={
            name: frozenset(label.get("excludes", ()))
            for name, label in _read("rules", "sequences")["labels"].items()
        },
        told_when_present=frozenset(language["told_when_present"]),
    )


def opposite(condition: Filter) -> Filter:
    """What a series meets that is known not to meet a filter."""
    return Filter(
        field=condition.field,
        operator=_OPPOSITE[condition.operator],
        values=condition.values,
    )


def _read(folder: str, name: str) -> dict[str, Any]:
    source = resources.files("indexer_core") / "data" / folder / f"{name}.yaml"
    loaded: dict[str, Any] = yaml.load(source.read_bytes(), Loader=_LOADER)  # noqa: S506 - a safe loader in C
    return loaded


def _entry(row: Mapping[str, Any]) -> Entry:
    filters = _filters(row["is"])
    negated = _filters(row.get("not", ())) or tuple(opposite(each) for each in filters)
    return Entry(
        filters=(*filters, *_filters(row.get("also", ()))),
        negated=negated,
        needs=frozenset(row.get("needs", ())),
        unless=frozenset(row.get("unless", ())),
        is_soft=row.get("soft", False),
    )


def _filters(written: str | Sequence[str]) -> tuple[Filter, ...]:
    texts = [written] if isinstance(written, str) else written
    return tuple(parse_filter(text) for text in texts)


def _anatomy(
    table: Mapping[str, Any], parts: Mapping[str, Any]
) -> Iterator[tuple[Entry, Sequence[str]]]:
    for name, words in table["parts"].items():
        regions = tuple(table["regions"].get(name, [parts[name]["region"]]))
        region = Filter(field="bodyRegion", operator="=", values=regions)
        is_whole = name in table["whole"] or name in table["regions"]
        part = Filter(field="bodyPart", operator="!=", values=(parts[name]["term"],))
        entry = Entry(
            filters=(region,),
            negated=(opposite(region) if is_whole else part,),
            is_narrower=not is_whole,
        )
        yield entry, words


def _add_words(terms: Phrases[Entry], words: Sequence[str], entry: Entry) -> None:
    for phrase in map(phrase_of, words):
        terms.add(phrase, entry)
        last = phrase[-1]
        if len(last) >= _SHORTEST_PLURAL and last.isalpha() and not last.endswith("s"):
            terms.add((*phrase[:-1], f"{last}s"), entry)


def _signals(language: Mapping[str, Any]) -> Phrases[str]:
    signals: Phrases[str] = Phrases()
    for name in ("without", "excluding", "prefix", "or", "and"):
        for words in language[name]:
            signals.add(phrase_of(words), name)
    for words in _read("query", "people")["people"]:
        signals.add(phrase_of(words), "people")
    for name, section in (("break", "breaks"), ("filler", "fillers")):
        for words in language[section]:
            signals.add(phrase_of(words), name)
    return signals


def _comparators(rows: Sequence[Mapping[str, Any]]) -> Phrases[Comparator]:
    comparators: Phrases[Comparator] = Phrases()
    for row in rows:
        for words in row["words"]:
            value = Comparator(operator=row["is"], of=row.get("of", ""))
            comparators.add(phrase_of(words), value)
    return comparators


def _kinds(table: Mapping[str, Sequence[str]]) -> Phrases[str]:
    phrases: Phrases[str] = Phrases()
    for kind, rows in table.items():
        for words in rows:
            phrases.add(phrase_of(words), kind)
    return phrases


def _corrections(terms: Phrases[Entry]) -> frozenset[str]:
    """Words long enough that a letter more or less leaves no doubt."""
    return frozenset(
        word
        for phrase, entry in terms
        if entry is not PLAIN
        for word in phrase
        if len(word) >= _SHORTEST_CORRECTED and word.isalpha()
    )


def _understood_words(
    language: Mapping[str, Any], terms: Phrases[Entry], signals: Phrases[str]
) -> frozenset[str]:
    tables = (*language["labels"].values(), *language["units"].values())
    phrases = (
        *(phrase for phrase, _ in terms),
        *(phrase for phrase, _ in signals),
        *(phrase_of(words) for row in language["comparators"] for words in row["words"]),
        *(phrase_of(words) for rows in tables for words in rows),
        *(phrase_of(words) for words in language["slice_nouns"]),
        *((word,) for name in ("numbers", "months", "decades") for word in language[name]),
    )
    return frozenset(word for phrase in phrases for word in phrase)
