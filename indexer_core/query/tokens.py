"""Words, numbers and signs of a question, with their places."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2212"
# No part of it can match at a place in two ways, so that its cost is linear in the text.
_TOKEN = re.compile(
    r"w/o(?![^\W_])|w/(?=\s)|y/o(?![^\W_])"
    r"|\d+(?:\.\d+)?"
    r"|[^\W\d_][^\W_]*(?:['\u2019](?:t|re|ve)(?![^\W_]))?"
    r"|['\u2019]s(?![^\W_])|>=|<=|=>|=<|[^\w\s]",
    re.IGNORECASE,
)
_SIGNS = {"≥": ">=", "≤": "<=", "=>": ">=", "=<": "<=", "\uff1e": ">", "\uff1c": "<"}
_IGNORED = frozenset("'\"\u2019\u2018\u201c\u201d()[]{}!?.:;\\`\u00b4|#@$%^~") | {"'s", "\u2019s"}
_LONGEST = 40
"""Characters of a word that are looked at; no word of the vocabulary is as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """One word, number or sign.

    text: in lower case, without accents. glued: nothing, or a hyphen that was dropped, lies between
    it and the one before.
    """

    text: str
    raw: str
    start: int
    end: int
    glued: bool = False

    @property
    def is_number(self) -> bool:
        """Whether it is a plain number."""
        return self.raw[0].isdecimal()

    @property
    def is_word(self) -> bool:
        """Whether it is a word rather than a number or a sign."""
        return self.raw[0].isalnum() and not self.is_number


def tokens_of(text: str) -> tuple[Token, ...]:
    """The tokens of a text in their order.

    A hyphen between a word and anything else is dropped ("x-ray", "60-year-old"); between numbers
    it stays, for it makes ranges and dates. Quotes, brackets and full stops are dropped.
    """
    found = [match for match in _TOKEN.finditer(text) if match[0] not in _IGNORED]
    kept: list[Token] = []
    for place, match in enumerate(found):
        raw = match[0]
        previous = found[place - 1] if place else None
        following = found[place + 1] if place + 1 < len(found) else None
        if raw in _DASHES and _joins(previous, match, following):
            continue
        is_glued = previous is not None and previous.end() == match.start()
        kept.append(
            Token(
                text="-" if raw in _DASHES else _SIGNS.get(raw, folded(raw)),
                raw=raw,
                start=match.start(),
                end=match.end(),
                glued=is_glued,
            )
        )
    return tuple(kept)


def phrase_of(words: str) -> tuple[str, ...]:
    """The key of a phrase of the vocabulary."""
    return tuple(token.text for token in tokens_of(words))


def folded(word: str) -> str:
    """A word in lower case and without accents; never empty."""
    plain = unicodedata.normalize("NFKD", word[:_LONGEST].lower().replace("\u2019", "'"))
    return "".join(each for each in plain if not unicodedata.combining(each)) or word[:1]


def text_between(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """What a text says outside of these spans, which lie in order."""
    parts, place = [], 0
    for start, end in spans:
        if start >= place:
            parts.append(text[place:start])
        place = max(place, end)
    parts.append(text[place:])
    return " ".join(" ".join(parts).split())


def _joins(
    previous: "re.Match[str] | None", dash: "re.Match[str]", following: "re.Match[str] | None"
) -> bool:
    """Whether a hyphen joins two parts of one word."""
    if previous is None or following is None:
        return False
    if previous.end() != dash.start() or dash.end() != following.start():
        return False
    sides = previous[0][-1], following[0][0]
    return all(each.isalnum() for each in sides) and not (
        previous[0][0].isdigit() and following[0][0].isdigit()
    )
