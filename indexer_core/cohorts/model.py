"""What a cohort is: a question, its answer at one manifest, and a digest that proves both.

A cohort never changes, but for one reason: a purge takes series out of it. Its digest stays what it
was, so that a citation still names it, and `n_erased` says why it no longer proves the content.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from indexer_core.errors import CorruptIndexError, InvalidInputError
from indexer_core.filters import Filter, parse_filter
from indexer_core.sealed import canonical, seal, unseal
from indexer_core.selection import Conditions

FORMAT_VERSION = 1
ERASED = "erased"
"""Stands for a name of an erased series, wherever the question of a cohort held one."""

MAX_TEXT_CHARACTERS = 2000
MAX_NAME_CHARACTERS = 48
# The name of a pin holds it, with a prefix and a version.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class Kind(StrEnum):
    """What the series of a cohort have in common."""

    COMPLETE = "complete"
    """They are all that meet the conditions."""
    UIDS = "uids"
    """They were named one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked.

    Parameters
    ----------
    text
        In the words of whoever asked. It counts as PHI: it is stored, and never logged.
    rest
        Words of it that chose no series, or say more than the filters that they became.
    filters, alternatives, with_unknown, scopes
        As in `Conditions`; filters as they are written.
    """

    text: str = ""
    rest: str = ""
    filters: tuple[str, ...] = ()
    alternatives: tuple[tuple[str, ...], ...] = ()
    with_unknown: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None

    def conditions(self) -> Conditions:
        """The conditions to select by.

        Raises
        ------
        InvalidInputError
            A filter is not one that this software knows.
        """
        return Conditions(
            filters=tuple(map(parse_filter, self.filters)),
            alternatives=tuple(tuple(map(parse_filter, branch)) for branch in self.alternatives),
            with_unknown=frozenset(self.with_unknown),
            scopes=None if self.scopes is None else frozenset(self.scopes),
        )


def question_of(conditions: Conditions, text: str = "") -> Question:
    """What a cohort says of these conditions.

    Raises
    ------
    InvalidInputError
        The text is too long, a filter has no written form that means the same, or series are named:
        those are members of a cohort, and no part of its question.
    """
    if conditions.series is not None:
        raise InvalidInputError("a cohort is drawn by conditions or by names, not by both")
    if len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidInputError(f"the text has more than {MAX_TEXT_CHARACTERS} characters")
    scopes = conditions.scopes
    return Question(
        text=text,
        filters=tuple(map(_written, conditions.filters)),
        alternatives=tuple(tuple(map(_written, each)) for each in conditions.alternatives),
        with_unknown=tuple(sorted(conditions.with_unknown)),
        scopes=None if scopes is None else tuple(sorted(scopes)),
    )


def _written(condition: Filter) -> str:
    text = str(condition)
    if parse_filter(text) != condition:
        raise InvalidInputError(f"filter {text!r} cannot be written down: a value holds a comma")
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A series of a cohort."""

    series_key: str
    series_instance_uid: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A line of the attrition table.

    Parameters
    ----------
    label
        What was asked for.
    n_left
        Series that are left after it.
    n_unknown
        Series that it left out only because the field is unknown for them.
    """

    label: str
    n_left: int
    n_unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A cohort that is not saved yet: the answer to a question at one manifest.

    `members` are in the order of their keys.
    """

    kind: Kind
    question: Question
    manifest: int
    members: tuple[Member, ...]
    attrition: tuple[Step, ...]

    @property
    def keys(self) -> frozenset[str]:
        """Series keys."""
        return frozenset(member.series_key for member in self.members)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort(Draft):
    """A saved cohort.

    Parameters
    ----------
    version
        From 1; no version of a name is ever given twice.
    save_id
        Of the save that wrote it: two at once that say the same are still two.
    created_s
        Seconds since the epoch.
    purpose
        What it is for, in words; like the text it is never logged.
    digest
        sha256 of all of it as it was saved (`digest_of`).
    n_erased
        Series that purges have taken out since.
    """

    name: str
    version: int
    save_id: str
    created_s: float
    created_by: str = ""
    purpose: str = ""
    digest: str = ""
    n_erased: int = 0

    @property
    def title(self) -> str:
        """Name and version, as the command line takes them."""
        return f"{self.name}@{self.version}"

    def may_be_seen_in(self, scopes: frozenset[str] | None) -> bool:
        """Whether who may see series of these scopes (None: of all) may see it.

        Its counts, its UIDs and its digest tell of all scopes that it was drawn from.
        """
        drawn_from = self.question.scopes
        return scopes is None or (drawn_from is not None and scopes.issuperset(drawn_from))

    @property
    def is_as_saved(self) -> bool:
        """Whether the digest still proves the content."""
        return self.digest == digest_of(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What stands in the place of a cohort that was deleted, so that its version is not reused."""

    name: str
    version: int
    deleted_s: float


def check_name(name: str) -> str:
    """The name.

    Raises
    ------
    InvalidInputError
        It cannot be the name of a cohort.
    """
    if len(name) > MAX_NAME_CHARACTERS or _NAME.fullmatch(name) is None:
        raise InvalidInputError(
            f"the name of a cohort has letters, digits, - and _ ({MAX_NAME_CHARACTERS} at most)"
        )
    return name


def digest_of(cohort: Cohort) -> str:
    """sha256 (hexadecimal) of everything that is frozen, in canonical JSON."""
    frozen = _plain(cohort)
    del frozen["digest"], frozen["n_erased"]
    return hashlib.sha256(canonical({"format_version": FORMAT_VERSION, **frozen})).hexdigest()


def without(cohort: Cohort, series: frozenset[str], redact: Callable[[str], str]) -> Cohort:
    """The cohort without some series, for a purge; the same one where it holds nothing of them.

    Parameters
    ----------
    series
        Keys of the series.
    redact
        Takes their names out of a text.
    """
    kept = tuple(member for member in cohort.members if member.series_key not in series)
    question = replace(
        cohort.question,
        text=redact(cohort.question.text),
        rest=redact(cohort.question.rest),
        filters=tuple(map(redact, cohort.question.filters)),
        alternatives=tuple(tuple(map(redact, each)) for each in cohort.question.alternatives),
    )
    steps = tuple(replace(step, label=redact(step.label)) for step in cohort.attrition)
    return replace(
        cohort,
        question=question,
        members=kept,
        attrition=steps,
        purpose=redact(cohort.purpose),
        created_by=redact(cohort.created_by),
        n_erased=cohort.n_erased + len(cohort.members) - len(kept),
    )


def dump(stored: Cohort | Deleted) -> bytes:
    """Sealed JSON."""
    body = _plain(stored) if isinstance(stored, Cohort) else asdict(stored)
    return seal({"format_version": FORMAT_VERSION, **body})


def parse(data: bytes, name: str) -> Cohort | Deleted:
    """Read what `dump` wrote.

    Raises
    ------
    CorruptIndexError
        It is damaged, or newer than this software; names `name`.
    """
    body = unseal(data, name, FORMAT_VERSION)
    try:
        if "deleted_s" in body:
            return Deleted(**body)
        return _cohort(body)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptIndexError(f"{name}: not a cohort") from error


def _cohort(body: Mapping[str, Any]) -> Cohort:
    question = dict(body["question"])
    scopes = question["scopes"]
    question |= {
        "filters": tuple(question["filters"]),
        "alternatives": tuple(map(tuple, question["alternatives"])),
        "with_unknown": tuple(question["with_unknown"]),
        "scopes": None if scopes is None else tuple(scopes),
    }
    return Cohort(
        **{
            **body,
            "kind": Kind(body["kind"]),
            "question": Question(**question),
            "members": tuple(
                Member(series_key=key, series_instance_uid=series, study_instance_uid=study)
                for key, series, study in body["members"]
            ),
            "attrition": tuple(Step(**step) for step in body["attrition"]),
        }
    )


def _plain(cohort: Cohort) -> dict[str, Any]:
    # Members as lists: there may be a hundred thousand, and names would be most of the file.
    members = [[m.series_key, m.series_instance_uid, m.study_instance_uid] for m in cohort.members]
    return {**asdict(replace(cohort, members=())), "members": members}
