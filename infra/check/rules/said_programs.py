"""What programs, vault and model must say."""

from collections.abc import Mapping

from gpu_worker.health import PATH
from infra.check.rules.expected import (
    IDENTITY,
    ML,
    PRIVATE,
    STORAGE,
    Either,
    Of,
    OneOf,
    Parameter,
    Present,
    Table,
)

_FUNCTIONS = Of(IDENTITY, "id-functions")
_WORKER = Of(IDENTITY, "id-worker")

OF_PROGRAMS: Mapping[str, Table] = {
    "Microsoft.Web/serverfarms": {
        "": {
            "kind": "functionapp",
            "sku.name": "FC1",
            "sku.tier": "FlexConsumption",
            "properties.reserved": True,
        }
    },
    "Microsoft.Web/sites": {
        "": {
            "kind": "functionapp,linux",
            "identity.type": "UserAssigned",
            "identity.userAssignedIdentities": Present(),
            "properties.serverFarmId": Of("Microsoft.Web/serverfarms"),
            "properties.httpsOnly": True,
            "properties.keyVaultReferenceIdentity": _FUNCTIONS,
            "properties.publicNetworkAccess": PRIVATE,
            "properties.functionAppConfig.deployment.storage": {
                "type": "blobContainer",
                "value": Of(STORAGE, "host", "#properties.primaryEndpoints.blobpackages"),
                "authentication": {
                    "type": "UserAssignedIdentity",
                    "userAssignedIdentityResourceId": _FUNCTIONS,
                },
            },
            "properties.functionAppConfig.runtime": {"name": "python", "version": "3.13"},
            "properties.functionAppConfig.scaleAndConcurrency": {
                "alwaysReady": [
                    {"name": "http", "instanceCount": Parameter("alwaysReadyInstances", 1)}
                ],
                "instanceMemoryMB": Parameter("functionsMemoryMb", 4096),
                "maximumInstanceCount": 40,
            },
            "properties.siteConfig.ftpsState": "Disabled",
            "properties.siteConfig.http20Enabled": True,
            "properties.siteConfig.minTlsVersion": OneOf(("1.2", "1.3")),
            "properties.siteConfig.scmMinTlsVersion": OneOf(("1.2", "1.3")),
        }
    },
    "Microsoft.Web/sites/config": {
        "appsettings": {},
        "authsettingsV2": {
            "properties.platform.enabled": True,
            "properties.globalValidation": {
                "requireAuthentication": True,
                "unauthenticatedClientAction": "RedirectToLoginPage",
                "redirectToProvider": "azureactivedirectory",
                # What app.py gives to anonymous callers; the page itself is not among it: whoever
                # opens it is asked to sign in, and then its requests are.
                "excludedPaths": ["/api/health", "/api/openapi.json"],
            },
            "properties.httpSettings.requireHttps": True,
            "properties.login.tokenStore.enabled": False,
            "properties.identityProviders.azureActiveDirectory.enabled": True,
            "properties.identityProviders.azureActiveDirectory.registration.clientId": Parameter(
                "entraClientId", None
            ),
            "properties.identityProviders.azureActiveDirectory.registration"
            ".clientSecretSettingName": "OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID",
            "properties.identityProviders.azureActiveDirectory.registration"
            ".openIdIssuer": "https://login.microsoftonline.com/"
            "00000000-0000-0000-0000-00000000000b/v2.0",
            "properties.identityProviders.azureActiveDirectory.validation.allowedAudiences"
            ".1": Parameter("entraClientId", None),
            "properties.identityProviders.azureActiveDirectory.validation.allowedAudiences"
            ".0": OneOf(("api://00000000-0000-0000-0000-000000000000",)),
        },
    },
    "Microsoft.Web/sites/basicPublishingCredentialsPolicies": {"": {"properties.allow": False}},
    "Microsoft.App/managedEnvironments": {
        "": {
            "properties.appLogsConfiguration.destination": "azure-monitor",
            "properties.publicNetworkAccess": "Disabled",
            "properties.vnetConfiguration.internal": Either(True, None),
            "properties.workloadProfiles.0": {
                "name": "Consumption",
                "workloadProfileType": "Consumption",
            },
        }
    },
    "Microsoft.App/containerApps": {
        "": {
            "identity.type": "UserAssigned",
            "identity.userAssignedIdentities": Present(),
            "properties.environmentId": Of("Microsoft.App/managedEnvironments"),
            "properties.workloadProfileName": OneOf(("Consumption", "worker")),
            "properties.configuration.activeRevisionsMode": "Single",
            "properties.configuration.ingress": None,
            "properties.configuration.registries.0.identity": _WORKER,
            "properties.configuration.registries.0.server": Of(
                "Microsoft.ContainerRegistry/registries", "", "#properties.loginServer"
            ),
            "properties.template.containers.0.name": "worker",
            "properties.template.containers.0.image": Parameter("workerImage", None),
            "properties.template.containers.0.probes.0": {
                "type": "Liveness",
                "httpGet": {"path": PATH, "port": Present()},
                "initialDelaySeconds": 60,
                "periodSeconds": 60,
                "timeoutSeconds": 10,
                "failureThreshold": 3,
            },
            "properties.template.scale.minReplicas": 0,
            "properties.template.scale.maxReplicas": Parameter("maxWorkers", 1),
            "properties.template.scale.cooldownPeriod": 300,
            "properties.template.scale.pollingInterval": 30,
            "properties.template.scale.rules.0.name": "series-ready",
            "properties.template.scale.rules.0.azureQueue": {
                "accountName": Present(),
                "queueName": "series-ready",
                "queueLength": Parameter("workerBatch", 32),
                "identity": _WORKER,
            },
        }
    },
    "Microsoft.ContainerRegistry/registries": {
        "": {
            "sku.name": Either("Premium", "Basic"),
            "properties.adminUserEnabled": False,
            "properties.anonymousPullEnabled": False,
            "properties.publicNetworkAccess": PRIVATE,
            "properties.networkRuleBypassOptions": "AzureServices",
            "properties.policies": Either(
                {
                    "exportPolicy": {"status": "disabled"},
                    "retentionPolicy": {"days": 30, "status": "enabled"},
                },
                None,
            ),
        }
    },
    IDENTITY: {},
}
"""What programs and what they run on say."""

OF_SECRETS: Mapping[str, Table] = {
    "Microsoft.KeyVault/vaults": {
        "": {
            "properties.tenantId": "00000000-0000-0000-0000-00000000000b",
            "properties.sku": {"family": "A", "name": "standard"},
            "properties.enablePurgeProtection": True,
            "properties.enableRbacAuthorization": True,
            "properties.enableSoftDelete": True,
            "properties.enabledForDeployment": False,
            "properties.enabledForDiskEncryption": False,
            "properties.enabledForTemplateDeployment": False,
            "properties.publicNetworkAccess": PRIVATE,
            "properties.softDeleteRetentionInDays": 90,
            "properties.networkAcls.bypass": "AzureServices",
            "properties.networkAcls.defaultAction": Either("Deny", "Allow"),
        }
    },
    "Microsoft.KeyVault/vaults/secrets": {
        "": {
            "properties.value": Parameter("patientKey", None),
            "properties.contentType": "base64",
            "properties.attributes.enabled": True,
        }
    },
    ML: {
        "": {
            "identity.type": "SystemAssigned",
            "properties.applicationInsights": Of("Microsoft.Insights/components"),
            "properties.hbiWorkspace": True,
            # Its own: Azure ML gives its identity rights on both.
            "properties.keyVault": Of("Microsoft.KeyVault/vaults", "kvm-"),
            "properties.managedNetwork": Either(
                {"isolationMode": "AllowOnlyApprovedOutbound"}, None
            ),
            "properties.publicNetworkAccess": PRIVATE,
            "properties.storageAccount": Of(STORAGE, "model"),
            "properties.systemDatastoresAuthMode": "Identity",
        }
    },
    f"{ML}/onlineEndpoints": {
        "": {
            "identity.type": "SystemAssigned",
            "properties.authMode": "AADToken",
            "properties.publicNetworkAccess": PRIVATE,
        }
    },
    f"{ML}/onlineEndpoints/deployments": {
        "": {
            "sku": {"name": "Default", "capacity": Parameter("medImageInsightCount", 2)},
            "properties.endpointComputeType": "Managed",
            # The older isolation, in place of the managed network.
            "properties.egressPublicNetworkAccess": None,
            "properties.instanceType": Parameter("medImageInsightMachine", "Standard_NC4as_T4_v3"),
            "properties.livenessProbe.initialDelay": "PT10M",
            "properties.model": "azureml://registries/azureml/models/MedImageInsight/versions/12",
            "properties.requestSettings.maxConcurrentRequestsPerInstance": 3,
            "properties.requestSettings.requestTimeout": "PT1M30S",
            "properties.scaleSettings.scaleType": "Default",
        }
    },
}
"""What vault and model say."""
