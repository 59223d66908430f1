"""What can be reached from where."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra.check.problems import Problem
from infra.check.rules.stores import ACCOUNT
from infra.check.scenarios import Scenario
from infra.check.values import Resource, value_at

_ZONES: Mapping[str, str] = {
    "blob": "privatelink.blob.core.windows.net",
    "queue": "privatelink.queue.core.windows.net",
    "table": "privatelink.table.core.windows.net",
    "sites": "privatelink.azurewebsites.net",
    "registry": "privatelink.azurecr.io",
    "vault": "privatelink.vaultcore.azure.net",
    "topic": "privatelink.eventgrid.azure.net",
    "amlworkspace": "privatelink.api.azureml.ms",
}
_GROUPS: Mapping[str, str] = {
    "Microsoft.Web/sites": "sites",
    "Microsoft.ContainerRegistry/registries": "registry",
    "Microsoft.KeyVault/vaults": "vault",
    "Microsoft.EventGrid/topics": "topic",
    "Microsoft.MachineLearningServices/workspaces": "amlworkspace",
}
_SERVICES = {"blobServices": "blob", "queueServices": "queue", "tableServices": "table"}
_ENDPOINT = "Microsoft.Network/privateEndpoints"

DIAGNOSED: Mapping[str, frozenset[str]] = {
    "Microsoft.App/managedEnvironments": frozenset(
        {"ContainerAppConsoleLogs", "ContainerAppSystemLogs"}
    ),
    "Microsoft.ContainerRegistry/registries": frozenset({"ContainerRegistryLoginEvents"}),
    "Microsoft.EventGrid/systemTopics": frozenset({"AllMetrics"}),
    "Microsoft.EventGrid/topics": frozenset({"AllMetrics"}),
    "Microsoft.KeyVault/vaults": frozenset({"AuditEvent"}),
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints": frozenset(
        {"AmlOnlineEndpointEventLog"}
    ),
    # Metrics only: logs of storage quote URLs, and file names are patient data.
    "Microsoft.Storage/storageAccounts/blobServices": frozenset({"Transaction"}),
    "Microsoft.Storage/storageAccounts/queueServices": frozenset({"Transaction"}),
    "Microsoft.Storage/storageAccounts/tableServices": frozenset({"Transaction"}),
}
"""What has diagnostic settings, always, and what these send. Functions have none: they log to
Application Insights, and each line would be paid for twice."""

MODELS = ("model", "kvm-")
"""How the names of the account and the vault of Azure ML begin."""

_KEPT = {ACCOUNT: ("files", "index"), "Microsoft.KeyVault/vaults": ("kv-",)}
"""What cannot be deleted by mistake where it is private, by how its name begins."""


def exposure_problems(scenario: Scenario) -> Iterator[Problem]:
    """Private things have private endpoints and names for them; all that matters is watched."""
    found = _endpoints(scenario)
    wanted = set(_wanted(scenario)) if scenario.is_private else set()
    for target, group in sorted(wanted - set(found)):
        text = f"no private endpoint leads to {group} of {target} ({scenario.name})"
        yield Problem(rule="exposure", where="main.bicep", text=text)
    for target, group in sorted(set(found) - wanted):
        text = f"the private endpoint to {group} of {target} is nobody's ({scenario.name})"
        yield Problem(rule="exposure", where=found[target, group].where, text=text)
    yield from _names(scenario)
    yield from _subnets(scenario)
    yield from _diagnostics(scenario)
    yield from _doors(scenario)
    yield from _locks(scenario)


def _endpoints(scenario: Scenario) -> dict[tuple[str, str], Resource]:
    found = {}
    for endpoint in scenario.deployment.of_type(_ENDPOINT):
        connection = endpoint.at("properties.privateLinkServiceConnections.0.properties") or {}
        for group in connection.get("groupIds") or []:
            found[str(connection.get("privateLinkServiceId")), group] = endpoint
    return found


def _wanted(scenario: Scenario) -> Iterator[tuple[str, str]]:
    for resource in scenario.deployment.resources:
        if resource.ref.names[0].startswith(MODELS):
            continue  # Azure ML reaches these from its own network, and nobody else does
        if resource.type in _GROUPS:
            yield resource.id, _GROUPS[resource.type]
        service = resource.type.rpartition("/")[2]
        if service in _SERVICES and resource.type.startswith("Microsoft.Storage/"):
            yield resource.id.partition(f"/{service}/")[0], _SERVICES[service]


def _names(scenario: Scenario) -> Iterator[Problem]:
    """Each endpoint has its name in the zone of its kind, and each zone is the network's."""
    by_id = scenario.deployment.by_id()
    groups = scenario.deployment.of_type(f"{_ENDPOINT}/privateDnsZoneGroups")
    linked = {
        one.id.partition("/virtualNetworkLinks/")[0]
        for one in scenario.deployment.of_type(
            "Microsoft.Network/privateDnsZones/virtualNetworkLinks"
        )
        if one.at("properties.virtualNetwork.id") in by_id
        and one.at("properties.registrationEnabled") is False
    }
    for (_, group), endpoint in _endpoints(scenario).items():
        zones = [
            str(one.at("properties.privateDnsZoneConfigs.0.properties.privateDnsZoneId"))
            for one in groups
            if one.id.startswith(f"{endpoint.id}/")
        ]
        if [zone.rpartition("/")[2] for zone in zones] != [_ZONES.get(group)]:
            text = f"{endpoint.ref.names[-1]} has no name in {_ZONES.get(group)}"
            yield Problem(rule="exposure", where=endpoint.where, text=text)
        elif zones[0] not in linked:
            text = f"{zones[0].rpartition('/')[2]} is not linked to the network"
            yield Problem(rule="exposure", where=endpoint.where, text=text)


def _subnets(scenario: Scenario) -> Iterator[Problem]:
    """In a private deployment everything that calls out or is called lies in its subnet."""
    deployment = scenario.deployment
    networks = deployment.of_type("Microsoft.Network/virtualNetworks")
    if len(networks) != int(scenario.is_private):
        text = f"there are {len(networks)} networks ({scenario.name})"
        yield Problem(rule="exposure", where="main.bicep", text=text)
        return
    start = f"{networks[0].id}/subnets/" if networks else ""
    for kind, path, subnet in (
        ("Microsoft.Web/sites", "properties.virtualNetworkSubnetId", "functions"),
        (
            "Microsoft.App/managedEnvironments",
            "properties.vnetConfiguration.infrastructureSubnetId",
            "worker",
        ),
        (_ENDPOINT, "properties.subnet.id", "endpoints"),
    ):
        for resource in deployment.of_type(kind):
            expected = f"{start}{subnet}" if start else None
            if resource.at(path) != expected:
                text = f"{path} is {expected or 'empty'} ({scenario.name})"
                yield Problem(rule="exposure", where=resource.where, text=text)
    for network in networks:
        subnets = {one.get("name"): one for one in network.at("properties.subnets") or []}
        prefixes = {value_at(one, "properties.addressPrefix") for one in subnets.values()}
        if (
            set(subnets) != {"functions", "worker", "endpoints"}
            or None in prefixes
            or len(prefixes) < len(subnets)
        ):
            text = "the network has three subnets with addresses of their own"
            yield Problem(rule="exposure", where=network.where, text=text)
        yield from _callers(scenario, subnets)
        for name in ("functions", "worker"):
            delegations = (subnets.get(name, {}).get("properties") or {}).get("delegations") or []
            served = [(one.get("properties") or {}).get("serviceName") for one in delegations]
            if served != ["Microsoft.App/environments"]:
                text = f"subnet {name} is not delegated to Microsoft.App/environments"
                yield Problem(rule="exposure", where=network.where, text=text)


def _callers(scenario: Scenario, subnets: Mapping[str, Any]) -> Iterator[Problem]:
    """Rules of who may call in are about the subnet that they are given to."""
    by_id = scenario.deployment.by_id()
    for name, subnet in subnets.items():
        own = value_at(subnet, "properties.addressPrefix")
        rules = by_id.get(str(value_at(subnet, "properties.networkSecurityGroup.id")))
        if rules is None:
            continue  # `said` tells of it
        callers = {own, "AzureLoadBalancer", "VirtualNetwork"}
        for rule in rules.at("properties.securityRules") or []:
            said = rule["properties"]
            is_own = (
                said.get("destinationAddressPrefix") == own
                and said.get("sourceAddressPrefix") in callers
            )
            if said.get("access") != "Deny" and not is_own:
                text = f"{rule['name']} is about {own}, the addresses of {name}"
                yield Problem(rule="exposure", where=rules.where, text=text)


def _doors(scenario: Scenario) -> Iterator[Problem]:
    """An app has what signs callers in, and takes no password of a publisher."""
    for app in scenario.deployment.of_type("Microsoft.Web/sites"):
        present = {
            one.ref.names[-1]
            for one in scenario.deployment.resources
            if one.id.startswith(f"{app.id}/")
        }
        for name in sorted({"appsettings", "authsettingsV2", "ftp", "scm"} - present):
            text = f"{name} is not said ({scenario.name})"
            yield Problem(rule="exposure", where=app.where, text=text)


def _locks(scenario: Scenario) -> Iterator[Problem]:
    """Patient data and their key have locks in a private deployment, and nothing else has."""
    locked = {one.ref.scope for one in scenario.deployment.of_type("Microsoft.Authorization/locks")}
    for resource in scenario.deployment.resources:
        is_kept = resource.ref.names[-1].startswith(_KEPT.get(resource.type, ("-",)))
        if (is_kept and scenario.is_private) != (resource.id in locked):
            text = f"{'no lock' if is_kept else 'a lock'} on {resource.ref.names[-1]}"
            yield Problem(rule="exposure", where=resource.where, text=f"{text} ({scenario.name})")


def _diagnostics(scenario: Scenario) -> Iterator[Problem]:
    workspaces = scenario.deployment.of_type("Microsoft.OperationalInsights/workspaces")
    sent: dict[str, set[str]] = {}
    for one in scenario.deployment.of_type("Microsoft.Insights/diagnosticSettings"):
        kinds = [*(one.at("properties.logs") or []), *(one.at("properties.metrics") or [])]
        if workspaces and one.at("properties.workspaceId") == workspaces[0].id:
            sent.setdefault(one.ref.scope, set()).update(
                str(kind.get("category")) for kind in kinds if kind.get("enabled") is True
            )
        if "/storageAccounts/" in one.ref.scope and one.at("properties.logs"):
            text = "logs of storage quote URLs, and file names are patient data"
            yield Problem(rule="exposure", where=one.where, text=text)
    for resource in scenario.deployment.resources:
        wanted = DIAGNOSED.get(resource.type, frozenset())
        if wanted != sent.get(resource.id, set()):
            text = f"{resource.ref.names[0]} sends {', '.join(sorted(wanted)) or 'nothing'}"
            yield Problem(rule="exposure", where=resource.where, text=text)
