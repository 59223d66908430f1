// Who may do what in one storage account. Scopes are as narrow as they can be: container, queue or
// table; the account itself only where a service asks for that.

@description('One role of one principal on a container, queue or table (name), or on the account (name is its own).')
type Grant = {
  name: string
  principalId: string
  principalType: string
  roleId: string
}

@description('Account that all of it lies in.')
param accountName string

@description('Roles on the account itself.')
param accountGrants Grant[] = []

@description('Roles on containers.')
param containerGrants Grant[] = []

@description('Roles on queues.')
param queueGrants Grant[] = []

@description('Roles on tables.')
param tableGrants Grant[] = []

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: accountName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = [for grant in containerGrants: {
  parent: blobs
  name: grant.name
}]

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' existing = [for grant in queueGrants: {
  parent: queueService
  name: grant.name
}]

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' existing = [for grant in tableGrants: {
  parent: tableService
  name: grant.name
}]

resource onAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for grant in accountGrants: {
  name: guid(account.id, grant.principalId, grant.roleId)
  scope: account
  properties: {
    principalId: grant.principalId
    principalType: grant.principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.roleId)
  }
}]

resource onContainers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in containerGrants: {
  name: guid(containers[i].id, grant.principalId, grant.roleId)
  scope: containers[i]
  properties: {
    principalId: grant.principalId
    principalType: grant.principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.roleId)
  }
}]

resource onQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in queueGrants: {
  name: guid(queues[i].id, grant.principalId, grant.roleId)
  scope: queues[i]
  properties: {
    principalId: grant.principalId
    principalType: grant.principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.roleId)
  }
}]

resource onTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (grant, i) in tableGrants: {
  name: guid(tables[i].id, grant.principalId, grant.roleId)
  scope: tables[i]
  properties: {
    principalId: grant.principalId
    principalType: grant.principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', grant.roleId)
  }
}]
