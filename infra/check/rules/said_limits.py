"""What limits and what connects must say."""

from collections.abc import Mapping
from typing import Any

from infra.check.rules.expected import ML, Of, Parameter, Present, Table

_DEFINITIONS = "Microsoft.Authorization/policyDefinitions"
_DEPLOYMENTS = f"{ML}/onlineEndpoints/deployments"
_RULES = "Microsoft.Network/networkSecurityGroups"
_ANYWHERE = {"sourcePortRange": "*"}


def _rule(name: str, priority: int, **said: Any) -> Mapping[str, Any]:
    properties = {"direction": "Inbound", "priority": priority, **_ANYWHERE, **said}
    return {"name": name, "properties": properties}


def _inbound(*allowed: Mapping[str, Any]) -> Mapping[str, Any]:
    """These may call, nobody else may."""
    return {"properties.securityRules": [*allowed, _NOBODY_ELSE]}


_NOBODY_ELSE = _rule(
    "nobody-else",
    4096,
    access="Deny",
    protocol="*",
    sourceAddressPrefix="*",
    destinationAddressPrefix="*",
    destinationPortRange="*",
)
_EACH_OTHER = _rule(
    "each-other",
    100,
    access="Allow",
    protocol="*",
    sourceAddressPrefix=Present(),
    destinationAddressPrefix=Present(),
    destinationPortRange="*",
)
_LOAD_BALANCER = _rule(
    "load-balancer",
    110,
    access="Allow",
    protocol="Tcp",
    sourceAddressPrefix="AzureLoadBalancer",
    destinationAddressPrefix=Present(),
    destinationPortRange="30000-32767",
)
_BY_TLS = _rule(
    "by-tls",
    100,
    access="Allow",
    protocol="Tcp",
    sourceAddressPrefix="VirtualNetwork",
    destinationAddressPrefix=Present(),
    destinationPortRange="443",
)

OF_LIMITS: Mapping[str, Table] = {
    "Microsoft.Authorization/locks": {"": {"properties.level": "CanNotDelete"}},
    "Microsoft.Authorization/policyAssignments": {
        "": {
            "properties.displayName": Present(),
            "properties.enforcementMode": "Default",
        },
        "container-apps": {
            "properties.policyDefinitionId": Of(_DEFINITIONS, "container-apps"),
            "properties.parameters.allowed.value.0": "Consumption",
            "properties.parameters.allowed.value.1": Parameter("workerProfile", None),
        },
        "machine-sizes": {
            "properties.policyDefinitionId": (
                "/providers/Microsoft.Authorization/policyDefinitions/"
                "cccc23c7-8427-4f53-ad12-b6a63eb452b3"
            ),
            "properties.parameters.listOfAllowedSKUs.value.0": Parameter(
                "medImageInsightMachine", "Standard_NC4as_T4_v3"
            ),
        },
        "model-machines": {
            "properties.policyDefinitionId": Of(_DEFINITIONS, "machine-learning"),
            "properties.parameters.allowed.value": [
                Parameter("medImageInsightMachine", "Standard_NC4as_T4_v3")
            ],
        },
    },
    "Microsoft.Authorization/policyDefinitions": {
        "": {
            "properties.displayName": Present(),
            "properties.policyType": "Custom",
            "properties.mode": "All",
            "properties.parameters.allowed.type": "Array",
            "properties.policyRule.then.effect": "deny",
        },
        "container-apps": {
            "properties.policyRule.if.allOf.0": {
                "field": "type",
                "equals": "Microsoft.App/managedEnvironments",
            },
            "properties.policyRule.if.allOf.1.greater": 0,
            "properties.policyRule.if.allOf.1.count.field": (
                "Microsoft.App/managedEnvironments/workloadProfiles[*]"
            ),
            "properties.policyRule.if.allOf.1.count.where": {
                "field": (
                    "Microsoft.App/managedEnvironments/workloadProfiles[*].workloadProfileType"
                ),
                "notIn": "[parameters('allowed')]",
            },
        },
        "machine-learning": {
            "properties.policyRule.if.allOf": [
                {"field": "type", "equals": _DEPLOYMENTS},
                {"field": f"{_DEPLOYMENTS}/instanceType", "notIn": "[parameters('allowed')]"},
            ],
        },
    },
    # The rule of roles checks these in full.
    "Microsoft.Authorization/roleAssignments": {},
    "Microsoft.Resources/resourceGroups": {},
}
"""What limits."""

OF_NETWORK: Mapping[str, Table] = {
    "Microsoft.Network/virtualNetworks": {
        "": {
            "properties.addressSpace.addressPrefixes.0": Parameter("addressPrefix", "10.60.0.0/22"),
            "properties.subnets.0.properties.networkSecurityGroup.id": Of(_RULES, "nsg-functions"),
            "properties.subnets.1.properties.networkSecurityGroup.id": Of(_RULES, "nsg-worker"),
            "properties.subnets.2.properties.networkSecurityGroup.id": Of(_RULES, "nsg-endpoints"),
            "properties.subnets.2.properties.privateEndpointNetworkPolicies": "Enabled",
        }
    },
    # The addresses, which move with the network's, are compared by the rule of exposure.
    _RULES: {
        "nsg-functions": _inbound(_EACH_OTHER, _LOAD_BALANCER),
        "nsg-worker": _inbound(_EACH_OTHER, _LOAD_BALANCER),
        "nsg-endpoints": _inbound(_BY_TLS),
    },
    "Microsoft.Network/privateDnsZones": {"": {"location": "global"}},
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks": {
        "": {
            "location": "global",
            "properties.registrationEnabled": False,
            "properties.virtualNetwork.id": Of("Microsoft.Network/virtualNetworks"),
        }
    },
    "Microsoft.Network/privateEndpoints": {
        "": {"properties.privateLinkServiceConnections.0.name": Present()}
    },
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": {},
}
"""What the network says."""
