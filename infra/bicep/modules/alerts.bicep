// What people are told of, and when. Queries read the lines that the programs log.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Ends the names.')
param token string

@description('Workspace that is asked.')
param workspaceId string

@description('Whom to tell.')
param actionGroupId string

@description('Topic whose dead letters are counted.')
param topicId string

@description('Worker whose replicas are counted; empty: there is none yet.')
param workerId string

@description('A batch of the worker that takes longer is a spike, in seconds.')
@minValue(1)
param slowBatchS int

// Each query gives a row where something is wrong, and none where nothing is.
var rules = [
  {
    name: 'poison'
    severity: 1
    title: 'Messages failed every time they were tried'
    frequency: 'PT5M'
    window: 'PT15M'
    query: 'AppRequests | where Name in ("ingest_poison", "series_check_poison")'
  }
  {
    name: 'failed-series'
    severity: 2
    title: 'The worker fails series'
    frequency: 'PT15M'
    window: 'PT1H'
    query: 'ContainerAppConsoleLogs | where Log has "batch series=" | extend failed = toint(extract("failed=([0-9]+)", 1, Log)) | where failed > 0'
  }
  {
    name: 'rejects'
    severity: 2
    title: 'More than one look in twenty sets its file aside'
    frequency: 'PT15M'
    window: 'PT1H'
    query: 'AppTraces | where Message startswith "ingest outcomes=" | summarize looks = count(), rejected = countif(Message has "rejected") | where looks >= 20 and rejected * 20 > looks'
  }
  {
    name: 'lag'
    severity: 2
    title: 'Files came an hour ago, and no batch was committed since'
    frequency: 'PT15M'
    window: 'PT2H'
    query: 'let closed = toscalar(AppTraces | where TimeGenerated between (ago(2h) .. ago(1h)) | where Message startswith "series_check outcome=closed" | count); let batches = toscalar(ContainerAppConsoleLogs | where TimeGenerated > ago(1h) | where Log has "batch series=" | count); print late = closed > 0 and batches == 0 | where late'
  }
  {
    name: 'run-duration'
    severity: 3
    title: 'Batches of the worker take long'
    frequency: 'PT15M'
    window: 'PT1H'
    query: 'ContainerAppConsoleLogs | where Log has "batch series=" | extend elapsed_s = todouble(extract("elapsed_s=([0-9.]+)", 1, Log)) | where elapsed_s > ${slowBatchS}'
  }
]

var metrics = [
  {
    name: 'dead-letters'
    title: 'Events could not be delivered and were set aside'
    metric: 'DeadLetteredCount'
  }
  {
    name: 'dropped-events'
    title: 'Events could not be delivered and are lost; reconcile finds their files'
    metric: 'DroppedEventCount'
  }
]

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: rule.title
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.frequency
    windowSize: rule.window
    // Tables are made by the first line that is written to them.
    skipQueryValidation: true
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: rule.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    actions: {
      actionGroups: [
        actionGroupId
      ]
    }
  }
}]

resource eventAlerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [for alert in metrics: {
  name: '${alert.name}-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: alert.title
    severity: 1
    enabled: true
    scopes: [
      topicId
    ]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: alert.name
          metricName: alert.metric
          operator: 'GreaterThan'
          threshold: 0
          timeAggregation: 'Total'
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}]

resource gpuSpend 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(workerId)) {
  name: 'gpu-spend-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'The worker has been running for six hours: is there so much work, or does it not end?'
    severity: 2
    enabled: true
    scopes: [
      workerId
    ]
    evaluationFrequency: 'PT1H'
    windowSize: 'PT6H'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          criterionType: 'StaticThresholdCriterion'
          name: 'replicas'
          metricName: 'Replicas'
          operator: 'GreaterThan'
          threshold: 0
          // The least of six hours: it never ended.
          timeAggregation: 'Minimum'
        }
      ]
    }
    actions: [
      {
        actionGroupId: actionGroupId
      }
    ]
  }
}
