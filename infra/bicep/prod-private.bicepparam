using 'main.bicep'

// What main.bicepparam says of every other environment, for deploying without azd, by name. For
// patient data: reached from the private network only.
param isPrivate = true

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
param workerProfile = 'Consumption-GPU-NC8as-T4'
// As docs/cost.md counts: 4 vCPUs and 8 GiB; a T4, 8 vCPUs and 56 GiB.
param workerHourlyPrice = '2.30'
param maxWorkers = 2
param projects = readEnvironmentVariable('INDEXER_PROJECTS', '')
param viewer = readEnvironmentVariable('INDEXER_VIEWER', '')
param milvusUri = readEnvironmentVariable('INDEXER_MILVUS_URI', '')
param storageSku = 'Standard_ZRS'
param functionsMemoryMb = 4096
param logRetentionDays = 90
param logDailyQuotaGb = 5
param eventTopicName = readEnvironmentVariable('EVENT_TOPIC_NAME', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL')
param monthlyBudget = 2000
param budgetStart = readEnvironmentVariable('BUDGET_START')
// The aliases of the policies are not verified: ask for them once they are.
param hasPolicies = readEnvironmentVariable('HAS_POLICIES', 'false') == 'true'
