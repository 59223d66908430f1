// One private endpoint for each thing that is reached, with its name in the private zone.

@description('An endpoint: what it leads to, which part of it, and the zone of its name.')
type Target = {
  name: string
  resourceId: string
  groupId: string
  zoneName: string
}

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Ends the names.')
param token string

@description('Subnet of the endpoints.')
param subnetId string

@description('What is reached.')
param targets Target[]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' existing = [for target in targets: {
  name: target.zoneName
}]

// One after the other: an account that is given two at once refuses one of them.
@batchSize(1)
resource endpoints 'Microsoft.Network/privateEndpoints@2025-07-01' = [for target in targets: {
  name: 'pe-${target.name}-${token}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: subnetId
    }
    privateLinkServiceConnections: [
      {
        name: target.name
        properties: {
          privateLinkServiceId: target.resourceId
          groupIds: [
            target.groupId
          ]
        }
      }
    ]
  }
}]

@batchSize(1)
resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2025-07-01' = [for (target, i) in targets: {
  parent: endpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: target.groupId
        properties: {
          privateDnsZoneId: zones[i].id
        }
      }
    ]
  }
}]
