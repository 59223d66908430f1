// What a program needs in the account of the index, for each principal: container, queues, tables.

@description('Account that all of it lies in.')
param accountName string

@description('Each with principalId and principalType.')
param principals array

@description('Container of the index.')
param containerName string

@description('Role on the container.')
param containerRoleId string

@description('Queues.')
param queueNames array

@description('Role on each queue.')
param queueRoleId string

@description('Tables.')
param tableNames array

@description('Role on each table.')
param tableRoleId string

module roles 'storage-roles.bicep' = [for principal in principals: {
  params: {
    accountName: accountName
    containerGrants: [
      {
        name: containerName
        principalId: principal.principalId
        principalType: principal.principalType
        roleId: containerRoleId
      }
    ]
    queueGrants: [for queue in queueNames: {
      name: queue
      principalId: principal.principalId
      principalType: principal.principalType
      roleId: queueRoleId
    }]
    tableGrants: [for table in tableNames: {
      name: table
      principalId: principal.principalId
      principalType: principal.principalType
      roleId: tableRoleId
    }]
  }
}]
