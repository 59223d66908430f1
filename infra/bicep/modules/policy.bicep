// Machines that may be made in this group: those that the parameters name, and none by mistake.

@description('Definition that limits the profiles of Container Apps.')
param profilesDefinitionId string

@description('Definition that limits the machines of Azure ML.')
param machinesDefinitionId string

@description('Profiles that are allowed.')
param allowedProfiles array

@description('Sizes of virtual machines, and machines of Azure ML, that are allowed.')
param allowedMachineSizes array

// Built in: Allowed virtual machine size SKUs
var machineSizes = 'cccc23c7-8427-4f53-ad12-b6a63eb452b3'

resource profiles 'Microsoft.Authorization/policyAssignments@2026-06-01' = {
  name: 'container-apps-profiles'
  properties: {
    displayName: 'dicom-indexer: allowed workload profiles'
    enforcementMode: 'Default'
    policyDefinitionId: profilesDefinitionId
    parameters: {
      allowed: {
        value: allowedProfiles
      }
    }
  }
}

resource machines 'Microsoft.Authorization/policyAssignments@2026-06-01' = {
  name: 'machine-sizes'
  properties: {
    displayName: 'dicom-indexer: allowed sizes of virtual machines'
    enforcementMode: 'Default'
    policyDefinitionId: tenantResourceId('Microsoft.Authorization/policyDefinitions', machineSizes)
    parameters: {
      listOfAllowedSKUs: {
        value: allowedMachineSizes
      }
    }
  }
}

resource modelMachines 'Microsoft.Authorization/policyAssignments@2026-06-01' = {
  name: 'model-machines'
  properties: {
    displayName: 'dicom-indexer: allowed machines of Azure ML endpoints'
    enforcementMode: 'Default'
    policyDefinitionId: machinesDefinitionId
    parameters: {
      allowed: {
        value: allowedMachineSizes
      }
    }
  }
}
