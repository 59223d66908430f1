"""Roles: what each identity's code path needs, and nothing else."""

from collections.abc import Iterator, Mapping

from infra.check.problems import Problem
from infra.check.rules.order import ASSIGNMENT, TOPIC, principal_of
from infra.check.rules.stores import ACCOUNT, stores_of_the_code
from infra.check.scenarios import OPERATORS, Scenario
from infra.check.values import SUBSCRIPTION, Resource

ROLES = {
    "Storage Blob Data Owner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "Storage Blob Data Contributor": "ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    "Storage Blob Data Reader": "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    # Not Queue Data Reader with Message Processor: after a failure the host updates the message.
    "Storage Queue Data Contributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "Storage Queue Data Message Sender": "c6a89b2d-59bc-44d0-9896-0f6e12d7b80a",
    "Storage Table Data Contributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "AcrPull": "7f951dda-4ed3-4680-a7ca-43fe172d538d",
    "Key Vault Secrets User": "4633458b-17de-408a-b874-0445c86b69e6",
    "Monitoring Metrics Publisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "AzureML Data Scientist": "f6c7c914-8db3-469d-8ca1-694a8f32e121",
    "EventGrid Data Sender": "d5a91429-5739-47e2-a06b-3470a27159e7",
}
_ON_STORES = {
    "container": "Storage Blob Data Contributor",
    "queue": "Storage Queue Data Contributor",
    "table": "Storage Table Data Contributor",
}
_SERVICES = {"container": "blobServices", "queue": "queueServices", "table": "tableServices"}

_ON_OTHERS: Mapping[str, Mapping[str, str]] = {
    "functions": {
        "Microsoft.KeyVault/vaults": "Key Vault Secrets User",
        "Microsoft.EventGrid/topics": "EventGrid Data Sender",
        "Microsoft.Insights/components": "Monitoring Metrics Publisher",
    },
    "worker": {
        "Microsoft.KeyVault/vaults": "Key Vault Secrets User",
        "Microsoft.EventGrid/topics": "EventGrid Data Sender",
        "Microsoft.ContainerRegistry/registries": "AcrPull",
        "Microsoft.Insights/components": "Monitoring Metrics Publisher",
        "Microsoft.MachineLearningServices/workspaces/onlineEndpoints": "AzureML Data Scientist",
    },
}
_DELIVERIES = (
    (
        "properties.deliveryWithResourceIdentity.destination.properties",
        "queueServices/default/queues",
        "queueName",
        "Storage Queue Data Message Sender",
    ),
    (
        "properties.deadLetterWithResourceIdentity.deadLetterDestination.properties",
        "blobServices/default/containers",
        "blobContainerName",
        "Storage Blob Data Contributor",
    ),
)

Grant = tuple[str, str, str]
"""Principal, scope and role."""


def role_problems(scenario: Scenario) -> Iterator[Problem]:
    """Roles that are missing, and those that nothing needs."""
    given: dict[Grant, Resource] = {}
    names = {role: name for name, role in ROLES.items()}
    for resource in scenario.deployment.of_type(ASSIGNMENT):
        principal = str(resource.at("properties.principalId"))
        definition = str(resource.at("properties.roleDefinitionId"))
        role = definition.rpartition("/")[2]
        where = resource.where
        start = f"{SUBSCRIPTION}/providers/Microsoft.Authorization/roleDefinitions/"
        if role not in names or not definition.startswith(start):
            yield Problem(rule="roles", where=where, text=f"{definition} is no role that is known")
            continue
        kind = "Group" if principal == OPERATORS else "ServicePrincipal"
        if resource.at("properties.principalType") != kind:
            text = f"principalType of {principal} is {kind}: a new identity is not found, else"
            yield Problem(rule="roles", where=where, text=text)
        given[principal, resource.ref.scope, names[role]] = resource
    needed = set(_needed(scenario))
    for principal, scope, role in sorted(needed - set(given)):
        text = f"{_short(principal)} has no role {role} on {_short(scope)} ({scenario.name})"
        yield Problem(rule="roles", where="main.bicep", text=text)
    for grant in sorted(set(given) - needed):
        principal, scope, role = grant
        text = f"{_short(principal)} needs no role {role} on {_short(scope)} ({scenario.name})"
        yield Problem(rule="roles", where=given[grant].where, text=text)


def _needed(scenario: Scenario) -> Iterator[Grant]:
    deployment = scenario.deployment
    accounts = {
        kind: one.id
        for one in deployment.of_type(ACCOUNT)
        for kind in ("index", "files", "host")
        if one.ref.names[-1].startswith(kind)
    }
    principals = {
        kind: f"{one.id}#properties.principalId"
        for one in deployment.of_type("Microsoft.ManagedIdentity/userAssignedIdentities")
        for kind in ("functions", "worker")
        if kind in one.ref.names[-1]
    }
    source = f"{accounts.get('files')}/blobServices/default/containers/dicom"
    if group := scenario.values.get("operatorGroupId"):
        yield group, source, "Storage Blob Data Contributor"
        principals["operators"] = group
    for principal in principals.values():
        for kind, name in stores_of_the_code():
            scope = f"{accounts.get('index')}/{_SERVICES[kind]}/default/{kind}s/{name}"
            yield principal, scope, _ON_STORES[kind]
    yield principals.get("functions", ""), str(accounts.get("host")), "Storage Blob Data Owner"
    for program in ("functions", "worker"):
        principal = principals.get(program, "")
        yield principal, source, "Storage Blob Data Reader"
        for kind, role in _ON_OTHERS[program].items():
            for resource in deployment.of_type(kind):
                if not resource.ref.names[0].startswith("kvm-"):  # Azure ML's own
                    yield principal, resource.id, role
    yield from _of_events(scenario)


def _of_events(scenario: Scenario) -> Iterator[Grant]:
    by_id = scenario.deployment.by_id()
    for events in scenario.deployment.of_type(f"{TOPIC}/eventSubscriptions"):
        principal = principal_of(events, by_id)
        for path, service, name, role in _DELIVERIES:
            target = events.at(path) or {}
            scope = f"{target.get('resourceId')}/{service}/{target.get(name)}"
            yield principal, scope, role


def _short(text: str) -> str:
    return "/".join(text.rpartition("/providers/")[2].split("/")[1:]) or text
