// Where containers run: a Container Apps environment with the profile of the worker.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the environment.')
param name string

@description('Profile of the worker: a GPU, or none.')
param workerProfile string

@description('Subnet of the environment; empty: none.')
param subnetId string

@description('Workspace that the log goes to.')
param workspaceId string

var consumption = {
  name: 'Consumption'
  workloadProfileType: 'Consumption'
}

resource managed 'Microsoft.App/managedEnvironments@2026-01-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    appLogsConfiguration: {
      // Through the diagnostic setting below: sent straight, it would take a key of the workspace.
      destination: 'azure-monitor'
    }
    // The worker asks for work; nobody asks it.
    publicNetworkAccess: 'Disabled'
    vnetConfiguration: empty(subnetId) ? null : {
      infrastructureSubnetId: subnetId
      internal: true
    }
    workloadProfiles: workerProfile == 'Consumption' ? [
      consumption
    ] : [
      consumption
      {
        name: 'worker'
        workloadProfileType: workerProfile
      }
    ]
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'log'
  scope: managed
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'ContainerAppConsoleLogs'
        enabled: true
      }
      {
        category: 'ContainerAppSystemLogs'
        enabled: true
      }
    ]
  }
}

output id string = managed.id
output workerProfileName string = workerProfile == 'Consumption' ? 'Consumption' : 'worker'
