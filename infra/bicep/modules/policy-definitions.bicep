// What Azure's own policies do not limit: profiles of Container Apps, machines of Azure ML.
// The aliases are in public lists of them, and have not been verified on a subscription.

targetScope = 'subscription'

@description('Ends the names.')
param token string

resource profiles 'Microsoft.Authorization/policyDefinitions@2026-06-01' = {
  name: 'container-apps-profiles-${token}'
  properties: {
    displayName: 'dicom-indexer: allowed workload profiles of Container Apps environments'
    policyType: 'Custom'
    mode: 'All'
    parameters: {
      allowed: {
        type: 'Array'
      }
    }
    policyRule: {
      if: {
        allOf: [
          {
            field: 'type'
            equals: 'Microsoft.App/managedEnvironments'
          }
          {
            count: {
              field: 'Microsoft.App/managedEnvironments/workloadProfiles[*]'
              where: {
                field: 'Microsoft.App/managedEnvironments/workloadProfiles[*].workloadProfileType'
                notIn: '[parameters(\'allowed\')]'
              }
            }
            greater: 0
          }
        ]
      }
      then: {
        effect: 'deny'
      }
    }
  }
}

resource machines 'Microsoft.Authorization/policyDefinitions@2026-06-01' = {
  name: 'machine-learning-machines-${token}'
  properties: {
    displayName: 'dicom-indexer: allowed machines of Azure ML endpoints'
    policyType: 'Custom'
    mode: 'All'
    parameters: {
      allowed: {
        type: 'Array'
      }
    }
    policyRule: {
      if: {
        allOf: [
          {
            field: 'type'
            equals: 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments'
          }
          {
            field: 'Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments/instanceType'
            notIn: '[parameters(\'allowed\')]'
          }
        ]
      }
      then: {
        effect: 'deny'
      }
    }
  }
}

output profilesDefinitionId string = profiles.id
output machinesDefinitionId string = machines.id
