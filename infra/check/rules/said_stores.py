"""What storage and Event Grid must say."""

from collections.abc import Mapping
from typing import Any

from infra.check.rules.expected import (
    PRIVATE,
    STORAGE,
    Either,
    Of,
    OneOf,
    Parameter,
    Table,
)

_OFF: Mapping[str, Any] = {
    "properties.deleteRetentionPolicy.enabled": False,
    "properties.deleteRetentionPolicy.days": None,
    "properties.containerDeleteRetentionPolicy.enabled": False,
    "properties.containerDeleteRetentionPolicy.days": None,
}
_KEPT: Mapping[str, Any] = {
    "properties.deleteRetentionPolicy.enabled": True,
    "properties.deleteRetentionPolicy.days": Parameter("fileSoftDeleteDays", 7),
    "properties.containerDeleteRetentionPolicy.enabled": True,
    "properties.containerDeleteRetentionPolicy.days": Parameter("fileSoftDeleteDays", 7),
}

OF_STORES: Mapping[str, Table] = {
    STORAGE: {
        "": {
            "kind": "StorageV2",
            "properties.accessTier": "Hot",
            "properties.allowBlobPublicAccess": False,
            "properties.allowCrossTenantReplication": False,
            "properties.allowSharedKeyAccess": False,
            "properties.defaultToOAuthAuthentication": True,
            "properties.isLocalUserEnabled": False,
            "properties.minimumTlsVersion": "TLS1_2",
            "properties.publicNetworkAccess": PRIVATE,
            "properties.supportsHttpsTrafficOnly": True,
            # Event Grid is a trusted service: without this a private queue gets no events.
            "properties.networkAcls.bypass": "AzureServices",
            "properties.networkAcls.defaultAction": Either("Deny", "Allow"),
        },
        "files": {"sku.name": Parameter("storageSku", "Standard_ZRS")},
        "index": {"sku.name": Parameter("storageSku", "Standard_ZRS")},
        "host": {"sku.name": "Standard_LRS"},
        "model": {"sku.name": "Standard_LRS"},
    },
    f"{STORAGE}/blobServices": {
        "": {
            "properties.changeFeed.enabled": False,
            "properties.isVersioningEnabled": False,
            "properties.restorePolicy.enabled": False,
        }
    },
    f"{STORAGE}/blobServices/containers": {"": {"properties.publicAccess": "None"}},
    f"{STORAGE}/queueServices": {},
    f"{STORAGE}/queueServices/queues": {},
    f"{STORAGE}/tableServices": {},
    f"{STORAGE}/tableServices/tables": {},
    f"{STORAGE}/managementPolicies": {},
}
"""What storage says."""


def _rule(name: str, actions: Mapping[str, Any], prefix: str) -> Mapping[str, Any]:
    """The one rule of a lifecycle: without its prefix it would act on the whole account."""
    filters = {"blobTypes": ["blockBlob"], "prefixMatch": [prefix]}
    definition = {"actions": {"baseBlob": actions}, "filters": filters}
    rule = {"name": name, "enabled": True, "type": "Lifecycle", "definition": definition}
    return {"properties.policy.rules": [rule]}


_DAYS = "daysAfterModificationGreaterThan"
BY_ACCOUNT: Mapping[str, Table] = {
    # An erasure would be a lie where deleted vectors are kept.
    f"{STORAGE}/blobServices": {"files": _KEPT, "index": _OFF, "host": _OFF, "model": _OFF},
    f"{STORAGE}/managementPolicies": {
        "files": _rule("cool", {"tierToCool": {_DAYS: Parameter("coolAfterDays", 90)}}, "dicom/"),
        "index": _rule("forget-dead-letters", {"delete": {_DAYS: 90}}, "dead-letters/"),
    },
}
"""What depends on the account, by how its name begins."""

OF_EVENTS: Mapping[str, Table] = {
    "Microsoft.EventGrid/systemTopics": {
        "": {
            "identity.type": "SystemAssigned",
            "properties.source": Of(STORAGE, "files"),
            "properties.topicType": "Microsoft.Storage.StorageAccounts",
        }
    },
    "Microsoft.EventGrid/systemTopics/eventSubscriptions": {
        "": {
            "properties.deliveryWithResourceIdentity.identity.type": "SystemAssigned",
            "properties.deliveryWithResourceIdentity.destination.endpointType": "StorageQueue",
            "properties.deliveryWithResourceIdentity.destination.properties": {
                "resourceId": Of(STORAGE, "index"),
                "queueName": "blob-events",
                # Never: an app that was stopped for longer would have lost events.
                "queueMessageTimeToLiveInSeconds": -1,
            },
            "properties.deadLetterWithResourceIdentity.identity.type": "SystemAssigned",
            "properties.deadLetterWithResourceIdentity.deadLetterDestination": {
                "endpointType": "StorageBlob",
                "properties": {
                    "resourceId": Of(STORAGE, "index"),
                    "blobContainerName": "dead-letters",
                },
            },
            "properties.eventDeliverySchema": OneOf(("EventGridSchema", "CloudEventSchemaV1_0")),
            "properties.filter.subjectBeginsWith": "/blobServices/default/containers/dicom/",
            "properties.filter.includedEventTypes": [
                f"Microsoft.Storage.Blob{what}"
                for what in ("Created", "Deleted", "TierChanged", "Renamed")
            ],
            "properties.retryPolicy.eventTimeToLiveInMinutes": 1440,
            "properties.retryPolicy.maxDeliveryAttempts": 30,
        }
    },
    "Microsoft.EventGrid/topics": {
        "": {
            "properties.disableLocalAuth": True,
            "properties.inputSchema": "CloudEventSchemaV1_0",
            "properties.minimumTlsVersionAllowed": "1.2",
            "properties.publicNetworkAccess": PRIVATE,
        }
    },
}
"""What Event Grid says."""
