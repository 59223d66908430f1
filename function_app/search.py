"""Search as the API answers it; the command line prints the same values."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from function_app.interpretation import interpretation_of
from function_app.pages import (
    PageRequest,
    check_text,
    conditions_json,
    cursor_of_page,
    page_json,
)
from function_app.ranking import PIXELS, TEXT, Ranked
from indexer_core.errors import InvalidInputError, UnavailableError
from indexer_core.filters import FIELDS, Filter
from indexer_core.fitting import Verdict, how_well
from indexer_core.grouping import Level
from indexer_core.index.segment import TEXT_SPACE
from indexer_core.named import Names
from indexer_core.paging import Cursor
from indexer_core.ports import ImageTextEncoder, TextEncoder
from indexer_core.query.model import Understanding
from indexer_core.query.parser import understand
from indexer_core.rules.reconciliation import MODEL
from indexer_core.search import Hit
from indexer_core.selection import Conditions
from indexer_core.vector_index import State, VectorIndex

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed:
    """How an answer goes on: as it began, whatever the clock or a model says meanwhile.

    cursor: None for the first page. ranked_by: of the pages before; None: whatever can be.
    """

    day: date
    cursor: Cursor | None = None
    ranked_by: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Understood:
    """A request as it was read: what its answer goes on from, and what series have to meet."""

    resumed: Resumed
    understanding: Understanding
    conditions: Conditions


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
    series
        It is one of these; None: any.
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
    series: Names | None = None
    today: date | None = None
    level: Level = Level.SERIES
    token: str | None = None

    @property
    def page(self) -> PageRequest:
        """Which part of the answer is asked for."""
        return PageRequest(top=self.top, level=self.level, token=self.token)

    @property
    def question(self) -> dict[str, Any]:
        """All that decides the answer, but for the day and for what it is ranked by.

        These two a page has from the page before: `Resumed`.
        """
        given = Conditions(
            filters=self.filters,
            with_unknown=self.with_unknown,
            scopes=self.scopes,
            series=self.series,
        )
        return {"text": self.text.strip(), "interpret": self.interpret, **conditions_json(given)}

    def check(self) -> None:
        """Refuse what cannot be answered, before anything is loaded for it.

        Raises
        ------
        InvalidInputError
            The text is empty or too long, or `top` is out of range.
        """
        check_text(
            self.text.strip(), "say what to look for, for example: axial T2 MRI of the brain"
        )
        self.page.check()
        for field in sorted(self.with_unknown - set(FIELDS)):
            raise InvalidInputError(f"field {field!r} is unknown; use one of {', '.join(FIELDS)}")

    def resumed(self) -> Resumed:
        """Where the page begins, and how the pages before it were answered.

        Raises
        ------
        InvalidInputError
            The token is none, was altered, or belongs to another question.
        """
        today = self.today or datetime.now(UTC).date()
        if self.token is None:
            return Resumed(day=today)
        refused: InvalidInputError | None = None
        for day in (today, today - timedelta(days=1)):
            for ranked_by in ((TEXT,), (TEXT, PIXELS)):
                try:
                    cursor = cursor_of_page(self.page, self.asked(day, ranked_by))
                except InvalidInputError as error:
                    refused = error
                else:
                    return Resumed(day=day, cursor=cursor, ranked_by=ranked_by)
        assert refused is not None
        raise refused

    def asked(self, day: date, ranked_by: tuple[str, ...]) -> dict[str, Any]:
        """The question as a token of its answer knows it."""
        return {**self.question, "day": day.isoformat(), "rankedBy": list(ranked_by)}

    def understood(self) -> Understood:
        """What the words ask for; nothing but their meaning where they are not to be read.

        Raises
        ------
        InvalidInputError
            As `resumed`.
        """
        resumed, text = self.resumed(), self.text.strip()
        if self.interpret:
            understanding = understand(text, today=resumed.day)
        else:
            understanding = Understanding(alternatives=((),), rest=text, text=text)
        conditions = Conditions(
            filters=self.filters,
            alternatives=understanding.alternatives if understanding.filters else (),
            with_unknown=self.with_unknown | understanding.with_unknown,
            scopes=self.scopes,
            series=self.series,
        )
        return Understood(resumed=resumed, understanding=understanding, conditions=conditions)


def search(
    request: SearchRequest,
    index: VectorIndex,
    encoder: TextEncoder,
    template_names: Sequence[str],
    image_texts: ImageTextEncoder | None = None,
    understood: Understood | None = None,
) -> dict[str, Any]:
    """Answer a request from one state of an index.

    Series that meet every filter come first; below them those that may and those that are near
    (`indexer_core.fitting`).

    Parameters
    ----------
    image_texts
        Puts words into the image space of the index: series are then ranked by what their
        pictures show, too, and each hit's `why.foundBy` says by what it was found. Where it cannot
        be asked now, by their texts alone; `rankedBy` says so.
    understood
        What `request.understood` gave, where it was read already.

    Returns what `function_app.pages.page_json` does, `count` and members being those that meet
    every filter; `interpretation`, `fit`, `possible` (how many series may meet them), `rankedBy`,
    and how it was searched: `exact`, and `recall`, the share of the ten nearest that such a search
    finds, as measured.

    Raises
    ------
    InvalidInputError
        The text is empty or too long, `top` is out of range, the token is not one of this
        question, or the manifest holds vectors of another encoder.
    UnavailableError
        The pages before were ranked by pictures, and that cannot be done now.
    """
    request.check()
    _check_encoder(index.state, encoder)
    understood = understood or request.understood()
    resumed, understanding = understood.resumed, understood.understanding
    conditions = understood.conditions
    found = index.fitting(conditions)
    precision = index.precision(TEXT_SPACE, exact=request.exact)
    text = understanding.text or request.text.strip()
    vector = encoder.encode([text])[0]
    pictured = _pictured(text, index.state, image_texts, resumed.ranked_by)
    ranked_by = (TEXT,) if pictured is None else (TEXT, PIXELS)
    ranked = Ranked(found, text, vector, pictured, exact=precision.exact)

    def show(hit: Hit) -> dict[str, Any]:
        shown = _hit(ranked.original(hit), found.verdict(hit), index, template_names)
        return {**shown, "why": {**shown["why"], **ranked.found_by(hit)}}

    question = request.asked(resumed.day, ranked_by)
    page = page_json(index.state, found.fits, ranked.first, request.page, question, show)
    answer = {
        **page,
        "interpretation": interpretation_of(request.text.strip(), understanding, conditions, found),
        "fit": str(
            how_well(
                found.fits.n_passed,
                understanding,
                ranked.best,
                sees_pictures=pictured is not None,
            )
        ),
        "possible": found.n_possible,
        "rankedBy": list(ranked_by),
        "exact": precision.exact,
        "recall": precision.recall,
    }
    index.confirm()
    return answer


def _pictured(
    text: str,
    state: State,
    image_texts: ImageTextEncoder | None,
    ranked_by: tuple[str, ...] | None,
) -> NDArray[np.float32] | None:
    """The words in the image space of the index, where that can be told now.

    A page is ranked as those before it were: there, what cannot be told is an error.
    """
    if ranked_by is not None and PIXELS not in ranked_by:
        return None
    if image_texts is None or image_texts.encoder_id != state.image_encoder:
        if ranked_by is not None:
            raise UnavailableError("what ranks pictures was there for the page before, and is gone")
        return None
    try:
        vector: NDArray[np.float32] = image_texts.encode([text])[0]
    except UnavailableError as error:
        if ranked_by is not None:
            raise
        log.warning("search goes without pictures kind=%s", error.kind.value)
        return None
    return vector


def records(index: VectorIndex, filters: Sequence[Filter]) -> "list[tuple[Hit, dict[str, Any]]]":
    """Every record that passes the filters, in series-key order."""
    chosen = index.select(Conditions(filters=tuple(filters)))
    return [(hit, index.record(hit)) for hit in chosen.listed()]


def _check_encoder(state: State, encoder: TextEncoder) -> None:
    """Vectors of two encoders never meet in one search, however far back it looks."""
    if state.text_encoder not in ("", encoder.encoder_id):
        raise InvalidInputError(
            f"manifest {state.number} holds texts as {state.text_encoder} encodes them, this "
            f"program encodes as {encoder.encoder_id}: export it with filters instead"
        )


def _hit(
    hit: Hit, verdict: Verdict, index: VectorIndex, template_names: Sequence[str]
) -> dict[str, Any]:
    record = index.record(hit)
    evidence = record.pop("evidence", {})
    texts = record.pop("texts", [])
    why = {
        "similarity": round(hit.similarity, 4),
        "words": list(hit.words),
        "template": None if hit.text is None else template_names[hit.text],
        "text": _text(texts, hit.text),
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


def _text(texts: Sequence[str], number: int | None) -> str | None:
    """The text that was found; a home that shortens records may not have it."""
    return None if number is None or number >= len(texts) else texts[number]


def _told(found: Mapping[str, Any]) -> dict[str, Any]:
    """What is believed of a field, and whether a model saw it or the header says it."""
    is_seen = str(found["source"]).startswith(MODEL)
    return {
        **{key: found[key] for key in ("value", "source", "confidence")},
        "from": "model" if is_seen else "header",
    }
