"""Names: valid, unique, and told apart between deployments."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from infra.check.functions import guid, unique_string
from infra.check.problems import Problem
from infra.check.rules.alert_tables import ALERTS
from infra.check.rules.order import ASSIGNMENT, TOPIC
from infra.check.scenarios import Scenario
from infra.check.values import SUBSCRIPTION, Late


def _alerts(kind: str) -> str:
    names = "|".join(name for name, alert in ALERTS.items() if alert.type == kind)
    return f"({names})-{{token}}"


# By Azure's rules and ours: what is unique in the world, or in a group, ends in the token.
PATTERNS: Mapping[str, str] = {
    "Microsoft.App/containerApps": r"worker-{token}",
    "Microsoft.App/managedEnvironments": r"cae-{token}",
    "Microsoft.Authorization/locks": r"kept",
    "Microsoft.Authorization/policyAssignments": r"[a-z-]{{1,24}}",
    "Microsoft.Authorization/policyDefinitions": r"[a-z-]{{1,40}}-{token}",
    "Microsoft.Authorization/roleAssignments": r"[0-9a-f-]{{36}}",
    "Microsoft.Consumption/budgets": r"monthly-{token}",
    "Microsoft.ContainerRegistry/registries": r"cr{token}",
    "Microsoft.EventGrid/systemTopics": r"evgt-files-{token}",
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": r"files-to-queue",
    "Microsoft.EventGrid/topics": r"evgt-series-{token}",
    "Microsoft.Insights/actionGroups": r"people-{token}",
    "Microsoft.Insights/components": r"appi-{token}",
    "Microsoft.Insights/diagnosticSettings": r"metrics|log|audit|sign-ins",
    "Microsoft.Insights/metricAlerts": _alerts("Microsoft.Insights/metricAlerts"),
    "Microsoft.Insights/scheduledQueryRules": _alerts("Microsoft.Insights/scheduledQueryRules"),
    "Microsoft.Insights/workbooks": r"[0-9a-f-]{{36}}",
    "Microsoft.KeyVault/vaults": r"kvm?-{token}",
    "Microsoft.KeyVault/vaults/secrets": r"patient-hash-key",
    "Microsoft.MachineLearningServices/workspaces": r"mlw-{token}",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints": r"medimageinsight-{token}",
    "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments": r"v12",
    "Microsoft.ManagedIdentity/userAssignedIdentities": r"id-(functions|worker)-{token}",
    "Microsoft.Network/networkSecurityGroups": r"nsg-(functions|worker|endpoints)-{token}",
    "Microsoft.Network/privateDnsZones": r"privatelink(\.[a-z]+)+",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": r"link-{token}",
    "Microsoft.Network/privateEndpoints": r"pe-[a-z-]{{1,40}}-{token}",
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": r"default",
    "Microsoft.Network/virtualNetworks": r"vnet-{token}",
    "Microsoft.OperationalInsights/workspaces": r"log-{token}",
    "Microsoft.Resources/resourceGroups": r"rg-[a-z0-9-]{{2,24}}(-model)?",
    "Microsoft.Storage/storageAccounts": r"(files|index|host|model){token}",
    "Microsoft.Storage/storageAccounts/blobServices": r"default",
    "Microsoft.Storage/storageAccounts/blobServices/containers": (
        r"index|dead-letters|packages|dicom"
    ),
    "Microsoft.Storage/storageAccounts/managementPolicies": r"default",
    "Microsoft.Storage/storageAccounts/queueServices": r"default",
    "Microsoft.Storage/storageAccounts/queueServices/queues": r"[a-z-]{{3,63}}",
    "Microsoft.Storage/storageAccounts/tableServices": r"default",
    "Microsoft.Storage/storageAccounts/tableServices/tables": r"[a-z]{{3,63}}",
    "Microsoft.Web/serverfarms": r"plan-func-{token}",
    "Microsoft.Web/sites": r"func-{token}",
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": r"ftp|scm",
    "Microsoft.Web/sites/config": r"appsettings|authsettingsV2",
}
_MOST = {"Microsoft.KeyVault/vaults": 24, "Microsoft.App/containerApps": 32}


def name_problems(scenario: Scenario) -> Iterator[Problem]:
    """Names that are not as they must be, and those that are used twice."""
    values = scenario.values
    token = unique_string(SUBSCRIPTION, values["environmentName"], values["location"])
    for resource in scenario.deployment.resources:
        name = resource.ref.names[-1]
        if resource.type not in PATTERNS:
            text = f"no rule for names of {resource.type}: add one"
            yield Problem(rule="names", where=resource.where, text=text)
            continue
        pattern = PATTERNS[resource.type].format(token=token)
        if resource.type == TOPIC and scenario.values.get("eventTopicName"):
            pattern = re.escape(scenario.values["eventTopicName"])
        if not re.fullmatch(pattern, name) or len(name) > _MOST.get(resource.type, 90):
            yield Problem(rule="names", where=resource.where, text=f"{name} is no valid name")
        if isinstance(name, Late):
            text = f"{name} is not known before the deployment"
            yield Problem(rule="names", where=resource.where, text=text)
        if resource.type == ASSIGNMENT:
            role = str(resource.at("properties.roleDefinitionId")).rpartition("/")[2]
            own = guid(resource.ref.scope, resource.at("properties.principalId"), role)
            if name != own:
                text = "a role assignment is named by scope, principal and role"
                yield Problem(rule="names", where=resource.where, text=text)
    counted = Counter(resource.id.lower() for resource in scenario.deployment.resources)
    for resource in scenario.deployment.resources:
        if counted[resource.id.lower()] > 1:
            text = f"{resource.id} is created twice ({scenario.name})"
            yield Problem(rule="names", where=resource.where, text=text)
