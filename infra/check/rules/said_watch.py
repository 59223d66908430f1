"""What watches, limits and connects must say."""

from collections.abc import Mapping

from infra.check.rules.expected import (
    PEOPLE,
    WORKSPACE,
    Of,
    Parameter,
    Present,
    Table,
)

OF_WATCH: Mapping[str, Table] = {
    "Microsoft.OperationalInsights/workspaces": {
        "": {
            "properties.features.disableLocalAuth": True,
            "properties.features.enableLogAccessUsingOnlyResourcePermissions": True,
            "properties.publicNetworkAccessForIngestion": "Enabled",
            "properties.publicNetworkAccessForQuery": "Enabled",
            "properties.retentionInDays": Parameter("logRetentionDays", 90),
            "properties.sku.name": "PerGB2018",
            "properties.workspaceCapping.dailyQuotaGb": Parameter("logDailyQuotaGb", 5),
        }
    },
    "Microsoft.Insights/components": {
        "": {
            "kind": "web",
            "properties.Application_Type": "web",
            "properties.DisableLocalAuth": True,
            "properties.IngestionMode": "LogAnalytics",
            "properties.WorkspaceResourceId": WORKSPACE,
            "properties.publicNetworkAccessForIngestion": "Enabled",
            "properties.publicNetworkAccessForQuery": "Enabled",
        }
    },
    "Microsoft.Insights/actionGroups": {
        "": {
            "location": "global",
            "properties.enabled": True,
            "properties.groupShortName": "dicom-index",
            "properties.emailReceivers.0.name": "operators",
            "properties.emailReceivers.0.emailAddress": Parameter("alertEmail", None),
            "properties.emailReceivers.0.useCommonAlertSchema": True,
        }
    },
    "Microsoft.Insights/workbooks": {
        "": {
            "kind": "shared",
            "properties.category": "workbook",
            "properties.displayName": "dicom-indexer",
            "properties.serializedData": Present(),
            "properties.sourceId": WORKSPACE,
            "properties.version": "1.0",
        }
    },
    "Microsoft.Insights/scheduledQueryRules": {
        "": {
            "kind": "LogAlert",
            "properties.enabled": True,
            "properties.scopes.0": WORKSPACE,
            "properties.skipQueryValidation": True,
            "properties.autoMitigate": True,
            "properties.criteria.allOf.0.query": Present(),
            "properties.criteria.allOf.0.timeAggregation": "Count",
            "properties.criteria.allOf.0.operator": "GreaterThan",
            "properties.criteria.allOf.0.threshold": 0,
            "properties.criteria.allOf.0.failingPeriods": {
                "numberOfEvaluationPeriods": 1,
                "minFailingPeriodsToAlert": 1,
            },
            "properties.actions.actionGroups.0": PEOPLE,
        }
    },
    "Microsoft.Insights/metricAlerts": {
        "": {
            "location": "global",
            "properties.enabled": True,
            "properties.autoMitigate": True,
            "properties.criteria.allOf.0.criterionType": "StaticThresholdCriterion",
            "properties.criteria.allOf.0.operator": "GreaterThan",
            "properties.actions.0.actionGroupId": PEOPLE,
        },
        "dead-letters": {
            "properties.scopes.0": Of("Microsoft.EventGrid/systemTopics"),
            "properties.criteria.allOf.0.metricName": "DeadLetteredCount",
            "properties.criteria.allOf.0.timeAggregation": "Total",
        },
        "dropped-events": {
            "properties.scopes.0": Of("Microsoft.EventGrid/systemTopics"),
            "properties.criteria.allOf.0.metricName": "DroppedEventCount",
            "properties.criteria.allOf.0.timeAggregation": "Total",
        },
        "worker-never-rests": {
            "properties.scopes.0": Of("Microsoft.App/containerApps"),
            "properties.criteria.allOf.0.threshold": 0,
            "properties.criteria.allOf.0.metricName": "Replicas",
            "properties.criteria.allOf.0.timeAggregation": "Minimum",
        },
    },
    "Microsoft.Insights/diagnosticSettings": {"": {"properties.workspaceId": WORKSPACE}},
    "Microsoft.Consumption/budgets": {
        "": {
            "properties.amount": Parameter("monthlyBudget", None),
            "properties.category": "Cost",
            "properties.timeGrain": "Monthly",
            "properties.timePeriod.startDate": Parameter("budgetStart", None),
            "properties.notifications.spent": {
                "enabled": True,
                "contactEmails": [Parameter("alertEmail", None)],
                "operator": "GreaterThanOrEqualTo",
                "threshold": 80,
                "thresholdType": "Actual",
            },
            "properties.notifications.foreseen": {
                "enabled": True,
                "contactEmails": [Parameter("alertEmail", None)],
                "operator": "GreaterThan",
                "threshold": 100,
                "thresholdType": "Forecasted",
            },
        }
    },
}
"""What watches, and what is told."""

OF_LIMITS: Mapping[str, Table] = {
    "Microsoft.Authorization/policyAssignments": {
        "": {
            "properties.displayName": Present(),
            "properties.enforcementMode": "Default",
        },
        "container-apps": {
            "properties.policyDefinitionId": Of("Microsoft.Authorization/policyDefinitions"),
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
    },
    "Microsoft.Authorization/policyDefinitions": {
        "": {
            "properties.displayName": Present(),
            "properties.policyType": "Custom",
            "properties.mode": "All",
            "properties.parameters.allowed.type": "Array",
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
            "properties.policyRule.then.effect": "deny",
        }
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
            "properties.subnets.2.properties.privateEndpointNetworkPolicies": "Enabled",
        }
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
