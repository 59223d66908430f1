// What people are told of, and when. What to do then: docs/operations.md, a runbook for each.
// Queries read the metrics of indexer_core/telemetry.py; Event Grid's and Azure's own are read as
// they are. `make check-infra` compares names, and has Microsoft's parser read the queries.

type Limits = {
  @description('Dead letters within 15 minutes.')
  deadLetters: int
  @description('Calls of the API within 15 minutes that fail, below which nobody is told.')
  failedCalls: int
  @description('Calls of the API that fail, in percent of all.')
  failedCallsPercent: int
  @description('Tries of series that fail within an hour.')
  failedSeries: int
  @description('Seconds from upload to search, for 95 of 100 series.')
  lagS: int
  @description('Looks within an hour, below which their share of rejects says nothing.')
  looks: int
  @description('Messages that fail for good within 15 minutes, and such that lie in a queue.')
  poison: int
  @description('Looks that set their file aside, in percent of all.')
  rejectPercent: int
  @description('Minutes without any metric.')
  silentMinutes: int
  @description('A batch that takes longer is slow whatever is usual, in seconds.')
  slowBatchS: int
  @description('Times the usual duration from which a batch is slow.')
  spikeFactor: int
  @description('A batch that takes less is never slow, in seconds.')
  spikeFloorS: int
  @description('Minutes for which something may wait while nothing is done.')
  stalledMinutes: int
  @description('Dollars of the worker a day.')
  workerCostPerDay: int
  @description('Busy hours of the worker a day.')
  workerHoursPerDay: int
}

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

@description('From where on people are told.')
param limits Limits

@description('Where the runbooks are; the name of the alert is the place on that page.')
param runbooks string

var outcome = 'extend outcome = tostring(Properties.outcome)'
var queue = 'extend queue = tostring(Properties.queue)'
var usualS = 'toscalar(AppMetrics | where Name == "dicom_indexer.batch.duration" and ItemCount > 0 and TimeGenerated < ago(1h) | summarize percentilew(Sum / ItemCount, ItemCount, 50))'

// Each query gives a row where something is wrong, and none where nothing is.
var rules = [
  {
    name: 'poison'
    severity: 1
    title: 'Messages failed every time they were tried, and were set aside.'
    frequency: 'PT5M'
    window: 'PT15M'
    range: null
    query: 'AppMetrics | where Name == "dicom_indexer.poison" | ${queue} | summarize failed = sum(Sum) by queue | where failed > ${limits.poison}'
  }
  {
    name: 'poison-length'
    severity: 2
    title: 'What failed every time still lies in a queue.'
    frequency: 'PT15M'
    window: 'PT1H'
    range: null
    query: 'AppMetrics | where Name == "dicom_indexer.queue.depth" | ${queue} | where queue endswith "-poison" | summarize arg_max(TimeGenerated, Sum) by queue | where Sum > ${limits.poison}'
  }
  {
    name: 'failed-series'
    severity: 2
    title: 'The worker fails series; they are tried again.'
    frequency: 'PT15M'
    window: 'PT1H'
    range: null
    query: 'AppMetrics | where Name == "dicom_indexer.series.indexed" | ${outcome} | where outcome == "failed" | summarize failed = sum(Sum) | where failed > ${limits.failedSeries}'
  }
  {
    name: 'rejects'
    severity: 2
    title: 'Many files are set aside.'
    frequency: 'PT15M'
    window: 'PT1H'
    range: null
    query: 'AppMetrics | where Name == "dicom_indexer.looks" | ${outcome} | summarize looks = sum(Sum), rejected = sumif(Sum, outcome == "rejected") | where looks >= ${limits.looks} and rejected * 100 > ${limits.rejectPercent} * looks'
  }
  {
    name: 'lag'
    severity: 2
    title: 'It takes long from upload to search.'
    frequency: 'PT15M'
    window: 'PT1H'
    range: null
    // Of each minute only sum, count, least and most are known. With the most in the place of all,
    // this is no less than the percentile of the series themselves.
    query: 'AppMetrics | where Name == "dicom_indexer.series.lag" and ItemCount > 0 | summarize p95_s = percentilew(Max, ItemCount, 95) | where p95_s > ${limits.lagS}'
  }
  {
    name: 'stalled'
    severity: 1
    title: 'Files or series wait, and nothing becomes of them.'
    frequency: 'PT15M'
    window: 'PT6H'
    range: null
    // A file that is written anew with the same bytes is looked at and not indexed: what waits counts.
    query: 'AppMetrics | where Name in ("dicom_indexer.queue.depth", "dicom_indexer.looks", "dicom_indexer.series.indexed") and TimeGenerated > ago(${limits.stalledMinutes}m) | ${queue} | summarize events = minif(Sum, queue == "blob-events"), looked = sumif(Sum, Name == "dicom_indexer.looks"), series = minif(Sum, queue == "series-ready"), indexed = sumif(Sum, tostring(Properties.outcome) == "indexed") | where (events > 0 and looked == 0) or (series > 0 and indexed == 0)'
  }
  {
    name: 'run-duration'
    severity: 3
    title: 'Batches of the worker take much longer than usual.'
    frequency: 'PT15M'
    window: 'PT1H'
    // What is usual comes from two days: no rule can look further back.
    range: 'P2D'
    query: 'let usual_s = ${usualS}; AppMetrics | where Name == "dicom_indexer.batch.duration" and ItemCount > 0 and TimeGenerated >= ago(1h) | summarize now_s = percentilew(Sum / ItemCount, ItemCount, 50) | where now_s > ${limits.slowBatchS} or (now_s > ${limits.spikeFloorS} and now_s > ${limits.spikeFactor} * usual_s)'
  }
  {
    name: 'gpu-spend'
    severity: 2
    title: 'The worker was busy for longer, or cost more, than a day may.'
    frequency: 'PT1H'
    window: 'P1D'
    range: null
    query: 'AppMetrics | where Name in ("dicom_indexer.worker.seconds", "dicom_indexer.worker.cost") | summarize hours = sumif(Sum, Name == "dicom_indexer.worker.seconds") / 3600, dollars = sumif(Sum, Name == "dicom_indexer.worker.cost") | where hours > ${limits.workerHoursPerDay} or dollars > ${limits.workerCostPerDay}'
  }
  {
    name: 'search-errors'
    severity: 1
    title: 'Searches and other calls of the API fail.'
    frequency: 'PT5M'
    window: 'PT15M'
    range: null
    query: 'AppRequests | where Name == "api" | summarize calls = sum(ItemCount), failed = sumif(ItemCount, ResultCode startswith "5") | where failed >= ${limits.failedCalls} and failed * 100 > ${limits.failedCallsPercent} * calls'
  }
  {
    name: 'silent'
    severity: 1
    title: 'No metric came, so that no other alert can be trusted.'
    frequency: 'PT15M'
    window: 'PT6H'
    range: null
    query: 'AppMetrics | where Name == "dicom_indexer.queue.depth" and TimeGenerated > ago(${limits.silentMinutes}m) | summarize told = count() | where told == 0'
  }
]

var metrics = [
  {
    name: 'dead-letters'
    title: 'Events could not be delivered and were set aside.'
    metric: 'DeadLetteredCount'
  }
  {
    name: 'dropped-events'
    title: 'Events could not be delivered and are lost; reconcile finds their files.'
    metric: 'DroppedEventCount'
  }
]

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for rule in rules: {
  name: '${rule.name}-${token}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: 'dicom-indexer: ${rule.name}'
    description: '${rule.title} What to do: ${runbooks}#${rule.name}'
    severity: rule.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    evaluationFrequency: rule.frequency
    windowSize: rule.window
    overrideQueryTimeRange: rule.range
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
    description: '${alert.title} What to do: ${runbooks}#${alert.name}'
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
          threshold: limits.deadLetters
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

resource neverRests 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(workerId)) {
  name: 'worker-never-rests-${token}'
  location: 'global'
  tags: tags
  properties: {
    description: 'The worker has been running for six hours without a pause. What to do: ${runbooks}#worker-never-rests'
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
