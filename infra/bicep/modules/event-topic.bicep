// What announces every new, replaced and deleted blob of the account of the files. An account has
// one such topic at most: where a scanner of malware has made it, it is given an identity here.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the topic.')
param name string

@description('Account whose blobs are announced.')
param sourceId string

@description('Workspace that metrics go to.')
param workspaceId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: sourceId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

resource diagnostics 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'metrics'
  scope: topic
  properties: {
    workspaceId: workspaceId
    metrics: [
      {
        category: 'AllMetrics'
        enabled: true
      }
    ]
  }
}

output id string = topic.id
output name string = topic.name
output principalId string = topic.identity.principalId
