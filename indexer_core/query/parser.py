"""Reading a question."""

from collections.abc import Sequence
from datetime import date

from indexer_core.query.clauses import alternatives_of
from indexer_core.query.model import Branch, Term, Understanding
from indexer_core.query.negation import Element, elements_of
from indexer_core.query.scan import TERM, WORD, Item, scan
from indexer_core.query.tokens import Token, text_between, tokens_of
from indexer_core.query.vocabulary import Vocabulary, load_vocabulary


def understand(text: str, *, today: date, vocabulary: Vocabulary | None = None) -> Understanding:
    """Filters that a question asks for, and the text that is left.

    Deterministic; the time it takes grows with the length of the text, whatever it says.

    Parameters
    ----------
    today
        The day that "last 5 years" counts from.
    vocabulary
        The words that are understood; None: the shipped ones.
    """
    words = vocabulary or load_vocabulary()
    tokens = tokens_of(text)
    items = scan(tokens, today, words)
    negations = elements_of(items)
    branches, used = alternatives_of(negations.elements, items, words.replaces)
    terms = _terms(text, tokens, used)
    understood = {id(item) for element in used for item in element.terms}
    spans = [
        (tokens[items[place].first].start, tokens[items[place].last - 1].end)
        for place in sorted(negations.left_out)
    ]
    return Understanding(
        alternatives=branches,
        terms=terms,
        rest=_rest(text, tokens, items, understood, negations.left_out),
        text=text_between(text, spans),
        with_unknown=_with_unknown(branches, words),
    )


def _terms(text: str, tokens: Sequence[Token], used: Sequence[Element]) -> tuple[Term, ...]:
    found = []
    for element in used:
        for item in element.terms:
            start, end = tokens[item.first].start, tokens[item.last - 1].end
            written = text[start:end]
            is_negated = bool(element.negated)
            positive = () if item.entry.is_soft else item.entry.filters
            found.append(
                Term(
                    words=written if item.corrected is None else item.corrected,
                    start=start,
                    end=end,
                    filters=item.entry.negated if is_negated else positive,
                    negated=is_negated,
                    is_narrower=item.entry.is_narrower,
                    corrected_from=None if item.corrected is None else written,
                )
            )
    return tuple(sorted(found, key=lambda term: term.start))


def _rest(
    text: str,
    tokens: Sequence[Token],
    items: Sequence[Item],
    understood: set[int],
    left_out: frozenset[int],
) -> str:
    """Words that made no filter, as written."""
    kept = [
        item
        for place, item in enumerate(items)
        if place not in left_out
        and (
            item.kind == WORD
            or (item.kind == TERM and (item.entry.is_soft or id(item) not in understood))
        )
    ]
    return " ".join(text[tokens[item.first].start : tokens[item.last - 1].end] for item in kept)


def _with_unknown(branches: Sequence[Branch], vocabulary: Vocabulary) -> frozenset[str]:
    """Fields whose absence in a series is an answer to what is asked of them."""
    asked = [each for branch in branches for each in branch if each.field == "sequence"]
    is_told = all(
        each.operator == "!=" and set(each.values) <= vocabulary.told_when_present for each in asked
    )
    return frozenset({"sequence"}) if asked and is_told else frozenset()
