"""What expressions come to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SUBSCRIPTION = "/subscriptions/00000000-0000-0000-0000-00000000000a"


class Late(str):
    """A text that only the deployment knows, or that holds one; tells where it comes from."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRef:
    """A resource as expressions see it: what is known before it is deployed.

    names: its own and those of its parents. scope: id of what it lies in.
    """

    address: str
    type: str
    names: tuple[str, ...]
    scope: str
    is_existing: bool

    @property
    def id(self) -> str:
        """The resource id."""
        if self.type == "Microsoft.Resources/resourceGroups":
            return f"{self.scope}/resourceGroups/{self.names[-1]}"
        provider, *kinds = self.type.split("/")
        path = "/".join(f"{kind}/{name}" for kind, name in zip(kinds, self.names, strict=False))
        made = f"{self.scope}/providers/{provider}/{path}"
        return Late(made) if any(isinstance(name, Late) for name in self.names) else made


@dataclass(frozen=True, slots=True, kw_only=True)
class ModuleRef:
    """A module as expressions see it."""

    address: str
    outputs: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource that would be deployed, or that is looked up (`is_existing`).

    depends: addresses of resources and modules that are deployed before it. decorators: with their
    number, where they have one.
    """

    ref: ResourceRef
    version: str
    where: str
    body: dict[str, Any] = field(default_factory=dict)
    depends: frozenset[str] = frozenset()
    decorators: Mapping[str, int | None] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The resource id."""
        return self.ref.id

    @property
    def type(self) -> str:
        """Its type, without the version."""
        return self.ref.type

    def at(self, path: str) -> Any:
        """The value at a dotted path, or None."""
        return value_at(self.body, path)


def value_at(value: Any, path: str) -> Any:
    """The value at a dotted path, or None where a part is absent."""
    for part in path.split("."):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
