// The private switch: a network, who may call into its subnets, and the zones by which names lead
// into it. What may be called from it is not limited: that takes a firewall, which a hospital has.

@description('Region of everything.')
param location string

@description('Tags of everything.')
param tags object

@description('Ends the names.')
param token string

@description('Addresses of the network, a /22 that nothing else uses: three quarters for programs and endpoints, an eighth for operators, an eighth for extraSubnets.')
param addressPrefix string

@description('NAT gateway by which machines of the operators reach the internet; empty: they do not, unless routes or a peered network lead there.')
param operatorsNatGatewayId string

@description('Further subnets, as this API takes them. One that is added by hand is deleted by the next deployment.')
param extraSubnets array

@description('Whether the zones of the private names are made here; else they are there already, in another group.')
param hasZones bool

@description('Other networks that resolve the private names by these zones, too.')
param linkedNetworkIds array

var zoneNames = [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.azurewebsites.net'
  'privatelink.azurecr.io'
  'privatelink.vaultcore.azure.net'
  'privatelink.eventgrid.azure.net'
  'privatelink.api.azureml.ms'
]

var ownZoneNames = hasZones ? zoneNames : []

// Subnets that programs call out from, in the order of the network: nobody calls in. Their own
// platform does: Container Apps' nodes among each other, and its load balancer.
var programSubnets = [
  'functions'
  'worker'
]

resource programRules 'Microsoft.Network/networkSecurityGroups@2025-07-01' = [for (subnet, i) in programSubnets: {
  name: 'nsg-${subnet}-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'each-other'
        properties: {
          access: 'Allow'
          direction: 'Inbound'
          priority: 100
          protocol: '*'
          sourceAddressPrefix: cidrSubnet(addressPrefix, 24, i)
          sourcePortRange: '*'
          destinationAddressPrefix: cidrSubnet(addressPrefix, 24, i)
          destinationPortRange: '*'
        }
      }
      {
        name: 'load-balancer'
        properties: {
          access: 'Allow'
          direction: 'Inbound'
          priority: 110
          protocol: 'Tcp'
          sourceAddressPrefix: 'AzureLoadBalancer'
          sourcePortRange: '*'
          destinationAddressPrefix: cidrSubnet(addressPrefix, 24, i)
          destinationPortRange: '30000-32767'
        }
      }
      {
        name: 'nobody-else'
        properties: {
          access: 'Deny'
          direction: 'Inbound'
          priority: 4096
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}]

// Stores, vault, registry and API: by TLS, from this network and from those that are peered with it.
resource endpointRules 'Microsoft.Network/networkSecurityGroups@2025-07-01' = {
  name: 'nsg-endpoints-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'by-tls'
        properties: {
          access: 'Allow'
          direction: 'Inbound'
          priority: 100
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: cidrSubnet(addressPrefix, 24, 2)
          destinationPortRange: '443'
        }
      }
      {
        name: 'nobody-else'
        properties: {
          access: 'Deny'
          direction: 'Inbound'
          priority: 4096
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

// Machines from which people deploy, and look after the index: by SSH or RDP, from this network and
// from those that are peered with it.
resource operatorRules 'Microsoft.Network/networkSecurityGroups@2025-07-01' = {
  name: 'nsg-operators-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      {
        name: 'sign-in'
        properties: {
          access: 'Allow'
          direction: 'Inbound'
          priority: 100
          protocol: 'Tcp'
          sourceAddressPrefix: 'VirtualNetwork'
          sourcePortRange: '*'
          destinationAddressPrefix: cidrSubnet(addressPrefix, 25, 6)
          destinationPortRanges: [
            '22'
            '3389'
          ]
        }
      }
      {
        name: 'nobody-else'
        properties: {
          access: 'Deny'
          direction: 'Inbound'
          priority: 4096
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2025-07-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: concat([
      {
        name: 'functions'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 0)
          networkSecurityGroup: {
            id: programRules[0].id
          }
          delegations: [
            {
              name: 'flex'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'worker'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 1)
          networkSecurityGroup: {
            id: programRules[1].id
          }
          delegations: [
            {
              name: 'containers'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 24, 2)
          networkSecurityGroup: {
            id: endpointRules.id
          }
          // Without it no rule would hold for private endpoints.
          privateEndpointNetworkPolicies: 'Enabled'
        }
      }
      {
        name: 'operators'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 25, 6)
          networkSecurityGroup: {
            id: operatorRules.id
          }
          // As new subnets are by default: the way out is one that somebody has chosen.
          defaultOutboundAccess: false
          natGateway: empty(operatorsNatGatewayId) ? null : {
            id: operatorsNatGatewayId
          }
        }
      }
    ], extraSubnets)
  }
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for zone in ownZoneNames: {
  name: zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (zone, i) in ownZoneNames: {
  parent: zones[i]
  name: 'link-${token}'
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

module linked 'zone-links.bicep' = [for networkId in linkedNetworkIds: {
  dependsOn: [
    zones
  ]
  params: {
    tags: tags
    networkId: networkId
    zoneNames: ownZoneNames
  }
}]

output functionsSubnetId string = '${network.id}/subnets/functions'
output workerSubnetId string = '${network.id}/subnets/worker'
output endpointsSubnetId string = '${network.id}/subnets/endpoints'
