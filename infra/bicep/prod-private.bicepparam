using 'main.bicep'

// For patient data. Storage, vault, registry, topic and API are reached from the private network
// only; whoever uploads or searches is in it, or in one that is peered with it. What stays public:
// telemetry is sent to Azure Monitor's own address, signed in by Entra ID.
param isPrivate = true

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dicom-prod')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param addressPrefix = readEnvironmentVariable('ADDRESS_PREFIX', '10.60.0.0/22')
param entraClientId = readEnvironmentVariable('ENTRA_CLIENT_ID')
param patientKey = readEnvironmentVariable('PATIENT_KEY', '')
param operatorGroupId = readEnvironmentVariable('OPERATOR_GROUP_ID', '')
param workerImage = readEnvironmentVariable('SERVICE_WORKER_IMAGE_NAME', '')
param workerProfile = 'Consumption-GPU-NC8as-T4'
// As docs/cost.md counts: a T4, 8 vCPUs and 56 GiB.
param workerHourlyPrice = '2.30'
param maxWorkers = 2
param projects = readEnvironmentVariable('INDEXER_PROJECTS', '')
param viewer = readEnvironmentVariable('INDEXER_VIEWER', '')
param alertEmail = readEnvironmentVariable('ALERT_EMAIL')
param monthlyBudget = 2000
param budgetStart = readEnvironmentVariable('BUDGET_START', '2026-12-01')
// The aliases of the policies are not verified: ask for them once they are.
param hasPolicies = readEnvironmentVariable('HAS_POLICIES', 'false') == 'true'
