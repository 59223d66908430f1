// MedImageInsight behind an endpoint that never sleeps: it costs machines by the hour, used or not.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Ends the names.')
param token string

@description('Account that the workspace keeps its files in, and that nobody else does.')
param storageAccountId string

@description('Vault of the workspace, and of nobody else.')
param vaultId string

@description('Application Insights of the workspace.')
param insightsId string

@description('Principals that ask the model.')
param callerPrincipalIds array

@description('Whether it is reached through a private endpoint only.')
param isPrivate bool

@description('Machine of the model.')
param instanceType string

@description('How many of them.')
@minValue(1)
param instanceCount int

@description('Workspace that logs go to.')
param workspaceId string

// AzureML Data Scientist
var dataScientist = 'f6c7c914-8db3-469d-8ca1-694a8f32e121'

var deploymentName = 'v12'

resource workspace 'Microsoft.MachineLearningServices/workspaces@2026-03-01' = {
  name: 'mlw-${token}'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    applicationInsights: insightsId
    hbiWorkspace: true
    keyVault: vaultId
    // Azure ML's own network for the machines, with private ways to account and vault. A firewall,
    // which costs more than they do, comes with rules about names of hosts only: there are none.
    managedNetwork: isPrivate ? {
      isolationMode: 'AllowOnlyApprovedOutbound'
    } : null
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    storageAccount: storageAccountId
    systemDatastoresAuthMode: 'Identity'
  }
}

resource endpoint 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints@2026-03-01' = {
  parent: workspace
  name: 'medimageinsight-${token}'
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    authMode: 'AADToken'
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
  }
}

resource deployment 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments@2026-03-01' = {
  parent: endpoint
  name: deploymentName
  location: location
  tags: tags
  sku: {
    name: 'Default'
    capacity: instanceCount
  }
  properties: {
    endpointComputeType: 'Managed'
    instanceType: instanceType
    livenessProbe: {
      initialDelay: 'PT10M'
    }
    model: 'azureml://registries/azureml/models/MedImageInsight/versions/12'
    requestSettings: {
      maxConcurrentRequestsPerInstance: 3
      requestTimeout: 'PT1M30S'
    }
    scaleSettings: {
      scaleType: 'Default'
    }
  }
}

resource callers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principalId in callerPrincipalIds: {
  name: guid(endpoint.id, principalId, dataScientist)
  scope: endpoint
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataScientist)
  }
}]

// Events only: what a container prints, and what it is asked, stays out of the log.
resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'log'
  scope: endpoint
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'AmlOnlineEndpointEventLog'
        enabled: true
      }
    ]
  }
}

// The worker names the deployment in each request, so that no traffic rule is needed, which could
// only be written in a second pass.
output deploymentName string = deployment.name
output scoringUri string = endpoint.properties.scoringUri
output workspaceId string = workspace.id
