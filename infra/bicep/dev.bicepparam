using 'main.bicep'

// For trying it out with files that are nobody's. REACHABLE FROM THE INTERNET, by whoever Entra ID
// signs in and roles let in: the three storage accounts, the vault, the registry, the topic of the
// announcements and the API. The worker is reachable from nowhere. No key opens anything.
// Deleted, the vault keeps its name for 90 days: start again under another AZURE_ENV_NAME.
param isPrivate = false

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME', 'dicom-dev')
param location = readEnvironmentVariable('AZURE_LOCATION', 'westeurope')
param entraClientId = readEnvironmentVariable('ENTRA_CLIENT_ID')
param patientKey = readEnvironmentVariable('PATIENT_KEY', '')
param operatorGroupId = readEnvironmentVariable('OPERATOR_GROUP_ID', '')
param workerImage = readEnvironmentVariable('SERVICE_WORKER_IMAGE_NAME', '')
param workerProfile = 'Consumption'
// As docs/cost.md counts: 4 vCPUs and 8 GiB.
param workerHourlyPrice = '0.43'
param storageSku = 'Standard_LRS'
param functionsMemoryMb = 2048
param logRetentionDays = 30
param logDailyQuotaGb = 1
param alertEmail = readEnvironmentVariable('ALERT_EMAIL')
param monthlyBudget = 100
param budgetStart = readEnvironmentVariable('BUDGET_START', '2026-12-01')
