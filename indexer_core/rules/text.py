"""Free text of headers, made comparable: many languages, many habits of abbreviation."""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z]{2})")
# "brain5mm" -> "brain 5mm", "t2flair" -> "t2 flair"; short runs ("ep2d", "t1w", "mp2rage") stay.
_DIGITS = re.compile(r"(?<=[a-z]{3})(?=[0-9])|(?<=[0-9])(?=[a-z]{3})")
_WORD = re.compile(r"[^\W_]+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae"})
_LETTERS = str.maketrans({"ø": "o", "æ": "ae", "ł": "l", "\u0131": "i", "đ": "d", "œ": "oe"})
_FIRST_IDEOGRAPH = "\u2e80"


@dataclass(frozen=True, slots=True)
class Text:
    """A header text in the forms that rules match.

    Parameters
    ----------
    plain
        Lower case, no diacritics, camelCase split, ``_`` and ``^`` as spaces, punctuation kept:
        what patterns see.
    variants
        Word lists: as written, and with camelCase and digits split. Phrases match either.
    """

    plain: str
    variants: tuple[tuple[str, ...], ...]


def fold(text: str) -> str:
    """Lower case without diacritics (Latin script; other scripts keep theirs)."""
    decomposed = unicodedata.normalize("NFKD", text)
    kept = "".join(c for c in decomposed if not "\u0300" <= c <= "\u036f")
    return unicodedata.normalize("NFC", kept).casefold().translate(_LETTERS)


def spellings(phrase: str) -> tuple[str, ...]:
    """The folded phrase, and the one with umlauts written out ("Schädel" -> "schaedel")."""
    written_out = fold(phrase.casefold().translate(_UMLAUTS))
    return tuple(dict.fromkeys((fold(phrase), written_out)))


def words(folded: str) -> tuple[str, ...]:
    """Runs of letters and digits."""
    return tuple(_WORD.findall(folded))


def is_unspaced(phrase: str) -> bool:
    """Whether the phrase is in a script written without spaces (Chinese, Japanese, Korean)."""
    return any(c >= _FIRST_IDEOGRAPH for c in phrase)


@lru_cache(maxsize=4096)
def analyse(text: str) -> Text:
    """Forms of a header text, at most its first 512 characters."""
    text = unicodedata.normalize("NFKC", text[:512]).replace("_", " ").replace("^", " ")
    camel_split = fold(_CAMEL.sub(" ", text))
    split = words(_DIGITS.sub(" ", camel_split))
    written = words(fold(text))
    variants = (written,) if written == split else (written, split)
    return Text(plain=" ".join(camel_split.split()), variants=variants)
