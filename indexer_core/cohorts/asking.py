"""From the words of a question, and filters beside them, to what a cohort is drawn by."""

from dataclasses import replace
from datetime import date

from indexer_core.cohorts.model import Question, question_of
from indexer_core.errors import InvalidInputError
from indexer_core.query.parser import understand
from indexer_core.selection import ANYTHING, Conditions


def ask(
    text: str, beside: Conditions = ANYTHING, *, today: date, interpret: bool = True
) -> Question:
    """The question that a text asks, within conditions that are set beside it.

    What the words do not turn into filters chooses no series, and is told as `Question.rest`.

    Parameters
    ----------
    today
        The day that "last 5 years" counts from: the dates are fixed with it.
    interpret
        Whether the words are read at all; else they are only kept.

    Raises
    ------
    InvalidInputError
        There are words, and nothing says which series are meant.
    """
    text = text.strip()
    if not text or not interpret:
        if text and not (beside.filters or beside.alternatives):
            raise InvalidInputError("words that are not interpreted choose no series: add filters")
        return replace(question_of(beside, text), rest=text)
    understood = understand(text, today=today)
    if not (understood.filters or beside.filters or beside.alternatives):
        raise InvalidInputError("none of these words is a filter: say which series by filters")
    branches = understood.alternatives
    if len(branches) == 1:
        # One line each in the attrition table.
        further = tuple(each for each in branches[0] if each not in beside.filters)
        branches = beside.alternatives
    elif beside.alternatives:
        raise InvalidInputError("alternatives come from the words or beside them, not from both")
    else:
        further = ()
    conditions = replace(
        beside,
        filters=(*beside.filters, *further),
        alternatives=branches,
        with_unknown=beside.with_unknown | understood.with_unknown,
    )
    narrower = [each.words for each in understood.terms if each.is_narrower and not each.negated]
    rest = ", ".join(filter(None, [understood.rest, *narrower]))
    return replace(question_of(conditions, text), rest=rest)
