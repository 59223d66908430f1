"""What each kind of resource must say, whatever the defaults of Azure are or become."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.check.problems import Problem
from infra.check.rules.expected import Either, Of, OneOf, Parameter, Present
from infra.check.rules.said_stores import BY_ACCOUNT
from infra.check.rules.said_tables import DECORATED, SAID, UNTAGGED
from infra.check.scenarios import Scenario
from infra.check.values import Resource, value_at


def said_problems(scenario: Scenario) -> Iterator[Problem]:
    """Where a resource does not say what it must."""
    for resource in scenario.deployment.resources:
        for text in (*_basics(scenario, resource), *_said(scenario, resource)):
            text_there = f"{text} ({resource.ref.names[-1]}, {scenario.name})"
            yield Problem(rule="said", where=resource.where, text=text_there)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Verdict:
    is_right: bool
    expected: str


def _basics(scenario: Scenario, resource: Resource) -> Iterator[str]:
    decorators = dict(DECORATED.get(resource.type, {}))
    if dict(resource.decorators) != decorators:
        yield f"decorators are {decorators or 'none'}"
    if resource.type in UNTAGGED:
        return
    tags = resource.at("tags") or {}
    expected: Mapping[str, str] = {
        "azd-env-name": scenario.values["environmentName"],
        "data-classification": "patient-data",
        "product": "dicom-indexer",
        **UNTAGGED_BUT.get(resource.type, {}),
    }
    if tags != expected:
        yield f"tags are {dict(expected)}"
    if resource.at("location") not in (scenario.values["location"], "global"):
        yield "location is the region of the deployment"


UNTAGGED_BUT: Mapping[str, Mapping[str, str]] = {
    "Microsoft.Web/sites": {"azd-service-name": "functions"},
    "Microsoft.App/containerApps": {"azd-service-name": "worker"},
}
"""Further tags: by these azd finds what it deploys to."""


def _said(scenario: Scenario, resource: Resource) -> Iterator[str]:
    if resource.type not in SAID:
        yield f"no rule for what {resource.type} says: add one"
        return
    tables = [*SAID[resource.type].items()]
    for start, table in BY_ACCOUNT.get(resource.type, {}).items():
        if resource.ref.names[0].startswith(start):
            tables.append(("", table))
    for name, table in tables:
        if name and not resource.ref.names[-1].startswith(name):
            continue
        for path, expected in table.items():
            value = value_at(resource.body, path)
            verdict = _verdict(scenario, expected, value)
            if not verdict.is_right:
                yield f"{path} is {verdict.expected}"


def _verdict(scenario: Scenario, expected: Any, value: Any) -> _Verdict:  # noqa: PLR0911 - one per kind
    match expected:
        case Present():
            return _Verdict(is_right=bool(value), expected="said")
        case Either(private=private, public=public):
            return _verdict(scenario, private if scenario.is_private else public, value)
        case OneOf(values=values):
            return _Verdict(is_right=value in values, expected=f"one of {values}")
        case Parameter(name=name, default=default):
            return _verdict(scenario, scenario.values.get(name, default), value)
        case Of():
            is_there = value in _ids(scenario, expected)
            return _Verdict(is_right=is_there, expected=f"that of the {expected.type}")
        case dict() | list():
            return _all(scenario, expected, value)
        case _:
            # True is 1 in Python, and not in a template.
            is_kind = isinstance(value, bool) == isinstance(expected, bool)
            return _Verdict(is_right=is_kind and value == expected, expected=repr(expected))


def _ids(scenario: Scenario, of: Of) -> list[str]:
    return [
        one.id + of.after
        for one in scenario.deployment.of_type(of.type)
        if one.ref.names[-1].startswith(of.start)
    ]


def _all(scenario: Scenario, expected: Any, value: Any) -> _Verdict:
    """Each part of an object or array as expected, and no other part."""
    if not isinstance(value, type(expected)):
        return _Verdict(is_right=False, expected=f"a {type(expected).__name__}")
    wanted = expected if isinstance(expected, dict) else dict(enumerate(expected))
    found = value if isinstance(value, dict) else dict(enumerate(value))
    for name in (*wanted, *(name for name in found if name not in wanted)):
        verdict = _verdict(scenario, wanted.get(name), found.get(name))
        if not verdict.is_right:
            return replace(verdict, expected=f"wrong at {name}: {verdict.expected}")
    return _Verdict(is_right=True, expected="")
