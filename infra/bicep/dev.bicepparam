using 'main.bicep'

// What main.bicepparam says where DICOM_NETWORK is public, for deploying without azd, by name. For
// trying it out with files that are nobody's: REACHABLE FROM THE INTERNET, by whoever Entra ID signs
// in and roles let in.
param isPrivate = false

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
param workerProfile = 'Consumption'
// As docs/cost.md counts: 4 vCPUs and 8 GiB; a T4, 8 vCPUs and 56 GiB.
param workerHourlyPrice = '0.43'
param maxWorkers = 1
param projects = readEnvironmentVariable('INDEXER_PROJECTS', '')
param viewer = readEnvironmentVariable('INDEXER_VIEWER', '')
param milvusUri = readEnvironmentVariable('INDEXER_MILVUS_URI', '')
param storageSku = 'Standard_LRS'
param functionsMemoryMb = 2048
param logRetentionDays = 30
param logDailyQuotaGb = 1
param eventTopicName = readEnvironmentVariable('EVENT_TOPIC_NAME', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL')
param monthlyBudget = 100
param budgetStart = readEnvironmentVariable('BUDGET_START')
// The aliases of the policies are not verified: ask for them once they are.
param hasPolicies = readEnvironmentVariable('HAS_POLICIES', 'false') == 'true'
