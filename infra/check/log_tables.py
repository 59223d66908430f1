"""Tables of a Log Analytics workspace that queries may ask, with their columns.

After Microsoft's reference of Azure Monitor's tables, without what says nothing here (browser and
place of a client, columns that are deprecated).
"""

from collections.abc import Mapping

_EVERY: Mapping[str, str] = {
    "TimeGenerated": "datetime",
    "Type": "string",
    "_ResourceId": "string",
    "_IsBillable": "string",
    "_BilledSize": "real",
}
_APPLICATION: Mapping[str, str] = {
    **_EVERY,
    "AppRoleInstance": "string",
    "AppRoleName": "string",
    "AppVersion": "string",
    "ItemCount": "int",
    "OperationId": "string",
    "OperationName": "string",
    "ParentId": "string",
    "Properties": "dynamic",
    "SDKVersion": "string",
}
_CALL: Mapping[str, str] = {
    **_APPLICATION,
    "DurationMs": "real",
    "Id": "string",
    "Measurements": "dynamic",
    "Name": "string",
    "ResultCode": "string",
    "Success": "bool",
}
_CONTAINER: Mapping[str, str] = {
    **_EVERY,
    "ContainerAppName": "string",
    "ContainerName": "string",
    "EnvironmentName": "string",
    "Log": "string",
    "OperationName": "string",
    "RevisionName": "string",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "AppDependencies": {**_CALL, "Data": "string", "DependencyType": "string", "Target": "string"},
    "AppExceptions": {
        **_APPLICATION,
        "ExceptionType": "string",
        "InnermostType": "string",
        "OuterType": "string",
        "ProblemId": "string",
        "SeverityLevel": "int",
    },
    "AppMetrics": {**_APPLICATION, "Max": "real", "Min": "real", "Name": "string", "Sum": "real"},
    "AppRequests": {**_CALL, "Source": "string", "Url": "string"},
    "AppTraces": {**_APPLICATION, "Message": "string", "SeverityLevel": "int"},
    "AzureMetrics": {
        **_EVERY,
        "Average": "real",
        "Count": "real",
        "Maximum": "real",
        "MetricName": "string",
        "Minimum": "real",
        "Resource": "string",
        "ResourceProvider": "string",
        "TimeGrain": "string",
        "Total": "real",
    },
    "ContainerAppConsoleLogs": {
        **_CONTAINER,
        "ContainerGroupName": "string",
        "ContainerId": "string",
        "Stream": "string",
    },
    "ContainerAppSystemLogs": {
        **_CONTAINER,
        "Count": "int",
        "EventSource": "string",
        "Reason": "string",
        "ReplicaName": "string",
    },
}
"""Columns and their types, by table."""

REQUESTS = frozenset({"blob event", "series check", "series"})
"""Spans that Application Insights keeps as requests, since a message started them."""
