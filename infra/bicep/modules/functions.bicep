// The Functions app on Flex Consumption: queue triggers, timers and the HTTP API. It logs to
// Application Insights by itself: a diagnostic setting would pay for each line a second time.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Name of the app.')
@minLength(2)
@maxLength(60)
param name string

@description('Whether it is reached through a private endpoint only.')
param isPrivate bool

@description('Subnet that it calls out through; empty: none.')
param subnetId string

@description('Identity of the app.')
param identityId string

@description('Client id of the identity.')
param identityClientId string

@description('Address of the blobs of the account of the host: leases, and the package.')
param hostBlobEndpoint string

@description('Container that the package is deployed to.')
param packageContainerName string

@description('Settings that the worker has, too.')
param sharedSettings object

@description('Secret with the key of the patient hash.')
param patientKeyUri string

@description('Address of a Milvus that searches are answered from; empty: from the segments.')
param milvusUri string

@description('What the names of the collections begin with there.')
param milvusPrefix string

@description('Secret with what Milvus lets in; only read where there is an address.')
param milvusTokenUri string

@description('Connection string of Application Insights; it holds no key that is accepted.')
param insightsConnectionString string

@description('Application (client) id of the registration that signs callers in.')
param entraClientId string

@description('Memory of an instance.')
@allowed([
  2048
  4096
])
param instanceMemoryMb int

@description('Instances that are kept ready for HTTP.')
@minValue(1)
param alwaysReadyInstances int

@description('Most instances at once; 40 is the least that Flex Consumption takes.')
@minValue(40)
@maxValue(1000)
param maximumInstances int
// FUNCTIONS_WORKER_RUNTIME is refused on Flex Consumption: functionAppConfig says it.
var ownSettings = {
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsConnectionString
  AZURE_CLIENT_ID: identityClientId
  AzureWebJobsStorage__blobServiceUri: hostBlobEndpoint
  AzureWebJobsStorage__clientId: identityClientId
  AzureWebJobsStorage__credential: 'managedidentity'
  INDEXER_MILVUS_PREFIX: milvusPrefix
  INDEXER_MILVUS_TIMEOUT_S: ''
  INDEXER_MILVUS_TOKEN: empty(milvusUri) ? '' : '@Microsoft.KeyVault(SecretUri=${milvusTokenUri})'
  INDEXER_MILVUS_URI: milvusUri
  INDEXER_PATIENT_KEY: '@Microsoft.KeyVault(SecretUri=${patientKeyUri})'
  IndexerStorage__clientId: identityClientId
  IndexerStorage__credential: 'managedidentity'
  // Easy Auth signs in by this identity instead of a client secret.
  OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId
  PYTHON_SCRIPT_FILE_NAME: 'functions_entry.py'
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${name}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    name: 'FC1'
    tier: 'FlexConsumption'
  }
  properties: {
    reserved: true
  }
}

resource app 'Microsoft.Web/sites@2025-03-01' = {
  name: name
  location: location
  tags: union(tags, {
    'azd-service-name': 'functions'
  })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    keyVaultReferenceIdentity: identityId
    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'
    virtualNetworkSubnetId: isPrivate ? subnetId : null
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${hostBlobEndpoint}${packageContainerName}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        alwaysReady: [
          {
            name: 'http'
            instanceCount: alwaysReadyInstances
          }
        ]
        instanceMemoryMB: instanceMemoryMb
        maximumInstanceCount: maximumInstances
      }
    }
    siteConfig: {
      ftpsState: 'Disabled'
      http20Enabled: true
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'appsettings'
  properties: union(sharedSettings, ownSettings)
}

// One after the other: a site that is written to twice at once refuses one of them (409).
resource ftp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'ftp'
  dependsOn: [
    settings
  ]
  properties: {
    allow: false
  }
}

resource scm 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: app
  name: 'scm'
  dependsOn: [
    ftp
  ]
  properties: {
    allow: false
  }
}

// Settings first: what signs callers in names one of them.
resource signIn 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: app
  name: 'authsettingsV2'
  dependsOn: [
    scm
  ]
  properties: {
    platform: {
      enabled: true
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: [
        '/api/health'
        '/api/openapi.json'
      ]
    }
    httpSettings: {
      requireHttps: true
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: entraClientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            'api://${entraClientId}'
            entraClientId
          ]
        }
      }
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
  }
}

output id string = app.id
output endpoint string = 'https://${app.properties.defaultHostName}'
