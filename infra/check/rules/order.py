"""What is deployed before what."""

from collections.abc import Iterator

from infra.check.problems import Problem
from infra.check.scenarios import Scenario
from infra.check.values import Resource

ASSIGNMENT = "Microsoft.Authorization/roleAssignments"
_PROGRAMS = ("Microsoft.Web/sites", "Microsoft.App/containerApps")
TOPIC = "Microsoft.EventGrid/systemTopics"
# What is written to a site, in this order: what signs callers in names one of the settings.
_WRITES = ("appsettings", "ftp", "scm", "authsettingsV2")
_SUBSCRIPTION = f"{TOPIC}/eventSubscriptions"


def order_problems(scenario: Scenario) -> Iterator[Problem]:
    """Looked-up resources exist and are there first; roles come before those who need them."""
    deployment = scenario.deployment
    by_id = deployment.by_id()
    for resource in deployment.existing:
        # An account has its services whether or not a template says so.
        whole = resource.id
        if resource.type.endswith("Services"):
            whole = resource.id.partition(f"/{resource.type.rpartition('/')[2]}/")[0]
        if whole not in by_id:
            text = f"looks up {resource.id}, which nothing creates ({scenario.name})"
            yield Problem(rule="order", where=resource.where, text=text)
    befores = deployment.befores()
    for resource in deployment.resources:
        for needed in _needed(resource, scenario, by_id):
            if needed.ref.address not in befores[resource.ref.address]:
                text = f"does not wait for {needed.ref.address} ({scenario.name})"
                yield Problem(rule="order", where=resource.where, text=text)


def _needed(
    resource: Resource, scenario: Scenario, by_id: dict[str, Resource]
) -> Iterator[Resource]:
    """What must be there before a resource is: what it names, its roles, and its settings."""
    deployment = scenario.deployment
    yield from _looked_up(resource, by_id)
    if resource.type in (*_PROGRAMS, _SUBSCRIPTION):
        principal = principal_of(resource, by_id)
        for role in deployment.of_type(ASSIGNMENT):
            if role.at("properties.principalId") == principal:
                yield role
    if resource.type in _PROGRAMS:  # vault and registry are asked while a program is made
        for endpoint in deployment.of_type("Microsoft.Network/privateEndpoints"):
            connection = "properties.privateLinkServiceConnections.0.properties"
            if endpoint.at(f"{connection}.privateLinkServiceId") not in _sites(by_id):
                yield endpoint
    if resource.ref.names[-1] in _WRITES:  # a site refuses two writes at once
        before = _WRITES[: _WRITES.index(resource.ref.names[-1])]
        for other in deployment.resources:
            if other.type.startswith("Microsoft.Web/sites/") and other.ref.names[-1] in before:
                yield other


def _sites(by_id: dict[str, Resource]) -> list[str]:
    return [one.id for one in by_id.values() if one.type == "Microsoft.Web/sites"]


def principal_of(resource: Resource, by_id: dict[str, Resource]) -> str:
    """The principal that a program, or the topic of a subscription, signs in as; "" for none."""
    if resource.type == _SUBSCRIPTION:
        topics = [
            one
            for one in by_id.values()
            if one.type == TOPIC and resource.id.startswith(f"{one.id}/")
        ]
        return f"{topics[0].id}#identity.principalId" if topics else ""
    identities = resource.at("identity.userAssignedIdentities") or {}
    return f"{next(iter(identities), '')}#properties.principalId"


def _looked_up(resource: Resource, by_id: dict[str, Resource]) -> Iterator[Resource]:
    """Deployed resources whose ids this one lies in, or names somewhere."""
    for text in (resource.ref.scope, *_texts(resource.body)):
        if text in by_id and by_id[text] is not resource:
            yield by_id[text]
    above = resource.id.rpartition("/")[0].rpartition("/")[0]
    if above in by_id:
        yield by_id[above]


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield str(value)
