"""What a question leaves out: which terms "not", "without" and their like govern."""

from collections.abc import Sequence
from dataclasses import dataclass

from indexer_core.query.model import Branch
from indexer_core.query.scan import FILLER, TERM, WORD, Item, positive_filters

_NEGATORS = ("without", "excluding", "prefix")
_SKIPPED = (FILLER, "people", "break")
_ALONE = ("contrast",)
LONGEST_LIST = 16
"""Members of an enumeration that are looked ahead for its last "and" or "or"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A term, or a negated group of terms, as alternatives of filters.

    Parameters
    ----------
    key
        The fields it is about; empty for a negated group.
    negated
        The kind of the word that negates it, "" where none does.
    first, last
        Items from which it was made, `last` excluded.
    after_comma
        Whether a comma stands before it.
    """

    branches: tuple[Branch, ...]
    terms: tuple[Item, ...]
    key: tuple[str, ...]
    first: int
    last: int
    negated: str = ""
    after_comma: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Negations:
    """Elements in order, and the items that say what is left out."""

    elements: tuple[Element, ...]
    left_out: frozenset[int]


def elements_of(items: Sequence[Item]) -> Negations:
    """Every term once, alone or in the group that is negated with it."""
    elements: list[Element] = []
    left_out: set[int] = set()
    place = 0
    while place < len(items):
        item = items[place]
        if item.kind in _NEGATORS:
            found, end = _negated(items, place)
            elements += found
            left_out.update(range(_begin(items, place), end))
            place = end
            continue
        if item.kind == TERM:
            elements.append(_positive(item, place))
        place += 1
    return Negations(elements=tuple(elements), left_out=frozenset(left_out))


def _begin(items: Sequence[Item], place: int) -> int:
    """Where what leads to a negator begins: ", but", "that is"."""
    while place and items[place - 1].kind in (FILLER, "people", "break", "comma", "and"):
        place -= 1
    return place


def _positive(item: Item, place: int) -> Element:
    return Element(
        branches=(positive_filters(item),),
        terms=(item,),
        key=item.key,
        first=place,
        last=place + 1,
    )


def _negated(items: Sequence[Item], place: int) -> tuple[list[Element], int]:
    """What a negator governs, and the item after it."""
    kind, n_negators, start = items[place].kind, 0, place
    after_comma = place > 0 and items[place - 1].kind == "comma"
    while start < len(items) and (items[start].kind in _NEGATORS or items[start].kind in _SKIPPED):
        n_negators += items[start].kind in _NEGATORS
        start += 1
    if start == len(items) or items[start].kind not in (TERM, WORD):
        return [], place + 1
    if items[start].kind == WORD:
        return [], _after_words(items, start)
    if n_negators % 2 == 0:
        return [], start  # not without: it is with
    groups = [_group(items, start, is_single=kind == "prefix")]
    while kind != "prefix":
        following = _next_in_list(items, groups[-1], kind)
        if following is None:
            break
        groups.append(following)
    elements = [
        Element(
            branches=tuple(
                (each,)
                for item in items[first:last]
                if item.kind == TERM
                for each in item.entry.negated
            ),
            terms=tuple(item for item in items[first:last] if item.kind == TERM),
            key=(),
            first=first,
            last=last,
            negated=kind,
            after_comma=after_comma,
        )
        for first, last in groups
    ]
    return elements, groups[-1][1]


def _group(items: Sequence[Item], start: int, *, is_single: bool) -> tuple[int, int]:
    """Terms that stand together from a term on."""
    last = start + 1
    if is_single or items[start].key == _ALONE:
        return start, last
    place = last
    while place < len(items) and items[place].kind in (FILLER, "people", TERM):
        place += 1
        if items[place - 1].kind == TERM:
            last = place
    return start, last


def _after_words(items: Sequence[Item], start: int) -> int:
    """The end of words that are negated and not known: nothing can be left out for them."""
    while start < len(items) and items[start].kind in (WORD, FILLER):
        start += 1
    return start


def _next_in_list(
    items: Sequence[Item], group: tuple[int, int], kind: str
) -> tuple[int, int] | None:
    """The next group of a list that is negated as a whole: "without A or B", "no A, B and C"."""
    connector, start = _connector(items, group[1])
    if start is None:
        return None
    following = _group(items, start, is_single=False)
    is_alike = items[start].key == items[group[0]].key
    if connector == "or":
        is_listed = is_alike or kind == "excluding" or _ends_there(items, following)
    elif connector == "and":
        is_listed = is_alike or kind == "excluding"
    else:
        is_listed = _is_list(items, following)
    return following if is_listed else None


def _connector(items: Sequence[Item], place: int) -> tuple[str, int | None]:
    """How the list goes on, and the term it goes on with."""
    found = ""
    while place < len(items) and items[place].kind in (
        FILLER,
        "people",
        "comma",
        "or",
        "and",
        "break",
    ):
        kind = items[place].kind
        if kind == "break" and not found:
            return "", None
        if kind in ("or", "and") or (kind == "comma" and not found):
            found = kind
        place += 1
    is_there = found and place < len(items) and items[place].kind == TERM
    return found, place if is_there else None


def _is_list(items: Sequence[Item], group: tuple[int, int]) -> bool:
    """Whether groups after commas end in "and" or "or" and one more."""
    for _ in range(LONGEST_LIST):
        connector, start = _connector(items, group[1])
        if start is None:
            return False
        if connector in ("or", "and"):
            return True
        group = _group(items, start, is_single=False)
    return False


def _ends_there(items: Sequence[Item], group: tuple[int, int]) -> bool:
    """Whether nothing of the same clause follows a group."""
    place = group[1]
    while place < len(items) and items[place].kind in (FILLER, "people"):
        place += 1
    return place == len(items) or items[place].kind in ("comma", "or", "and")
