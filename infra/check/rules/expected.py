"""What the tables of `said` can expect at a path, besides a plain value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Present:
    """Something, but not nothing."""


@dataclass(frozen=True, slots=True)
class Either:
    """One value with the private switch on, another with it off."""

    private: Any
    public: Any


@dataclass(frozen=True, slots=True)
class OneOf:
    """Any of these."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Parameter:
    """The value of a parameter of the main template."""

    name: str
    default: Any


@dataclass(frozen=True, slots=True)
class Of:
    """The id of a resource of this type, whose name may begin so, with something after it."""

    type: str
    start: str = ""
    after: str = ""


Table = Mapping[str, Mapping[str, Any]]
"""By how the name begins, the path and what is there."""

STORAGE = "Microsoft.Storage/storageAccounts"
IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities"
WORKSPACE = Of("Microsoft.OperationalInsights/workspaces")
PEOPLE = Of("Microsoft.Insights/actionGroups")
ML = "Microsoft.MachineLearningServices/workspaces"
PRIVATE = Either("Disabled", "Enabled")
