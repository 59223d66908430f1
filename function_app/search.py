"""Search as the API answers it; the command line prints the same values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from function_app.interpretation import interpretation_of
from indexer_core.errors import InvalidInputError
from indexer_core.filters import FIELDS, Filter
from indexer_core.fitting import Fitting, Verdict, fitting, how_well
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.ports import TextEncoder
from indexer_core.query.model import Understanding
from indexer_core.query.parser import understand
from indexer_core.rules.reconciliation import MODEL
from indexer_core.search import Hit, listing, precision_of, record_of, search_words
from indexer_core.selection import Conditions, select

MAX_TOP = 1000
MAX_TEXT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is asked: words, explicit filters, how many series at most.

    Parameters
    ----------
    filters
        Every series found meets them.
    exact
        Whether an approximate answer is refused (True) or welcome (False); None leaves it to the
        size of the index.
    interpret
        Whether the words are read for filters, too.
    with_unknown
        Fields that a series may have unknown.
    scopes
        Its scope is one of these; None: any.
    today
        The day that "last 5 years" counts from; None: this one.
    """

    text: str
    filters: tuple[Filter, ...] = ()
    top: int = 10
    exact: bool | None = None
    interpret: bool = True
    with_unknown: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    today: date | None = None

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
        for field in sorted(self.with_unknown - set(FIELDS)):
            raise InvalidInputError(f"field {field!r} is unknown; use one of {', '.join(FIELDS)}")

    def understood(self) -> Understanding:
        """What the words ask for; nothing but their meaning where they are not to be read."""
        text = self.text.strip()
        if not self.interpret:
            return Understanding(alternatives=((),), rest=text, text=text)
        return understand(text, today=self.today or datetime.now(UTC).date())


def search(
    request: SearchRequest,
    snapshot: Snapshot,
    encoder: TextEncoder,
    template_names: Sequence[str],
) -> dict[str, Any]:
    """Answer a request from one snapshot.

    Series that meet every filter come first; below them, as far as `top` leaves room, those that
    may and those that are near (`indexer_core.fitting`).

    Returns `value`, `interpretation`, `fit`, `count` (series that meet every filter), `possible`
    (that may), `manifest`, and how it was searched: `exact`, and `recall`, the share of the ten
    nearest that such a search finds, as measured.

    Raises
    ------
    InvalidInputError
        The text is empty or too long, `top` is out of range, or the manifest holds vectors of
        another encoder.
    """
    request.check()
    _check_encoder(snapshot, encoder)
    understanding = request.understood()
    conditions = Conditions(
        filters=request.filters,
        alternatives=understanding.alternatives if understanding.filters else (),
        with_unknown=request.with_unknown | understanding.with_unknown,
        scopes=request.scopes,
    )
    found = fitting(snapshot, conditions)
    precision = precision_of(snapshot, exact=request.exact)
    text = understanding.text or request.text.strip()
    hits = _ranked(found, snapshot, encoder, text, request.top, exact=precision.exact)
    return {
        "value": [_hit(hit, found.verdict(hit), snapshot, template_names) for hit in hits],
        "interpretation": interpretation_of(request.text.strip(), understanding, conditions, found),
        "fit": str(how_well(found.fits.n_passed, understanding, hits[0] if hits else None)),
        "count": found.fits.n_passed,
        "possible": found.n_possible,
        "manifest": snapshot.manifest.number,
        "exact": precision.exact,
        "recall": precision.recall,
        "nextLink": None,
    }


def _ranked(
    found: Fitting,
    snapshot: Snapshot,
    encoder: TextEncoder,
    text: str,
    top: int,
    *,
    exact: bool,
) -> list[Hit]:
    """What fits, best first, then what may, and so on, until there are enough."""
    vector = encoder.encode([text])[0]
    hits: list[Hit] = []
    for selection in found.degrees():
        if len(hits) == top:
            break
        if selection.n_passed:
            hits += search_words(snapshot, text, vector, selection, top - len(hits), exact=exact)
    return hits


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


def _hit(
    hit: Hit, verdict: Verdict, snapshot: Snapshot, template_names: Sequence[str]
) -> dict[str, Any]:
    record = record_of(hit, snapshot)
    evidence = record.pop("evidence", {})
    texts = record.pop("texts", [])
    why = {
        "similarity": round(hit.similarity, 4),
        "words": list(hit.words),
        "template": None if hit.text is None else template_names[hit.text],
        "text": None if hit.text is None else texts[hit.text],
        "filters": [str(condition) for condition in verdict.met],
        "unknown": [str(condition) for condition in verdict.unknown],
        "unmet": [str(condition) for condition in verdict.unmet],
        "asked": [field for field in evidence if field in verdict.fields],
        "evidence": {field: _told(found) for field, found in evidence.items()},
        "flags": record.get("flags", []),
    }
    first = {key: record.pop(key) for key in ("seriesInstanceUid", "studyInstanceUid")}
    return {
        **first,
        "score": round(hit.score, 4),
        "match": str(verdict.match),
        "why": why,
        **record,
    }


def _told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is believed of a field, and whether a model saw it or the header says it."""
    is_seen = str(found["source"]).startswith(MODEL)
    return {
        **{key: found[key] for key in ("value", "source", "confidence")},
        "from": "model" if is_seen else "header",
    }
