"""What a deployment must not do to a hospital: open, delete, overspend, or fail on its way."""

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from tests.infra.test_templates import FUNCTIONS, MAIN, NETWORK, STORAGE, faults, rules_of

PARAMETERS = "main.bicepparam"
PLANTED = {
    "public unless it is said": (PARAMETERS, "'private')", "'public')", "exposure"),
    "private whatever is said": (PARAMETERS, "= !isPublic", "= true", "exposure"),
    "a private file that makes all public": (
        "prod-private.bicepparam",
        "isPrivate = true",
        "isPrivate = false",
        "parameters",
    ),
    "a file that says another thing": ("dev.bicepparam", "2048", "4096", "parameters"),
    "a budget that begins some day": (
        PARAMETERS,
        "'BUDGET_START')",
        "'BUDGET_START', '2026-12-01')",
        "symbols",
    ),
    "a region that nobody has chosen": (
        PARAMETERS,
        "'AZURE_LOCATION')",
        "'AZURE_LOCATION', 'westeurope')",
        "symbols",
    ),
    "a budget whose start is not kept": (MAIN, "string = budgetStart", "string = ''", "outputs"),
    "a network whose kind is not kept": (MAIN, "bool = isPrivate", "bool = true", "outputs"),
    "endpoints of one account at once": (
        "modules/private-endpoints.bicep",
        "@batchSize(1)\nresource endpoints",
        "resource endpoints",
        "said",
    ),
    "names of endpoints at once": (
        "modules/private-endpoints.bicep",
        "@batchSize(1)\nresource zoneGroups",
        "@batchSize(2)\nresource zoneGroups",
        "said",
    ),
    "a key in the place of another": (
        "modules/keyvault.bicep",
        "@onlyIfNotExists()\n",
        "",
        "said",
    ),
    "a GPU before there is a worker": (
        MAIN,
        "empty(workerImage) ? 'Consumption' : workerProfile",
        "workerProfile",
        "worker",
    ),
    "files that are deleted with their group": (
        MAIN,
        "    isKept: isPrivate\n    containers: [\n      sourceContainer",
        "    isKept: false\n    containers: [\n      sourceContainer",
        "exposure",
    ),
    "a lock that all may write through": (
        STORAGE,
        "level: 'CanNotDelete'",
        "level: 'ReadOnly'",
        "said",
    ),
    "a lock where there is nothing to keep": (
        MAIN,
        "isKept: false",
        "isKept: true",
        "exposure",
    ),
    "a second topic of one account": (
        MAIN,
        "empty(eventTopicName) ? 'evgt-files-${token}' : eventTopicName",
        "empty(eventTopicName) ? eventTopicName : 'evgt-files-${token}'",
        "names",
    ),
    "a model in the account of the functions": (
        MAIN,
        "storageAccountId: modelFiles!.outputs.id",
        "storageAccountId: host.outputs.id",
        "said",
    ),
    "a model in the vault of the patient key": (
        MAIN,
        "vaultId: modelVault!.outputs.id",
        "vaultId: vault.outputs.id",
        "said",
    ),
    "a model in the group of the index": (
        MAIN,
        "medimageinsight.bicep' = if (hasMedImageInsight) {\n  scope: modelGroup",
        "medimageinsight.bicep' = if (hasMedImageInsight) {\n  scope: group",
        "groups",
    ),
    "a model's vault in the group of the index": (
        MAIN,
        "keyvault.bicep' = if (hasMedImageInsight) {\n  scope: modelGroup",
        "keyvault.bicep' = if (hasMedImageInsight) {\n  scope: group",
        "groups",
    ),
    "machines that no budget counts": (MAIN, "      modelGroup.name\n", "", "groups"),
    "machines that no policy limits": (
        MAIN,
        "if (hasPolicies && hasMedImageInsight) {\n  scope: modelGroup",
        "if (hasPolicies && !hasMedImageInsight) {\n  scope: modelGroup",
        "groups",
    ),
    "a model that calls the internet": (
        "modules/medimageinsight.bicep",
        "'AllowOnlyApprovedOutbound'",
        "'AllowInternetOutbound'",
        "said",
    ),
    "two writes to a site at once": (
        FUNCTIONS,
        "  dependsOn: [\n    ftp\n  ]\n",
        "",
        "order",
    ),
    "a host's queue that it has no role on": (
        FUNCTIONS,
        "  INDEXER_PATIENT_KEY:",
        "  AzureWebJobsStorage__queueServiceUri: hostBlobEndpoint\n  INDEXER_PATIENT_KEY:",
        "settings",
    ),
    "a subnet that the next deployment deletes": (
        NETWORK,
        "], extraSubnets)",
        "], empty(extraSubnets) ? extraSubnets : [])",
        "exposure",
    ),
    "operators whose rules are about other subnets, too": (
        NETWORK,
        "destinationAddressPrefix: cidrSubnet(addressPrefix, 25, 6)",
        "destinationAddressPrefix: '*'",
        "exposure",
    ),
    "a way out that nobody has chosen": (
        NETWORK,
        "defaultOutboundAccess: false",
        "defaultOutboundAccess: true",
        "said",
    ),
    "a way out that is not taken": (
        NETWORK,
        "empty(operatorsNatGatewayId) ? null",
        "!empty(operatorsNatGatewayId) ? null",
        "exposure",
    ),
    "zones that are there already": (NETWORK, "hasZones ?", "hasZones || true ?", "exposure"),
    "names in the zones of another group": (
        MAIN,
        " empty(dnsZonesGroupId) ? group.id : dnsZonesGroupId",
        " !empty(dnsZonesGroupId) ? group.id : dnsZonesGroupId",
        "exposure",
    ),
    "a network beside that resolves no name": (
        NETWORK,
        "for networkId in linkedNetworkIds",
        "for networkId in empty(linkedNetworkIds) ? linkedNetworkIds : []",
        "exposure",
    ),
    "a network beside that resolves some names": (
        "modules/zone-links.bicep",
        "registrationEnabled: false",
        "registrationEnabled: true",
        "exposure",
    ),
    "links before their zones": (
        NETWORK,
        "  dependsOn: [\n    zones\n  ]\n",
        "",
        "order",
    ),
    "a worker that another machine forgets": (
        MAIN,
        "string = workerImage",
        "string = ''",
        "outputs",
    ),
    "an output that pages use": (MAIN, "output API_ENDPOINT", "output API_END", "outputs"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(files, fault):
    path, old, new, rule = PLANTED[fault]
    assert rule in rules_of(faults(files, None, path, old, new))
