"""What the Functions host reads before it starts: host.json, and the bindings of every function.

Nothing is passed over silently: a key or a binding that is not known here is refused.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TRIGGERS = frozenset({"queueTrigger", "timerTrigger", "eventGridTrigger", "httpTrigger"})
_OUTPUTS = frozenset({"queue", "http"})
_COMMON = frozenset({"name", "type", "direction", "dataType"})
_PROPERTIES = {
    "queueTrigger": _COMMON | {"queueName", "connection"},
    "timerTrigger": _COMMON | {"schedule", "runOnStartup", "useMonitor"},
    "eventGridTrigger": _COMMON,
    "httpTrigger": _COMMON | {"route", "methods", "authLevel"},
    "queue": _COMMON | {"queueName", "connection"},
    "http": _COMMON,
}
# True: read here. False: known, and without meaning here (how the real host logs, polls, scales).
_HOST_KEYS: Mapping[str, bool] = {
    "version": True,
    "functionTimeout": False,
    "extensionBundle.id": False,
    "extensionBundle.version": False,
    "extensions.http.routePrefix": True,
    "extensions.queues.batchSize": True,
    "extensions.queues.newBatchThreshold": True,
    "extensions.queues.maxDequeueCount": True,
    "extensions.queues.visibilityTimeout": True,
    "extensions.queues.maxPollingInterval": False,
    "extensions.queues.messageEncoding": True,
    "logging.logLevel.default": False,
    "logging.logLevel.Azure": False,
    "logging.applicationInsights.samplingSettings.isEnabled": False,
    "logging.applicationInsights.samplingSettings.excludedTypes": False,
}


class HostError(Exception):
    """The app asks for something that this host does not do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """host.json, as far as it has a meaning here."""

    route_prefix: str
    batch_size: int
    new_batch_threshold: int
    max_dequeue_count: int
    visibility_timeout_s: int


def read_host_settings(text: str) -> HostSettings:
    """Read host.json; refuse what is not known, and what the real host refuses."""
    flat = dict(_flat(json.loads(text)))
    if unknown := sorted(set(flat) - set(_HOST_KEYS)):
        raise HostError(f"host.json has keys that are not known here: {unknown}")
    if flat.get("version") != "2.0":
        raise HostError("host.json is not of version 2.0")
    queues = "extensions.queues."
    if flat.get(f"{queues}messageEncoding", "base64") != "base64":
        raise HostError("only base64 messages are implemented here")
    batch = flat.get(f"{queues}batchSize", 16)
    if not 1 <= batch <= 32:
        raise HostError("batchSize is a number from 1 to 32")
    return HostSettings(
        route_prefix=flat.get("extensions.http.routePrefix", "api"),
        batch_size=batch,
        new_batch_threshold=flat.get(f"{queues}newBatchThreshold", batch // 2),
        max_dequeue_count=flat.get(f"{queues}maxDequeueCount", 5),
        visibility_timeout_s=_seconds(flat.get(f"{queues}visibilityTimeout", "00:00:00")),
    )


def _flat(value: Mapping[str, Any], prefix: str = ""):
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _seconds(span: str) -> int:
    hours, minutes, seconds = (int(part) for part in span.split(":"))
    return 3600 * hours + 60 * minutes + seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Function:
    """A function as the runtime has indexed it."""

    name: str
    trigger: Mapping[str, Any]
    outputs: tuple[Mapping[str, Any], ...]


def read_function(name: str, bindings: list[dict[str, Any]]) -> Function:
    """Sort the bindings of a function; refuse what is not implemented here."""
    for binding in bindings:
        kind = binding["type"]
        if kind not in _TRIGGERS | _OUTPUTS:
            raise HostError(f"{name}: bindings of type {kind} are not implemented here")
        if unknown := sorted(set(binding) - _PROPERTIES[kind]):
            raise HostError(f"{name}: {kind} has properties that are not known here: {unknown}")
    triggers = [binding for binding in bindings if binding["type"] in _TRIGGERS]
    if len(triggers) != 1:
        raise HostError(f"{name}: a function has one trigger, this one {len(triggers)}")
    outputs = tuple(binding for binding in bindings if binding["type"] in _OUTPUTS)
    return Function(name=name, trigger=triggers[0], outputs=outputs)
