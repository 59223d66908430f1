// Holds one secret: the key of the patient hash. A lost one means new hashes.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Whether it is reached through a private endpoint only.')
param isPrivate bool

@description('Whether it cannot be deleted before its lock is.')
param isKept bool

@description('Base64 of the secret; given at the first deployment only, empty ever after.')
@secure()
param patientKey string

@description('Principals that read the secret.')
param readerPrincipalIds array

@description('Workspace that its audit log goes to.')
param workspaceId string

var secretName = 'patient-hash-key'

// Key Vault Secrets User
var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enablePurgeProtection: true
    enableRbacAuthorization: true
    enableSoftDelete: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    softDeleteRetentionInDays: 90
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: isPrivate ? 'Deny' : 'Allow'
    }
  }
}

// Patient data and their key: whoever deletes the group takes this away first, knowingly.
resource lock 'Microsoft.Authorization/locks@2020-05-01' = if (isKept) {
  name: 'kept'
  scope: vault
  properties: {
    level: 'CanNotDelete'
  }
}

// Never written again: another key would be another hash of every patient.
@onlyIfNotExists()
resource secret 'Microsoft.KeyVault/vaults/secrets@2025-05-01' = if (!empty(patientKey)) {
  parent: vault
  name: secretName
  tags: tags
  properties: {
    attributes: {
      enabled: true
    }
    contentType: 'base64'
    value: patientKey
  }
}

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principalId in readerPrincipalIds: {
  name: guid(vault.id, principalId, secretsUser)
  scope: vault
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}]

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'audit'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AuditEvent'
        enabled: true
      }
    ]
  }
}

output id string = vault.id
output patientKeyUri string = '${vault.properties.vaultUri}secrets/${secretName}'

@description('Where operators put what Milvus lets in, if searches are answered from one.')
output milvusTokenUri string = '${vault.properties.vaultUri}secrets/milvus-token'
