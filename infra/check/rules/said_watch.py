"""What watches must say."""

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
