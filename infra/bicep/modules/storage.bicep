// One storage account: used three times, for files, for the index and for the functions' host.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the account.')
@minLength(3)
@maxLength(24)
param name string

@description('Replication of the account.')
param skuName string

@description('Whether it is reached through private endpoints only.')
param isPrivate bool

@description('Whether it cannot be deleted before its lock is.')
param isKept bool

@description('Containers to create.')
param containers array

@description('Queues to create.')
param queues array

@description('Tables to create.')
param tables array

@description('Days for which deleted blobs are kept; 0: they are gone at once. Always 0 where vectors lie, or an erasure would be a lie.')
param softDeleteDays int

@description('Rules of the lifecycle of blobs; none: no policy.')
param lifecycleRules array

@description('Workspace that metrics go to.')
param workspaceId string

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  sku: {
    name: skuName
  }
  kind: 'StorageV2'
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    supportsHttpsTrafficOnly: true
    networkAcls: {
      // Event Grid delivers to the queue, and writes dead letters, as a trusted service.
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

// Patient data and their key: whoever deletes the group takes this away first, knowingly.
resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (isKept) {
  name: 'kept'
  scope: account
  properties: {
    level: 'CanNotDelete'
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    changeFeed: {
      enabled: false
    }
    containerDeleteRetentionPolicy: softDeleteDays == 0 ? {
      enabled: false
    } : {
      enabled: true
      days: softDeleteDays
    }
    deleteRetentionPolicy: softDeleteDays == 0 ? {
      enabled: false
    } : {
      enabled: true
      days: softDeleteDays
    }
    isVersioningEnabled: false
    restorePolicy: {
      enabled: false
    }
  }
}

resource blobContainers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [for container in containers: {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}]

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = if (!empty(queues)) {
  parent: account
  name: 'default'
}

resource storageQueues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = [for queue in queues: {
  parent: queueService
  name: queue
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = if (!empty(tables)) {
  parent: account
  name: 'default'
}

resource storageTables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = [for table in tables: {
  parent: tableService
  name: table
}]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = if (!empty(lifecycleRules)) {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: lifecycleRules
    }
  }
}

// Metrics only: the logs of requests quote URLs, and file names are patient data.
resource blobDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'metrics'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource queueDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(queues)) {
  name: 'metrics'
  scope: queueService
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

resource tableDiagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = if (!empty(tables)) {
  name: 'metrics'
  scope: tableService
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'Transaction'
        enabled: true
      }
    ]
  }
}

output id string = account.id
output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
