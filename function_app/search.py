"""Search as the API answers it; the command line prints the same values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from function_app.interpretation import interpretation_of
from function_app.pages import PageRequest, conditions_json, page_json
from indexer_core.errors import InvalidInputError
from indexer_core.filters import FIELDS, Filter
from indexer_core.fitting import Fitting, Verdict, fitting, how_well
from indexer_core.grouping import Level
from indexer_core.index.reader import Snapshot
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.ports import TextEncoder
from indexer_core.query.model import Understanding
from indexer_core.query.parser import understand
from indexer_core.rules.reconciliation import MODEL
from indexer_core.search import Hit, listing, precision_of, record_of, search_words
from indexer_core.selection import Conditions, Selection, select

MAX_TEXT_CHARACTERS = 2000
_APART = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What is asked: words, explicit filters, which part of the answer.

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
    top, level, token
        As in `function_app.pages.PageRequest`.
    """

    text: str
    filters: tuple[Filter, ...] = ()
    top: int = 10
    exact: bool | None = None
    interpret: bool = True
    with_unknown: frozenset[str] = frozenset()
    scopes: frozenset[str] | None = None
    today: date | None = None
    level: Level = Level.SERIES
    token: str | None = None

    @property
    def page(self) -> PageRequest:
        """Which part of the answer is asked for."""
        return PageRequest(top=self.top, level=self.level, token=self.token)

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the answer, but for the day that it is asked on."""
        given = Conditions(filters=self.filters, with_unknown=self.with_unknown, scopes=self.scopes)
        return {"text": self.text.strip(), "interpret": self.interpret, **conditions_json(given)}

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
        self.page.check()
        for field in sorted(self.with_unknown - set(FIELDS)):
            raise InvalidInputError(f"field {field!r} is unknown; use one of {', '.join(FIELDS)}")

    def understood(self) -> Understanding:
        """What the words ask for; nothing but their meaning where they are not to be read."""
        text = self.text.strip()
        if not self.interpret:
            return Understanding(alternatives=((),), rest=text, text=text)
        return understand(text, today=self.today or datetime.now(UTC).date())

    def conditions(self, understanding: Understanding) -> Conditions:
        """What a series has to meet: what was asked for, and what the words were read for."""
        return Conditions(
            filters=self.filters,
            alternatives=understanding.alternatives if understanding.filters else (),
            with_unknown=self.with_unknown | understanding.with_unknown,
            scopes=self.scopes,
        )


def search(
    request: SearchRequest,
    snapshot: Snapshot,
    encoder: TextEncoder,
    template_names: Sequence[str],
) -> dict[str, Any]:
    """Answer a request from one snapshot.

    Series that meet every filter come first; below them those that may and those that are near
    (`indexer_core.fitting`).

    Returns what `function_app.pages.page_json` does, `count` and members being those that meet
    every filter; `interpretation`, `fit`, `possible` (how many series may meet them), and how it
    was searched: `exact`, and `recall`, the share of the ten nearest that such a search finds, as
    measured.

    Raises
    ------
    InvalidInputError
        The text is empty or too long, `top` is out of range, the token is not one of this
        question, or the manifest holds vectors of another encoder.
    """
    request.check()
    _check_encoder(snapshot, encoder)
    understanding = request.understood()
    conditions = request.conditions(understanding)
    found = fitting(snapshot, conditions)
    precision = precision_of(snapshot, exact=request.exact)
    text = understanding.text or request.text.strip()
    vector = encoder.encode([text])[0]
    ranked = _Ranked(found, snapshot, text, vector, exact=precision.exact)

    def show(hit: Hit) -> dict[str, Any]:
        return _hit(ranked.original(hit), found.verdict(hit), snapshot, template_names)

    page = page_json(snapshot, found.fits, ranked.first, request.page, request.question, show)
    return {
        **page,
        "interpretation": interpretation_of(request.text.strip(), understanding, conditions, found),
        "fit": str(how_well(found.fits.n_passed, understanding, ranked.best)),
        "possible": found.n_possible,
        "exact": precision.exact,
        "recall": precision.recall,
    }


class _Ranked:
    """What fits, best first, then what may, and so on; ranked by one number, as pages need it.

    Scores lie between -1 and 1, so doubts take them apart.
    """

    def __init__(
        self,
        found: Fitting,
        snapshot: Snapshot,
        text: str,
        vector: NDArray[np.float32],
        *,
        exact: bool,
    ) -> None:
        self._found = found
        self._snapshot = snapshot
        self._text = text
        self._vector = vector
        self._exact = exact
        self._originals: dict[str, Hit] = {}
        self.best: Hit | None = None

    def first(self, n_hits: int) -> list[Hit]:
        """The first hits, with the numbers that they are ranked by as their scores."""
        hits: list[Hit] = []
        for doubt, selection in self._found.degrees():
            wanted = n_hits - len(hits)
            if not wanted:
                break
            if selection.n_passed:
                hits += [self._ranked(hit, doubt) for hit in self._nearest(selection, wanted)]
        # Two scores that were not equal may have become so, and then keys decide.
        hits.sort(key=lambda hit: (-hit.score, hit.key))
        self.best = self.original(hits[0]) if hits else None
        return hits

    def original(self, hit: Hit) -> Hit:
        """A hit of `first`, with its own score."""
        return self._originals[hit.key]

    def _nearest(self, selection: Selection, n_hits: int) -> list[Hit]:
        found, text = self._snapshot, self._text
        return search_words(found, text, self._vector, selection, n_hits, exact=self._exact)

    def _ranked(self, hit: Hit, doubt: float) -> Hit:
        self._originals[hit.key] = hit
        return replace(hit, score=hit.score - _APART * doubt)


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
