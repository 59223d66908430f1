"""Search as the API answers it; the command line prints the same values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from indexer_core.errors import InvalidInputError
from indexer_core.filters import Filter
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.ports import TextEncoder
from indexer_core.search import Hit, listing, precision_of, record_of, search_words
from indexer_core.selection import Conditions, Selection, select

MAX_TOP = 1000
MAX_TEXT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is asked: words, explicit filters, how many series at most.

    exact: whether an approximate answer is refused (True) or welcome (False); None leaves it to
    the size of the index. scopes: only series of these; None: of any.
    """

    text: str
    filters: tuple[Filter, ...] = ()
    top: int = 10
    exact: bool | None = None
    scopes: frozenset[str] | None = None

    def check(self) -> None:
        """Refuse what cannot be answered, before anything is loaded for it.

        Raises
        ------
        InvalidInputError
            The text is empty or too long, or `top` is out of range.
        """
        text = self.text.strip()
        if not text:
            raise InvalidInputError("say what to look for, for example: axial T2 MRI of the brain")
        if len(text) > MAX_TEXT_CHARACTERS:
            raise InvalidInputError(f"the text has more than {MAX_TEXT_CHARACTERS} characters")
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidInputError("the text is not valid UTF-8: check the terminal's encoding")
        if not 1 <= self.top <= MAX_TOP:
            raise InvalidInputError(f"top is a number from 1 to {MAX_TOP}")


def search(
    request: SearchRequest,
    snapshot: Snapshot,
    encoder: TextEncoder,
    template_names: Sequence[str],
) -> dict[str, Any]:
    """Answer a request from one snapshot.

    Returns `value`, `interpretation`, `count`, `manifest`, and how it was searched: `exact`, and
    `recall`, the share of the ten nearest that such a search finds, as measured.

    Raises
    ------
    InvalidInputError
        The text is empty or too long, `top` is out of range, or the manifest holds vectors of
        another encoder.
    """
    request.check()
    text = request.text.strip()
    _check_encoder(snapshot, encoder)
    selection = select(snapshot, Conditions(filters=request.filters, scopes=request.scopes))
    vector = encoder.encode([text])[0]
    precision = precision_of(snapshot, exact=request.exact)
    hits = search_words(snapshot, text, vector, selection, request.top, exact=precision.exact)
    return {
        "value": [_hit(hit, snapshot, request.filters, template_names) for hit in hits],
        "interpretation": _interpretation(text, request.filters, selection),
        "count": selection.n_passed,
        "manifest": snapshot.manifest.number,
        "exact": precision.exact,
        "recall": precision.recall,
        "nextLink": None,
    }


def records(snapshot: Snapshot, filters: Sequence[Filter]) -> "list[tuple[Hit, dict[str, Any]]]":
    """Every record that passes the filters, in series-key order."""
    selection = select(snapshot, Conditions(filters=tuple(filters)))
    return [(hit, record_of(hit, snapshot)) for hit in listing(snapshot, selection)]


def _check_encoder(snapshot: Snapshot, encoder: TextEncoder) -> None:
    """Vectors of two encoders never meet in one search, however far back it looks."""
    space = snapshot.manifest.space(TEXT_SPACE)
    if space is not None and space.live != encoder.encoder_id:
        raise InvalidInputError(
            f"manifest {snapshot.manifest.number} holds texts as {space.live} encodes them, this "
            f"program encodes as {encoder.encoder_id}: export it with filters instead"
        )


def _interpretation(text: str, filters: Sequence[Filter], selection: Selection) -> dict[str, Any]:
    return {
        "text": text,
        "filters": [
            {"field": f.field, "operator": f.operator, "values": list(f.values)} for f in filters
        ],
        "unknown": dict(selection.unknown),
    }


def _hit(
    hit: Hit, snapshot: Snapshot, filters: Sequence[Filter], template_names: Sequence[str]
) -> dict[str, Any]:
    record = record_of(hit, snapshot)
    evidence = record.pop("evidence", {})
    texts = record.pop("texts", [])
    why = {
        "similarity": round(hit.similarity, 4),
        "words": list(hit.words),
        "template": None if hit.text is None else template_names[hit.text],
        "text": None if hit.text is None else texts[hit.text],
        "filters": [str(condition) for condition in filters],
        "evidence": {
            field: {key: found[key] for key in ("value", "source", "confidence")}
            for field, found in evidence.items()
        },
        "flags": record.get("flags", []),
    }
    first = {key: record.pop(key) for key in ("seriesInstanceUid", "studyInstanceUid")}
    return {**first, "score": round(hit.score, 4), "why": why, **record}
