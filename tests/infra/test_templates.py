"""The templates pass their check, and faults that have names are caught."""

import pytest

pytest.importorskip("tree_sitter_bicep", reason="no grammar of Bicep is installed")

from infra.check.rules import find_problems
from infra.check.rules.settings import NOT_SET, settings_that_are_read
from infra.check.scenarios import scenarios


def faults(files, types, path, old, new, count=1):
    """What is found once `old` is `new` in a file."""
    assert files[path].count(old) >= 1, old
    changed = {**files, path: files[path].replace(old, new, count)}
    return find_problems(changed, types)


def rules_of(problems):
    return {problem.rule for problem in problems}


def test_nothing_is_wrong(files, types):
    assert find_problems(files, types) == []


def test_every_deployment_has_what_makes_an_index(files):
    for scenario in scenarios(files):
        kinds = {resource.type for resource in scenario.deployment.resources}
        assert {
            "Microsoft.Web/sites",
            "Microsoft.App/managedEnvironments",
            "Microsoft.EventGrid/systemTopics/eventSubscriptions",
            "Microsoft.KeyVault/vaults",
            "Microsoft.Authorization/roleAssignments",
        } <= kinds
        assert ("Microsoft.Network/privateEndpoints" in kinds) == scenario.is_private
    later = [one for one in scenarios(files) if "everything" in one.name]
    for scenario in later:
        assert scenario.deployment.of_type("Microsoft.App/containerApps")
        assert scenario.deployment.of_type("Microsoft.MachineLearningServices/workspaces")


STORAGE = "modules/storage.bicep"
EVENTS = "modules/event-subscription.bicep"
FUNCTIONS = "modules/functions.bicep"
WORKER = "modules/worker.bicep"
MAIN = "main.bicep"

NETWORK = "modules/network.bicep"
DEFINITIONS = "modules/policy-definitions.bicep"
PLANTED = {
    "a subnet that everybody may call": (
        NETWORK,
        "          networkSecurityGroup: {\n            id: programRules[1].id\n          }\n",
        "",
        "said",
    ),
    "a subnet with another's rules": (NETWORK, "programRules[1].id", "programRules[0].id", "said"),
    "rules about another subnet": (
        NETWORK,
        "          sourceAddressPrefix: cidrSubnet(addressPrefix, 24, i)",
        "          sourceAddressPrefix: cidrSubnet(addressPrefix, 24, 1)",
        "exposure",
    ),
    "rules for the whole internet": (
        NETWORK,
        "sourceAddressPrefix: 'VirtualNetwork'",
        "sourceAddressPrefix: 'Internet'",
        "exposure",
    ),
    "rules that private endpoints do not heed": (
        NETWORK,
        "privateEndpointNetworkPolicies: 'Enabled'",
        "privateEndpointNetworkPolicies: 'Disabled'",
        "said",
    ),
    "a policy about another property": (
        DEFINITIONS,
        "deployments/instanceType",
        "deployments/description",
        "said",
    ),
    "a policy with another's parameters": (
        "modules/policy.bicep",
        "policyDefinitionId: machinesDefinitionId",
        "policyDefinitionId: profilesDefinitionId",
        "said",
    ),
    "an unknown property": (STORAGE, "accessTier: 'Hot'", "accessTear: 'Hot'", "said"),
    "a wrong type": (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: 'no'", "said"),
    "a missing role": (
        MAIN,
        "        roleId: blobDataOwner",
        "        roleId: blobDataReader",
        "roles",
    ),
    "a trap: Message Processor instead of Contributor": (
        MAIN,
        "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
        "8a0f0c08-91a1-4084-bc3d-661d67233fed",
        "roles",
    ),
    "a subscription before its roles": (
        MAIN,
        "  dependsOn: [\n    topicRoles\n  ]\n",
        "",
        "order",
    ),
    "functions before their roles": (MAIN, "    hostRoles\n", "", "order"),
    "public access in a private deployment": (
        STORAGE,
        "publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'",
        "publicNetworkAccess: 'Enabled'",
        "said",
    ),
    "blobs for everybody": (
        STORAGE,
        "allowBlobPublicAccess: false",
        "allowBlobPublicAccess: true",
        "said",
    ),
    "shared keys": (STORAGE, "allowSharedKeyAccess: false", "allowSharedKeyAccess: true", "said"),
    "soft delete where vectors lie": (MAIN, "softDeleteDays: 0", "softDeleteDays: 7", "said"),
    "versions where vectors lie": (
        STORAGE,
        "isVersioningEnabled: false",
        "isVersioningEnabled: true",
        "said",
    ),
    "a setting missing": (MAIN, "  INDEXER_QUIET_S: '30'\n", "", "settings"),
    "a setting that nobody reads": (
        MAIN,
        "  INDEXER_QUIET_S: '30'\n",
        "  INDEXER_QUIET_S: '30'\n  INDEXER_LOUD_S: '1'\n",
        "settings",
    ),
    "a value that the code refuses": (
        MAIN,
        "INDEXER_THUMBNAILS: 'on'",
        "INDEXER_THUMBNAILS: 'yes'",
        "settings",
    ),
    "another value than the code's": (
        MAIN,
        "INDEXER_MERGE_MB: '512'",
        "INDEXER_MERGE_MB: '51'",
        "settings",
    ),
    "a wrong queue name": (
        MAIN,
        "var eventsQueue = 'blob-events'",
        "var eventsQueue = 'blob-event'",
        "stores",
    ),
    "a queue that the worker does not scale by": (
        WORKER,
        "queueName: queueName",
        "queueName: 'series-check'",
        "said",
    ),
    "no dead letters": (
        EVENTS,
        "deadLetterWithResourceIdentity",
        "deadLetterWithResourceIdentities",
        "said",
    ),
    "messages that expire": (
        EVENTS,
        "queueMessageTimeToLiveInSeconds: -1",
        "queueMessageTimeToLiveInSeconds: 604800",
        "said",
    ),
    "a table missing": (MAIN, "  'indexeraudit'\n", "", "stores"),
    "a secret in a setting": (
        FUNCTIONS,
        "'@Microsoft.KeyVault(SecretUri=${patientKeyUri})'",
        "'c2l4dGVlbiBieXRlcyBvciBtb3Jl'",
        "settings",
    ),
    "a token of Milvus in a setting": (
        FUNCTIONS,
        "'@Microsoft.KeyVault(SecretUri=${milvusTokenUri})'",
        "'root:Milvus'",
        "settings",
    ),
    "another Milvus": (
        FUNCTIONS,
        "  INDEXER_MILVUS_URI: milvusUri\n",
        "  INDEXER_MILVUS_URI: milvusTokenUri\n",
        "settings",
    ),
    "an endpoint that is missing": (
        MAIN,
        "        groupId: 'queue'\n",
        "        groupId: 'blob'\n",
        "exposure",
    ),
    "a zone that nobody links": (
        "modules/network.bicep",
        "    registrationEnabled: false\n",
        "    registrationEnabled: true\n",
        "exposure",
    ),
    "logs with file names": (STORAGE, "    metrics: [", "    logs: [", "exposure"),
    "a name that is not told apart": (MAIN, "name: 'kv-${token}'", "name: 'kv-dicom'", "names"),
    "a name that is too long": (
        MAIN,
        "name: 'files${token}'",
        "name: 'filesfilesfiles${token}'",
        "parameters",
    ),
    "a role that is named by chance": (
        "modules/keyvault.bicep",
        "name: guid(vault.id, principalId, secretsUser)",
        "name: guid(vault.id, secretsUser)",
        "names",
    ),
    "a symbol that is not there": (MAIN, "scope: group\n", "scope: groupp\n", "symbols"),
    "a parameter that a module lacks": (
        MAIN,
        "    retentionDays:",
        "    retentionDay:",
        "parameters",
    ),
    "an output that a module lacks": (MAIN, "files.outputs.name", "files.outputs.nam", "symbols"),
    "an unused parameter": (MAIN, "var token =", "var unused = ''\nvar token =", "symbols"),
    "a property twice": (STORAGE, "  kind: 'StorageV2'\n", "  kind: 'StorageV2'\n" * 2, "symbols"),
    "a door for passwords": (
        FUNCTIONS,
        "    ftp\n  ]\n  properties: {\n    allow: false",
        "    ftp\n  ]\n  properties: {\n    allow: true",
        "said",
    ),
    "an alert for what nobody tells": (
        "modules/alerts.bicep",
        '"dicom_indexer.poison"',
        '"dicom_indexer.poisons"',
        "alerts",
    ),
    "an alert for an attribute that its metric has not": (
        "modules/alerts.bicep",
        "tostring(Properties.queue)",
        "tostring(Properties.code)",
        "alerts",
    ),
    "an alert for an outcome that nothing has": (
        "modules/alerts.bicep",
        'outcome == "failed"',
        'outcome == "fail"',
        "alerts",
    ),
    "an alert at the limit of another": (
        MAIN,
        "      lagS: lagLimitS",
        "      lagS: slowBatchS",
        "alerts",
    ),
    "an alert without its runbook": (
        "modules/alerts.bicep",
        "#${rule.name}'",
        "'",
        "alerts",
    ),
    "a workbook that shows less": (
        "workbook.json",
        "dicom_indexer.commit.duration",
        "dicom_indexer.batch.duration",
        "alerts",
    ),
    "a function that there is not": (
        "modules/alerts.bicep",
        'Name == "api"',
        'Name == "apis"',
        "alerts",
    ),
    "a lifecycle for the whole account": (
        MAIN,
        "            prefixMatch: [\n              '${deadLetterContainer}/'\n            ]\n",
        "",
        "said",
    ),
    "a worker on a profile that is not there": (
        "modules/environment.bicep",
        "        name: 'worker'\n",
        "        name: 'workers'\n",
        "worker",
    ),
    "functions before their vault can be reached": (
        MAIN,
        "    endpoints\n    fileRoles\n    hostRoles\n",
        "    fileRoles\n    hostRoles\n",
        "order",
    ),
    "a missing colon": (STORAGE, "  name: name\n", "  name name\n", "syntax"),
    "what is looked up and not there": (
        EVENTS,
        "existing = {\n  name: topicName",
        "existing = {\n  name: 'topic'",
        "order",
    ),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_caught(files, fault):
    path, old, new, rule = PLANTED[fault]
    assert rule in rules_of(faults(files, None, path, old, new))


TYPED = {
    "an unknown property": (
        STORAGE,
        "accessTier: 'Hot'",
        "accessTear: 'Hot'",
        "accessTear is not known; accessTier?",
    ),
    "a wrong type": (
        STORAGE,
        "allowSharedKeyAccess: false",
        "allowSharedKeyAccess: 'no'",
        "is a boolean",
    ),
    "a value that is none of them": (
        STORAGE,
        "kind: 'StorageV2'",
        "kind: 'StorageV3'",
        "kind is one of",
    ),
    "an unknown type": (
        STORAGE,
        "managementPolicies@2025-06-01",
        "managementPolicy@2025-06-01",
        "is not known",
    ),
    "an unknown version": (
        STORAGE,
        "storageAccounts@2025-06-01",
        "storageAccounts@2031-06-01",
        "is not known",
    ),
    "a required property": (STORAGE, "  sku: {\n    name: skuName\n  }\n", "", "sku is missing"),
    "a read-only property": (
        STORAGE,
        "    accessTier: 'Hot'",
        "    creationTime: 'x'\n    accessTier: 'Hot'",
        "read-only",
    ),
    "a wrong kind of destination": (
        EVENTS,
        "'StorageQueue'",
        "'StorageQueues'",
        "endpointType is one of",
    ),
}


@pytest.mark.parametrize("fault", TYPED)
def test_the_type_data_catches(files, type_data, fault):
    path, old, new, text = TYPED[fault]
    found = faults(files, type_data, path, old, new)
    assert any(problem.rule == "types" and text in problem.text for problem in found)


def test_lines_of_the_functions_are_not_paid_for_twice(files):
    log = files["modules/environment.bicep"]
    log = log[log.index("resource diagnostics") : log.index("output id")]
    log = log.replace("scope: managed", "scope: app").replace("ContainerAppConsole", "FunctionApp")
    asked = "@description('Workspace.')\nparam workspaceId string\n\n"
    changed = {
        **files,
        FUNCTIONS: asked + files[FUNCTIONS] + log,
        MAIN: files[MAIN].replace(
            "    maximumInstances: 40\n",
            "    maximumInstances: 40\n    workspaceId: monitoring.outputs.workspaceId\n",
        ),
    }
    found = find_problems(changed, None)
    assert rules_of(found) == {"exposure"}
    assert all("sends nothing" in problem.text for problem in found)


def test_without_type_data_the_rest_is_checked(files):
    assert find_problems(files, None) == []


def test_a_misread_condition_is_told(files):
    found = faults(
        files,
        None,
        MAIN,
        "!empty(workerImage) ? worker!.outputs.id : ''",
        "empty(workerImage) ? '' : worker!.outputs.id",
    )
    assert any("the grammar misreads this" in problem.text for problem in found)


def test_what_the_templates_leave_alone_is_read_by_the_code():
    _, by_worker = settings_that_are_read()
    assert set(NOT_SET) <= by_worker
