"""Facets: how many series have each value of a field."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """Counts of one field, the largest first.

    counts: by value, None where it is too small to be told. unknown: series whose value is not
    known. other: series of values that are not listed. is_withheld: nothing of it can be told
    without telling a small count.
    """

    field: str
    counts: Mapping[str, int | None]
    unknown: int | None
    other: int | None
    is_withheld: bool

    @classmethod
    def from_json(cls, field: str, value: Mapping[str, Any]) -> "Facet":
        """Read a facet of an answer."""
        return cls(
            field=field,
            counts={each["value"]: each["count"] for each in value["values"]},
            unknown=value["unknown"],
            other=value["other"],
            is_withheld=value["isWithheld"],
        )
