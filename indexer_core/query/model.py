"""What was understood of a question."""

from dataclasses import dataclass

from indexer_core.filters import Filter

Branch = tuple[Filter, ...]
"""Filters that all hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """Words of the question that were understood.

    Parameters
    ----------
    words
        As written.
    start, end
        Where they stand in the question, in characters.
    filters
        What they became; of a negated term, any one of them (two filters that must not both hold).
        Empty for words that count in the ranking only.
    negated
        Whether the question leaves out what they say.
    is_narrower
        Whether the words say more than the filters: of a knee, only the region is filtered by.
    corrected_from
        The misspelt word, where one was read as a known one; `words` are then the known ones.
    """

    words: str
    start: int
    end: int
    filters: Branch
    negated: bool = False
    is_narrower: bool = False
    corrected_from: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Understanding:
    """A question as filters and text.

    Parameters
    ----------
    alternatives
        A series answers if it meets all filters of one of them; one, perhaps empty, for a plain
        question.
    terms
        In the order of the question.
    rest
        Words that made no filter.
    text
        The question without what it leaves out: what vectors and words are compared with.
    with_unknown
        Fields that a series may have unknown: a list that is empty because there is nothing to
        say (a CT has no sequences) is no reason to leave it out.
    """

    alternatives: tuple[Branch, ...]
    terms: tuple[Term, ...] = ()
    rest: str = ""
    text: str = ""
    with_unknown: frozenset[str] = frozenset()

    @property
    def filters(self) -> Branch:
        """Every filter once, in the order of its first mention."""
        return tuple(dict.fromkeys(each for branch in self.alternatives for each in branch))
