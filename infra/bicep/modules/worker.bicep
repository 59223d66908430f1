// The worker: takes series from a queue, describes them, commits. Scaled by that queue, to none.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the app.')
@minLength(2)
@maxLength(32)
param name string

@description('Environment that it runs in.')
param environmentId string

@description('Profile of the environment that it runs on.')
param profileName string

@description('Type of that profile; decides how much memory and how many cores there are.')
@allowed([
  'Consumption'
  'Consumption-GPU-NC8as-T4'
  'Consumption-GPU-NC24-A100'
])
param profileType string

@description('Image, by digest or version.')
param image string

@description('Server of the registry of the image.')
param registryServer string

@description('Identity of the worker.')
param identityId string

@description('Client id of the identity.')
param identityClientId string

@description('Account of the index and its queues.')
param indexAccountName string

@description('Queue that it takes series from.')
param queueName string

@description('Settings that the functions have, too.')
param sharedSettings object

@description('Settings of the model that looks at pixels.')
param pixelSettings object

@description('Secret with the key of the patient hash.')
param patientKeyUri string

@description('Connection string of Application Insights; it holds no key that is accepted.')
param insightsConnectionString string

@description('What an hour of it costs, in USD; empty: nobody says.')
param hourlyPrice string

@description('Series per commit.')
@minValue(1)
param batch int

@description('Most replicas. One is enough until its queue grows while it is at work: all commit to one index.')
@minValue(1)
@maxValue(10)
param maxReplicas int

var sizes = {
  Consumption: {
    cpu: 4
    memory: '8Gi'
  }
  'Consumption-GPU-NC8as-T4': {
    cpu: 8
    memory: '56Gi'
  }
  'Consumption-GPU-NC24-A100': {
    cpu: 24
    memory: '220Gi'
  }
}

// Told to end, it has this long; the grace lies below, so that it can give its messages back.
var terminationS = 600
var graceS = 570

// It tells there whether it gets on; its image asks at the same port.
var healthPort = 8080

var settings = union(sharedSettings, pixelSettings, {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  AZURE_CLIENT_ID: identityClientId
  INDEXER_HOURLY_PRICE: hourlyPrice
  INDEXER_LOG_FORMAT: 'json'
  INDEXER_WORKER_BATCH: string(batch)
  INDEXER_WORKER_GRACE_S: string(graceS)
  INDEXER_WORKER_HEALTH_PORT: string(healthPort)
  INDEXER_WORKER_STALL_S: '900'
  INDEXER_WORKER_VISIBILITY_S: '600'
})

var plainVariables = [for setting in items(settings): {
  name: setting.key
  value: setting.value
}]

resource app 'Microsoft.App/containerApps@2026-01-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'worker'
  })
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    environmentId: environmentId
    workloadProfileName: profileName
    configuration: {
      activeRevisionsMode: 'Single'
      registries: [
        {
          server: registryServer
          identity: identityId
        }
      ]
      secrets: [
        {
          name: 'patient-hash-key'
          identity: identityId
          keyVaultUrl: patientKeyUri
        }
      ]
    }
    template: {
      terminationGracePeriodSeconds: terminationS
      containers: [
        {
          name: 'worker'
          image: image
          env: concat(plainVariables, [
            {
              name: 'INDEXER_PATIENT_KEY'
              secretRef: 'patient-hash-key'
            }
          ])
          // One that hangs is ended, and gives back what it has in hand. Such probes cannot run a program.
          probes: [
            {
              type: 'Liveness'
              httpGet: {
                path: '/health'
                port: healthPort
              }
              initialDelaySeconds: 60
              periodSeconds: 60
              timeoutSeconds: 10
              failureThreshold: 3
            }
          ]
          resources: {
            cpu: sizes[profileType].cpu
            memory: sizes[profileType].memory
          }
        }
      ]
      scale: {
        minReplicas: 0
        maxReplicas: maxReplicas
        cooldownPeriod: 300
        pollingInterval: 30
        rules: [
          {
            name: 'series-ready'
            azureQueue: {
              accountName: indexAccountName
              queueName: queueName
              queueLength: batch
              identity: identityId
            }
          }
        ]
      }
    }
  }
}

output id string = app.id
