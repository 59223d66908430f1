using 'main.bicep'

// One file for every environment: what an environment is lies in its own values, never in a file
// that all of them share. DICOM_NETWORK is `public` or, whatever else it says, private.
//
// private, for patient data: storage, vault, registry, topic and API are reached from the private
// network only; whoever uploads or searches is in it, or in one that is peered with it. What stays
// public: telemetry is sent to Azure Monitor's own address, signed in by Entra ID.
//
// public, for trying it out with files that are nobody's: REACHABLE FROM THE INTERNET, by whoever
// Entra ID signs in and roles let in, are the three storage accounts, the vault, the registry, the
// topic of the announcements and the API. The worker is reachable from nowhere. No key opens
// anything. Deleted, the vault keeps its name for 90 days: start again under another AZURE_ENV_NAME.
var isPublic = readEnvironmentVariable('DICOM_NETWORK', 'private') == 'public'

param isPrivate = !isPublic

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param addressPrefix = readEnvironmentVariable('ADDRESS_PREFIX', '10.60.0.0/22')
param operatorsNatGatewayId = readEnvironmentVariable('OPERATORS_NAT_GATEWAY_ID', '')
param extraSubnets = json(readEnvironmentVariable('EXTRA_SUBNETS', '[]'))
param dnsZonesGroupId = readEnvironmentVariable('DNS_ZONES_GROUP_ID', '')
param linkedNetworkIds = json(readEnvironmentVariable('LINKED_NETWORK_IDS', '[]'))
param entraClientId = readEnvironmentVariable('ENTRA_CLIENT_ID')
param patientKey = readEnvironmentVariable('PATIENT_KEY', '')
param operatorGroupId = readEnvironmentVariable('OPERATOR_GROUP_ID', '')
param workerImage = readEnvironmentVariable('SERVICE_WORKER_IMAGE_NAME', '')
param workerProfile = isPublic ? 'Consumption' : 'Consumption-GPU-NC8as-T4'
// As docs/cost.md counts: 4 vCPUs and 8 GiB; a T4, 8 vCPUs and 56 GiB.
param workerHourlyPrice = isPublic ? '0.43' : '2.30'
param maxWorkers = isPublic ? 1 : 2
param projects = readEnvironmentVariable('INDEXER_PROJECTS', '')
param viewer = readEnvironmentVariable('INDEXER_VIEWER', '')
param milvusUri = readEnvironmentVariable('INDEXER_MILVUS_URI', '')
param storageSku = isPublic ? 'Standard_LRS' : 'Standard_ZRS'
param functionsMemoryMb = isPublic ? 2048 : 4096
param logRetentionDays = isPublic ? 30 : 90
param logDailyQuotaGb = isPublic ? 1 : 5
param eventTopicName = readEnvironmentVariable('EVENT_TOPIC_NAME', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL')
param monthlyBudget = isPublic ? 100 : 2000
param budgetStart = readEnvironmentVariable('BUDGET_START')
// The aliases of the policies are not verified: ask for them once they are.
param hasPolicies = readEnvironmentVariable('HAS_POLICIES', 'false') == 'true'
