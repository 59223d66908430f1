"""Who sends what to whom, and who reads what: as the templates, and the code's triggers, say it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from infra.check.expanding import Deployment
from infra.check.rules.order import ASSIGNMENT, principal_of
from infra.check.rules.roles import ROLES
from infra.check.rules.stores import ACCOUNT, triggers_of_the_code
from infra.check.values import Resource
from infra.picture.things import Flow

SUBSCRIPTION = "Microsoft.EventGrid/systemTopics/eventSubscriptions"
PLAN = "Microsoft.Web/serverfarms"
ENVIRONMENT = "Microsoft.App/managedEnvironments"
_APP = "Microsoft.Web/sites"
_WORKER = "Microsoft.App/containerApps"
_QUEUES = f"{ACCOUNT}/queueServices/queues"
_CONTAINERS = f"{ACCOUNT}/blobServices/containers"
_DELIVERY = "properties.deliveryWithResourceIdentity.destination.properties"
_DEAD = "properties.deadLetterWithResourceIdentity.deadLetterDestination.properties"
_TAKES = re.compile(r"Reader$|User$|Pull$")
_GIVES = re.compile(r"Sender$|Publisher$")


@dataclass(frozen=True, slots=True)
class Places:
    """By an address, that of the box by which it is drawn; and by that, the box's column."""

    boxes: Mapping[str, str]
    columns: Mapping[str, int]


def flows_of(deployment: Deployment, places: Places) -> Iterator[Flow]:
    """Every flow between things that are drawn, each once."""
    yield from _events(deployment)
    yield from _messages(deployment)
    yield from _named(deployment, places)


def _events(deployment: Deployment) -> Iterator[Flow]:
    """From the files to the topic; from the subscription to its queue and its dead letters."""
    by_id = deployment.by_id()
    for topic in deployment.of_type("Microsoft.EventGrid/systemTopics"):
        if source := by_id.get(str(topic.at("properties.source"))):
            yield Flow(source=source.ref.address, target=topic.ref.address, is_event=True)
    for one in deployment.of_type(SUBSCRIPTION):
        to, dead = one.at(_DELIVERY) or {}, one.at(_DEAD) or {}
        targets = (
            (to.get("resourceId"), _QUEUES, to.get("queueName")),
            (dead.get("resourceId"), _CONTAINERS, dead.get("blobContainerName")),
        )
        for account, kind, name in targets:
            if found := _store(deployment, account, kind, name):
                yield Flow(source=one.ref.address, target=found.ref.address, is_event=True)


def _messages(deployment: Deployment) -> Iterator[Flow]:
    """From a queue to what its messages start: functions by their triggers, the worker by KEDA."""
    for app in deployment.of_type(_APP):
        for queue in deployment.of_type(_QUEUES):
            if queue.ref.names[-1] in triggers_of_the_code():
                yield Flow(source=queue.ref.address, target=app.ref.address, is_event=True)
    for worker in deployment.of_type(_WORKER):
        for rule in worker.at("properties.template.scale.rules") or []:
            asked = rule.get("azureQueue", {})
            for account in deployment.of_type(ACCOUNT):
                if account.ref.names[-1] == asked.get("accountName"):
                    name = asked.get("queueName")
                    if found := _store(deployment, account.id, _QUEUES, name):
                        yield Flow(
                            source=found.ref.address, target=worker.ref.address, is_event=True
                        )


def _store(
    deployment: Deployment, account: str | None, kind: str, name: str | None
) -> Resource | None:
    for one in deployment.of_type(kind):
        if one.ref.names[-1] == name and one.id.startswith(f"{account}/"):
            return one
    return None


def _named(deployment: Deployment, places: Places) -> Iterator[Flow]:
    """From what a program's settings name to the program, or to it, as its roles there allow."""
    by_id = deployment.by_id()
    for program in (*deployment.of_type(_APP), *deployment.of_type(_WORKER)):
        settings = dict(_settings(deployment, program))
        principal = principal_of(program, by_id)
        for target in deployment.resources:
            address = target.ref.address
            if places.boxes.get(address) != address or address == program.ref.address:
                continue
            names = sorted((n for n, text in settings.items() if _names(text, target)), key=len)
            roles = list(_roles(deployment, principal, target))
            if not names or not roles:
                continue
            takes, gives = all(map(_TAKES.search, roles)), all(map(_GIVES.search, roles))
            ends = (address, program.ref.address) if takes else (program.ref.address, address)
            yield Flow(
                source=ends[0],
                target=ends[1],
                is_event=False,
                is_mutual=not takes and not gives,
                label=names[0],
            )


def _names(text: str, target: Resource) -> bool:
    # Accounts are named by their name alone; "worker" is a name, too.
    return target.id in text or (target.type == ACCOUNT and target.ref.names[-1] in text)


def _settings(deployment: Deployment, program: Resource) -> Iterator[tuple[str, str]]:
    """Names and values of a program's settings, and of what else it names."""
    for one in deployment.resources:
        if one.type == f"{_APP}/config" and one.id == f"{program.id}/config/appsettings":
            yield from ((key, str(value)) for key, value in one.at("properties").items())
    for container in program.at("properties.template.containers") or []:
        for setting in container.get("env", []):
            yield setting["name"], str(setting.get("value", ""))
    for kind, key in (("secrets", "keyVaultUrl"), ("registries", "server")):
        for item in program.at(f"properties.configuration.{kind}") or []:
            yield str(item.get("name", kind)), str(item.get(key, ""))


def role_of(assignment: Resource) -> str:
    """Name of the role that is assigned; where nobody has named it, its id."""
    role = str(assignment.at("properties.roleDefinitionId")).rpartition("/")[2]
    return next((name for name, known in ROLES.items() if known == role), role)


def _roles(deployment: Deployment, principal: str, target: Resource) -> Iterator[str]:
    for one in deployment.of_type(ASSIGNMENT):
        where = f"{one.ref.scope}/"
        if one.at("properties.principalId") == principal and where.startswith(f"{target.id}/"):
            yield role_of(one)
