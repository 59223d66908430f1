"""The functions of Bicep that the templates use."""

import hashlib
import ipaddress
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from infra.check.values import SUBSCRIPTION, Late

TENANT = "00000000-0000-0000-0000-00000000000b"


def like(texts: tuple[Any, ...], made: str) -> str:
    """`made`, late where one of the texts is."""
    return Late(made) if any(isinstance(text, Late) for text in texts) else made


def guid(*texts: str) -> str:
    """Equal for equal texts, as Azure's, with other digits."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "|".join(map(str, texts))))


def unique_string(*texts: str) -> str:
    """Thirteen characters of the texts, as Azure's, with other digits."""
    return hashlib.sha256("|".join(map(str, texts)).encode()).hexdigest()[:13]


def _union(*values: Any) -> Any:
    if all(isinstance(value, dict) for value in values):
        return {key: inner for value in values for key, inner in value.items()}
    return [inner for value in values for inner in value]


def _string(value: Any) -> str:
    if isinstance(value, str):
        return value
    made = json.dumps(value, separators=(",", ":"))
    return Late(made) if _is_late(value) else made


def _is_late(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_is_late, value.values()))
    if isinstance(value, list):
        return any(map(_is_late, value))
    return isinstance(value, Late)


def _cidr_subnet(prefix: str, length: int, index: int) -> str:
    return str(list(ipaddress.ip_network(prefix).subnets(new_prefix=length))[index])


def _items(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": value[key]} for key in sorted(value)]


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "cidrSubnet": _cidr_subnet,
    "concat": lambda *values: [inner for value in values for inner in value],
    "empty": lambda value: not value,
    "environment": lambda: {
        "suffixes": {"storage": "core.windows.net"},
        "authentication": {"loginEndpoint": "https://login.microsoftonline.com/"},
    },
    "guid": guid,
    "items": _items,
    "json": json.loads,
    "string": _string,
    "subscription": lambda: {"id": SUBSCRIPTION},
    "subscriptionResourceId": lambda kind, name: f"{SUBSCRIPTION}/providers/{kind}/{name}",
    "tenant": lambda: {"tenantId": TENANT},
    "tenantResourceId": lambda kind, name: f"/providers/{kind}/{name}",
    "toLower": lambda text: like((text,), text.lower()),
    "union": _union,
    "uniqueString": unique_string,
}
"""Those that need nothing but their arguments."""
