"""Pages of an answer, by series, study or patient: what all answers that rank series share.

A request has a `question` (all that decides the answer, as JSON) and a `PageRequest`. Whoever
serves it asks `cursor_of_page` first, opens the state of that manifest
(`indexer_core.vector_index.IndexHome`) or the newest one, and calls the answering function.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from indexer_core.errors import InvalidInputError
from indexer_core.filters import Filter
from indexer_core.grouping import Group, Level, Member, grouped
from indexer_core.paging import Cursor, Ranking, cursor_of, digest_of, page_of, token_of
from indexer_core.search import Hit
from indexer_core.selection import Conditions
from indexer_core.vector_index import Chosen, State

MAX_TOP = 1000
MAX_MEMBERS = 100
MAX_TEXT_CHARACTERS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """Which part of an answer is wanted.

    Parameters
    ----------
    top
        Series, studies or patients on the page, at most.
    level
        Which of these.
    token
        Of the page before (`nextLink`); None for the first.
    """

    top: int = 10
    level: Level = Level.SERIES
    token: str | None = None

    def check(self) -> None:
        """Refuse what cannot be answered.

        Raises
        ------
        InvalidInputError
            `top` is out of range.
        """
        if not 1 <= self.top <= MAX_TOP:
            raise InvalidInputError(f"top is a number from 1 to {MAX_TOP}")


FIRST_PAGE = PageRequest()


def check_text(text: str, empty: str) -> None:
    """Refuse words that nothing can be found by; `empty` says so of none.

    Raises
    ------
    InvalidInputError
        The text is empty, too long, or no Unicode.
    """
    if not text.strip():
        raise InvalidInputError(empty)
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidInputError(f"the text has more than {MAX_TEXT_CHARACTERS} characters")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidInputError("the text is not valid UTF-8: check the terminal's encoding")


def level_of(text: str) -> Level:
    """The level of this name.

    Raises
    ------
    InvalidInputError
        There is none.
    """
    try:
        return Level(text.strip().lower())
    except ValueError as error:
        raise InvalidInputError(f"level is one of {', '.join(Level)}") from error


def cursor_of_page(page: PageRequest, question: Mapping[str, Any]) -> Cursor | None:
    """Where the page begins, with the manifest that answers it; None for the first page.

    Raises
    ------
    InvalidInputError
        The token is none, was altered, or belongs to another question.
    """
    return None if page.token is None else cursor_of(page.token, _digest(page, question))


def conditions_json(conditions: Conditions) -> dict[str, Any]:
    """Conditions as part of a question."""
    return {
        "filters": _filters_json(conditions.filters),
        "alternatives": [_filters_json(branch) for branch in conditions.alternatives],
        "withUnknown": sorted(conditions.with_unknown),
        "scopes": None if conditions.scopes is None else sorted(conditions.scopes),
        **({} if conditions.series is None else {"series": conditions.series.digest}),
    }


def _filters_json(filters: tuple[Filter, ...]) -> list[dict[str, Any]]:
    return [asdict(each) for each in filters]


def page_json(
    state: State,
    chosen: Chosen,
    ranking: Ranking[Hit],
    page: PageRequest,
    question: Mapping[str, Any],
    show: Callable[[Hit], dict[str, Any]],
) -> dict[str, Any]:
    """`value`, `count`, `nextLink` (the token of the next page, or null), `level`, `manifest`.

    Parameters
    ----------
    chosen
        What `ranking` ranks.
    show
        A hit as JSON. By study or patient it is followed by `groupKey` (null where that is not
        known), `groupCount` and `members` (the first hundred).

    Raises
    ------
    InvalidInputError
        As `cursor_of_page`, or the state is not that of the token's manifest.
    """
    cursor = cursor_of_page(page, question)
    number = state.number
    if cursor is not None and cursor.manifest != number:
        raise InvalidInputError(f"the page token belongs to manifest {cursor.manifest}")
    n_series = state.n_series  # a forged token may name any depth

    def bounded(n_hits: int) -> Sequence[Hit]:
        return ranking(min(n_hits, n_series))

    found = page_of(grouped(bounded, page.level), number, page.top, cursor)
    members = chosen.members(found.items, page.level)
    after = found.after
    return {
        "value": [
            {**show(group.best), **_group_json(group, theirs, page.level)}
            for group, theirs in zip(found.items, members, strict=True)
        ],
        "level": page.level.value,
        "count": chosen.n_groups(page.level),
        "nextLink": None if after is None else token_of(after, _digest(page, question)),
        "manifest": number,
    }


def _digest(page: PageRequest, question: Mapping[str, Any]) -> str:
    return digest_of({"level": page.level.value, **question})


def _group_json(group: Group, members: list[Member], level: Level) -> dict[str, Any]:
    if level is Level.SERIES:
        return {}
    return {
        "groupKey": None if group.name is None else group.name[1],
        "groupCount": len(members),
        "members": [
            {"seriesInstanceUid": each.series_instance_uid, "seriesKey": each.series_key}
            for each in members[:MAX_MEMBERS]
        ],
    }
