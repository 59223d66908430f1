"""How the terms of a question combine: what "or", "and" and commas bind, as alternatives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import prod

from indexer_core.filters import FIELDS, Filter
from indexer_core.index.rows import LIST_FIELDS
from indexer_core.query.model import Branch
from indexer_core.query.negation import LONGEST_LIST, Element
from indexer_core.query.scan import WORD, Item

MAX_ALTERNATIVES = 16
# Said once of the last alternative, these are meant of all: "... or chest CT in women since 2019".
_SHARED = frozenset({"sex", "ageYears", "studyDate", "manufacturer", "model"})
_Clause = tuple[Element, ...]


def alternatives_of(
    elements: Sequence[Element], items: Sequence[Item], replaces: Mapping[str, frozenset[str]]
) -> tuple[tuple[Branch, ...], tuple[Element, ...]]:
    """Alternatives of filters, and the elements they were made of.

    replaces: sequences, and those that a record does not name beside them.

    Elements that would make more than `MAX_ALTERNATIVES` are not among these.
    """
    clauses = _clauses(elements, items)
    while sum(prod(len(each.branches) for each in clause) for clause in clauses) > MAX_ALTERNATIVES:
        worst = max((each for clause in clauses for each in clause), key=_cost)
        if len(worst.branches) == 1:  # too many clauses
            clauses = clauses[:MAX_ALTERNATIVES]
            break
        clauses = [tuple(each for each in clause if each is not worst) for clause in clauses]
    branches = [
        _without_replaced(_simplified(filters for branch in choice for filters in branch), replaces)
        for clause in clauses
        for choice in product(*(each.branches for each in clause))
    ]
    used = {id(each): each for clause in clauses for each in clause}
    return tuple(dict.fromkeys(branches)), tuple(used.values())


def _cost(element: Element) -> int:
    return len(element.branches)


def _clauses(elements: Sequence[Element], items: Sequence[Item]) -> list[_Clause]:
    merged, splits = _merged(elements, items)
    if not splits and _contradicts(merged):
        splits = [n for n in range(1, len(elements)) if _joined(elements, n, items) == "or"]
        merged = list(elements) if splits else merged
    if not splits:
        return [tuple(merged)]
    clauses = _cut(merged, splits)
    for _ in range(MAX_ALTERNATIVES):
        finer = [part for clause in clauses for part in _at_commas(clause, items)]
        if len(finer) == len(clauses):
            break
        clauses = finer
    return _with_shared([tuple(_merged(clause, items)[0]) for clause in clauses], items)


def _merged(elements: Sequence[Element], items: Sequence[Item]) -> tuple[list[Element], list[int]]:
    """Elements with those of one field joined, and the places where "or" parts the others."""
    merged: list[Element] = []
    splits: list[int] = []
    for number, element in enumerate(elements):
        joined = _joined(elements, number, items) if number else ""
        if merged and _may_merge(merged[-1], element, joined, elements, number, items):
            merged[-1] = _either(merged[-1], element, joined)
            continue
        if joined == "or" and merged and not element.negated:
            splits.append(len(merged))
        merged.append(element)
    return merged, splits


def _joined(elements: Sequence[Element], number: int, items: Sequence[Item]) -> str:
    """What stands between an element and the one before it: or, and, comma, word, break or ""."""
    between = [item.kind for item in items[elements[number - 1].last : elements[number].first]]
    if "or" in between:
        follows = between[between.index("or") + 1 :]
        return "word" if WORD in follows else "or"
    for kind in (WORD, "and", "comma", "break"):
        if kind in between:
            return kind
    return ""


def _may_merge(
    before: Element,
    element: Element,
    joined: str,
    elements: Sequence[Element],
    number: int,
    items: Sequence[Item],
) -> bool:
    if before.negated or element.negated or before.key != element.key or joined == "word":
        return False
    if joined == "or":
        return True
    if not (_is_choice(before) and _is_choice(element)):
        return False
    if joined == "and":
        return True
    if element.key[0] in LIST_FIELDS:
        return joined == "comma" and _list_goes_on(elements, number, items)
    return joined in ("", "comma")


def _list_goes_on(elements: Sequence[Element], number: int, items: Sequence[Item]) -> bool:
    """Whether "A, B" goes on to "and C" or "or C" of the same field."""
    for following in range(number + 1, min(number + LONGEST_LIST, len(elements))):
        joined = _joined(elements, following, items)
        if elements[following].key != elements[number].key or joined not in ("comma", "or", "and"):
            return False
        if joined != "comma":
            return True
    return False


def _is_choice(element: Element) -> bool:
    """Whether it asks for values of one field."""
    return all(len(branch) == 1 and branch[0].operator == "=" for branch in element.branches)


def _either(one: Element, other: Element, joined: str) -> Element:
    """Two elements of one field as one: what either asks, or both where they stand side by side."""
    branches = (*one.branches, *other.branches)
    if _is_choice(one) and _is_choice(other):
        values = dict.fromkeys(value for (each,) in branches for value in each.values)
        if joined == "":  # "ECG waveform": one says the other more exactly
            both = [set(each.values) for (each,) in branches]
            values = dict.fromkeys(v for v in values if all(v in each for each in both)) or values
        branches = ((replace(branches[0][0], values=tuple(values)),),)
    return replace(
        one,
        branches=tuple(dict.fromkeys(branches)),
        terms=(*one.terms, *other.terms),
        last=other.last,
    )


def _contradicts(elements: Sequence[Element]) -> bool:
    """Whether two elements ask for different values of a field that has one."""
    values: dict[str, set[str]] = {}
    for element in elements:
        if element.negated or len(element.branches) != 1:
            continue
        for each in element.branches[0]:
            if each.operator != "=" or each.field in LIST_FIELDS:
                continue
            known = values.setdefault(each.field, set(each.values))
            if not known & set(each.values):
                return True
    return False


def _cut(elements: Sequence[Element], places: Sequence[int]) -> list[_Clause]:
    bounds = [0, *places, len(elements)]
    return [tuple(elements[start:end]) for start, end in pairwise(bounds)]


def _at_commas(clause: _Clause, items: Sequence[Item]) -> list[_Clause]:
    """An enumeration of alternatives: "brain MRI, chest CT or knee x-ray"."""
    if not _contradicts(_merged(clause, items)[0]):
        return [clause]
    commas = [n for n in range(1, len(clause)) if _joined(clause, n, items) == "comma"]
    return _cut(clause, commas[:1]) if commas else [clause]


def _with_shared(clauses: list[_Clause], items: Sequence[Item]) -> list[_Clause]:
    """What is said of the last alternative, or before the first, and is meant of all."""
    keys = [{each.key for each in clause} for clause in clauses]
    last, first = clauses[-1], clauses[0]
    shared: list[Element] = []
    for element in reversed(last):
        is_exclusion = bool(element.negated) and (
            element.negated == "excluding" or element.after_comma
        )
        is_of_all = _is_cohort(element) and all(element.key not in each for each in keys[:-1])
        if not (is_exclusion or is_of_all):
            break
        shared.insert(0, element)
    for number, element in enumerate(first[:-1]):
        if not _is_cohort(element) or any(element.key in each for each in keys[1:]):
            break
        if _joined(first, number + 1, items) == "break":
            shared += first[: number + 1]
    if len(shared) == len(last):  # an alternative of its own
        return clauses
    return [(*(each for each in clause if each not in shared), *shared) for clause in clauses]


def _is_cohort(element: Element) -> bool:
    return not element.negated and bool(element.key) and set(element.key) <= _SHARED


def _simplified(filters: Iterable[Filter]) -> Branch:
    """Filters of one alternative, in the order of the fields, each once.

    Two that ask for values of one field are one: for what both ask, or for either where that is
    nothing ("chest" beside "abdomen").
    """
    kept: list[Filter] = []
    for each in dict.fromkeys(filters):
        same = [
            n
            for n, other in enumerate(kept)
            if other.field == each.field and other.operator == each.operator == "="
        ]
        if not same or each.field in LIST_FIELDS:
            kept.append(each)
            continue
        known = kept[same[0]]
        common = tuple(value for value in known.values if value in each.values)
        values = common or tuple(dict.fromkeys((*known.values, *each.values)))
        kept[same[0]] = replace(known, values=values)
    return tuple(sorted(dict.fromkeys(kept), key=lambda each: FIELDS.index(each.field)))


def _without_replaced(branch: Branch, replaces: Mapping[str, frozenset[str]]) -> Branch:
    """An alternative without sequences that no record names beside the others it asks for."""
    asked = [each for each in branch if each.field == "sequence" and each.operator == "="]
    replaced = {
        name
        for each in asked
        if len(each.values) == 1
        for name in replaces.get(each.values[0], frozenset())
    }
    return tuple(
        each for each in branch if each not in asked or not replaced.issuperset(each.values)
    )
