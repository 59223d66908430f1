// An index of DICOM files in a resource group of its own. Who may do what is written here, in one
// place; what each thing is, in modules/. Why it is so: docs/adr/0035-azure-by-bicep.md.

targetScope = 'subscription'

@description('Name of the environment; names the resource group and is a tag of everything.')
@minLength(2)
@maxLength(24)
param environmentName string

@description('Region of everything.')
param location string

@description('Whether everything is reached through private endpoints only. Without it storage, vault, registry and API can be reached from the internet by whoever Entra ID signs in.')
param isPrivate bool = true

@description('Addresses of the private network, a /22 that nothing else uses.')
param addressPrefix string = '10.60.0.0/22'

@description('NAT gateway by which machines of the operators reach the internet; empty: they do not, unless routes or a peered network lead there.')
param operatorsNatGatewayId string = ''

@description('Further subnets, within the last eighth of the addresses; one that is added by hand is deleted by the next deployment.')
param extraSubnets array = []

@description('Group of private DNS zones that are there already, as in a landing zone that denies others; empty: they are made.')
param dnsZonesGroupId string = ''

@description('Other networks, as one that is peered, that resolve the private names by the zones that are made.')
param linkedNetworkIds array = []

@description('Application (client) id of the registration that signs callers of the API in.')
@minLength(36)
@maxLength(36)
param entraClientId string

@description('Base64 of the secret of the patient hash, 16 bytes or more; at the first deployment only, empty ever after.')
@secure()
param patientKey string = ''

@description('Group whose members use the command line on the index and upload files; empty: nobody.')
param operatorGroupId string = ''

@description('Image of the worker, by digest or version; empty: no worker yet, as before the first image is pushed.')
param workerImage string = ''

@description('What the worker runs on.')
@allowed([
  'Consumption'
  'Consumption-GPU-NC8as-T4'
  'Consumption-GPU-NC24-A100'
])
param workerProfile string = 'Consumption-GPU-NC8as-T4'

@description('Most workers at once.')
@minValue(1)
@maxValue(10)
param maxWorkers int = 1

@description('Series per commit of the worker.')
@minValue(1)
param workerBatch int = 32

@description('What an hour of the worker costs, in USD, by which telemetry tells its cost; empty: it tells none.')
param workerHourlyPrice string = ''

@description('Share of the series, from 0 to 1, whose traces are sent; all metrics are sent in any case.')
param traceShare string = '1'

@description('What names body region and plane from pixels: descriptor (nothing), mlflow:FOLDER or biomedclip:FOLDER of the image. MedImageInsight, where it is deployed, takes its place.')
param pixelModel string = 'descriptor'

@description('Whether MedImageInsight is deployed, in a group of its own: machines that are paid for by the hour, asked by token.')
param hasMedImageInsight bool = false

@description('Machine of MedImageInsight.')
param medImageInsightMachine string = 'Standard_NC4as_T4_v3'

@description('How many machines MedImageInsight has.')
@minValue(1)
param medImageInsightCount int = 2

@description('Container of the files.')
param sourceContainer string = 'dicom'

@description('Name of the system topic that the account of the files has already, as Defender for Storage makes one; empty: it has none.')
param eventTopicName string = ''

@description('Project that these files belong to.')
param sourceScope string = 'default'

@description('Projects that callers are limited to, as JSON; empty: every caller sees everything.')
param projects string = ''

@description('Address of a viewer, with {study} or {series}; empty: none.')
param viewer string = ''

@description('Address of a Milvus that searches are answered from; empty: from the segments.')
param milvusUri string = ''

@description('What the names of the collections begin with there.')
param milvusPrefix string = 'dicom'

@description('Memory of an instance of the functions.')
@allowed([
  2048
  4096
])
param functionsMemoryMb int = 4096

@description('Instances of the functions that are kept ready for searches.')
@minValue(1)
param alwaysReadyInstances int = 1

@description('Replication of the accounts of files and index.')
param storageSku string = 'Standard_ZRS'

@description('Days for which deleted files are kept; they lie outside of the index and its purges. 0: they are not kept.')
@minValue(0)
@maxValue(365)
param fileSoftDeleteDays int = 7

@description('Days after which files move to the cool tier. They are never archived: archived files cannot be read.')
@minValue(1)
param coolAfterDays int = 90

@description('Days for which logs are kept.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('Most gigabytes of logs a day.')
@minValue(1)
param logDailyQuotaGb int = 5

@description('Alert dead-letters, dropped-events: from more than so many within 15 minutes.')
@minValue(0)
param deadLetterLimit int = 0

@description('Alert search-errors: failed calls of the API within 15 minutes, below which nobody is told.')
@minValue(1)
param failedCallsAtLeast int = 5

@description('Alert search-errors: from more failed calls than this, in percent of all.')
@minValue(0)
param failedCallsPercent int = 5

@description('Alert failed-series: from more failed tries than this within an hour.')
@minValue(0)
param failedSeriesLimit int = 10

@description('Alert lag: from longer than this between upload and search, for 95 of 100 series, in seconds.')
@minValue(60)
param lagLimitS int = 1800

@description('Alert rejects: looks within an hour, below which their share of rejects says nothing.')
@minValue(1)
param looksAtLeast int = 20

@description('Alerts poison, poison-length: from more messages than this.')
@minValue(0)
param poisonLimit int = 0

@description('Alert rejects: from more looks than this that set their file aside, in percent of all.')
@minValue(0)
param rejectPercent int = 5

@description('Alert silent: minutes without any metric. They are sent every five.')
@minValue(10)
@maxValue(360)
param silentMinutes int = 30

@description('Alert run-duration: a batch that takes longer is slow whatever is usual, in seconds.')
@minValue(1)
param slowBatchS int = 900

@description('Alert run-duration: a batch is slow from so many times the usual duration.')
@minValue(2)
param spikeFactor int = 3

@description('Alert run-duration: a batch that takes less is never slow, in seconds.')
@minValue(1)
param spikeFloorS int = 60

@description('Alert stalled: minutes for which files or series may wait while nothing is done.')
@minValue(30)
@maxValue(180)
param stalledMinutes int = 60

@description('Alert gpu-spend: from more dollars of the worker a day; told only where its price is set.')
@minValue(1)
param workerCostPerDay int = 50

@description('Alert gpu-spend: from more busy hours of all workers a day.')
@minValue(1)
param workerHoursPerDay int = 12

@description('Where the runbooks of the alerts are: the address of this page, once a hospital has its own copy.')
param runbooks string = 'docs/operations.md'

@description('Address that alerts and budgets go to.')
param alertEmail string

@description('Money a month that people are told of.')
@minValue(1)
param monthlyBudget int

@description('First day of a month, from which the budget counts.')
param budgetStart string

@description('Whether sizes of machines are limited by Azure Policy; takes the right to write policies in the subscription.')
param hasPolicies bool = false

var tags = {
  'azd-env-name': environmentName
  'data-classification': 'patient-data'
  product: 'dicom-indexer'
}
var token = toLower(uniqueString(subscription().id, environmentName, location))

var indexContainer = 'index'
var deadLetterContainer = 'dead-letters'
var packageContainer = 'packages'
var eventsQueue = 'blob-events'
var readyQueue = 'series-ready'
var queueNames = [
  eventsQueue
  'blob-events-poison'
  'series-check'
  'series-check-poison'
  readyQueue
  'series-ready-poison'
]
var tableNames = [
  'indexerblobs'
  'indexerinstances'
  'indexeropenseries'
  'indexerrejects'
  'indexerjobs'
  'indexeraudit'
]

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var blobDataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
// Not Reader and Message Processor: after a failure the host updates the message.
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var queueMessageSender = 'c6a89b2d-59bc-44d0-9896-0f6e12d7b80a'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'

resource group 'Microsoft.Resources/resourceGroups@2025-04-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

// Azure ML gives the identity of its workspace rights on account, vault and group of the workspace:
// none of these may be one in which patient data or the functions' package lie.
resource modelGroup 'Microsoft.Resources/resourceGroups@2025-04-01' = if (hasMedImageInsight) {
  name: 'rg-${environmentName}-model'
  location: location
  tags: tags
}

module identities 'modules/identities.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
  }
}

module monitoring 'modules/monitoring.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    retentionDays: logRetentionDays
    dailyQuotaGb: logDailyQuotaGb
    alertEmail: alertEmail
  }
}

module network 'modules/network.bicep' = if (isPrivate) {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    addressPrefix: addressPrefix
    operatorsNatGatewayId: operatorsNatGatewayId
    extraSubnets: extraSubnets
    hasZones: empty(dnsZonesGroupId)
    linkedNetworkIds: linkedNetworkIds
  }
}

// Files and index in accounts of their own: each write of the index would be an event, else.
module files 'modules/storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'files${token}'
    skuName: storageSku
    isPrivate: isPrivate
    isKept: isPrivate
    containers: [
      sourceContainer
    ]
    queues: []
    tables: []
    softDeleteDays: fileSoftDeleteDays
    lifecycleRules: [
      {
        name: 'cool'
        enabled: true
        type: 'Lifecycle'
        definition: {
          actions: {
            baseBlob: {
              tierToCool: {
                daysAfterModificationGreaterThan: coolAfterDays
              }
            }
          }
          filters: {
            blobTypes: [
              'blockBlob'
            ]
            prefixMatch: [
              '${sourceContainer}/'
            ]
          }
        }
      }
    ]
    workspaceId: monitoring.outputs.workspaceId
  }
}

module index 'modules/storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'index${token}'
    skuName: storageSku
    isPrivate: isPrivate
    isKept: isPrivate
    containers: [
      indexContainer
      deadLetterContainer
    ]
    queues: queueNames
    tables: tableNames
    softDeleteDays: 0
    lifecycleRules: [
      {
        name: 'forget-dead-letters'
        enabled: true
        type: 'Lifecycle'
        definition: {
          actions: {
            baseBlob: {
              delete: {
                daysAfterModificationGreaterThan: 90
              }
            }
          }
          filters: {
            blobTypes: [
              'blockBlob'
            ]
            prefixMatch: [
              '${deadLetterContainer}/'
            ]
          }
        }
      }
    ]
    workspaceId: monitoring.outputs.workspaceId
  }
}

module host 'modules/storage.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'host${token}'
    skuName: 'Standard_LRS'
    isPrivate: isPrivate
    isKept: false
    containers: [
      packageContainer
    ]
    queues: []
    tables: []
    softDeleteDays: 0
    lifecycleRules: []
    workspaceId: monitoring.outputs.workspaceId
  }
}

var programs = [
  {
    principalId: identities.outputs.functionsPrincipalId
    principalType: 'ServicePrincipal'
  }
  {
    principalId: identities.outputs.workerPrincipalId
    principalType: 'ServicePrincipal'
  }
]
var operators = empty(operatorGroupId) ? [] : [
  {
    principalId: operatorGroupId
    principalType: 'Group'
  }
]

module indexRoles 'modules/program-roles.bicep' = {
  scope: group
  params: {
    accountName: index.outputs.name
    principals: concat(programs, operators)
    containerName: indexContainer
    containerRoleId: blobDataContributor
    queueNames: queueNames
    queueRoleId: queueDataContributor
    tableNames: tableNames
    tableRoleId: tableDataContributor
  }
}

module fileRoles 'modules/storage-roles.bicep' = {
  scope: group
  params: {
    accountName: files.outputs.name
    containerGrants: concat([
      {
        name: sourceContainer
        principalId: identities.outputs.functionsPrincipalId
        principalType: 'ServicePrincipal'
        roleId: blobDataReader
      }
      {
        name: sourceContainer
        principalId: identities.outputs.workerPrincipalId
        principalType: 'ServicePrincipal'
        roleId: blobDataReader
      }
    ], empty(operatorGroupId) ? [] : [
      {
        name: sourceContainer
        principalId: operatorGroupId
        principalType: 'Group'
        roleId: blobDataContributor
      }
    ])
  }
}

module hostRoles 'modules/storage-roles.bicep' = {
  scope: group
  params: {
    accountName: host.outputs.name
    accountGrants: [
      {
        name: host.outputs.name
        principalId: identities.outputs.functionsPrincipalId
        principalType: 'ServicePrincipal'
        roleId: blobDataOwner
      }
    ]
  }
}

module insightsRoles 'modules/insights-roles.bicep' = {
  scope: group
  params: {
    insightsName: monitoring.outputs.insightsName
    publisherPrincipalIds: [
      identities.outputs.functionsPrincipalId
      identities.outputs.workerPrincipalId
    ]
  }
}

module topic 'modules/event-topic.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: empty(eventTopicName) ? 'evgt-files-${token}' : eventTopicName
    sourceId: files.outputs.id
    workspaceId: monitoring.outputs.workspaceId
  }
}

module topicRoles 'modules/storage-roles.bicep' = {
  scope: group
  params: {
    accountName: index.outputs.name
    containerGrants: [
      {
        name: deadLetterContainer
        principalId: topic.outputs.principalId
        principalType: 'ServicePrincipal'
        roleId: blobDataContributor
      }
    ]
    queueGrants: [
      {
        name: eventsQueue
        principalId: topic.outputs.principalId
        principalType: 'ServicePrincipal'
        roleId: queueMessageSender
      }
    ]
  }
}

module fileEvents 'modules/event-subscription.bicep' = {
  scope: group
  // Events of the minutes before the roles are there would be lost for good.
  dependsOn: [
    topicRoles
  ]
  params: {
    topicName: topic.outputs.name
    name: 'files-to-queue'
    containerName: sourceContainer
    accountId: index.outputs.id
    queueName: eventsQueue
    deadLetterContainerName: deadLetterContainer
  }
}

module announcements 'modules/announcements.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'evgt-series-${token}'
    isPrivate: isPrivate
    senderPrincipalIds: [
      identities.outputs.functionsPrincipalId
      identities.outputs.workerPrincipalId
    ]
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/keyvault.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'kv-${token}'
    isPrivate: isPrivate
    isKept: isPrivate
    patientKey: patientKey
    readerPrincipalIds: [
      identities.outputs.functionsPrincipalId
      identities.outputs.workerPrincipalId
    ]
    workspaceId: monitoring.outputs.workspaceId
  }
}

module registry 'modules/registry.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'cr${token}'
    isPrivate: isPrivate
    readerPrincipalIds: [
      identities.outputs.workerPrincipalId
    ]
    workspaceId: monitoring.outputs.workspaceId
  }
}

module modelFiles 'modules/storage.bicep' = if (hasMedImageInsight) {
  scope: modelGroup
  params: {
    location: location
    tags: tags
    name: 'model${token}'
    skuName: 'Standard_LRS'
    isPrivate: isPrivate
    isKept: false
    containers: []
    queues: []
    tables: []
    softDeleteDays: 0
    lifecycleRules: []
    workspaceId: monitoring.outputs.workspaceId
  }
}

module modelVault 'modules/keyvault.bicep' = if (hasMedImageInsight) {
  scope: modelGroup
  params: {
    location: location
    tags: tags
    name: 'kvm-${token}'
    isPrivate: isPrivate
    isKept: false
    patientKey: ''
    readerPrincipalIds: []
    workspaceId: monitoring.outputs.workspaceId
  }
}

module medImageInsight 'modules/medimageinsight.bicep' = if (hasMedImageInsight) {
  scope: modelGroup
  params: {
    location: location
    tags: tags
    token: token
    storageAccountId: modelFiles!.outputs.id
    vaultId: modelVault!.outputs.id
    insightsId: monitoring.outputs.insightsId
    callerPrincipalIds: [
      identities.outputs.workerPrincipalId
    ]
    isPrivate: isPrivate
    instanceType: medImageInsightMachine
    instanceCount: medImageInsightCount
    workspaceId: monitoring.outputs.workspaceId
  }
}

// Programs wait for these: vault and registry are asked while they are made.
module endpoints 'modules/private-endpoints.bicep' = if (isPrivate) {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    subnetId: network!.outputs.endpointsSubnetId
    zonesGroupId: empty(dnsZonesGroupId) ? group.id : dnsZonesGroupId
    targets: concat([
      {
        name: 'files-blob'
        resourceId: files.outputs.id
        groupId: 'blob'
        zoneName: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'index-blob'
        resourceId: index.outputs.id
        groupId: 'blob'
        zoneName: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'index-queue'
        resourceId: index.outputs.id
        groupId: 'queue'
        zoneName: 'privatelink.queue.${environment().suffixes.storage}'
      }
      {
        name: 'index-table'
        resourceId: index.outputs.id
        groupId: 'table'
        zoneName: 'privatelink.table.${environment().suffixes.storage}'
      }
      {
        name: 'host-blob'
        resourceId: host.outputs.id
        groupId: 'blob'
        zoneName: 'privatelink.blob.${environment().suffixes.storage}'
      }
      {
        name: 'registry'
        resourceId: registry.outputs.id
        groupId: 'registry'
        zoneName: 'privatelink.azurecr.io'
      }
      {
        name: 'vault'
        resourceId: vault.outputs.id
        groupId: 'vault'
        zoneName: 'privatelink.vaultcore.azure.net'
      }
      {
        name: 'announcements'
        resourceId: announcements.outputs.id
        groupId: 'topic'
        zoneName: 'privatelink.eventgrid.azure.net'
      }
    ], hasMedImageInsight ? [
      {
        name: 'medimageinsight'
        resourceId: medImageInsight!.outputs.workspaceId
        groupId: 'amlworkspace'
        zoneName: 'privatelink.api.azureml.ms'
      }
    ] : [])
  }
}

// What functions and worker both read. An empty value means the default, which the code knows.
var sharedSettings = {
  INDEXER_CACHE_DIR: ''
  INDEXER_CACHE_MB: ''
  INDEXER_KEYS_SEE_ALL: 'off'
  INDEXER_MAX_WAIT_S: '900'
  INDEXER_MEMORY_MB: ''
  INDEXER_MERGE_MB: '512'
  INDEXER_PROJECTS: projects
  INDEXER_QUIET_S: '30'
  INDEXER_RETENTION_DAYS: '7'
  INDEXER_SEARCH: ''
  INDEXER_SOURCES: string([
    {
      scope: sourceScope
      account: files.outputs.name
      container: sourceContainer
    }
  ])
  INDEXER_THUMBNAILS: 'on'
  INDEXER_TOPIC_ENDPOINT: announcements.outputs.endpoint
  INDEXER_TRACE_SHARE: traceShare
  INDEXER_VIEWER: viewer
  IndexerStorage__accountName: index.outputs.name
}

module functions 'modules/functions.bicep' = {
  scope: group
  dependsOn: [
    endpoints
    fileRoles
    hostRoles
    indexRoles
    insightsRoles
  ]
  params: {
    location: location
    tags: tags
    name: 'func-${token}'
    isPrivate: isPrivate
    subnetId: isPrivate ? network!.outputs.functionsSubnetId : ''
    identityId: identities.outputs.functionsId
    identityClientId: identities.outputs.functionsClientId
    hostBlobEndpoint: host.outputs.blobEndpoint
    packageContainerName: packageContainer
    sharedSettings: sharedSettings
    patientKeyUri: vault.outputs.patientKeyUri
    milvusUri: milvusUri
    milvusPrefix: milvusPrefix
    milvusTokenUri: vault.outputs.milvusTokenUri
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    entraClientId: entraClientId
    instanceMemoryMb: functionsMemoryMb
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: 40
  }
}

module containers 'modules/environment.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    name: 'cae-${token}'
    // Where there is no quota for a GPU the environment fails, and all that waits for it.
    workerProfile: empty(workerImage) ? 'Consumption' : workerProfile
    subnetId: isPrivate ? network!.outputs.workerSubnetId : ''
    workspaceId: monitoring.outputs.workspaceId
  }
}

module worker 'modules/worker.bicep' = if (!empty(workerImage)) {
  scope: group
  dependsOn: [
    endpoints
    fileRoles
    indexRoles
    insightsRoles
  ]
  params: {
    location: location
    tags: tags
    name: 'worker-${token}'
    environmentId: containers.outputs.id
    profileName: containers.outputs.workerProfileName
    profileType: workerProfile
    image: workerImage
    registryServer: registry.outputs.loginServer
    identityId: identities.outputs.workerId
    identityClientId: identities.outputs.workerClientId
    indexAccountName: index.outputs.name
    queueName: readyQueue
    sharedSettings: sharedSettings
    pixelSettings: {
      INDEXER_PIXEL_MODEL: hasMedImageInsight ? medImageInsight!.outputs.scoringUri : pixelModel
      INDEXER_PIXEL_MODEL_DEPLOYMENT: hasMedImageInsight ? medImageInsight!.outputs.deploymentName : ''
      INDEXER_PIXEL_MODEL_VERSION: hasMedImageInsight ? '12' : '1'
    }
    patientKeyUri: vault.outputs.patientKeyUri
    insightsConnectionString: monitoring.outputs.insightsConnectionString
    hourlyPrice: workerHourlyPrice
    batch: workerBatch
    maxReplicas: maxWorkers
  }
}

module alerts 'modules/alerts.bicep' = {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: monitoring.outputs.actionGroupId
    topicId: topic.outputs.id
    workerId: !empty(workerImage) ? worker!.outputs.id : ''
    runbooks: runbooks
    limits: {
      deadLetters: deadLetterLimit
      failedCalls: failedCallsAtLeast
      failedCallsPercent: failedCallsPercent
      failedSeries: failedSeriesLimit
      lagS: lagLimitS
      looks: looksAtLeast
      poison: poisonLimit
      rejectPercent: rejectPercent
      silentMinutes: silentMinutes
      slowBatchS: slowBatchS
      spikeFactor: spikeFactor
      spikeFloorS: spikeFloorS
      stalledMinutes: stalledMinutes
      workerCostPerDay: workerCostPerDay
      workerHoursPerDay: workerHoursPerDay
    }
  }
}

module functionsEndpoint 'modules/private-endpoints.bicep' = if (isPrivate) {
  scope: group
  params: {
    location: location
    tags: tags
    token: token
    subnetId: network!.outputs.endpointsSubnetId
    zonesGroupId: empty(dnsZonesGroupId) ? group.id : dnsZonesGroupId
    targets: [
      {
        name: 'functions'
        resourceId: functions.outputs.id
        groupId: 'sites'
        zoneName: 'privatelink.azurewebsites.net'
      }
    ]
  }
}

module budget 'modules/budget.bicep' = {
  params: {
    name: 'monthly-${token}'
    groupNames: concat([
      group.name
    ], hasMedImageInsight ? [
      modelGroup.name
    ] : [])
    amount: monthlyBudget
    startDate: budgetStart
    email: alertEmail
  }
}

module policyDefinitions 'modules/policy-definitions.bicep' = if (hasPolicies) {
  params: {
    token: token
  }
}

module policy 'modules/policy.bicep' = if (hasPolicies) {
  scope: group
  params: {
    profilesDefinitionId: policyDefinitions!.outputs.profilesDefinitionId
    machinesDefinitionId: policyDefinitions!.outputs.machinesDefinitionId
    allowedProfiles: [
      'Consumption'
      workerProfile
    ]
    allowedMachineSizes: [
      medImageInsightMachine
    ]
  }
}

module modelPolicy 'modules/policy.bicep' = if (hasPolicies && hasMedImageInsight) {
  scope: modelGroup
  params: {
    profilesDefinitionId: policyDefinitions!.outputs.profilesDefinitionId
    machinesDefinitionId: policyDefinitions!.outputs.machinesDefinitionId
    allowedProfiles: [
      'Consumption'
      workerProfile
    ]
    allowedMachineSizes: [
      medImageInsightMachine
    ]
  }
}

output AZURE_CONTAINER_REGISTRY_ENDPOINT string = registry.outputs.loginServer
output AZURE_RESOURCE_GROUP string = group.name
output API_ENDPOINT string = functions.outputs.endpoint
output FILES_ACCOUNT string = files.outputs.name
output FILES_CONTAINER string = sourceContainer
output INDEX_ACCOUNT string = index.outputs.name
// Kept by azd: the next deployment, on whatever machine, is given the same.
output BUDGET_START string = budgetStart
output IS_PRIVATE bool = isPrivate
output SERVICE_WORKER_IMAGE_NAME string = workerImage
