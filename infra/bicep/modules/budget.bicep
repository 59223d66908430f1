// A budget tells; it stops nothing.

targetScope = 'subscription'

@description('Name of the budget.')
param name string

@description('Groups whose costs are counted together.')
param groupNames array

@description('Money a month, in the currency of the subscription.')
@minValue(1)
param amount int

@description('First day of a month, as 2026-12-01; it cannot be changed later.')
param startDate string

@description('Address that is told.')
param email string

resource budget 'Microsoft.Consumption/budgets@2024-08-01' = {
  name: name
  properties: {
    amount: amount
    category: 'Cost'
    filter: {
      dimensions: {
        name: 'ResourceGroupName'
        operator: 'In'
        values: groupNames
      }
    }
    timeGrain: 'Monthly'
    timePeriod: {
      startDate: startDate
    }
    notifications: {
      spent: {
        enabled: true
        contactEmails: [
          email
        ]
        operator: 'GreaterThanOrEqualTo'
        threshold: 80
        thresholdType: 'Actual'
      }
      foreseen: {
        enabled: true
        contactEmails: [
          email
        ]
        operator: 'GreaterThan'
        threshold: 100
        thresholdType: 'Forecasted'
      }
    }
  }
}
