"""Saved cohorts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A line of the attrition table: what was asked for, and how many series are left after it.

    unknown: series that it left out only because the field is unknown for them. None: too few to
    be told.
    """

    label: str
    series: int | None
    unknown: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """A frozen answer that can be cited by name, version and digest.

    series: how many it had when it was saved. manifest: the state of the index that it was drawn
    from. as_saved: whether the digest still proves the content (a purge takes series out).
    attrition, card: empty in a list of cohorts. raw: all that the service says.
    """

    name: str
    version: int
    created: str
    text: str
    filters: tuple[str, ...]
    manifest: int
    series: int | None
    digest: str
    as_saved: bool
    attrition: tuple[Step, ...]
    card: Mapping[str, Any]
    raw: Mapping[str, Any]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Cohort":
        """Read a cohort of an answer."""
        return cls(
            name=value["name"],
            version=value["version"],
            created=value["created"],
            text=value["text"],
            filters=tuple(value["filters"]),
            manifest=value["manifest"],
            series=value["series"],
            digest=value["digest"],
            as_saved=value["asSaved"],
            attrition=tuple(
                Step(label=each["label"], series=each["series"], unknown=each["unknown"])
                for each in value.get("attrition", ())
            ),
            card=value.get("card", {}),
            raw=value,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has changed between the manifest of a cohort and the newest.

    counts: by kind of change. series: of each its ``change``, ``seriesInstanceUid`` and why.
    """

    before: int
    after: int
    counts: Mapping[str, int]
    series: tuple[Mapping[str, Any], ...]

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "News":
        """Read an answer."""
        return cls(
            before=value["before"],
            after=value["after"],
            counts=value["counts"],
            series=tuple(value["series"]),
        )
