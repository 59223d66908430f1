// What Azure's own policies do not limit: profiles of Container Apps, machines of Azure ML.
// The aliases have not been verified on a subscription.

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

output profilesDefinitionId string = profiles.id
