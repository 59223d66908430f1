"""Who may see what: projects name scopes, and the groups and roles whose members may see them.

A caller becomes a set of scopes, which every selection is limited to; None: no limit. Whoever is
allowed nothing is told so (`AccessError`), and is not shown an empty index.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from indexer_core.errors import InvalidInputError

_MAX_PRINCIPAL_CHARACTERS = 65_536
_OBJECT_ID = frozenset(("oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"))
_GROUPS = frozenset(("groups", "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups"))
_ROLES = frozenset(("roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"))
# A token that cannot list its groups says where to ask for them instead.
_OVERAGE = frozenset(("hasgroups", "_claim_names"))
_CALLER = re.compile(r"[A-Za-z0-9_.@:-]{1,128}")


class Refusal(StrEnum):
    """Why a caller is turned away; stable codes."""

    UNAUTHENTICATED = "unauthenticated"
    FORBIDDEN = "forbidden"
    GROUPS_OVERAGE = "groupsOverage"


class AccessError(Exception):
    """The caller is not known, or may see nothing.

    caller: the id of who is known, and refused; "" where nobody is.
    """

    def __init__(self, refusal: Refusal, detail: str, *, caller: str = "") -> None:
        super().__init__(detail)
        self.refusal = refusal
        self.caller = caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a token was issued to. id: an object id, no name. has_overage: groups are not listed."""

    id: str
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    has_overage: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and the scopes that the answer may be about; None: all."""

    id: str
    scopes: frozenset[str] | None = None

    def may_see(self, scope: object) -> bool:
        """Whether a series of this scope may be shown."""
        return self.scopes is None or scope in self.scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Scopes that belong together, and whose members see them."""

    scopes: frozenset[str]
    groups: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What callers may see.

    Parameters
    ----------
    projects
        By name. Empty: every caller sees everything.
    keys_see_all
        Whether a caller who has a key and no name sees everything although there are projects.
    """

    projects: Mapping[str, Project]
    keys_see_all: bool = False

    def of_key(self) -> Caller:
        """A caller of whom nothing is known but that a key was right.

        Raises
        ------
        AccessError
            There are projects, and keys do not open them.
        """
        if self.projects and not self.keys_see_all:
            raise AccessError(
                Refusal.FORBIDDEN,
                "a key names nobody, and what is here belongs to projects",
                caller="key",
            )
        return Caller(id="key")

    def of_principal(self, principal: Principal) -> Caller:
        """A caller who has signed in.

        Raises
        ------
        AccessError
            No project is open to them, or it cannot be told which are.
        """
        if not self.projects:
            return Caller(id=principal.id)
        scopes = frozenset(
            scope
            for project in self.projects.values()
            if project.groups & principal.groups or project.roles & principal.roles
            for scope in project.scopes
        )
        if principal.has_overage and any(each.groups for each in self.projects.values()):
            # Some projects may be missing from what is listed: half an answer looks like a whole.
            raise AccessError(
                Refusal.GROUPS_OVERAGE,
                "the token has too many groups to list them: let the app registration emit only "
                "the groups that are assigned to the application, or use app roles",
                caller=principal.id,
            )
        if not scopes:
            raise AccessError(
                Refusal.FORBIDDEN, "no project is open to this caller", caller=principal.id
            )
        return Caller(id=principal.id, scopes=scopes)


OPEN = Access(projects={})


def parse_principal(header: str) -> Principal:
    """Read the header in which Easy Auth says who has signed in.

    Raises
    ------
    AccessError
        It is not such a header.
    """
    if len(header) > _MAX_PRINCIPAL_CHARACTERS:
        raise _malformed()
    try:
        said = json.loads(base64.b64decode(header, validate=True))
        claims = [(str(claim["typ"]), str(claim["val"])) for claim in said["claims"]]
    except (binascii.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _malformed() from error
    ids = [value for kind, value in claims if kind in _OBJECT_ID]
    if not ids or not _CALLER.fullmatch(ids[0]):
        raise _malformed()
    return Principal(
        id=ids[0],
        groups=frozenset(value for kind, value in claims if kind in _GROUPS),
        roles=frozenset(value for kind, value in claims if kind in _ROLES),
        has_overage=any(kind in _OVERAGE and _says_groups(kind, val) for kind, val in claims),
    )


def parse_projects(text: str, name: str) -> dict[str, Project]:
    """Projects from a setting: JSON, ``{"project": {"scopes": [], "groups": [], "roles": []}}``.

    Raises
    ------
    InvalidInputError
        It is something else; the message names the setting.
    """
    if not text:
        return {}
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{name} is not JSON") from error
    if not isinstance(said, dict) or not said:
        raise InvalidInputError(f"{name} is an object with at least one project")
    return {title: _project(value, name) for title, value in said.items()}


def _project(value: Any, name: str) -> Project:
    if not isinstance(value, dict) or not set(value) <= {"scopes", "groups", "roles"}:
        raise InvalidInputError(f"{name}: a project has scopes, groups and roles")
    if not all(_are_texts(texts) for texts in value.values()):
        raise InvalidInputError(f"{name}: scopes, groups and roles are lists of strings")
    if not value.get("scopes"):
        raise InvalidInputError(f"{name}: a project has at least one scope")
    return Project(
        scopes=frozenset(value["scopes"]),
        groups=frozenset(value.get("groups", ())),
        roles=frozenset(value.get("roles", ())),
    )


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(each, str) and each for each in values)


def _says_groups(kind: str, value: str) -> bool:
    return value.lower() == "true" if kind == "hasgroups" else "groups" in value


def _malformed() -> AccessError:
    return AccessError(Refusal.UNAUTHENTICATED, "the principal of the request cannot be read")
