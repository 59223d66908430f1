"""What each type must say, all tables in one."""

from collections.abc import Mapping

from infra.check.rules.expected import STORAGE, Table
from infra.check.rules.said_limits import OF_LIMITS, OF_NETWORK
from infra.check.rules.said_programs import OF_PROGRAMS, OF_SECRETS
from infra.check.rules.said_stores import OF_EVENTS, OF_STORES
from infra.check.rules.said_watch import OF_WATCH

SAID: Mapping[str, Table] = {
    **OF_STORES,
    **OF_EVENTS,
    **OF_PROGRAMS,
    **OF_SECRETS,
    **OF_WATCH,
    **OF_LIMITS,
    **OF_NETWORK,
}

UNTAGGED = frozenset(
    {
        f"{STORAGE}/blobServices",
        f"{STORAGE}/blobServices/containers",
        f"{STORAGE}/queueServices",
        f"{STORAGE}/queueServices/queues",
        f"{STORAGE}/tableServices",
        f"{STORAGE}/tableServices/tables",
        f"{STORAGE}/managementPolicies",
        "Microsoft.Authorization/locks",
        "Microsoft.Authorization/policyAssignments",
        "Microsoft.Authorization/policyDefinitions",
        "Microsoft.Authorization/roleAssignments",
        "Microsoft.Consumption/budgets",
        "Microsoft.EventGrid/systemTopics/eventSubscriptions",
        "Microsoft.Insights/diagnosticSettings",
        "Microsoft.KeyVault/vaults/secrets",
        "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
        "Microsoft.Web/sites/basicPublishingCredentialsPolicies",
        "Microsoft.Web/sites/config",
    }
)
"""Types that have no tags, or whose tags say nothing that their parent's do not."""

DECORATED: Mapping[str, Mapping[str, int | None]] = {
    # A vault that has a key keeps it, whatever key another machine comes with.
    "Microsoft.KeyVault/vaults/secrets": {"onlyIfNotExists": None},
    # Two at once on one account: StorageAccountOperationInProgress.
    "Microsoft.Network/privateEndpoints": {"batchSize": 1},
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups": {"batchSize": 1},
}
"""How resources of a type are made, all others without a decorator."""
